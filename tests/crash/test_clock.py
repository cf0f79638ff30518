"""The date jumps under the running programs; what is counted and sent goes on.

The programs are the real ones; a preloaded library gives them another date, and leaves the clocks
that only count as they are.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import counts
from .programs import POWER_W, Programs
from .record import events_in, kept_by, readings_in

SOURCE = Path(__file__).with_name("clock.c")
HOUR_S, DAY_S = 3600, 86_400
ALL_STEPS_S = (1, -1, HOUR_S, -HOUR_S, 400 * DAY_S, -400 * DAY_S)
STEPS_S = ALL_STEPS_S if counts.TORTURE else (-HOUR_S, 400 * DAY_S)
RESUMED_S = 60.0
WINDOW_S = 0.2
ROUND_S = 0.1
"""What the timing of a sample on a busy test machine may cost a row."""


class Clock:
    """The date of the programs under test."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(struct.pack("=qq", 0, 1))
        with file.open("r+b") as opened:
            self._told = mmap.mmap(opened.fileno(), 16)
        self.offset_s = 0

    def set(self, offset_s: int, *, synced: bool = True) -> None:
        self.offset_s = offset_s
        self._told[:] = struct.pack("=qq", offset_s * 1_000_000_000, int(synced))

    def close(self) -> None:
        self._told.close()


@pytest.fixture
def clock(programs: Programs, tmp_path: Path) -> Iterator[Clock]:
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C compiler: apt install gcc libc6-dev")
    built = tmp_path / "clock.so"
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, *flags, "-o", built, SOURCE, "-ldl"], check=True, timeout=60)
    clock = Clock(tmp_path / "clock")
    programs.set_environment({"LD_PRELOAD": str(built), "METERD_CLOCK": str(tmp_path / "clock")})
    yield clock
    clock.close()


def stream_of(programs: Programs) -> str:
    stream = readings_in(programs.rows())[0]["stream"]
    assert isinstance(stream, str)
    return stream


def sent_on(programs: Programs, stream: str, rows: int = 4) -> float:
    """After how long the server has got ``rows`` rows more than the meter has now."""
    wanted = len(programs.rows()) + rows
    return programs.wait_until(
        "rows at the server", lambda: len(programs.held(stream)) >= wanted, RESUMED_S
    )


def test_nothing_but_the_date_follows_a_clock_that_steps(programs: Programs, clock: Clock) -> None:
    programs.configure()
    programs.server()
    meter, syncing = programs.meter(), programs.sync()
    programs.wait_until("rows", lambda: len(programs.rows()) > 6)
    stream = stream_of(programs)
    for step_s in STEPS_S:
        clock.set(clock.offset_s + step_s)
        took_s = sent_on(programs, stream)
        print(f"{step_s:+d} s: sent on after {took_s:.1f} s")  # noqa: T201
    assert programs.end(meter) == 0
    require_all_counted(programs)
    kept = kept_by(programs.database)
    last_seq = kept.rows[-1][0]
    programs.wait_until("all", lambda: len(programs.held(stream)) >= last_seq)
    held = programs.held(stream)
    assert [seq for seq, _ in held] == list(range(1, last_seq + 1))
    # Rows that became 400 days old in a second may have gone here: the server has them.
    assert held[-len(kept.rows) :] == kept.rows
    assert programs.end(syncing) == 0


def require_all_counted(programs: Programs) -> None:
    """No time between two readings was missed, and their energy is that of the time."""
    readings = [row for row in readings_in(kept_by(programs.database).rows)]
    assert not any("GAP" in row["flags"] for row in readings[1:])  # type: ignore[operator]
    measured_s = sum(float(str(row["measured_s"])) for row in readings[1:])
    first, last = readings[0], readings[-1]
    # boottime_ms is told at the end of a reading's last window
    passed_s = (int(str(last["boottime_ms"])) - int(str(first["boottime_ms"]))) / 1000
    assert measured_s == pytest.approx(passed_s, abs=2 * WINDOW_S + ROUND_S)
    counted_j = int(str(last["import_j"])) - int(str(first["import_j"]))
    assert counted_j == pytest.approx(POWER_W * measured_s, rel=0.01)


def test_a_meter_without_a_date_gets_one_and_goes_on(programs: Programs, clock: Clock) -> None:
    clock.set(-round(time.time()) + 100, synced=False)  # 1970
    programs.configure()
    programs.server()
    meter, syncing = programs.meter(), programs.sync()
    programs.wait_until("rows", lambda: len(programs.rows()) > 6)
    stream = stream_of(programs)
    assert readings_in(programs.rows())[-1]["clock"] in ("unknown", "relative")
    clock.set(0)
    sent_on(programs, stream)
    assert programs.end(meter) == 0
    assert programs.end(syncing) == 0
    require_all_counted(programs)
    rows = kept_by(programs.database).rows
    assert readings_in(rows)[-1]["clock"] == "synced"
    assert "anchor" in [event["event"] for event in events_in(rows)]
    assert abs(int(str(readings_in(rows)[-1]["end_utc_s"])) - time.time()) < RESUMED_S
