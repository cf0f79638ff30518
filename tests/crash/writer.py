"""Writes into a record as fast as it can, through the meter's own recorder, and says what is kept.

    python -m tests.crash.writer FOLDER [--rows N] [--synchronous NORMAL]
    python -m tests.crash.writer --many

Each line ``row <number> <imported joules>`` acknowledges all rows up to that number. With --many
it reads a command line of that shape for each writer to start, one after the other, and forks it:
``pid <number>`` comes first, and ``ended <status>`` when it is gone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from meterd import store
from meterd.errors import StoreError
from meterd.interval import Interval
from meterd.model import NO_DEMAND, Quality, Registers, Stamp
from meterd.record.signing import SigningKey, new_key
from meterd.recorder import Ended, Recorder
from tests.crash.ending import end_with_parent
from tests.crash.record import SERIAL

JOULES_A_ROW = 28_807  # 480.12 W for a minute
BEGIN_UTC_S = 1_763_846_400
EVENT_EVERY, SAVE_EVERY, TIDY_EVERY = 7, 5, 40
REFUSED = 3


def write(folder: Path, rows: int | None, synchronous: str | None, key: SigningKey) -> None:
    """Readings, now and then an event, a save, a move of the log: as in a meter's life."""
    kept = store.open_store(folder / "readings.db", meter=SERIAL, now_utc_s=BEGIN_UTC_S)
    if synchronous is not None:
        kept.writer.connection.execute(f"PRAGMA synchronous = {synchronous}")
    import_j = store.load_registers(kept).import_j
    recorder = Recorder(kept, key, stamp)
    recorder.tell("boot", {"import_j": import_j})
    for turn in count(1) if rows is None else range(1, rows + 1):
        import_j += JOULES_A_ROW
        registers = Registers(import_j, 0)
        seen = Interval(BEGIN_UTC_S + 60 * turn, flags=Quality.GAP)
        recorder.reading(Ended(seen, registers, NO_DEMAND, stamp(), 60))
        if turn % EVENT_EVERY == 0:
            recorder.tell("fault", {"part": "display", "turn": turn})
        if turn % SAVE_EVERY == 0:
            recorder.save(registers, NO_DEMAND)
        if recorder.waiting == 0:
            say(f"row {store.next_seq(kept) - 1} {import_j}")
        if turn % TIDY_EVERY == 0:
            recorder.tidy()
    store.close(kept)


def stamp() -> Stamp:
    """Now, as it passes in this writer."""
    boottime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return Stamp(1, int(1000 * boottime_s), BEGIN_UTC_S + boottime_s, "informative")


def say(line: str) -> None:
    """One write, so that a line is there whole or not at all."""
    os.write(1, line.encode() + b"\n")


def main(arguments: Sequence[str], key: SigningKey) -> int:
    """Status 0: all was written; 3: the disk refused, which was said."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--synchronous")
    asked = parser.parse_args(arguments)
    try:
        write(asked.folder, asked.rows, asked.synchronous, key)
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    return 0


def many(key: SigningKey) -> None:
    """Start writers one after the other, without importing everything for each."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            end_with_parent()
            say(f"pid {os.getpid()}")
            os._exit(main(line.split(), key))
        _, status = os.waitpid(child, 0)
        say(f"ended {status}")


if __name__ == "__main__":
    end_with_parent()
    # One key for all: keys are not what is tested here, and making one takes a while.
    if sys.argv[1:] == ["--many"]:
        many(new_key())
    else:
        sys.exit(main(sys.argv[1:], new_key()))
