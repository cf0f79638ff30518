"""SIGKILL at any instant: nothing committed is lost, nothing arrives twice.

Most kills hit a writer that commits a thousand rows a second, so that nearly all of them fall into
a transaction; some hit meterd and meterd-sync themselves.
"""

from __future__ import annotations

import random
import signal
import time
from functools import partial

from meterd.model import Registers

from . import counts
from .programs import Programs
from .record import Kept, kept_by, written
from .writers import Writers

KILLS = counts.count("KILLS", quick=30, torture=950)
METER_KILLS = counts.count("METER_KILLS", quick=2, torture=50)
LIVES = 25
"""A new record is begun after so many kills, so that its first moments are hit as well."""
LIFE_S = 0.1
NOTHING = Kept("", [], Registers(), [])


def test_no_row_is_lost_when_a_writer_is_killed_and_all_arrive_once(
    programs: Programs, writers: Writers
) -> None:
    chance = random.Random(counts.seed())
    programs.configure()
    kept, number = NOTHING, 0
    for kill in range(KILLS):
        if kill % LIVES == 0:
            number += 1
            programs.configure(programs.folder / f"state{number}")
            kept = NOTHING
        writers.start(programs.state)
        if chance.random() < 0.9:
            writers.first_acknowledged()
        time.sleep(chance.random() * LIFE_S)
        writers.kill()
        promised = writers.acknowledged
        if promised.seq == 0 and not kept.rows and not written(programs.database):
            continue
        kept = survived(programs, kept, promised.seq, promised.import_j)
    arrive_once(programs)


def survived(programs: Programs, before: Kept, seq: int, import_j: int) -> Kept:
    """The record after a kill: all that was there, all that was promised, nothing changed."""
    kept = kept_by(programs.database)
    assert kept.last >= seq
    assert kept.registers.import_j >= max(import_j, before.registers.import_j)
    assert kept.rows[: len(before.rows)] == before.rows
    return kept


def arrive_once(programs: Programs) -> None:
    """Send the record to a server: it then holds the same rows, none of them twice."""
    kept = kept_by(programs.database)
    programs.server()
    syncing = programs.sync()
    programs.wait_until("all rows", lambda: len(programs.held(kept.stream)) >= len(kept.rows))
    # Ended while it still started, where the server had all rows already: that is a signal.
    assert programs.end(syncing) in (0, -signal.SIGTERM)
    assert programs.held(kept.stream) == kept.rows


def more_than(programs: Programs, rows: int) -> bool:
    return len(programs.rows()) > rows


def test_meter_and_sync_killed_at_random_points_lose_and_repeat_nothing(
    programs: Programs,
) -> None:
    chance = random.Random(counts.seed())
    programs.configure()
    programs.server()
    seen: list[tuple[int, bytes]] = []
    for _ in range(METER_KILLS):
        meter, syncing = programs.meter(), programs.sync()
        known = len(seen) + 2
        programs.wait_until("rows", partial(more_than, programs, known))
        time.sleep(chance.random() * 1.5)
        seen = programs.rows()
        for process in chance.sample([meter, syncing], 2):
            programs.kill(process)
        kept = kept_by(programs.database)
        assert kept.rows[: len(seen)] == seen
        seen = kept.rows
    syncing = programs.sync()
    programs.wait_until("all rows", lambda: len(programs.held(kept.stream)) >= len(kept.rows))
    # Ended while it still started, where the server had all rows already: that is a signal.
    assert programs.end(syncing) in (0, -signal.SIGTERM)
    assert programs.held(kept.stream) == kept.rows
