"""The demonstration as a newcomer runs it, and the parts that it is made of."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
import requests
from rich.console import Console

from demo import desk, folder, programs, terminal
from demo.__main__ import FirstReading, Wanted, watch
from demo.errors import DemoError
from demo.programs import Program

REPOSITORY = Path(__file__).parents[1]
WITHIN_S = 90.0
"""Far more than it takes: a machine that is busy with other tests must not fail these."""
POWER_PAGE = "LCD|Red → casa      |P        404.7 W|Ent     0.00 kWh|Sal     0.00 kWh"


@dataclass(frozen=True, slots=True)
class Run:
    """A demonstration that runs, and the file that it writes to."""

    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_for(self, pattern: str) -> re.Match[str]:
        deadline_s = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline_s:
            found = re.search(pattern, self.said(), re.MULTILINE)
            if found is not None:
                return found
            assert self.process.poll() is None, self.said()
            time.sleep(0.1)
        raise AssertionError(f"no {pattern!r} within {WITHIN_S} s:\n{self.said()}")


@contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[Run]:
    """``python -m demo`` in a session of its own, so that all that it started can be found."""
    output = tmp_path / "output"
    command = [sys.executable, "-m", "demo", "--state-dir", str(tmp_path / "state"), *options]
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Run(process, output)
        finally:
            for pid in session_members(process.pid):
                os.kill(pid, signal.SIGKILL)


def session_members(session: int) -> list[int]:
    """The processes of a session that have not ended (proc(5): the sixth field of stat)."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if int(number) == session and state not in "ZX":
            members.append(int(stat.parent.name))
    return members


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def refusal(tmp_path: Path, *options: str) -> str:
    """What a demonstration says that must not begin; no program may have been started."""
    with running(tmp_path, *options) as run:
        assert run.process.wait(WITHIN_S) == 1, run.said()
    said = run.said()
    assert "Starting" not in said
    assert said.count("Error: ") == 1
    assert "Traceback" not in said
    return said.partition("Error: ")[2]


def page_of_the_customer(address: str, user: str, password: str) -> str:
    with requests.Session() as browser:
        browser.trust_env = False
        form = browser.get(f"{address}login", timeout=10).text
        token = re.search(r'name="csrf_token" value="([^"]+)"', form)
        assert token is not None
        page = browser.post(
            f"{address}login",
            data={"csrf_token": token[1], "user_name": user, "password": password},
            headers={"Origin": address.rstrip("/")},
            timeout=10,
        )
        return page.text


def test_a_customer_sees_the_reading_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, "--port", str(port), "--mains", "voltage=120 current=5 pf=1") as run:
        address = run.wait_for(r"^ +Address: +(http://\S+)$")[1]
        user = run.wait_for(r"^ +Login: +(\S+)$")[1]
        password = run.wait_for(r"^ +Password: +(\S+)$")[1]
        run.wait_for(r"^First reading on the page after \d+\.\d s: \d")
        assert address == f"http://127.0.0.1:{port}/"
        page = page_of_the_customer(address, user, password)
        power_w = re.search(r'class="big">(\d+) <span class="unit">W', page)
        assert power_w is not None
        # 120 V and 5 A in phase are 600 W; the uncalibrated chain is good for 1 %.
        assert int(power_w[1]) == pytest.approx(600, rel=0.01)
        run.wait_for(r"^┃ .{16} ┃$")
        members = session_members(run.process.pid)
        assert len(members) >= 4, "the demonstration, server, meter and synchronisation"
        os.killpg(run.process.pid, signal.SIGINT)  # as the terminal does
        assert run.process.wait(WITHIN_S) == 0, run.said()
        assert session_members(run.process.pid) == []
    assert run.said().rstrip().endswith("Ended.")
    assert "killed" not in run.said()


def test_a_program_that_dies_is_named_with_its_last_lines(tmp_path: Path) -> None:
    with running(tmp_path, "--port", str(free_port())) as run:
        run.wait_for("^meterd: ")  # it has begun, and a line of its log is here
        (meter,) = [
            pid
            for pid in session_members(run.process.pid)
            if b"--print-screens" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(meter, signal.SIGKILL)
        assert run.process.wait(WITHIN_S) == 1, run.said()
        assert session_members(run.process.pid) == []
    last = run.said().partition("Error: ")[2]
    assert last.startswith("meterd ended (by signal SIGKILL); its last lines:\n")
    assert "meterd.main: " in last


@contextmanager
def quiet_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Program]]:
    """Two programs that say nothing."""
    quiet = tmp_path / "quiet"
    quiet.write_text("#!/bin/sh\nexec sleep 60\n")
    quiet.chmod(0o755)
    monkeypatch.setattr(programs, "BIN", tmp_path)
    started = [programs.start(tmp_path, "quiet") for _ in range(2)]
    try:
        yield started
    finally:
        programs.stop(started)


def watched(tmp_path: Path, started: list[Program], first: FirstReading) -> str:
    written = StringIO()
    wanted = Wanted(tmp_path, None, 0.3, "", None)
    began_s = time.monotonic()
    watch(wanted, Console(file=written), started, first, began_s, lambda: False)
    return written.getvalue()


def test_an_end_before_the_first_reading_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        quiet_programs(tmp_path, monkeypatch) as started,
        pytest.raises(DemoError, match=r"no reading was on the customer's page after 0\.3 s"),
    ):
        watched(tmp_path, started, Future())


def test_the_first_reading_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: FirstReading = Future()
    with quiet_programs(tmp_path, monkeypatch) as started:
        first.set_result((time.monotonic() + 9.0, "600 W"))
        said = watched(tmp_path, started, first)
    assert said.splitlines() == [
        "First reading on the page after 9.0 s: 600 W",
        "Ended after 0.3 s, as asked.",
    ]


def test_nothing_goes_on_when_the_terminal_is_gone(tmp_path: Path) -> None:
    read, write = os.openpty()
    options = ["--state-dir", str(tmp_path / "state"), "--port", str(free_port())]
    with subprocess.Popen(
        [sys.executable, "-m", "demo", *options],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        os.close(write)
        with os.fdopen(read) as said:
            while "Starting" not in said.readline():
                assert process.poll() is None
        try:
            assert process.wait(WITHIN_S) == 1
            assert session_members(process.pid) == []
        finally:
            for pid in session_members(process.pid):
                os.kill(pid, signal.SIGKILL)


def test_mains_words_that_mean_nothing_are_refused_before_anything_starts(tmp_path: Path) -> None:
    assert "'voltag=127' is not understood" in refusal(tmp_path, "--mains", "voltag=127")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.npz", None, "no such file"),
        ("broken.npz", b"PK\x03\x04 not a zip", "is broken"),
        ("odd.csv", b"time_s,volts\n0,1\n", "voltage_v"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_before_anything_starts(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    recording = tmp_path / name
    if content is not None:
        recording.write_bytes(content)
    said = refusal(tmp_path, "--waveform", str(recording))
    assert name in said
    assert reason in said


def test_a_port_that_was_asked_for_and_is_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refusal(tmp_path, "--port", str(port))
    assert f"port {port}" in said
    assert "choose another PORT" in said


def test_another_port_is_taken_when_the_usual_one_is_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        usual = taken.getsockname()[1]
        monkeypatch.setattr(desk, "PORT_DEFAULT", usual)
        assert desk.free_port(None) not in (0, usual)
    assert desk.free_port(None) == usual


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    tmp_path.joinpath("thesis.txt").write_text("years of work")
    with pytest.raises(DemoError, match="--state-dir"), folder.fresh(tmp_path):
        pass
    assert tmp_path.joinpath("thesis.txt").read_text() == "years of work"


def test_the_folder_of_an_earlier_run_is_emptied(tmp_path: Path) -> None:
    place = tmp_path / "state"
    with folder.fresh(place) as emptied:
        assert not emptied
        place.joinpath("meter").mkdir()
        place.joinpath("meter", "readings.db").write_bytes(b"old")
    with folder.fresh(place) as emptied:
        assert emptied
        assert not place.joinpath("meter").exists()


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    place = tmp_path / "state"
    with (
        folder.fresh(place),
        pytest.raises(DemoError, match="another demonstration runs"),
        folder.fresh(place),
    ):
        pass


def test_a_program_that_ignores_sigterm_is_killed_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 60; done\n")
    stubborn.chmod(0o755)
    monkeypatch.setattr(programs, "BIN", tmp_path)
    monkeypatch.setattr(programs, "STOP_TIMEOUT_S", 0.2)
    program = programs.start(tmp_path, "stubborn")
    wait_until(lambda: "ready" in program.answers)
    assert programs.stop([program]) == ["stubborn"]
    assert program.process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):  # nor is its sleep left
        wait_until(lambda: os.killpg(program.process.pid, 0))


def wait_until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_screen_is_taken_by_place_even_with_the_separator_on_it() -> None:
    line = "LCD|a|b" + " " * 13 + "|" + "|".join(["0123456789abcdef"] * 3)
    assert terminal.screen_of(line) == ("a|b" + " " * 13, *["0123456789abcdef"] * 3)


def test_a_line_that_is_no_screen_is_none() -> None:
    assert terminal.screen_of(POWER_PAGE) is not None
    assert terminal.screen_of(POWER_PAGE[:-1]) is None
    assert terminal.screen_of("meterd.daemon: measures") is None


def test_half_a_screen_is_not_drawn() -> None:
    before, half, after = ("old",) * 4, ("new", "old", "old", "old"), ("new",) * 4
    glass = terminal.Glass(shown=before, coming=before)
    drawn = [glass.look(screen) for screen in (half, after, after, after, after, after)]
    assert drawn == [False, False, False, False, True, False]
    assert glass.shown == after


def test_without_a_terminal_a_frame_is_written_only_when_it_changes() -> None:
    written = StringIO()
    appended = terminal.Appended(Console(file=written, width=80))
    screen = terminal.screen_of(POWER_PAGE)
    assert screen is not None
    for _ in range(3):
        appended.draw(screen, ())
    assert written.getvalue().count("P        404.7 W") == 1
