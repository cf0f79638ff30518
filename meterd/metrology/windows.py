"""Measuring windows one after another, several at a time.

The frequency changes slowly, so where the next windows begin is known before they are measured:
they are transformed together, which costs a third of one by one. As soon as one turns out to be
cut wrongly (the frequency stepped, the voltage broke down) it begins a new turn of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from meterd.metrology.locking import RETUNE, RETUNE_MAX, Lock, refined_hz
from meterd.metrology.mean_squares import Samples
from meterd.metrology.quantities import MEAN_SQUARE, Timing, quantify
from meterd.metrology.resample import Spectra, spectra
from meterd.model import HalfCycles, Quantities, Waveform


@dataclass(frozen=True, slots=True)
class Measured:
    """Windows of which the quantities are not worked out yet."""

    edges_s: NDArray[np.float64]  # (n + 1,) where each begins, and the one after them
    timing: Timing
    spectrum: Spectra
    others: tuple[tuple[Spectra, Timing], ...]  # of further circuits


def measure(
    waveform: Waveform,
    lock: Lock,
    cycles: int,
    count: int,
    *,
    mains_min_v: float,
    where: Samples | None = None,
) -> tuple[Measured, Lock]:
    """Measure up to ``count`` windows and say where the next begins.

    ``where`` is how the waveform's samples stand, if that is known already.

    A window's duration reaches to the next, so that all of them are the time that passed.

    Raises:
        BadWindowError: the samples do not cover the first window.
    """
    for _ in range(RETUNE_MAX):
        edges_s, cut_hz = _cut(lock, cycles, count)
        spectrum = spectra(waveform, edges_s, cycles, where)
        alive = _alive(spectrum, cycles, mains_min_v)
        if not alive[0]:
            return _dead(waveform, lock, edges_s[:2], spectrum, cycles, mains_min_v)
        hertz = refined_hz(spectrum, cut_hz[: len(spectrum)])
        wrong = ~alive | (np.abs(hertz / cut_hz[: len(spectrum)] - 1) >= RETUNE)
        good = int(np.argmax(wrong)) if wrong.any() else len(spectrum)
        if good:
            break
        lock, count = replace(lock, frequency_hz=float(hertz[0]), drift=0.0), 1
    good = max(1, good)
    others = [spectra(other, edges_s[: good + 1], cycles) for other in waveform.others]
    good = min(good, *map(len, others)) if others else good
    following = _following(spectrum, edges_s, hertz[:good], cycles)
    edges_s = np.append(edges_s[:good], following.start_s)
    timing = Timing(cycles, hertz[:good].tolist(), np.diff(edges_s).tolist())
    found = tuple(_beside(one, timing, cut_hz[:good], mains_min_v) for one in others)
    return Measured(edges_s, timing, spectrum, found), following


def quantities(measured: Measured, halves: list[HalfCycles]) -> list[Quantities]:
    """What the windows say, with the values of Urms(1/2) that end in each."""
    timing, count = measured.timing, len(halves)
    reference = measured.spectrum.lines[:count, 0, timing.cycles]
    beside = [quantify(spectrum, own, reference) for spectrum, own in measured.others]
    others = list(zip(*beside, strict=True)) if beside else None
    return quantify(measured.spectrum, timing, None, halves, others)


def _cut(lock: Lock, cycles: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where windows begin and end, (count + 1,), if the frequency goes on as it did; (count,)."""
    hertz = lock.frequency_hz * (1.0 + lock.drift * np.arange(1.0, count + 1.0))
    edges_s = np.empty(count + 1)
    edges_s[0] = 0.0
    np.cumsum(cycles / hertz, out=edges_s[1:])
    edges_s += lock.start_s
    return edges_s, hertz


def _alive(spectrum: Spectra, cycles: int, mains_min_v: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(spectrum.lines[:, 0, cycles]) >= mains_min_v / sqrt(MEAN_SQUARE))


def _dead(
    waveform: Waveform,
    lock: Lock,
    edges_s: NDArray[np.float64],
    spectrum: Spectra,
    cycles: int,
    mains_min_v: float,
) -> tuple[Measured, Lock]:
    """A window without mains voltage: it is as long as was assumed."""
    timing = Timing(cycles, [None], np.diff(edges_s).tolist())
    others = [spectra(other, edges_s, cycles) for other in waveform.others]
    cut_hz = np.array([lock.frequency_hz])
    found = tuple(_beside(one, timing, cut_hz, mains_min_v) for one in others)
    following = Lock(float(edges_s[1]), lock.frequency_hz, mains=False)
    return Measured(edges_s, timing, spectrum, found), following


def _following(
    spectrum: Spectra, edges_s: NDArray[np.float64], hertz: NDArray[np.float64], cycles: int
) -> Lock:
    """The next window begins at the crossing that the last one's phase and frequency tell.

    The voltage's phase at its start, 0 at a rising zero crossing, is what it was off by.
    """
    last, frequency_hz = len(hertz) - 1, float(hertz[-1])
    line = 1j * complex(spectrum.lines[last, 0, cycles])
    phase = float(np.arctan2(line.imag, line.real))
    start_s = float(edges_s[last]) + (cycles - phase / (2 * pi)) / frequency_hz
    drift = float(hertz[-1] / hertz[0] - 1) / last if last else 0.0
    return Lock(start_s, frequency_hz, mains=True, drift=drift)


def _beside(
    spectrum: Spectra, timing: Timing, cut_hz: NDArray[np.float64], mains_min_v: float
) -> tuple[Spectra, Timing]:
    """Another circuit over the very same cycles, with its own frequency."""
    alive = _alive(spectrum, timing.cycles, mains_min_v)
    hertz = refined_hz(spectrum, cut_hz[: len(spectrum)]).tolist()
    own = [hz if lives else None for hz, lives in zip(hertz, alive.tolist(), strict=True)]
    return spectrum, replace(timing, frequencies_hz=own[: len(timing.durations_s)])
