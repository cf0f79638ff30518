"""Quantities of one window from its spectra, and of many windows together.

Definitions of the powers: IEEE Std 1459-2010. Aggregation: IEC 61000-4-30.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterable
from functools import lru_cache, reduce
from math import degrees, log, sqrt
from operator import or_
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meterd.metrology.resample import HARMONICS_MAX, Spectra
from meterd.model import Quality, Quantities

THD_LINES = 40
NOISE_BAND_FROM = 0.02
MEAN_SQUARE = 0.5  # of a sine with amplitude 1
_Line = TypeVar("_Line", np.float64, np.complex128)


def quantify(
    spectrum: Spectra,
    cycles: int,
    frequency_hz: float | None,
    duration_s: float,
    reference: complex | None = None,
) -> Quantities:
    """All quantities of one window from its spectra; ``frequency_hz`` is None without mains.

    ``duration_s`` is the time to the next window. Angles are counted from the fundamental of
    ``reference``, by default this circuit's own voltage.

    The ADC's noise adds to rms values in quadrature (0.7 % at 0.6 A), never to the power: it is
    estimated between the harmonics and taken out of the former.
    """
    lines, band = spectrum.lines, min(spectrum.band, spectrum.lines.shape[1])
    square = MEAN_SQUARE * (lines.real**2 + lines.imag**2)
    noise = _noise_of_a_bin(square, band, cycles)
    total = square[:, 1:band].sum(axis=1) - noise * (band - 1)
    voltage_v, current_a = (sqrt(max(0.0, float(mean_square))) for mean_square in total)
    harmonic = square[:, cycles : HARMONICS_MAX * cycles + 1 : cycles] - noise[:, np.newaxis]
    power_w = MEAN_SQUARE * float(np.vdot(lines[1, 1:band], lines[0, 1:band]).real)
    if reference is None:
        reference = complex(lines[0, cycles])
    harmonics = lines[:, cycles : HARMONICS_MAX * cycles + 1 : cycles]
    phasors = _from_the_crossing(harmonics, reference)
    harmonic_va = phasors[0] * phasors[1].conj()
    fundamental = complex(harmonic_va[0])
    apparent_va = voltage_v * current_a
    # |P| can only pass S by noise that is left in it.
    mains = frequency_hz is not None
    known = mains and apparent_va > 0
    power_factor = max(-1.0, min(1.0, power_w / apparent_va)) if known else None
    return Quantities(
        end_ns=spectrum.end_ns,
        duration_s=duration_s,
        gap_s=spectrum.gap_s,
        cycles=cycles,
        frequency_hz=frequency_hz,
        voltage_v=voltage_v,
        current_a=current_a,
        power_w=power_w,
        apparent_va=apparent_va,
        reactive_var=fundamental.imag,
        nonactive_var=sqrt(max(0.0, apparent_va**2 - power_w**2)),
        power_factor=power_factor,
        phase_deg=degrees(cmath.phase(fundamental)) if known else None,
        thd_voltage_pct=_thd_pct(harmonic[0]) if mains else None,
        thd_current_pct=_thd_pct(harmonic[1]) if mains else None,
        harmonic_voltage_v2=harmonic[0],
        harmonic_current_a2=harmonic[1],
        flags=spectrum.flags if mains else spectrum.flags | Quality.MAINS_LOST,
        harmonic_va=harmonic_va,
        voltage_phasor_v=phasors[0],
        current_phasor_a=phasors[1],
        half_square_v2=None if spectrum.gap_s else spectrum.half_square_v2,
    )


def _from_the_crossing(lines: NDArray[np.complex128], reference: complex) -> NDArray[np.complex128]:
    """Rms phasors with the time counted from the rising zero crossing of the reference."""
    angle = cmath.phase(reference) if reference else 0.0
    # A peak amplitude is √2 of the rms; line h turns h times as far as the first.
    return np.asarray(
        lines * (sqrt(MEAN_SQUARE) * np.exp(-1j * angle * _orders(lines.shape[1]))), np.complex128
    )


@lru_cache(maxsize=16)
def _orders(count: int) -> NDArray[np.float64]:
    return np.arange(1.0, count + 1.0)


def _noise_of_a_bin(square: NDArray[np.float64], band: int, cycles: int) -> NDArray[np.float64]:
    """Mean noise power of one bin of each channel, from the median between the harmonics.

    The median does not see a few strong lines there, such as a burst-fired load's, and the
    squares of noise are distributed exponentially, whose median is ln 2 of the mean.
    """
    between = square[:, _between_harmonics(band, cycles)]
    middle = between.shape[1] // 2
    if not between.shape[1]:
        return np.zeros(len(square))
    median = np.partition(between, middle, axis=1)[:, middle]
    return np.asarray(median / log(2.0), np.float64)


@lru_cache(maxsize=16)
def _between_harmonics(band: int, cycles: int) -> NDArray[np.intp]:
    bins = np.arange(max(cycles + 1, int(NOISE_BAND_FROM * band)), band)
    between: NDArray[np.intp] = bins[bins % cycles != 0]
    return between


def _thd_pct(mean_squares: NDArray[np.float64]) -> float | None:
    """Harmonics 2…40 against the fundamental (IEC 61000-4-7, THD of single lines)."""
    if not len(mean_squares) or mean_squares[0] <= 0:
        return None
    distortion = float(mean_squares[1:THD_LINES].sum())
    return 100 * sqrt(max(0.0, distortion) / float(mean_squares[0]))


def aggregate(windows: list[Quantities]) -> Quantities:
    """Windows as one: rms values as rms, powers as means, angle of the summed phasors.

    Weighted by duration (IEC 61000-4-30 aggregates rms values by their squares). Harmonics, THD
    and angle come from the whole windows of 10 or 12 cycles, as IEC 61000-4-7 defines them; from
    short ones only where there is no other. What no window knows stays unknown.
    """
    assert windows
    duration_s = sum(window.duration_s for window in windows)
    whole = [w for w in windows if not w.flags & Quality.SHORT] or windows

    def mean(values: Iterable[float]) -> float:
        pairs = zip(windows, values, strict=True)
        return sum(window.duration_s * value for window, value in pairs) / duration_s

    power_w = mean(window.power_w for window in windows)
    apparent_va = mean(window.apparent_va for window in windows)
    volt_lines = _mean_lines(whole, [window.harmonic_voltage_v2 for window in whole])
    amp_lines = _mean_lines(whole, [window.harmonic_current_a2 for window in whole])
    harmonic_va = _mean_lines(whole, [window.harmonic_va for window in whole])
    with_mains = any(window.frequency_hz is not None for window in windows)
    return Quantities(
        end_ns=windows[-1].end_ns,
        duration_s=duration_s,
        gap_s=sum(window.gap_s for window in windows),
        cycles=sum(window.cycles for window in windows),
        frequency_hz=_mean_frequency(windows),
        voltage_v=sqrt(mean(window.voltage_v**2 for window in windows)),
        current_a=sqrt(mean(window.current_a**2 for window in windows)),
        power_w=power_w,
        apparent_va=apparent_va,
        reactive_var=mean(window.reactive_var for window in windows),
        nonactive_var=sqrt(max(0.0, apparent_va**2 - power_w**2)),
        power_factor=power_w / apparent_va if with_mains and apparent_va else None,
        phase_deg=_phase_deg(harmonic_va) if any(w.phase_deg is not None for w in whole) else None,
        thd_voltage_pct=_thd_pct(volt_lines) if with_mains else None,
        thd_current_pct=_thd_pct(amp_lines) if with_mains else None,
        harmonic_voltage_v2=volt_lines,
        harmonic_current_a2=amp_lines,
        flags=reduce(or_, (window.flags for window in windows)),
        harmonic_va=harmonic_va,
        voltage_phasor_v=_mean_lines(whole, [window.voltage_phasor_v for window in whole]),
        current_phasor_a=_mean_lines(whole, [window.current_phasor_a for window in whole]),
        others=tuple(
            aggregate(list(same)) for same in zip(*(w.others for w in windows), strict=True)
        ),
    )


def _mean_lines(windows: list[Quantities], lines: list[NDArray[_Line]]) -> NDArray[_Line]:
    """Line by line, weighted by duration; as many lines as all windows have."""
    common = min(len(line) for line in lines)
    weights = np.array([window.duration_s for window in windows])
    mean: NDArray[_Line] = weights @ np.array([line[:common] for line in lines]) / weights.sum()
    return mean


def _mean_frequency(windows: list[Quantities]) -> float | None:
    known = [(w.cycles, w.cycles / w.frequency_hz) for w in windows if w.frequency_hz is not None]
    if not known:
        return None
    return sum(cycles for cycles, _ in known) / sum(seconds for _, seconds in known)


def _phase_deg(harmonic_va: NDArray[np.complex128]) -> float | None:
    """The angle of the mean phasor of fundamental power: 179° and −179° average to 180°."""
    return degrees(cmath.phase(complex(harmonic_va[0]))) if len(harmonic_va) else None
