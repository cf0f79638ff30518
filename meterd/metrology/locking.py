"""Where measuring windows begin, and the frequency that they follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from meterd.metrology.resample import Spectra, spectra
from meterd.model import Waveform

SEARCH_HZ = (40.0, 70.0)
SEARCH_S = 0.35
RETUNE = 1e-4
"""A window whose frequency was off by more than this is measured again at the right one."""
RETUNE_MAX = 4
EDGE_SAMPLES = 1.5
CYCLES_MIN = 2


@dataclass(frozen=True, slots=True)
class Lock:
    """Where the next window begins and how long its cycles are."""

    start_s: float  # from the waveform's start
    frequency_hz: float
    mains: bool  # False: no voltage to follow, windows run at the nominal frequency
    drift: float = 0.0
    """The share of itself by which the frequency was growing from window to window."""


def refined_hz(spectrum: Spectra, frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each window's frequency, ``frequency_hz`` (n,) being the one that its cycles were cut by.

    From the slope of the fundamental's phase over the cycles that were wholly sampled; one that
    was filled in from the others would only repeat the frequency assumed so far.
    """
    phasor = spectrum.cycle_phasor
    turned = phasor[:, 1:] * phasor[:, :-1].conj()
    turn = np.arctan2(turned.imag, turned.real) @ _slope_weights(phasor.shape[1])
    for place, gap_s in enumerate(spectrum.gap_s):
        if gap_s:
            turn[place] = _turn_of(phasor[place], spectrum.cycle_sampled[place])
    return np.asarray(frequency_hz * (1 + turn / (2 * pi)), np.float64)


def _turn_of(phasor: NDArray[np.complex128], complete: NDArray[np.bool_]) -> float:
    """Radians that the phase turns a cycle, from the cycles that are complete."""
    sampled = np.flatnonzero(complete)
    if len(sampled) < CYCLES_MIN:
        return 0.0
    phase = np.unwrap(np.angle(phasor[sampled]))
    place = sampled - sampled.mean()
    return float(place @ phase / (place @ place))


@lru_cache(maxsize=16)
def _slope_weights(count: int) -> NDArray[np.float64]:
    """The least-squares slope of ``count`` values from their steps, (count − 1,)."""
    place = np.arange(1.0, count)
    weight = place * (count - place)
    return np.asarray(weight / weight.sum(), np.float64)


def find_lock(waveform: Waveform, nominal_hz: float, *, mains_min_v: float) -> Lock:
    """The first rising zero crossing of the voltage's fundamental, and its frequency.

    Looks between 40 and 70 Hz at up to ``SEARCH_S`` of the waveform. Without mains voltage the
    windows begin at once and run at the nominal frequency.
    """
    begin_s = float(waveform.t_s[0])
    frequency_hz = _coarse_frequency(waveform, mains_min_v)
    if frequency_hz is None:
        return Lock(begin_s, nominal_hz, mains=False)
    span_s = min(SEARCH_S, float(waveform.t_s[-1]) - begin_s)
    for _ in range(RETUNE_MAX):
        cycles = max(2, int(span_s * frequency_hz))
        edges_s = np.array([begin_s, begin_s + cycles / frequency_hz])
        spectrum = spectra(waveform, edges_s, cycles)
        found_hz = float(refined_hz(spectrum, np.array([frequency_hz]))[0])
        if not SEARCH_HZ[0] < found_hz < SEARCH_HZ[1]:
            return Lock(begin_s, nominal_hz, mains=False)
        settled = abs(found_hz / frequency_hz - 1) < RETUNE
        frequency_hz = found_hz
        if settled:
            break
    phase = float(np.angle(1j * spectrum.lines[0, 0, cycles]))
    # A crossing just before the first sample is as good: the window's edge is filled in.
    edge = EDGE_SAMPLES * frequency_hz / spectrum.sampling_hz
    wait = (-phase / (2 * pi) + edge) % 1.0 - edge
    return Lock(begin_s + wait / frequency_hz, frequency_hz, mains=True)


def _coarse_frequency(waveform: Waveform, mains_min_v: float) -> float | None:
    """The strongest line between 40 and 70 Hz, or None when it is no mains voltage."""
    span_s = min(SEARCH_S, float(waveform.t_s[-1] - waveform.t_s[0]))
    count = min(1024, int(np.searchsorted(waveform.t_s, waveform.t_s[0] + span_s)))
    if count < 16:
        return None
    at_s = waveform.t_s[0] + np.arange(count) * (span_s / count)
    v = np.interp(at_s, waveform.t_s, waveform.voltage_v)
    padded = 4 * count
    window = np.hanning(count)
    lines = np.abs(np.fft.rfft((v - v.mean()) * window, padded)) * 2 / window.sum()
    low, high = (int(np.ceil(hz * padded * span_s / count)) for hz in SEARCH_HZ)
    strongest = low + int(np.argmax(lines[low : high + 1]))
    if lines[strongest] * sqrt(0.5) < mains_min_v:
        return None
    return float(strongest * count / (padded * span_s))
