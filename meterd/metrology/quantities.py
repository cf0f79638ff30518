"""Quantities of one window from its spectra, and of many windows together.

Definitions of the powers: IEEE Std 1459-2010. Aggregation: IEC 61000-4-30.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import degrees, log, sqrt
from operator import or_
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meterd.metrology.resample import HARMONICS_MAX, Spectra
from meterd.model import HalfCycles, Quality, Quantities

THD_LINES = 40
NOISE_BAND_FROM = 0.02
NOISE_DOMINATES = 0.1
"""Share of a channel's mean square, DC included, from which on an estimate is surely noise."""
MEAN_SQUARE = 0.5  # of a sine with amplitude 1
_Line = TypeVar("_Line", np.float64, np.complex128)


@dataclass(frozen=True, slots=True)
class Timing:
    """What is known of windows besides their spectra; n of them."""

    cycles: int
    frequencies_hz: Sequence[float | None]  # None: no mains
    durations_s: Sequence[float]  # to the next window


def quantify(
    spectrum: Spectra,
    timing: Timing,
    reference: NDArray[np.complex128] | None = None,
    half_cycles: Sequence[HalfCycles | None] | None = None,
    others: Sequence[tuple[Quantities, ...]] | None = None,
) -> list[Quantities]:
    """All quantities of the first windows of a spectrum, as many as ``timing`` tells of.

    Angles are counted from the fundamental of ``reference`` (n,), by default this circuit's own
    voltage.
    """
    cycles, count = timing.cycles, len(timing.durations_s)
    lines = spectrum.lines[:count]
    parts = np.square(lines.view(np.float64))
    square = parts[..., ::2] + parts[..., 1::2]
    square *= MEAN_SQUARE
    noise = _credible(_noise_of_a_bin(square, spectrum.band, cycles), spectrum)
    rms = np.sqrt(np.maximum(_mean_squares(spectrum, square, noise), 0.0)).tolist()
    # v and i as pairs of real numbers: their products add up to the real part of v · i*.
    pairs = lines[:, :, 1 : spectrum.band].view(np.float64)
    power_w = (MEAN_SQUARE * np.einsum("nk,nk->n", pairs[:, 0], pairs[:, 1])).tolist()
    harmonic = square[:, :, cycles : HARMONICS_MAX * cycles + 1 : cycles] - noise[:, :, np.newaxis]
    phasors = _from_the_crossing(
        lines[:, :, cycles : HARMONICS_MAX * cycles + 1 : cycles],
        lines[:, 0, cycles] if reference is None else reference,
    )
    harmonic_va = phasors[:, 0] * phasors[:, 1].conj()
    thd_pct = _thds_pct(harmonic)
    return [
        _window(
            spectrum,
            timing,
            k,
            (rms[k][0], rms[k][1], power_w[k]),
            thd_pct[k],
            (harmonic[k], phasors[k], harmonic_va[k]),
            None if half_cycles is None else half_cycles[k],
            () if others is None else others[k],
        )
        for k in range(count)
    ]


def _window(
    spectrum: Spectra,
    timing: Timing,
    k: int,
    values: tuple[float, float, float],
    thd_pct: tuple[float | None, float | None],
    lines: tuple[NDArray[np.float64], NDArray[np.complex128], NDArray[np.complex128]],
    half_cycles: HalfCycles | None,
    others: tuple[Quantities, ...],
) -> Quantities:
    """Window ``k`` from rms values, power, THD and lines; |P| can pass S by noise left in it."""
    (voltage_v, current_a, power_w), (mean_squares, phasors, harmonic_va) = values, lines
    apparent_va = voltage_v * current_a
    mains = timing.frequencies_hz[k] is not None
    known = mains and apparent_va > 0
    return Quantities(
        end_ns=spectrum.end_ns[k],
        duration_s=timing.durations_s[k],
        gap_s=spectrum.gap_s[k],
        cycles=timing.cycles,
        frequency_hz=timing.frequencies_hz[k],
        voltage_v=voltage_v,
        current_a=current_a,
        power_w=power_w,
        apparent_va=apparent_va,
        reactive_var=float(harmonic_va[0].imag),
        nonactive_var=sqrt(max(0.0, apparent_va**2 - power_w**2)),
        power_factor=max(-1.0, min(1.0, power_w / apparent_va)) if known else None,
        phase_deg=degrees(cmath.phase(complex(harmonic_va[0]))) if known else None,
        thd_voltage_pct=thd_pct[0] if mains else None,
        thd_current_pct=thd_pct[1] if mains else None,
        harmonic_voltage_v2=mean_squares[0],
        harmonic_current_a2=mean_squares[1],
        flags=spectrum.flags[k] if mains else spectrum.flags[k] | Quality.MAINS_LOST,
        harmonic_va=harmonic_va,
        voltage_phasor_v=phasors[0],
        current_phasor_a=phasors[1],
        half_cycles=half_cycles,
        others=others,
    )


def _mean_squares(
    spectrum: Spectra, square: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean squares of both channels, (n, 2), without DC and without the noise.

    The ADC's noise adds to rms values in quadrature (0.7 % at 0.6 A), never to the power: it is
    estimated between the harmonics and taken out of the former.

    Of the samples themselves, up to half the sampling rate: the lines of an edge do not end. A
    bin has twice the share of white noise that a mean leaves. A window with something filled in
    is known by its lines alone.
    """
    share = spectrum.noise_share[: len(square), np.newaxis]
    # Bin 0 of a constant is twice as high, so its MEAN_SQUARE is twice the constant's square.
    total = spectrum.mean_square[: len(square)] - 0.5 * square[:, :, 0]
    total -= noise * ((1 - share) / (2 * share))
    for k, gap_s in enumerate(spectrum.gap_s[: len(square)]):
        if gap_s:
            band = spectrum.band
            total[k] = square[k, :, 1:band].sum(axis=1) - noise[k] * (band - 1)
    return total


def _from_the_crossing(
    lines: NDArray[np.complex128], reference: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Rms phasors (n, 2, h), the time counted from the rising zero crossing of the reference."""
    angle = np.arctan2(reference.imag, reference.real)
    # A peak amplitude is √2 of the rms; line h turns h times as far as the first.
    turn = np.exp(np.multiply.outer(-1j * angle, _orders(lines.shape[2])))
    turn *= sqrt(MEAN_SQUARE)
    return np.asarray(lines * turn[:, np.newaxis], np.complex128)


@lru_cache(maxsize=16)
def _orders(count: int) -> NDArray[np.float64]:
    return np.arange(1.0, count + 1.0)


def _noise_of_a_bin(square: NDArray[np.float64], band: int, cycles: int) -> NDArray[np.float64]:
    """Mean noise power of one bin, (n, 2), from the median between the harmonics.

    The median does not see a few strong lines there, such as a burst-fired load's, and the
    squares of noise are distributed exponentially, whose median is ln 2 of the mean.
    """
    first = max(1, -(-int(NOISE_BAND_FROM * band) // cycles))  # harmonic that the first bin is of
    orders = band // cycles - first
    if orders < 1:
        return np.zeros(square.shape[:2])
    bins = square[:, :, first * cycles : (first + orders) * cycles]
    between = bins.reshape(*bins.shape[:2], orders, cycles)[..., 1:].reshape(*bins.shape[:2], -1)
    middle = between.shape[2] // 2
    between.partition(middle, axis=2)
    return np.asarray(between[:, :, middle] / log(2.0), np.float64)


def _credible(noise: NDArray[np.float64], spectrum: Spectra) -> NDArray[np.float64]:
    """The noise of bins, (n, 2), no more of it than the converter can have.

    A phase-fired or square current's lines do not end; what sampling folds back between the
    harmonics looks like noise, but belongs to the rms value. It is small against the current
    that it comes from: an estimate that makes up most of the signal is believed however large
    it is, or a noisy supply would be counted as a current where there is none.
    """
    whole = 2.0 * spectrum.noise_share[: len(noise), np.newaxis]  # a bin's share of white noise
    dominates = noise >= NOISE_DOMINATES * whole * spectrum.mean_square[: len(noise)]
    return np.where(dominates, noise, np.minimum(noise, whole * spectrum.noise_max))


def _thds_pct(mean_squares: NDArray[np.float64]) -> list[tuple[float | None, float | None]]:
    """Of both channels of n windows, (n, 2, h)."""
    first = mean_squares[:, :, 0].tolist()
    rest = mean_squares[:, :, 1:THD_LINES].sum(axis=2).tolist()
    return [
        (_ratio_pct(volts[0], volts[1]), _ratio_pct(amps[0], amps[1]))
        for volts, amps in (
            zip(one, two, strict=True) for one, two in zip(first, rest, strict=True)
        )
    ]


def _thd_pct(mean_squares: NDArray[np.float64]) -> float | None:
    """Harmonics 2…40 against the fundamental (IEC 61000-4-7, THD of single lines)."""
    if not len(mean_squares):
        return None
    return _ratio_pct(float(mean_squares[0]), float(mean_squares[1:THD_LINES].sum()))


def _ratio_pct(fundamental: float, distortion: float) -> float | None:
    return 100 * sqrt(max(0.0, distortion) / fundamental) if fundamental > 0 else None


def aggregate(windows: Sequence[Quantities]) -> Quantities:
    """Windows as one: rms values as rms, powers as means, angle of the summed phasors.

    Weighted by duration (IEC 61000-4-30 aggregates rms values by their squares). Harmonics, THD
    and angle come from the whole windows of 10 or 12 cycles, as IEC 61000-4-7 defines them; from
    short ones only where there is no other. What no window knows stays unknown.
    """
    assert windows
    duration_s = sum(window.duration_s for window in windows)
    whole = [w for w in windows if not w.flags & Quality.SHORT] or windows
    power_w = _mean(windows, lambda window: window.power_w)
    apparent_va = _mean(windows, lambda window: window.apparent_va)
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
        voltage_v=sqrt(_mean(windows, lambda window: window.voltage_v**2)),
        current_a=sqrt(_mean(windows, lambda window: window.current_a**2)),
        power_w=power_w,
        apparent_va=apparent_va,
        reactive_var=_mean(windows, lambda window: window.reactive_var),
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
        others=tuple(map(aggregate, zip(*(w.others for w in windows), strict=True))),
    )


def _mean(windows: Sequence[Quantities], of: Callable[[Quantities], float]) -> float:
    """Weighted by duration."""
    duration_s = sum(window.duration_s for window in windows)
    return sum(window.duration_s * of(window) for window in windows) / duration_s


def _mean_lines(windows: Sequence[Quantities], lines: list[NDArray[_Line]]) -> NDArray[_Line]:
    """Line by line, weighted by duration; as many lines as all windows have."""
    common = min(len(line) for line in lines)
    weights = np.array([window.duration_s for window in windows])
    mean: NDArray[_Line] = weights @ np.array([line[:common] for line in lines]) / weights.sum()
    return mean


def _mean_frequency(windows: Sequence[Quantities]) -> float | None:
    known = [(w.cycles, w.cycles / w.frequency_hz) for w in windows if w.frequency_hz is not None]
    if not known:
        return None
    return sum(cycles for cycles, _ in known) / sum(seconds for _, seconds in known)


def _phase_deg(harmonic_va: NDArray[np.complex128]) -> float | None:
    """The angle of the mean phasor of fundamental power: 179° and −179° average to 180°."""
    return degrees(cmath.phase(complex(harmonic_va[0]))) if len(harmonic_va) else None
