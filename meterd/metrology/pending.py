"""The samples that wait to be measured.

They stand in arrays that are used again and again: putting waveforms together anew for each
window takes longer than measuring it.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meterd.model import Waveform

COLUMNS = 5  # of a circuit: two of instants, then voltage, current and quality
INSTANTS = (0, 1)
REBASED_SAMPLES = 1_000_000
"""With more waiting, a recording, instants are not counted anew for each window."""


class Pending:
    """Waveforms one behind the other, forgotten from the front; ``waveform`` shows all of them.

    What it shows is overwritten by what comes later.
    """

    def __init__(self, first: Waveform) -> None:
        self.start_ns = first.start_ns
        self._noise_max = [one.noise_max for one in (first, *first.others)]
        self._columns: list[NDArray[Any]] = [column[:0].copy() for column in _columns(first)]
        self._begin = self._end = 0
        self.append(first)

    def append(self, later: Waveform) -> None:
        """Put a waveform behind the others."""
        count = len(later.t_s)
        if self._end + count > len(self._columns[0]):
            self._make_room(count)
        offset_s = (later.start_ns - self.start_ns) / 1e9
        new = slice(self._end, self._end + count)
        for place, column in enumerate(_columns(later)):
            if place % COLUMNS in INSTANTS:
                np.add(column, offset_s, out=self._columns[place][new])
            else:
                self._columns[place][new] = column
        self._end += count

    def _make_room(self, count: int) -> None:
        """Move what is left to the front, of larger arrays where they are short."""
        kept = slice(self._begin, self._end)
        needed = self._end - self._begin + count
        larger = 2 * needed if needed > len(self._columns[0]) // 2 else len(self._columns[0])
        for place, column in enumerate(self._columns):
            room = np.empty(larger, column.dtype) if larger > len(column) else column
            room[: kept.stop - kept.start] = column[kept]
            self._columns[place] = room
        self._begin, self._end = 0, needed - count

    def forget(self, before_s: float, start_s: float) -> float:
        """Forget the samples before an instant; count time from about ``start_s`` on.

        Returns:
            What every instant counts less than before.
        """
        kept = slice(self._begin, self._end)
        self._begin += max(0, int(self._columns[0][kept].searchsorted(before_s)) - 4)
        if self._end - self._begin > REBASED_SAMPLES:  # a long recording: seconds are few
            return 0.0
        shift_ns = round(start_s * 1e9)
        kept = slice(self._begin, self._end)
        for place, column in enumerate(self._columns):
            if place % COLUMNS in INSTANTS:
                column[kept] -= shift_ns / 1e9
        self.start_ns += shift_ns
        return shift_ns / 1e9

    def last_s(self) -> float:
        """The last sample's instant; four samples or more are never forgotten."""
        return float(self._columns[0][self._end - 1])

    def waveform(self, start_s: float = 0.0, reach_s: float = inf) -> Waveform:
        """The samples up to ``reach_s`` behind the first one from ``start_s`` on, and two more."""
        kept = slice(self._begin, self._end)
        t_s = self._columns[0][kept]
        if start_s + reach_s < self.last_s():
            until_s = float(t_s[t_s.searchsorted(start_s)]) + reach_s
            kept = slice(
                self._begin, min(self._end, self._begin + int(t_s.searchsorted(until_s)) + 2)
            )
        views = [column[kept] for column in self._columns]
        first, *others = (
            _circuit(self.start_ns, views[COLUMNS * k : COLUMNS * (k + 1)], noise_max)
            for k, noise_max in enumerate(self._noise_max)
        )
        return replace(first, others=tuple(others)) if others else first


def _columns(waveform: Waveform) -> list[NDArray[Any]]:
    columns: list[NDArray[Any]] = []
    for one in (waveform, *waveform.others):
        columns += (one.t_s, one.current_t_s, one.voltage_v, one.current_a, one.quality)
    return columns


def _circuit(
    start_ns: int, columns: list[NDArray[Any]], noise_max: tuple[float, float]
) -> Waveform:
    t_s, current_t_s, voltage_v, current_a, quality = columns
    return Waveform(start_ns, t_s, voltage_v, current_t_s, current_a, quality, noise_max=noise_max)
