"""When something is sent: the process meterd-sync, its clocks and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from meterd import store, sync
from meterd import sync as schedule
from meterd.config import load
from meterd.errors import ConfigError, ServerUnavailableError
from meterd.model import Registers
from meterd.sync import Clocks
from meterd.uplink.exchange import Answer
from meterd.uplink.push import BACKOFF_MAX_S, backoff_s
from tests.records import EXAMPLE, add_reading, open_new

ROOT = Path(__file__).parent.parent

CONFIGURATION = """
[meter]
serial = "MX-000001"
state_dir = "."
[[circuit]]
voltage_channel = 0
current_channel = 1
[sync]
server = "{server}"
every_s = 1
timeout_s = 2
"""


@contextmanager
def collecting() -> Iterator[tuple[str, dict[int, bytes], threading.Event]]:
    """A server that keeps lines, and says 500 while its event is set."""
    lines: dict[int, bytes] = {}
    broken = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).splitlines()
            lines.update({json.loads(line)["seq"]: line for line in sent if not broken.is_set()})
            said = {
                "schema": "1.0",
                "stream": self.path.rpartition("/")[2].partition("?")[0],
                "epoch": "e",
                "hwm": len(lines),
                "server_utc_s": 1,
            }
            body = json.dumps(said).encode()
            self.send_response(500 if broken.is_set() else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the library's name

        def log_message(self, format: str, *words: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", lines, broken
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def measure(kept: store.Store, count: int) -> None:
    for _ in range(count):
        seq = store.next_seq(kept)
        reading = replace(EXAMPLE, stream=kept.stream, seq=seq, import_j=seq, export_j=0)
        add_reading(kept, reading, Registers(seq, 0))


def credential(folder: Path) -> None:
    path = folder / "credential"
    path.touch(0o600)
    path.write_text("abc\n")


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@contextmanager
def started(folder: Path, server: str) -> Iterator[subprocess.Popen[str]]:
    path = folder / "meterd.toml"
    path.write_text(CONFIGURATION.format(server=server))
    program = (
        "import logging, sys; from pathlib import Path; from meterd import sync;"
        "from meterd.config import load; logging.basicConfig(level='INFO');"
        "sync.run(load(Path(sys.argv[1])))"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(path)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stopped(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0, log
    return log


def test_the_process_waits_for_the_record_sends_it_and_ends_at_a_signal(tmp_path: Path) -> None:
    credential(tmp_path)
    with collecting() as (address, lines, broken), started(tmp_path, address) as process:
        assert eventually((tmp_path / "sync.db").exists)
        kept = open_new(tmp_path / "readings.db")
        measure(kept, 3)
        assert eventually(lambda: len(lines) == 3)
        broken.set()
        measure(kept, 1)
        assert eventually(lambda: failures(tmp_path) > 0)
        broken.clear()
        assert eventually(lambda: len(lines) == 4)
        assert eventually(lambda: failures(tmp_path) == 0)
        store.close(kept)
        log = stopped(process)
    assert "500" in log
    assert "Traceback" not in log


def failures(folder: Path) -> int:
    status = store.read_sync_status(folder / "sync.db")
    return 0 if status is None else status.failures


def test_a_killed_process_goes_on_where_the_server_is(tmp_path: Path) -> None:
    credential(tmp_path)
    kept = open_new(tmp_path / "readings.db")
    with collecting() as (address, lines, _):
        for total in (5, 10):
            measure(kept, 5)
            with started(tmp_path, address):
                assert eventually(lambda: len(lines) == total)  # noqa: B023
    assert sorted(lines) == list(range(1, 11))
    store.close(kept)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_the_record(tmp_path: Path, number: int) -> None:
    credential(tmp_path)
    with started(tmp_path, "http://127.0.0.1:9") as process:
        assert eventually((tmp_path / "sync.db-wal").exists)
        begun = time.monotonic()
        assert "waiting for meterd" in stopped(process, number)
        assert time.monotonic() - begun < 2.0


def test_a_request_under_way_holds_the_end_no_longer_than_its_timeout(tmp_path: Path) -> None:
    credential(tmp_path)
    kept = open_new(tmp_path / "readings.db")
    measure(kept, 1)
    store.close(kept)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(10)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with started(tmp_path, address) as process, closing(silent.accept()[0]):
            begun = time.monotonic()
            stopped(process)
            assert time.monotonic() - begun < 2.0 + 2.0  # timeout_s, and the program's own end


def test_without_server_or_credential_the_process_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "meterd.toml"
    path.write_text(CONFIGURATION.format(server=""))
    with pytest.raises(ConfigError, match="server is empty"):
        sync.run(load(path))
    path.write_text(CONFIGURATION.format(server="http://127.0.0.1:9"))
    with pytest.raises(ConfigError, match="meterctl claim"):
        sync.run(load(path))
    assert not (tmp_path / "sync.db").exists()


def test_a_claim_needs_a_server_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "meterd.toml"
    path.write_text(CONFIGURATION.format(server=""))
    with pytest.raises(ConfigError, match="server is empty"):
        sync.claim_over_http(load(path), "K7QM-2XWD")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    path.write_text(CONFIGURATION.format(server=address))
    with pytest.raises(ServerUnavailableError, match=address):
        sync.claim_over_http(load(path), "K7QM-2XWD")
    assert [found.name for found in tmp_path.iterdir()] == ["meterd.toml"]


def test_a_try_that_fails_is_remembered_and_the_next_waits_longer(tmp_path: Path) -> None:
    kept = open_new(tmp_path / "readings.db")
    acknowledged = store.open_acknowledged(tmp_path / "sync.db")
    measure(kept, 1)

    def down(
        method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        raise ServerUnavailableError("no route to the server")

    delays = [
        schedule.attempt(
            kept.path,
            acknowledged,
            down,
            every_s=60.0,
            random=lambda: 0.5,
            now_utc_s=lambda: 1763846400,
        )
        for _ in range(4)
    ]
    assert delays == [2.5, 5.0, 10.0, 20.0]
    status = store.read_sync_status(tmp_path / "sync.db")
    assert status is not None
    assert status.last_error == "no route to the server"
    assert (status.last_error_utc_s, status.failures, status.refused) == (1763846400, 4, False)
    store.close_acknowledged(acknowledged)
    store.close(kept)


@contextmanager
def planned(delay_s: float) -> Iterator[BackgroundScheduler]:
    """A scheduler that was started and is paused: it plans, and runs nothing."""
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.start(paused=True)
    schedule.plan(scheduler, lambda: 0.0, delay_s)
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=True)


def due_s(scheduler: BackgroundScheduler) -> float:
    due: datetime = scheduler.get_job(schedule.JOB).next_run_time
    return (due - datetime.now(UTC)) / timedelta(seconds=1)


@pytest.mark.parametrize(
    ("steps_s", "becomes_s"),
    [
        ([-3600.0], 600.0 - 3600.0),
        ([-30.0], 600.0 - 30.0),
        ([-0.5], 600.0),  # a clock that is steered
        ([86_400.0], 600.0),  # it comes at once when that is the date
    ],
)
def test_the_plan_follows_a_clock_that_is_set_back(steps_s: list[float], becomes_s: float) -> None:
    """Ten minutes from now were planned; twenty seconds have passed."""
    with planned(600.0) as scheduler:
        now = schedule.read_clocks()
        stepped = Clocks(now.utc_s + 20.0 + sum(steps_s), now.monotonic_s + 20.0)
        schedule.follow(scheduler, stepped)
        assert due_s(scheduler) == pytest.approx(becomes_s, abs=5.0)


def test_two_steps_that_nobody_saw_between_are_followed_too() -> None:
    """An hour forward, a plan made there, an hour back, all between two looks at the clock."""
    with planned(600.0) as scheduler:
        now = schedule.read_clocks()
        ahead = Clocks(now.utc_s + 3600.0, now.monotonic_s)
        schedule.plan(scheduler, lambda: 0.0, 30.0, clocks=lambda: ahead)
        assert due_s(scheduler) == pytest.approx(3630.0, abs=5.0)
        schedule.follow(scheduler, now)
        assert due_s(scheduler) == pytest.approx(30.0, abs=5.0)


def test_the_main_thread_looks_at_the_clock_until_it_is_told_to_stop() -> None:
    stop, told = socket.socketpair()
    looks: list[Clocks] = []

    def clocks() -> Clocks:
        looks.append(schedule.read_clocks())
        if len(looks) == 3:
            told.send(b"\0")
        return looks[-1]

    with closing(stop), closing(told), planned(600.0) as scheduler:
        schedule.watch(scheduler, stop, lambda: False, clocks=clocks, check_s=0.01)
    assert len(looks) == 3


def test_one_plan_replaces_the_other() -> None:
    with planned(600.0) as scheduler:
        schedule.plan(scheduler, lambda: 0.0, 30.0)
        assert len(scheduler.get_jobs()) == 1
        assert due_s(scheduler) == pytest.approx(30.0, abs=5.0)


def test_the_waits_double_to_a_quarter_of_an_hour_with_full_jitter() -> None:
    longest = [backoff_s(n, None, lambda: 1.0) for n in range(1, 12)]
    assert longest == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900]
    assert backoff_s(4, None, lambda: 0.0) == 0.0
    assert backoff_s(4, None, lambda: 0.25) == 10.0
    assert backoff_s(10**6, None, lambda: 1.0) == BACKOFF_MAX_S


def test_a_retry_after_is_waited_for_up_to_an_hour() -> None:
    assert backoff_s(1, 120.0, lambda: 0.0) == 120.0
    assert backoff_s(1, 120.0, lambda: 0.5) == 122.5
    assert backoff_s(1, 10.0**9, lambda: 0.0) == 3600.0


def test_the_sender_loads_no_numpy_and_the_meter_no_network() -> None:
    """Memory is short on a Raspberry Pi, and what is not there cannot be attacked."""
    for program, without in (("sync", "numpy"), ("main", "requests")):
        code = f"import sys; from meterd import {program}; sys.exit({without!r} in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)
        assert done.returncode == 0, f"{program} loads {without}"
