"""What systemd is told, and when: by the loop that measures, or not at all."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterd import realtime
from meterd.model import Registers
from meterd.supervision import Notifier, Supervision, Watchdog, watchdog_timeout_us
from tests.notified import Manager, manager

CONFIGURATION = """
[meter]
serial = "MX-000001"
state_dir = "{folder}/state"
interval_s = 2
[adc]
device = "simulated"
[display]
device = "none"
[[circuit]]
voltage_channel = 0
current_channel = 1
[simulation]
mains = "voltage=127 current=4.2 pf=0.9"
"""
START_WITHIN_S = 30.0
TIMEOUT_US = 1_000_000

# The real program whose converter stops to answer, as a bus does that hangs: one call never ends.
HANGING = """
import sys, threading
from pathlib import Path
from meterd import wiring
from meterd.programs import meterd

answer = wiring.SimulatedAdc.transfer
def transfer(adc, tx):
    while Path(sys.argv[-1], "hang").exists():
        threading.Event().wait(0.05)
    return answer(adc, tx)
wiring.SimulatedAdc.transfer = transfer
meterd(sys.argv[1:-1])
"""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Manager]:
    with manager(tmp_path) as listening:
        yield listening


def test_each_word_of_the_protocol_is_one_datagram(systemd: Manager) -> None:
    notifier = Notifier(systemd.address)
    notifier.ready()
    notifier.status("measures\nMX-1")
    notifier.extend_timeout(2.5)
    notifier.stopping()
    assert systemd.all_said() == [
        "READY=1",
        "STATUS=measures MX-1",
        "EXTEND_TIMEOUT_USEC=2500000",
        "STOPPING=1",
    ]


def test_an_address_that_begins_with_an_at_sign_is_abstract() -> None:
    listening = Manager(f"@meterd-test-{os.getpid()}")
    Notifier(listening.address).ready()
    assert listening.all_said() == ["READY=1"]
    listening.close()


def test_without_a_manager_nothing_is_sent_and_nothing_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervision = Supervision({}, time.monotonic_ns)
    supervision.measured()
    assert not supervision.notifier.send("READY=1")
    assert not caplog.records


@pytest.mark.parametrize("address", ["/nowhere/notify", "relative", "/" + "x" * 200, "a\0b"])
def test_a_manager_that_cannot_be_reached_is_logged_once_and_never_raised(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(address)
    notifier.ready()
    notifier.stopping()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_manager_that_does_not_read_is_not_waited_for(systemd: Manager) -> None:
    notifier = Notifier(systemd.address)
    while notifier.send("STATUS=" + "x" * 1000):
        pass
    began_s = time.monotonic()
    notifier.ready()
    assert time.monotonic() - began_s < 1.0


def test_pings_come_at_half_of_the_timeout_whatever_the_loop_does(systemd: Manager) -> None:
    now_ns = 0
    watchdog = Watchdog(Notifier(systemd.address), 10_000_000, lambda: now_ns)
    for now_ns in range(0, 20_000_000_001, 200_000_000):  # noqa: B007  # the watchdog reads it
        watchdog.ping()
    assert systemd.all_said() == ["WATCHDOG=1"] * 5  # at 0, 5, 10, 15 and 20 s


def test_a_ping_that_did_not_go_out_is_tried_again_at_the_next_window(tmp_path: Path) -> None:
    watchdog = Watchdog(Notifier(str(tmp_path / "notify")), 10_000_000, lambda: 0)
    watchdog.ping()
    with manager(tmp_path) as late:
        watchdog.ping()
        assert late.all_said() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environment", "timeout_us"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "10000000"}, 10_000_000),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "42"}, 10_000_000),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "41"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({"WATCHDOG_USEC": "-1"}, 0),
    ],
)
def test_the_timeout_is_systemds_and_meant_for_this_process(
    environment: dict[str, str], timeout_us: int
) -> None:
    assert watchdog_timeout_us(environment, 42) == timeout_us


def test_the_word_follows_the_work(systemd: Manager) -> None:
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "10000000"}
    supervision = Supervision(environment, lambda: 0)

    def fails(*_: object) -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        supervision.after(fails)(None, Registers())
    assert systemd.all_said() == []
    supervision.after(lambda *_: None)(None, Registers())
    assert systemd.all_said() == ["READY=1", "WATCHDOG=1"]


class Program:
    """meterd as systemd runs it."""

    def __init__(self, folder: Path, systemd: Manager) -> None:
        (folder / "meter.toml").write_text(CONFIGURATION.format(folder=folder))
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": systemd.address,
            "WATCHDOG_USEC": str(TIMEOUT_US),
            "PYTHONFAULTHANDLER": "1",  # as in the unit
        }
        arguments = ["--config", str(folder / "meter.toml"), str(folder)]
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # as in the unit
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HANGING, *arguments], env=environment, stderr=log
            )

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def program(tmp_path: Path, systemd: Manager) -> Iterator[Program]:
    started = Program(tmp_path, systemd)
    yield started
    started.process.kill()
    started.process.wait()


def test_meterd_is_ready_with_its_first_window_pings_and_says_that_it_stops(
    program: Program, systemd: Manager
) -> None:
    assert systemd.wait_for("READY=1", START_WITHIN_S) == ["READY=1"], program.log()
    for _ in range(3):
        assert systemd.said(10.0) == "WATCHDOG=1"
    program.process.send_signal(signal.SIGTERM)
    assert systemd.wait_for("STOPPING=1", 10.0)[-1] == "STOPPING=1"
    assert program.process.wait(20) == 0, program.log()


def test_no_ping_comes_from_a_meter_whose_converter_hangs(
    program: Program, systemd: Manager, tmp_path: Path
) -> None:
    systemd.wait_for("WATCHDOG=1", START_WITHIN_S)
    (tmp_path / "hang").touch()
    while systemd.said(TIMEOUT_US / 1e6) is not None:
        pass
    assert program.process.poll() is None  # systemd's timeout has passed; it would end it now
    assert systemd.said(1.0) is None
    (tmp_path / "hang").unlink()
    assert systemd.said(10.0) == "WATCHDOG=1"


def test_a_meter_that_the_watchdog_ends_says_where_it_stood(
    program: Program, systemd: Manager, tmp_path: Path
) -> None:
    systemd.wait_for("READY=1", START_WITHIN_S)
    (tmp_path / "hang").touch()
    time.sleep(1.0)
    program.process.send_signal(signal.SIGABRT)  # what systemd sends when a ping is late
    program.process.wait(20)
    assert "Fatal Python error: Aborted" in program.log()
    assert "in transfer" in program.log()


def test_the_thread_that_samples_asks_once_and_goes_on_when_refused() -> None:
    asked: list[bool] = []

    def refuse() -> bool:
        asked.append(True)
        return False

    read = realtime.preferred(lambda: 7, refuse)
    assert [read(), read()] == [7, 7]
    assert asked == [True]


PRIORITIES = """
import json, os, resource, sys, threading
from meterd import realtime
try:
    resource.setrlimit(resource.RLIMIT_RTPRIO, (int(sys.argv[1]),) * 2)
except ValueError:
    sys.exit("this root may not raise RLIMIT_RTPRIO")
os.setuid(65534)
policies = {}
def work():
    policies["done"] = realtime.prefer_this_thread()
    policies["thread"] = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    policies["priority"] = os.sched_getparam(0).sched_priority
thread = threading.Thread(target=work)
thread.start()
thread.join()
policies["main"] = os.sched_getscheduler(0)
print(json.dumps(policies))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root raises the limit that the unit raises")
@pytest.mark.parametrize("limit", [10, 0])
def test_one_thread_is_preferred_by_the_limit_alone_without_a_capability(limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRIORITIES, str(limit)], capture_output=True, text=True, timeout=60
    )
    if "may not raise" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    if limit and not got["done"]:
        pytest.skip(f"this machine gives no real-time priority: {done.stderr.strip()}")
    assert got["done"] == bool(limit)
    assert got["thread"] == (os.SCHED_FIFO if limit else os.SCHED_OTHER)
    assert got["priority"] == limit
    assert got["main"] == os.SCHED_OTHER
    assert ("RLIMIT_RTPRIO is 0" in done.stderr) == (not limit)


@pytest.mark.parametrize(
    ("program", "foreign"),
    [
        ("daemon", ("requests", "urllib3", "apscheduler", "rich", "matplotlib", "server")),
        ("sync", ("spidev", "RPLCD", "smbus2", "rich", "matplotlib", "server")),
    ],
)
def test_a_program_holds_nothing_of_the_others_in_memory(
    program: str, foreign: tuple[str, ...]
) -> None:
    line = f"import sys, meterd.programs, meterd.{program}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True, timeout=60
    )
    assert not set(foreign) & set(done.stdout.split())
