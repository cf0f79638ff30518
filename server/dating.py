"""The dates of rows that were written before the meter's clock was set.

A machine's own time since its start (CLOCK_BOOTTIME) is steady, and anchors say what date it was
at some of its moments. Between two anchors the date runs in a straight line from one to the other,
which takes the crystal's error out; before the first and behind the last it runs at the crystal's
own pace. Pure arithmetic in integer milliseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Tie:
    """It was ``utc_ms`` when the machine had run for ``boottime_ms`` since its start."""

    boottime_ms: int
    utc_ms: int


def utc_ms(ties: Sequence[Tie], boottime_ms: int) -> int | None:
    """The date of a moment of the boot that ``ties`` are of, in order of their boottime.

    None without a tie. Rounded down to a millisecond.
    """
    if not ties:
        return None
    after = bisect_right(ties, boottime_ms, key=_boottime_ms)
    if after == 0:
        return ties[0].utc_ms + boottime_ms - ties[0].boottime_ms
    before = ties[after - 1]
    passed_ms = boottime_ms - before.boottime_ms
    if after == len(ties):
        return before.utc_ms + passed_ms
    following = ties[after]
    machine_ms = following.boottime_ms - before.boottime_ms
    return before.utc_ms + passed_ms * (following.utc_ms - before.utc_ms) // machine_ms


def _boottime_ms(tie: Tie) -> int:
    return tie.boottime_ms
