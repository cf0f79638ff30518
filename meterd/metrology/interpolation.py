"""Interpolation between samples that stand evenly but for the gaps between batches.

Two kernels. Through two samples (linear) it costs a third; a tone keeps sinc² of its amplitude,
which is undone exactly, and leaves an image of (f / sampling rate)² of it, below the noise of ten
bits where samples are many to a cycle. Through four (cubic) it serves coarser recordings.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

EVEN = 1e-3
"""Spacings that differ by less than this share count as even."""


def cubic(
    t_s: NDArray[np.float64], values: NDArray[np.complex128], at_s: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Lagrange interpolation through the four nearest samples, at uneven instants too.

    ``t_s`` (n,) rises, ``values`` (n,), ``at_s`` (m,). Where four neighbours stand evenly, nearly
    everywhere, the weights are polynomials of one number; the others are computed one by one.
    """
    uneven = _uneven(t_s)
    if uneven is None:
        place = (at_s - t_s[0]) * ((len(t_s) - 1) / (t_s[-1] - t_s[0]))
    else:
        place = np.interp(at_s, t_s, _counting(len(t_s)))
    i = place.astype(np.intp)
    np.clip(i, 1, len(t_s) - 3, out=i)
    result = _between_even(values, i, place - i)
    if uneven is not None:
        points = np.flatnonzero(uneven[i])
        result[points] = _between_uneven(t_s, values, i[points], at_s[points])
    return result


@lru_cache(maxsize=16)
def _counting(count: int) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64)


def _between_even(
    values: NDArray[np.complex128], i: NDArray[np.intp], x: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """At ``x`` sample spacings behind sample ``i``."""
    before, after = x * (x - 1.0), (x + 1.0) * (x - 2.0)
    result = values[i] * (after * (x - 1.0) * 0.5)
    result += values[i - 1] * (before * (x - 2.0) * (-1.0 / 6.0))
    result += values[i + 1] * (after * x * -0.5)
    result += values[i + 2] * (before * (x + 1.0) * (1.0 / 6.0))
    return result


def _uneven(t_s: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """For each sample, whether its four neighbours stand unevenly; None: nowhere."""
    spacing_s = np.diff(t_s)
    second_s = np.abs(np.diff(spacing_s))
    limit_s = EVEN * (float(t_s[-1]) - float(t_s[0])) / len(spacing_s)
    if float(second_s.max()) <= limit_s:
        return None
    rough = np.zeros(len(t_s) + 1, np.bool_)
    rough[1:-2] = second_s > limit_s  # rough[k + 1]: the spacings k and k + 1 differ
    # The neighbours of sample i are i − 1 … i + 2, with the spacings i − 1, i and i + 1.
    result: NDArray[np.bool_] = rough[:-1] | rough[1:]
    return result


def _between_uneven(
    t_s: NDArray[np.float64],
    values: NDArray[np.complex128],
    i: NDArray[np.intp],
    at_s: NDArray[np.float64],
) -> NDArray[np.complex128]:
    # Beyond the ends there is nothing to interpolate between: hold the last cubic at its edge.
    x = np.clip(at_s, t_s[0], t_s[-1])
    before, here, after, last = (t_s[i + k] for k in (-1, 0, 1, 2))
    a, b, c, d = x - before, x - here, x - after, x - last
    result: NDArray[np.complex128] = (
        values[i - 1] * (b * c * d / ((before - here) * (before - after) * (before - last)))
        + values[i] * (a * c * d / ((here - before) * (here - after) * (here - last)))
        + values[i + 1] * (a * b * d / ((after - before) * (after - here) * (after - last)))
        + values[i + 2] * (a * b * c / ((last - before) * (last - here) * (last - after)))
    )
    return result


def linear(
    t_s: NDArray[np.float64], values: NDArray[np.complex128], at_s: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Interpolation through the two nearest samples, at uneven instants too."""
    return np.interp(at_s, t_s, values)


def linear_response(cycles_per_sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """What :func:`linear` leaves of a tone, averaged over all places of the points."""
    return np.sinc(cycles_per_sample) ** 2


def cubic_response(cycles_per_sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """What :func:`cubic` leaves of a tone, averaged over all places of the points.

    The Fourier transform of the interpolation's kernel.
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
