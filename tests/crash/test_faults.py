"""A full disk, a bus that fails, a converter that lies, a display that is pulled out."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from meterd import store
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import parse, synthetic
from meterd.simulate.mcp3008 import Analog, Mcp3008
from tests.hardware.board import VREF_V, Board
from tests.hardware.kernel import BusClock

from . import counts
from .disk import Disk, inserted
from .programs import POWER_W, Process, Programs
from .record import SERIAL, events_in, kept_by, peek, readings_in
from .test_backlog import offline_for

RECOVERED_S = 60.0
FULL_S = 4.0
BACKLOG = 3000
SMALL_DISK_BYTES = 16 * 1024 * 1024
BOARD_CONFIG = """
[meter]
serial = "{serial}"
state_dir = "{state}"
interval_s = 1
[[circuit]]
voltage_channel = 0
current_channel = 1
"""


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The disk without a byte of room."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
    yield
    filler.unlink()


@pytest.fixture
def small_disk(disk: Disk, tmp_path: Path) -> Iterator[Disk]:
    small = Disk(tmp_path / "small", SMALL_DISK_BYTES)
    small.format()
    yield small
    small.remove()


def test_a_full_disk_makes_readings_wait_and_loses_none(
    small_disk: Disk, programs: Programs
) -> None:
    with inserted(small_disk) as folder:
        programs.configure(folder)
        meter = programs.meter()
        try:
            programs.wait_until("rows", lambda: len(programs.rows()) > 6)
            with filled(folder):
                programs.wait_until("a full disk", lambda: "is full" in programs.log("meterd"))
                time.sleep(FULL_S)
                rows = len(programs.rows())
                assert meter.poll() is None
            took_s = programs.wait_until(
                "rows again", lambda: len(programs.rows()) > rows + FULL_S, RECOVERED_S
            )
            print(f"rows again after {took_s:.1f} s")  # noqa: T201
            assert programs.end(meter) == 0
        finally:
            programs.kill_all()
        kept = kept_by(programs.database)
    readings = readings_in(kept.rows)
    ends = [int(str(row["end_utc_s"])) for row in readings[:-1]]
    assert ends == list(range(ends[0], ends[0] + len(ends)))  # not one second is missing
    counted_j = int(str(readings[-2]["import_j"])) - int(str(readings[0]["import_j"]))
    measured_s = sum(float(str(row["measured_s"])) for row in readings[1:-1])
    assert not any("GAP" in str(row["flags"]) for row in readings[1:])
    assert counted_j == pytest.approx(POWER_W * measured_s, rel=0.01)
    told = [(event["event"], event["detail"]) for event in events_in(kept.rows)]
    parts = [name for name, what in told if isinstance(what, dict) and what.get("part") == "disk"]
    assert parts == ["fault", "fault_over"]


TIDY_WAIT_S = 400.0
"""The log takes rows for a while; where it must go into the full database, old ones make way."""


@pytest.mark.skipif(
    not counts.TORTURE,
    reason="waits for the log to be moved into the database, five minutes: torture alone",
)
def test_on_a_full_disk_the_oldest_rows_that_the_server_holds_go_and_no_other(
    small_disk: Disk, programs: Programs
) -> None:
    with inserted(small_disk) as folder:
        programs.configure(folder, ballast_mib=1)
        offline_for(programs.database, BACKLOG)
        stream = kept_by(programs.database).stream
        programs.server()
        syncing = programs.sync()
        try:
            programs.wait_until("all", lambda: len(programs.held(stream)) >= BACKLOG)
            assert programs.end(syncing) == 0
            assert programs.end(measured(programs, programs.meter())) == 0  # holds its ballast now
            meter = measured(programs, programs.meter())
            acknowledged = known_to_be_held(programs, stream)
            with filled(folder):
                programs.wait_until(
                    "deleted rows",
                    lambda: "were deleted here" in programs.log("meterd"),
                    TIDY_WAIT_S,
                )
                measured(programs, meter)
            assert programs.end(meter) == 0
        finally:
            programs.kill_all()
        kept = kept_by(programs.database)
    first = kept.rows[0][0]
    assert 1 < first <= acknowledged + 1
    assert "pruned" in [event["event"] for event in events_in(kept.rows)]


def measured(programs: Programs, meter: Process) -> Process:
    """The meter, after some rows more."""
    last = max(seq for seq, _ in programs.rows())
    programs.wait_until("rows", lambda: max(seq for seq, _ in programs.rows()) > last + 4)
    return meter


def known_to_be_held(programs: Programs, stream: str) -> int:
    status = store.read_sync_status(programs.state / "sync.db", stream)
    assert status is not None
    return status.hwm


class PacedClock(BusClock):
    """The buses take the time that they say, for a meter that looks at a real clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def advance_to(self, at_ns: int) -> None:
        time.sleep(max(0, at_ns - self.now_ns()) / 1e9)


class Bench:
    """meterd on the real drivers and emulated chips."""

    def __init__(self, board: Board, folder: Path) -> None:
        self.board, self.state = board, folder / "state"
        self.state.mkdir()
        self.configuration = folder / "meterd.toml"
        self.configuration.write_text(BOARD_CONFIG.format(serial=SERIAL, state=self.state))
        self.board.spi.bufsiz = 65536
        self.board.spi.clock = self.board.i2c.clock = PacedClock()
        self.good()

    def good(self) -> None:
        self.pins(Wiring(synthetic(parse("voltage=127 current=4.2")), FrontEnd(), (0, 1)))

    def pins(self, analog: Analog) -> None:
        self.board.spi.chip = Mcp3008(analog, vref_v=VREF_V, rng=None)

    def readings(self) -> list[dict[str, object]]:
        return readings_in(peek(self.state / "readings.db"))

    def flagged(self, flag: str, present: bool = True) -> Callable[[], bool]:
        """Whether the newest reading has, or has not, this flag."""

        def seen() -> bool:
            readings = self.readings()
            return bool(readings) and (flag in str(readings[-1]["flags"])) == present

        return seen

    def meter(self) -> list[str]:
        code = "from meterd.cli import meterd; meterd()"
        return [Board.python, "-c", code, "--config", str(self.configuration)]


@pytest.fixture
def bench(board: Board, tmp_path: Path) -> Bench:
    return Bench(board, tmp_path)


def test_a_converter_that_is_stuck_or_clipped_is_flagged_and_so_is_its_recovery(
    bench: Bench,
) -> None:
    wait = bench.board.wait_until
    with bench.board.start(bench.meter()):
        assert wait(lambda: len(bench.readings()) > 2, RECOVERED_S)
        bench.pins(lambda channels, t_s: np.full(len(t_s), VREF_V / 2))
        assert wait(bench.flagged("MAINS_LOST"), RECOVERED_S)
        bench.good()
        assert wait(bench.flagged("MAINS_LOST", False), RECOVERED_S)
        bench.pins(Wiring(synthetic(parse("voltage=250 current=4.2")), FrontEnd(), (0, 1)))
        assert wait(bench.flagged("CLIPPED"), RECOVERED_S)
        bench.good()
        assert wait(bench.flagged("CLIPPED", False), RECOVERED_S)


def test_a_bus_that_fails_for_a_moment_costs_that_moment(bench: Bench) -> None:
    wait = bench.board.wait_until
    with bench.board.start(bench.meter()) as meter:
        assert wait(lambda: len(bench.readings()) > 2, RECOVERED_S)
        bench.board.spi.faults.extend([errno.EIO] * 3)
        assert wait(lambda: not bench.board.spi.faults, RECOVERED_S)
        before = len(bench.readings())
        assert wait(lambda: len(bench.readings()) > before + 2, RECOVERED_S)
        assert any("GAP" in str(row["flags"]) for row in bench.readings())
        meter.terminate()
        assert meter.wait(20) == 0
    kept_by(bench.state / "readings.db")


def test_a_bus_that_fails_for_good_ends_the_meter_which_says_so_and_starts_again(
    bench: Bench,
) -> None:
    wait = bench.board.wait_until
    with bench.board.start(bench.meter()) as meter:
        assert wait(lambda: len(bench.readings()) > 2, RECOVERED_S)
        bench.board.spi.faults.extend([errno.EIO] * 50)
        assert meter.wait(RECOVERED_S) == 1
    bench.board.spi.faults.clear()
    kept = kept_by(bench.state / "readings.db")
    faults = [event["detail"] for event in events_in(kept.rows) if event["event"] == "fault"]
    assert "'part': 'adc'" in str(faults)
    with bench.board.start(bench.meter()):
        assert wait(lambda: len(bench.readings()) > len(readings_in(kept.rows)) + 2, RECOVERED_S)


def test_a_display_that_is_pulled_out_costs_no_reading_and_is_drawn_again(bench: Bench) -> None:
    """The emulated bus is slow beside the converter's: it draws a screen in half a minute."""
    wait = bench.board.wait_until

    def told(event: str) -> bool:
        found = events_in(peek(bench.state / "readings.db"))
        return any(e["event"] == event and "'part': 'display'" in str(e["detail"]) for e in found)

    def drawn() -> bool:
        return "".join(bench.board.display.text()).strip() != ""

    with bench.board.start(bench.meter()) as meter:
        assert wait(drawn, RECOVERED_S)
        bench.board.bus.unplug()
        assert wait(lambda: told("fault"), RECOVERED_S)
        before = len(bench.readings())
        assert wait(lambda: len(bench.readings()) > before + 2, RECOVERED_S)
        bench.board.bus.plug()
        assert wait(lambda: told("fault_over"), 2 * RECOVERED_S)
        assert drawn()
        meter.terminate()
        assert meter.wait(20) == 0
    kept_by(bench.state / "readings.db")
