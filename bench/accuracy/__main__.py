"""Measure everything and write docs/accuracy.md with its pictures: ``make accuracy``.

``--full`` simulates whole days (minutes to tens of minutes); ``--quick`` runs everything briefly,
for a look; its figures scatter more than the targets allow and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.accuracy import (
    beside,
    comparison,
    dips,
    energy,
    exact,
    influence,
    load_points,
    plots,
    report,
    tenbits,
)
from bench.accuracy.rows import Table

ROOT = Path(__file__).parents[2]
SEED = 1459


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds of signal for each kind of figure; a mean is as good as it is long."""

    mean_s: float = 120.0
    bus_s: float = 60.0
    small_s: float = 900.0
    condition_s: float = 60.0
    point_s: float = 20.0
    peers_s: float = 60.0
    day_s: float = 7200.0
    no_load_s: float = 1800.0
    event_trials: int = 60


QUICK = Effort(20.0, 12.0, 100.0, 10.0, 2.0, 10.0, 720.0, 120.0, 4)
FULL = Effort(day_s=energy.DAY_S, no_load_s=energy.DAY_S)


@dataclass(slots=True)
class Progress:
    """Says what was measured and how long it took."""

    begun_s: float = field(default_factory=time.monotonic)

    def say(self, what: str) -> None:
        """One line, with the seconds since the beginning."""
        print(f"{time.monotonic() - self.begun_s:7.1f} s  {what}", flush=True)


def measure(effort: Effort, progress: Progress) -> report.Results:
    """Everything, in the order of the report; each part has random numbers of its own."""
    streams = iter(np.random.default_rng(SEED).spawn(16))
    tables: list[Table] = [exact.sines(), exact.annex_b(), exact.shapes()]
    progress.say("exact signals")
    tables.append(tenbits.ten_amperes(effort.mean_s, next(streams)))
    tables.append(tenbits.batches(effort.bus_s, next(streams)))
    tables.append(tenbits.small_current(effort.small_s, next(streams)))
    tables.append(tenbits.frequency_and_voltage(effort.condition_s, next(streams)))
    progress.say("ten bits, batches, small currents, frequency and voltage")
    points = load_points.load_points(effort.point_s, next(streams))
    tables += load_points.tables(points)
    progress.say("load points, ours and the peers'")
    tables.append(influence.table(effort.condition_s, next(streams)))
    tables.append(influence.front_end(effort.condition_s, next(streams)))
    progress.say("influence quantities")
    tables.append(dips.table(effort.event_trials, next(streams)))
    progress.say("dips, swells and interruptions")
    begun_s = time.monotonic()
    tables.append(energy.day_table(effort.day_s, next(streams)))
    day_took_s = time.monotonic() - begun_s
    progress.say("a day of import and export")
    tables.append(energy.no_load(effort.no_load_s, next(streams)))
    progress.say("no load and starting current")
    lines = beside.side_by_side(effort.peers_s, next(streams))
    tables.append(comparison.cpu_table(lines))
    progress.say("the peers")
    return report.Results(tables, points, lines, day_took_s)


def main() -> None:
    """Measure, write the report, and say what was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--full", action="store_true", help="simulate whole days")
    how.add_argument("--quick", action="store_true", help="a brief look; writes nothing")
    asked = parser.parse_args()
    effort = FULL if asked.full else QUICK if asked.quick else Effort()
    results = measure(effort, Progress())
    if not asked.quick:
        plots.draw(results.points, ROOT / "docs" / "images")
        command = "make accuracy" + (" FULL=1" if asked.full else "")
        text = report.markdown(results, seed=SEED, command=command)
        (ROOT / "docs" / "accuracy.md").write_text(text)
    missed = [(t.title, row) for t in results.tables for row in t.rows if not row.met]
    count = sum(len(table.rows) for table in results.tables)
    print(f"{count - len(missed)} of {count} figures at the target")
    for title, row in missed:
        print(f"  missed: {title}: {row.what}: {row.figure}, target {row.target}")
    sys.exit(0)


if __name__ == "__main__":
    main()
