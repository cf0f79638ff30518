"""Samples at uneven instants to evenly spaced points over whole cycles, and their spectra.

Both channels travel as one complex signal: one interpolation and one FFT serve voltage and
current, and the current's skew is undone by turning its spectrum, which is exact at every
harmonic. (Moving samples by linear interpolation would attenuate by cos(pi f T).)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from meterd.errors import BadWindowError
from meterd.model import Quality, Waveform

GAP_SPACINGS = 4.0
"""A hole of this many sample spacings is filled from the other cycles of the window."""
MISSING_MAX = 0.25
"""With more of the window missing there is nothing honest to say."""
FILL_ROUNDS = 50
FILL_SETTLED = 1e-7
FILL_CYCLES_MIN = 4
OVERSAMPLING = 1.02
"""Grid points per sample; not 1, or every point would stand at the same place between samples."""
BAND = 0.45
"""Lines up to this share of the sampling rate are reported."""


@dataclass(frozen=True, slots=True)
class Spectra:
    """Complex amplitudes (peak, not rms) of bins 0…K of one window; bin k lies at k / duration."""

    voltage: NDArray[np.complex128]  # (k,)
    current: NDArray[np.complex128]  # (k,) de-skewed
    cycle_phasor: NDArray[np.complex128]  # (cycles,) of the voltage in each cycle by itself
    cycle_sampled: NDArray[np.bool_]  # (cycles,) False where something had to be filled in
    end_ns: int
    duration_s: float
    gap_s: float
    """How much of the window was not sampled and was filled from its other cycles."""
    sampling_hz: float
    flags: Quality


def spectra(waveform: Waveform, start_s: float, duration_s: float, cycles: int) -> Spectra:
    """Transform the samples in [start, start + duration], which hold ``cycles`` whole cycles.

    Raises:
        BadWindowError: the samples do not cover the window, or leave too much of it out.
    """
    sampled = _samples_around(waveform, start_s, duration_s)
    t_s = waveform.t_s[sampled]
    signal = waveform.voltage_v[sampled] + 1j * waveform.current_a[sampled]
    spacing_s = float(np.median(np.diff(t_s)))
    skew_s = float(np.mean(waveform.current_t_s[sampled] - t_s))
    count = grid_length(duration_s / spacing_s, cycles)
    grid_s = start_s + np.arange(count, dtype=np.float64) * (duration_s / count)
    z = interpolate(t_s, signal, grid_s)
    holes, gap_s = _holes(t_s, grid_s, GAP_SPACINGS * spacing_s)
    if gap_s > (MISSING_MAX if cycles >= FILL_CYCLES_MIN else 0.0) * duration_s:
        raise BadWindowError(f"{gap_s:.3f} s of a window of {duration_s:.3f} s were not sampled")
    if holes.any():
        z = _fill(z, holes, cycles)
    transform = np.fft.fft(z) / count
    lines = min(int(BAND * duration_s / spacing_s), (count - 1) // 2) + 1
    response = kernel_response(np.arange(lines, dtype=np.float64) * (spacing_s / duration_s))
    # z = v + j·i, so the two spectra are the even and the odd part of its transform.
    up, down = transform[:lines], np.conj(transform[-np.arange(lines)])
    turn = np.exp(-2j * np.pi * skew_s / duration_s * np.arange(lines))
    each_cycle, points = z.real.reshape(cycles, -1), count // cycles
    return Spectra(
        voltage=(up + down) / response,
        current=(up - down) / (1j * response) * turn,
        cycle_phasor=each_cycle @ np.exp(-2j * np.pi / points * np.arange(points)),
        cycle_sampled=np.sum(holes.reshape(cycles, points), axis=1) == 0,
        end_ns=waveform.start_ns + round((start_s + duration_s) * 1e9),
        duration_s=duration_s,
        gap_s=gap_s,
        sampling_hz=1 / spacing_s,
        flags=Quality(int(np.bitwise_or.reduce(waveform.quality[sampled])))
        | (Quality.GAP if gap_s else Quality.GOOD),
    )


def _samples_around(waveform: Waveform, start_s: float, duration_s: float) -> slice:
    """The samples of a window and two more at each side."""
    t_s = waveform.t_s
    first, last = np.searchsorted(t_s, (start_s, start_s + duration_s))
    sampled = slice(max(0, int(first) - 2), int(last) + 2)
    inside = t_s[sampled]
    if len(inside) < 8:
        raise BadWindowError(f"{len(inside)} samples in a window of {duration_s:.3f} s")
    edge_s = MISSING_MAX * duration_s
    if inside[0] > start_s + edge_s or inside[-1] < start_s + duration_s - edge_s:
        raise BadWindowError(f"the samples do not reach over a window of {duration_s:.3f} s")
    return sampled


def interpolate(
    t_s: NDArray[np.float64], values: NDArray[np.complex128], at_s: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Lagrange interpolation through the four nearest samples, at uneven instants too."""
    i = np.clip(np.searchsorted(t_s, at_s, side="right") - 1, 1, len(t_s) - 3)
    # Beyond the ends there is nothing to interpolate between: hold the last cubic at its edge.
    x = np.clip(at_s, t_s[0], t_s[-1])
    a, b, c, d = (x - t_s[i + k] for k in (-1, 0, 1, 2))
    # Differences of the nodes, once a sample instead of once a point.
    one, two, three = (t_s[k:] - t_s[: len(t_s) - k] for k in (1, 2, 3))
    ab, bc, cd = one[i - 1], one[i], one[i + 1]
    ac, bd, ad = two[i - 1], two[i], three[i - 1]
    result: NDArray[np.complex128] = (
        values[i - 1] * (-(b * c * d) / (ab * ac * ad))
        + values[i] * (a * c * d / (ab * bc * bd))
        + values[i + 1] * (-(a * b * d) / (ac * bc * cd))
        + values[i + 2] * (a * b * c / (ad * bd * cd))
    )
    return result


def kernel_response(cycles_per_sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much four-point interpolation leaves of a tone, averaged over all places of the points.

    The Fourier transform of the interpolation's kernel; dividing by it undoes the attenuation.
    """
    frequency, response = _response_table()
    return np.interp(cycles_per_sample, frequency, response)


@lru_cache(maxsize=1)
def _response_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps = 2000
    x = (np.arange(2 * steps) + 0.5) / steps  # the kernel is even: 0…2 sample spacings
    near = (1 - x**2) * (2 - x) / 2
    far = (1 - x) * (2 - x) * (3 - x) / 6
    kernel = np.where(x < 1, near, far)
    frequency = np.linspace(0, 0.5, 513)
    response = 2 / steps * (np.cos(2 * np.pi * np.outer(frequency, x)) @ kernel)
    return frequency, response


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
