"""Samples at uneven instants to evenly spaced points over whole cycles, and their spectra.

Both channels are interpolated as one complex signal, and the current's skew is undone by turning
its spectrum, which is exact at every harmonic. (Moving samples by linear interpolation would
attenuate by cos(pi f T).)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meterd.errors import BadWindowError
from meterd.metrology.interpolation import cubic, cubic_response, linear, linear_response
from meterd.metrology.mean_squares import Samples, instants, means, noise_share, samples
from meterd.model import Quality, Waveform

HARMONICS_MAX = 63
FINE_SAMPLES = 150
"""From this many samples a cycle on linear interpolation is good enough (9 kHz at 60 Hz)."""
WIDE, WIDE_SHARE = 1.2, 0.01
EVEN = 1.01
"""Samples of which none stands this much farther from the next than usual are even."""
GAP_SPACINGS = 4.0
"""A hole of this many sample spacings is filled from the other cycles of the window."""
MISSING_MAX = 0.25
"""With more of the window missing there is nothing honest to say."""
FILL_ROUNDS = 50
FILL_SETTLED = 1e-7
FILL_CYCLES_MIN = 4
OVERSAMPLING = 1.02
"""Grid points per sample; not 1, or every point would stand at the same place between samples."""
SAMPLES_MIN = 8
BAND = 0.45
"""Lines up to this share of the sampling rate are reported."""
POWER_BAND = 0.25
"""Share of the sampling rate that powers take in and noise is estimated in: beyond it
interpolation has coloured the noise too much."""


@dataclass(frozen=True, slots=True)
class Spectra:
    """Complex amplitudes (peak, not rms) of bins 0…K of n windows; bin k lies at k / duration."""

    lines: NDArray[np.complex128]  # (n, 2, k) voltage and current, the latter de-skewed
    band: int
    """Bins 1…band − 1 make up powers and are where noise is looked for."""
    mean_square: NDArray[np.float64]  # (n, 2) of the samples themselves, DC included
    noise_share: NDArray[np.float64]  # (n,) what of white noise's mean square a mean leaves
    noise_max: tuple[float, float]  # of the waveform
    cycle_phasor: NDArray[np.complex128]  # (n, cycles) of the voltage in each cycle by itself
    cycle_sampled: NDArray[np.bool_]  # (n, cycles) False where something had to be filled in
    end_ns: list[int]
    gap_s: list[float]
    """How much of each window was not sampled and was filled from its other cycles."""
    sampling_hz: float
    flags: list[Quality]

    def __len__(self) -> int:
        return len(self.end_ns)


@dataclass(frozen=True, slots=True)
class _Points:
    """The samples of n windows on evenly spaced points, on as many in each."""

    z: NDArray[np.complex128]  # (n, count) v + j·i
    fine: bool
    holes: list[NDArray[np.bool_] | None]
    gap_s: list[float]
    spacing_s: float


def spectra(
    waveform: Waveform, edges_s: NDArray[np.float64], cycles: int, where: Samples | None = None
) -> Spectra:
    """Transform the windows between ``edges_s`` (n + 1,), each of ``cycles`` whole cycles.

    Fewer of them where a later one cannot be measured, or not on as many points as the first.
    ``where`` is how the waveform's samples stand, if that is known already.

    Raises:
        BadWindowError: the samples do not cover the first window, or leave too much of it out.
    """
    marks = waveform.t_s.searchsorted(edges_s).tolist()
    whole = slice(max(0, marks[0] - 2), min(marks[-1] + 2, len(waveform.t_s)))
    if whole.stop - whole.start < SAMPLES_MIN:
        raise BadWindowError(f"{whole.stop - whole.start} samples in a window")
    where = samples(waveform.t_s[whole]) if where is None else where.part(whole)
    parts = [slice(max(0, a - 2), b + 2) for a, b in pairwise(marks)]
    signal = _as_complex(waveform, whole)
    points = _together(where, signal, edges_s, cycles, parts)
    if points is None:
        points = _one_by_one(waveform, edges_s, cycles, parts)
    found, count = points.z.shape
    edges_s, parts = edges_s[: found + 1], parts[:found]
    skew_s = float((waveform.current_t_s[parts[0]] - waveform.t_s[parts[0]]).mean())
    duration_s = float(edges_s[-1] - edges_s[0]) / found
    mean_square, share = _mean_square(where, whole.start, signal, edges_s, parts)
    band = int(POWER_BAND * duration_s / points.spacing_s)
    reach = min(int(BAND * duration_s / points.spacing_s), max(band, HARMONICS_MAX * cycles))
    reach = min(reach, (count - 1) // 2)
    shares = points.spacing_s / duration_s, skew_s / duration_s
    return Spectra(
        lines=_lines(points.z, reach + 1, points.fine, *shares),
        band=min(band, reach + 1),
        mean_square=mean_square,
        noise_share=share,
        noise_max=waveform.noise_max,
        cycle_phasor=_cycle_phasor(points.z, cycles),
        cycle_sampled=_cycle_sampled(points.holes, cycles),
        end_ns=(waveform.start_ns + np.rint(edges_s[1:] * 1e9).astype(np.int64)).tolist(),
        gap_s=points.gap_s,
        sampling_hz=1 / points.spacing_s,
        flags=_flags(waveform.quality, parts, points.gap_s),
    )


def _together(
    where: Samples,
    signal: NDArray[np.complex128],
    edges_s: NDArray[np.float64],
    cycles: int,
    parts: list[slice],
) -> _Points | None:
    """The windows in one go; None where a hole is in the samples, or they do not reach."""
    spacing_s, widest_s, mostly_even = _spacing(where)
    durations_s = edges_s[1:] - edges_s[:-1]
    counts = [grid_length(duration / spacing_s, cycles) for duration in durations_s.tolist()]
    count, found = counts[0], len(counts)
    while counts[found - 1] != count:
        found -= 1
    grid_s = np.multiply.outer(durations_s[:found] / count, _whole_numbers(count))
    grid_s += edges_s[:found, np.newaxis]
    hole = widest_s > GAP_SPACINGS * spacing_s or parts[0].stop - parts[0].start < SAMPLES_MIN
    if hole or where.t_s[0] > grid_s[0, 0] or where.t_s[-1] < grid_s[-1, -1]:
        return None
    fine = mostly_even and float(durations_s[0]) >= FINE_SAMPLES * cycles * spacing_s
    z = (linear if fine else cubic)(where.t_s, signal, grid_s.reshape(-1))
    return _Points(z.reshape(found, count), fine, [None] * found, [0.0] * found, spacing_s)


def _one_by_one(
    waveform: Waveform, edges_s: NDArray[np.float64], cycles: int, parts: list[slice]
) -> _Points:
    """The first window, and as many of those behind it as are like it; ``parts`` their samples."""
    found: list[_Points] = []
    for span_s, part in zip(pairwise(edges_s.tolist()), parts, strict=True):
        try:
            one = _points(waveform, span_s, part, cycles)
        except BadWindowError:
            if not found:
                raise
            break
        if found and (one.z.shape != found[0].z.shape or one.fine != found[0].fine):
            break
        found.append(one)
    return _Points(
        np.concatenate([one.z for one in found]),
        found[0].fine,
        [one.holes[0] for one in found],
        [one.gap_s[0] for one in found],
        found[0].spacing_s,
    )


def _points(
    waveform: Waveform, span_s: tuple[float, float], sampled: slice, cycles: int
) -> _Points:
    """One window on evenly spaced points, its holes filled from its other cycles."""
    start_s, duration_s = span_s[0], span_s[1] - span_s[0]
    t_s = waveform.t_s[sampled]
    _assert_covered(t_s, start_s, duration_s)
    spacing_s, widest_s, mostly_even = _spacing(samples(t_s))
    count = grid_length(duration_s / spacing_s, cycles)
    grid_s = _whole_numbers(count) * (duration_s / count)
    grid_s += start_s
    fine = mostly_even and duration_s >= FINE_SAMPLES * cycles * spacing_s
    z = (linear if fine else cubic)(t_s, _as_complex(waveform, sampled), grid_s)
    holes, gap_s = None, 0.0
    if widest_s > GAP_SPACINGS * spacing_s or t_s[0] > grid_s[0] or t_s[-1] < grid_s[-1]:
        holes, gap_s = _holes(t_s, grid_s, GAP_SPACINGS * spacing_s)
        if gap_s > (MISSING_MAX if cycles >= FILL_CYCLES_MIN else 0.0) * duration_s:
            raise BadWindowError(f"{gap_s:.3f} s of {duration_s:.3f} s were not sampled")
        z = _fill(z, holes, cycles) if holes.any() else z
    return _Points(z[np.newaxis], fine, [holes], [gap_s], spacing_s)


def _mean_square(
    where: Samples,
    first: int,
    signal: NDArray[np.complex128],
    edges_s: NDArray[np.float64],
    parts: list[slice],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean squares of both channels, (n, 2), and what a mean leaves of white noise, (n,).

    A window's cycles are whole, so the current's, sampled a little later, may be weighted as if
    they were the voltage's. ``first`` is the waveform's sample that ``where`` begins with.
    """
    squares = np.empty((2, len(signal)))
    np.square(signal.real, out=squares[0])
    np.square(signal.imag, out=squares[1])
    mean = means(where, squares, instants(where, edges_s))
    end = len(signal)
    inner = [slice(part.start - first, min(part.stop - first, end)) for part in parts]
    return mean.T, np.array([noise_share(where, part) for part in inner])


def _cycle_phasor(z: NDArray[np.complex128], cycles: int) -> NDArray[np.complex128]:
    """The voltage's fundamental in each cycle, (n, cycles), from (n, points)."""
    count = z.shape[1] // cycles
    parts = np.ascontiguousarray(z.real).reshape(len(z), cycles, count) @ _one_turn(count)
    return parts.view(np.complex128)[..., 0]


def _cycle_sampled(holes: list[NDArray[np.bool_] | None], cycles: int) -> NDArray[np.bool_]:
    result = np.ones((len(holes), cycles), np.bool_)
    for place, missing in enumerate(holes):
        if missing is not None:
            result[place] = ~missing.reshape(cycles, -1).any(axis=1)
    return result


def _flags(
    quality: NDArray[np.uint16], parts: list[slice], gap_s: Sequence[float]
) -> list[Quality]:
    found = [Quality.GAP if gap else Quality.GOOD for gap in gap_s]
    if not quality[parts[0].start : parts[-1].stop].max():
        return found
    bits = [int(np.bitwise_or.reduce(quality[part])) for part in parts]
    return [flag | Quality(bit) for flag, bit in zip(found, bits, strict=True)]


def _lines(
    z: NDArray[np.complex128], count: int, fine: bool, spacing: float, skew: float
) -> NDArray[np.complex128]:
    """Spectra of both channels, (n, 2, count), from their points, (n, points).

    ``spacing`` of the samples and ``skew`` of the channels are in shares of the window. They
    hardly change from one window to the next; rounded to 8 and 9 digits they turn the 12th bin
    by less than a millionth of a degree.
    """
    points = z.shape[1]
    channels = z.view(np.float64).reshape(len(z), points, 2).swapaxes(1, 2)
    transform = np.empty((len(z), 2, points // 2 + 1), np.complex128)
    np.fft.rfft(channels, out=transform)
    lines: NDArray[np.complex128] = transform[:, :, :count] * _corrections(
        points, count, fine, round(spacing, 8), round(skew, 9)
    )
    return lines


@lru_cache(maxsize=64)
def _corrections(
    points: int, count: int, fine: bool, spacing: float, skew: float
) -> NDArray[np.complex128]:
    """What undoes the interpolation's attenuation of each bin, and for the current its skew too.

    (2, count); a line's amplitude is twice its share of the sum.
    """
    bins = np.arange(count, dtype=np.float64)
    response = linear_response(bins * spacing) if fine else cubic_response(bins * spacing)
    scale = 2.0 / (points * response)
    return np.stack((scale + 0j, scale * np.exp(-2j * np.pi * skew * bins)))


def _as_complex(waveform: Waveform, sampled: slice) -> NDArray[np.complex128]:
    voltage_v = waveform.voltage_v[sampled]
    signal = np.empty(len(voltage_v), np.complex128)
    signal.real = voltage_v
    signal.imag = waveform.current_a[sampled]
    return signal


def _spacing(where: Samples) -> tuple[float, float, bool]:
    """The usual and the widest spacing, and whether few enough are wide for the linear kernel."""
    mean_s, spacing_s = where.mean_step_s, where.step_s
    if where.even:
        return mean_s, mean_s, True
    widest_s = float(spacing_s.max())
    if widest_s < EVEN * mean_s:
        return mean_s, widest_s, True
    middle = len(spacing_s) // 2
    usual_s = float(np.partition(spacing_s, middle)[middle])
    wide = np.count_nonzero(spacing_s > WIDE * usual_s)
    return usual_s, widest_s, bool(wide <= WIDE_SHARE * len(spacing_s))


@lru_cache(maxsize=16)
def _whole_numbers(count: int) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64)


@lru_cache(maxsize=16)
def _one_turn(points: int) -> NDArray[np.float64]:
    """(points, 2): real and imaginary part of e^(−jθ) once around."""
    angle = 2 * np.pi / points * np.arange(points)
    return np.stack((np.cos(angle), -np.sin(angle)), axis=1)


def _assert_covered(t_s: NDArray[np.float64], start_s: float, duration_s: float) -> None:
    """A window's samples, two more at each side, must reach over most of it."""
    if len(t_s) < SAMPLES_MIN:
        raise BadWindowError(f"{len(t_s)} samples in a window of {duration_s:.3f} s")
    edge_s = MISSING_MAX * duration_s
    if t_s[0] > start_s + edge_s or t_s[-1] < start_s + duration_s - edge_s:
        raise BadWindowError(f"the samples do not reach over a window of {duration_s:.3f} s")


@lru_cache(maxsize=256)
def _smooth_length(minimum: int) -> int:
    """The smallest even product of 2, 3 and 5 from ``minimum`` on, which an FFT likes."""
    length = minimum + minimum % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def grid_length(samples: float, cycles: int) -> int:
    """How many evenly spaced points stand for ``samples`` samples of ``cycles`` whole cycles."""
    return cycles * _smooth_length(int(OVERSAMPLING * samples / cycles) + 1)


def _holes(
    t_s: NDArray[np.float64], grid_s: NDArray[np.float64], hole_s: float
) -> tuple[NDArray[np.bool_], float]:
    """Which points have no samples around them, and how many seconds of that are worth telling.

    At the edges a point can lie just before the first sample; that is filled in, but no gap.
    """
    within_s = np.clip(t_s, grid_s[0], grid_s[-1])
    edges = np.concatenate((grid_s[:1], within_s, grid_s[-1:]))
    spacing_s = np.diff(edges)
    inside = (grid_s < t_s[0]) | (grid_s > t_s[-1])
    for k in np.flatnonzero(spacing_s > hole_s):
        inside |= (grid_s >= edges[k]) & (grid_s <= edges[k + 1])
    return inside, float(np.sum(spacing_s[spacing_s > hole_s]))


def _fill(
    z: NDArray[np.complex128], holes: NDArray[np.bool_], cycles: int
) -> NDArray[np.complex128]:
    """Fill holes from the other cycles (Papoulis–Gerchberg on the harmonic lines).

    What is periodic over the window fits exactly; each round shrinks the error by about the
    missing share.
    """
    z = z.copy()
    z[holes] = z[~holes].mean()
    settled = FILL_SETTLED * float(np.abs(z[~holes]).max())
    harmonic = np.zeros(len(z), np.bool_)
    harmonic[::cycles] = True
    for _ in range(FILL_ROUNDS):
        lines = np.fft.fft(z)
        lines[~harmonic] = 0
        before, z[holes] = z[holes], np.fft.ifft(lines)[holes]
        if float(np.abs(z[holes] - before).max()) <= settled:
            break
    return z
