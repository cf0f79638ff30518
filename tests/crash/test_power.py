"""The power goes at any instant: what was acknowledged is there when it comes back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import counts
from .disk import Disk, inserted
from .programs import Programs
from .record import Kept, LostError, kept_by, peek, written
from .writers import Acknowledged, Writers

CUTS = counts.count("POWER_CUTS", quick=20, torture=1000)
METER_CUTS = counts.count("METER_POWER_CUTS", quick=1, torture=25)
CONTROLS = counts.count("CONTROL_CUTS", quick=10, torture=100)
LIVES = 10
"""A disk is formatted after so many cuts, so that beginning a record is cut as well."""
LIFE_S = 0.3
EARLY_SHARE, EARLY_S = 0.2, 0.03
EATMYDATA = "libeatmydata.so"


def cut(disk: Disk, writers: Writers, chance: random.Random, *options: str) -> Acknowledged:
    """Let a writer write, cut the power somewhere, end what still runs; what was promised."""
    with inserted(disk):
        writers.start(disk.folder, *options)
        try:
            if chance.random() < EARLY_SHARE:
                time.sleep(chance.random() * EARLY_S)
            else:
                writers.first_acknowledged()
                time.sleep(chance.random() * LIFE_S)
            promised = writers.drain()
            disk.cut_power()
        finally:
            writers.kill()
    return promised


def found(disk: Disk, promised: Acknowledged, before: Kept | None) -> Kept | None:
    """What the disk holds after the cut.

    Raises:
        LostError: less, or something else, than was promised.
    """
    with inserted(disk) as folder:
        database = folder / "readings.db"
        if promised.seq == 0 and before is None and not written(database):
            return None
        kept = kept_by(database)
    if kept.last < promised.seq:
        raise LostError(f"{promised.seq - kept.last} acknowledged rows are gone")
    if kept.registers.import_j < promised.import_j:
        raise LostError(f"registers of {promised.import_j} J fell to {kept.registers.import_j}")
    if before is not None and kept.rows[: len(before.rows)] != before.rows:
        raise LostError("rows of an earlier life have changed")
    return kept


def test_no_acknowledged_row_is_lost_when_the_power_is_cut(disk: Disk, writers: Writers) -> None:
    chance = random.Random(counts.seed())
    kept: Kept | None = None
    promises = 0
    for number in range(CUTS):
        if number % LIVES == 0:
            disk.format()
            kept = None
        promised = cut(disk, writers, chance)
        promises += promised.seq > 0
        kept = found(disk, promised, kept)
    assert promises > CUTS / 2  # there was something to lose


def lost_share(disk: Disk, writers: Writers, *options: str) -> float:
    """In which share of cuts something was lost that had been acknowledged."""
    chance = random.Random(counts.seed())
    lost = trials = 0
    while trials < CONTROLS:
        disk.format()
        promised = cut(disk, writers, chance, *options)
        if promised.seq == 0:
            continue
        trials += 1
        try:
            found(disk, promised, None)
        except LostError:
            lost += 1
    print(f"lost in {lost} of {trials} cuts")  # noqa: T201  for docs/reliability.md
    return lost / trials


@pytest.fixture
def careless_writers() -> Iterator[Writers]:
    libraries = [*Path("/usr/lib").glob(f"*/{EATMYDATA}"), *Path("/usr/lib").glob(EATMYDATA)]
    if not libraries:
        pytest.skip(f"needs {EATMYDATA}: apt install eatmydata")
    started = Writers(libraries[0])
    yield started
    started.close()


def test_without_flushing_the_same_cuts_lose_rows(disk: Disk, careless_writers: Writers) -> None:
    assert lost_share(disk, careless_writers) >= 0.9


def test_a_log_that_is_flushed_only_now_and_then_loses_rows(disk: Disk, writers: Writers) -> None:
    assert lost_share(disk, writers, "--synchronous", "NORMAL") >= 0.5


def test_no_row_of_a_running_meter_is_lost_when_the_power_is_cut(
    disk: Disk, programs: Programs
) -> None:
    chance = random.Random(counts.seed())
    kept: Kept | None = None
    seen: list[tuple[int, bytes]] = []
    for _ in range(METER_CUTS):
        with inserted(disk) as folder:
            programs.configure(folder)
            meter = programs.meter()
            try:
                programs.wait_until("rows", longer_than(programs, len(seen) + 4))
                time.sleep(chance.random())
                seen = programs.rows()
                disk.cut_power()
            finally:
                programs.kill(meter)
        with inserted(disk) as folder:
            kept = kept_by(folder / "readings.db")
            assert not list(folder.glob("*.damaged*"))
        assert kept.rows[: len(seen)] == seen


def longer_than(programs: Programs, rows: int) -> Callable[[], bool]:
    return lambda: len(peek(programs.database)) > rows
