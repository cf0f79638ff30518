"""Urms(1/2): the voltage's rms value over one cycle, refreshed each half cycle.

IEC 61000-4-30, clause 3: the cycle begins at a zero crossing of the fundamental. Here the
measuring windows give the crossings: a window begins at a rising one and holds whole cycles, so
its half cycles divide it evenly. A step takes one window and the half cycle before it, so that
no value is lost or doubled where windows meet; only the half cycle's mean square is carried, never
samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meterd.model import HalfCycles, Waveform

HOLE_CYCLES = 1 / 16
"""A longer hole makes its half cycle unknown: a straight line through it would put up to 0.16 %
on the rms value of a sine, and (hole / cycle)³ more for longer ones."""
EDGE_STEPS = 1.5
"""An edge so few sample spacings out of the samples is reached by the line through the last two:
edges are zero crossings, where the square is small."""
STRETCH = 0.005
"""What a half cycle may be longer or shorter by, so that they fill their window together."""
CREDIBLE_STEP = 0.005
"""Change of frequency from window to window that a network can make (1.5 Hz a second)."""
JOINT_NS = 1000
"""Windows are told in seconds as binary fractions; their ends meet within this."""


@dataclass(frozen=True, slots=True)
class LastHalf:
    """The half cycle at the end of a window: half of the next window's first value."""

    begin_ns: int
    end_ns: int
    mean_square_v2: float | None  # None: not wholly sampled
    frequency_hz: float | None  # by which half cycles are cut; None: no mains so far
    heard_hz: float | None  # what the last window with mains said


def half_cycles(
    waveform: Waveform,
    span_s: tuple[float, float],
    frequency_hz: float | None,
    last: LastHalf | None,
    *,
    nominal_hz: float,
    known_v2: NDArray[np.float64] | None = None,
) -> tuple[HalfCycles, LastHalf | None]:
    """All values that end within one window, and what the next window's step needs.

    Args:
        waveform: samples from before the window's start to behind its end; uneven is fine.
        span_s: the window's start and the next one's, counted as ``waveform.t_s``; the start is a
            zero crossing of the fundamental. Time that was missed is a window as well.
        frequency_hz: what the window measured; None without mains, the last one is then kept,
            and where none is known the half cycles are the nominal frequency's.
        known_v2: mean squares of the half cycles, where measuring the window gave them.
        last: what the step for the window before returned; None at the beginning.
    """
    followed_hz = _followed_hz(frequency_hz, last)
    edges_s = _edges(span_s, followed_hz or nominal_hz)
    heard_hz = frequency_hz or (last.heard_hz if last else None)
    if known_v2 is not None and len(known_v2) == len(edges_s) - 1:
        square_v2 = known_v2
    else:
        square_v2 = _mean_squares(waveform, edges_s)
    edges_ns = waveform.start_ns + np.rint(edges_s * 1e9).astype(np.int64)
    begin_ns, end_ns = edges_ns[:-1], edges_ns[1:]
    if last is not None and _joins(last, int(edges_ns[0]), followed_hz or nominal_hz):
        before = np.nan if last.mean_square_v2 is None else last.mean_square_v2
        square_v2 = np.concatenate(([before], square_v2))
        begin_ns = np.concatenate(([last.begin_ns], begin_ns))
        end_ns = np.concatenate(([last.end_ns], end_ns))
    if not len(square_v2):
        return HalfCycles(begin_ns, end_ns, square_v2), last
    # Both halves are equally long but for what windows are stretched by.
    cycle_v2 = 0.5 * (square_v2[:-1] + square_v2[1:])
    known = ~np.isnan(cycle_v2)
    ended = None if np.isnan(square_v2[-1]) else float(square_v2[-1])
    return (
        HalfCycles(begin_ns[:-1][known], end_ns[1:][known], np.sqrt(cycle_v2[known])),
        LastHalf(int(begin_ns[-1]), int(end_ns[-1]), ended, followed_hz, heard_hz),
    )


def _followed_hz(frequency_hz: float | None, last: LastHalf | None) -> float | None:
    """The frequency to cut by: a new one is believed when two windows in a row agree on it.

    A window in which the voltage breaks down, jumps in phase or comes back measures a frequency
    that the network never had; half cycles cut by it would show dips and swells of their own.
    """
    if last is None or last.frequency_hz is None or last.heard_hz is None:
        return frequency_hz
    if frequency_hz is None or abs(frequency_hz / last.heard_hz - 1) > CREDIBLE_STEP:
        return last.frequency_hz
    return frequency_hz


def _edges(span_s: tuple[float, float], frequency_hz: float) -> NDArray[np.float64]:
    """Where half cycles begin and end; they fill a span that holds nearly a whole number of them.

    Another span (before the mains were found, after a jump in phase) ends with less than half a
    cycle that belongs to none: the next window begins at a crossing of its own.
    """
    start_s, end_s = span_s
    halves = 2 * frequency_hz * (end_s - start_s)
    count = round(halves)
    if count and abs(halves - count) <= STRETCH * count:
        return start_s + np.arange(count + 1, dtype=np.float64) * ((end_s - start_s) / count)
    return start_s + np.arange(int(halves) + 1, dtype=np.float64) / (2 * frequency_hz)


def _joins(last: LastHalf, start_ns: int, frequency_hz: float) -> bool:
    """Whether a half cycle goes before the window: less than another one lies between them."""
    return -JOINT_NS <= start_ns - last.end_ns < 0.5e9 / frequency_hz


def _mean_squares(waveform: Waveform, edges_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean square of the voltage between the edges, NaN where it was not wholly sampled.

    The trapezoidal rule over the samples as they lie; at an edge the part of the interval that
    belongs to each side.
    """
    if len(edges_s) < 2:
        return np.empty(0)
    first, behind = waveform.t_s.searchsorted(edges_s[0]), waveform.t_s.searchsorted(edges_s[-1])
    sampled = slice(max(0, int(first) - 1), int(behind) + 1)
    t_s, v = waveform.t_s[sampled], waveform.voltage_v[sampled]
    if len(t_s) < 2:
        return np.full(len(edges_s) - 1, np.nan)
    square_v2 = v * v
    step_s = t_s[1:] - t_s[:-1]
    # The interval that each edge lies in, and what of its doubled area lies before the edge.
    at = np.minimum(np.maximum(t_s.searchsorted(edges_s, side="right") - 1, 0), len(t_s) - 2)
    left_v2, width_s = square_v2[at], step_s[at]
    share = (edges_s - t_s[at]) / width_s
    before = share * width_s * (2 * left_v2 + share * (square_v2[at + 1] - left_v2))
    areas = np.add.reduceat((square_v2[1:] + square_v2[:-1]) * step_s, at)[:-1]
    mean: NDArray[np.float64] = (
        0.5 * (areas + before[1:] - before[:-1]) / (edges_s[1:] - edges_s[:-1])
    )
    hole_s = HOLE_CYCLES * 2 * float(edges_s[1] - edges_s[0])
    reach_s = EDGE_STEPS * float(t_s[-1] - t_s[0]) / len(step_s)
    begin_s, end_s = float(t_s[0]) - reach_s, float(t_s[-1]) + reach_s
    if edges_s[0] < begin_s or edges_s[-1] > end_s:
        mean[(edges_s[:-1] < begin_s) | (edges_s[1:] > end_s)] = np.nan
    if step_s.max() > hole_s:
        mean[_holed(t_s, step_s, edges_s, hole_s)] = np.nan
    return mean


def _holed(
    t_s: NDArray[np.float64],
    step_s: NDArray[np.float64],
    edges_s: NDArray[np.float64],
    hole_s: float,
) -> NDArray[np.bool_]:
    """Which half cycles contain a part of a hole in the samples."""
    holed = np.zeros(len(edges_s) - 1, np.bool_)
    for place in np.flatnonzero(step_s > hole_s):
        holed |= (edges_s[1:] > t_s[place]) & (edges_s[:-1] < t_s[place + 1])
    return holed
