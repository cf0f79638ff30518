"""Means between chosen instants of values that were sampled at other instants, uneven ones too.

The values are taken as straight from sample to sample (the trapezoidal rule), at an instant
between two samples the part of the interval that belongs to each side. All samples count, up to
half the sampling rate, so that the edges of a phase-fired current are in its rms value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EVEN = 1e-3
"""Spacings that differ by less than this share count as even."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Where samples stand; worked out once for all channels and instants."""

    t_s: NDArray[np.float64]  # (n,) rising, two at least
    step_s: NDArray[np.float64]  # (n − 1,)
    even: bool

    def part(self, chosen: slice) -> Samples:
        """Some of them, two at least."""
        steps = slice(chosen.start, chosen.stop - 1)
        return Samples(self.t_s[chosen], self.step_s[steps], self.even)

    @property
    def mean_step_s(self) -> float:
        """The spacing, where it is even."""
        return (float(self.t_s[-1]) - float(self.t_s[0])) / len(self.step_s)

    def weights_s(self, part: slice) -> NDArray[np.float64]:
        """The time that each sample stands for: half of the intervals at its sides."""
        step_s = self.step_s[max(0, part.start - 1) : part.stop]
        before_s = step_s if part.start else np.concatenate((step_s[:1], step_s))
        behind_s = step_s[1 if part.start else 0 :]
        if part.stop >= len(self.t_s):
            behind_s = np.concatenate((behind_s, step_s[-1:]))
        count = part.stop - part.start
        return 0.5 * (before_s[:count] + behind_s[:count])


@dataclass(frozen=True, slots=True)
class Instants:
    """Where instants lie among samples."""

    at: NDArray[np.intp]  # (m,) the sample before each
    share: NDArray[np.float64]  # (m,) of the interval behind that
    length_s: NDArray[np.float64]  # (m − 1,) from each to the next


def samples(t_s: NDArray[np.float64]) -> Samples:
    """``t_s`` (n,) rises; two instants at least."""
    step_s = t_s[1:] - t_s[:-1]
    mean_s = (float(t_s[-1]) - float(t_s[0])) / len(step_s)
    even = float(step_s.max()) <= (1 + EVEN) * mean_s and float(step_s.min()) >= (1 - EVEN) * mean_s
    return Samples(t_s, step_s, even)


def instants(where: Samples, at_s: NDArray[np.float64]) -> Instants:
    """The places of ``at_s`` (m,); those beyond the samples lie on the line through the last two.

    They need not rise all the way: what lies between an instant and an earlier one means nothing.
    """
    t_s = where.t_s
    at = np.minimum(np.maximum(t_s.searchsorted(at_s, side="right") - 1, 0), len(t_s) - 2)
    return Instants(at, (at_s - t_s[at]) / where.step_s[at], at_s[1:] - at_s[:-1])


def means(where: Samples, values: NDArray[np.float64], to: Instants) -> NDArray[np.float64]:
    """Mean of ``values`` (…, n) from each instant to the next, (…, m − 1)."""
    at, share = to.at, to.share
    here = values[..., at]
    behind = share * (here + 0.5 * share * (values[..., at + 1] - here))
    if where.even:
        areas = np.add.reduceat(values, at, axis=-1)[..., :-1]
        beyond = 0.5 * here + behind
        return (areas + beyond[..., 1:] - beyond[..., :-1]) * (where.mean_step_s / to.length_s)
    first, last = int(at.min()), int(at.max()) + 1
    weighted = values[..., first:last] * where.weights_s(slice(first, last))
    areas = np.add.reduceat(weighted, at - first, axis=-1)[..., :-1]
    beyond = 0.5 * here * where.step_s[np.maximum(at - 1, 0)] + behind * where.step_s[at]
    return (areas + beyond[..., 1:] - beyond[..., :-1]) / to.length_s


def noise_share(where: Samples, part: slice) -> float:
    """What of white noise's mean square is left in a mean over these samples."""
    if where.even:
        count: int = part.stop - part.start
        return 1.0 / count
    weight_s = where.weights_s(part)
    total_s = float(np.sum(weight_s))
    return float(np.sum(weight_s * weight_s)) / (total_s * total_s)
