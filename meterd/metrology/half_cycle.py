"""Urms(1/2): the voltage's rms value over one cycle, refreshed each half cycle.

IEC 61000-4-30, clause 3: the cycle begins at a zero crossing of the fundamental. Here the
measuring windows give the crossings: a window begins at a rising one and holds whole cycles, so
its half cycles divide it evenly. Each value is the rms of exactly one cycle of samples. Where the
voltage jumps in phase or comes back, the next window begins elsewhere than the last half cycle
ended: the first values there reach back over the joint, so that no moment is left unwatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from meterd.metrology.mean_squares import Samples, instants, means, samples
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
    """Where the last window's half cycles ended, and the frequency that is followed."""

    end_ns: int
    frequency_hz: float | None  # by which half cycles are cut; None: no mains so far
    heard_hz: float | None  # what the last window with mains said


@dataclass(frozen=True, slots=True)
class _Cut:
    """One window's half cycles, and two before it."""

    edges_s: NDArray[np.float64]  # (m,) the window begins at the third
    left_out: int
    """How many of the first values were told with the window before, or begin before time that
    was missed."""


def half_cycles(
    waveform: Waveform,
    edges_s: Sequence[float] | NDArray[np.float64],
    frequencies_hz: Sequence[float | None],
    last: LastHalf | None,
    *,
    nominal_hz: float,
    where: Samples | None = None,
) -> tuple[list[HalfCycles], LastHalf | None]:
    """All values that end within each of n windows, and what the next window's step needs.

    Args:
        waveform: samples from a cycle before the first window to behind the last; uneven is fine.
        edges_s: (n + 1,) where each window begins and the last ends, counted as ``waveform.t_s``;
            zero crossings of the fundamental. Time that was missed is a window as well.
        frequencies_hz: (n,) what each window measured; None without mains, the last one is then
            kept, and where none is known the half cycles are the nominal frequency's.
        last: what the step for the windows before returned; None at the beginning.
        where: how the waveform's samples stand, if that is known already.
    """
    cuts: list[_Cut] = []
    for place, frequency_hz in enumerate(frequencies_hz):
        followed_hz = _followed_hz(frequency_hz, last)
        span_s = float(edges_s[place]), float(edges_s[place + 1])
        cut_s = _edges(span_s, followed_hz or nominal_hz)
        begin_ns = waveform.start_ns + round(span_s[0] * 1e9)
        cuts.append(_Cut(cut_s, _left_out(last, begin_ns, followed_hz or nominal_hz)))
        end_ns = waveform.start_ns + round(float(cut_s[-1]) * 1e9)
        heard_hz = frequency_hz or (last.heard_hz if last else None)
        last = LastHalf(end_ns, followed_hz, heard_hz)
    return _values(waveform, cuts, where), last


def _values(waveform: Waveform, cuts: list[_Cut], where: Samples | None) -> list[HalfCycles]:
    """Urms(1/2) of each window; both halves of a cycle are equally long."""
    edges_s = np.concatenate([cut.edges_s for cut in cuts])
    half_v2 = _mean_squares(waveform, edges_s, where)
    cycle_v2 = 0.5 * (half_v2[:-1] + half_v2[1:])
    urms_v = np.sqrt(np.maximum(cycle_v2, 0.0))
    edges_ns = waveform.start_ns + np.rint(edges_s * 1e9).astype(np.int64)
    whole = not isnan(float(urms_v.sum()))
    found, place = [], 0
    for cut in cuts:
        begin, end = place + cut.left_out, place + len(cut.edges_s) - 2
        place = end + 2
        part = HalfCycles(edges_ns[begin:end], edges_ns[begin + 2 : end + 2], urms_v[begin:end])
        if not whole:
            known = ~np.isnan(part.urms_v)
            part = HalfCycles(part.begin_ns[known], part.end_ns[known], part.urms_v[known])
        found.append(part)
    return found


def _left_out(last: LastHalf | None, begin_ns: int, frequency_hz: float) -> int:
    """The values that end at the window's begin and half a cycle later reach back before it."""
    if last is None or begin_ns - last.end_ns >= 0.5e9 / frequency_hz:
        return 2
    return 1 if begin_ns - last.end_ns <= JOINT_NS else 0


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
    """Where half cycles begin and end, two of them before the span.

    They fill a span that holds nearly a whole number of them. Another one (before the mains were
    found, after a jump in phase) ends with less than half a cycle that belongs to none: the next
    window begins at a crossing of its own.
    """
    start_s, end_s = span_s
    halves = 2 * frequency_hz * (end_s - start_s)
    count, half_s = round(halves), 0.5 / frequency_hz
    if count and abs(halves - count) <= STRETCH * count:
        half_s = (end_s - start_s) / count
    else:
        count = int(halves)
    return start_s + half_s * np.arange(-2.0, count + 1.0)


def _mean_squares(
    waveform: Waveform, edges_s: NDArray[np.float64], where: Samples | None
) -> NDArray[np.float64]:
    """Mean square of the voltage between the edges, NaN where it was not wholly sampled."""
    ends_s = float(edges_s.min()), float(edges_s.max())
    first, behind = waveform.t_s.searchsorted(ends_s).tolist()
    sampled = slice(max(0, first - 1), min(behind + 1, len(waveform.t_s)))
    t_s, v = waveform.t_s[sampled], waveform.voltage_v[sampled]
    if len(t_s) < 2:
        return np.full(len(edges_s) - 1, np.nan)
    where = samples(t_s) if where is None else where.part(sampled)
    mean = means(where, v * v, instants(where, edges_s))
    reach_s = EDGE_STEPS * where.mean_step_s
    begin_s, end_s = float(t_s[0]) - reach_s, float(t_s[-1]) + reach_s
    if ends_s[0] < begin_s or ends_s[1] > end_s:
        mean[(edges_s[:-1] < begin_s) | (edges_s[1:] > end_s)] = np.nan
    hole_s = HOLE_CYCLES * 2 * float(edges_s[1] - edges_s[0])
    if not where.even and where.step_s.max() > hole_s:
        mean[_holed(where, edges_s, hole_s)] = np.nan
    return mean


def _holed(where: Samples, edges_s: NDArray[np.float64], hole_s: float) -> NDArray[np.bool_]:
    """Which half cycles contain a part of a hole in the samples."""
    holed = np.zeros(len(edges_s) - 1, np.bool_)
    for place in np.flatnonzero(where.step_s > hole_s):
        holed |= (edges_s[1:] > where.t_s[place]) & (edges_s[:-1] < where.t_s[place + 1])
    return holed
