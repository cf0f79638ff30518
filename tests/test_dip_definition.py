"""How far Urms(1/2) lets durations be off, from its definition: no samples, no noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meterd.metrology.events import EventKind, detect
from meterd.model import HalfCycles

CYCLE_NS = 1_000_000


def square_to(cycles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The integral of sin² from 0, time counted in cycles."""
    return np.asarray(cycles / 2 - np.sin(4 * np.pi * cycles) / (8 * np.pi), np.float64)


def defined(share: float, begin: float, end: float) -> HalfCycles:
    """Urms(1/2) of a sine of 1 V that is ``share`` between two instants, on its zero crossings."""
    edges = np.arange(0.0, end + 4.0, 0.5)
    inside = square_to(np.clip(edges, begin, end))
    inside_v2 = 2 * (inside[2:] - inside[:-2])
    urms_v = np.sqrt(np.maximum(0.0, 1.0 - (1.0 - share**2) * inside_v2))
    edges_ns = np.rint(edges * CYCLE_NS).astype(np.int64)
    return HalfCycles(edges_ns[:-2], edges_ns[2:], urms_v)


@pytest.mark.parametrize(
    ("kind", "share", "least", "most"),
    [
        (EventKind.DIP, 0.85, -0.85, 0.15),
        (EventKind.DIP, 0.4, 0.05, 1.04),
        (EventKind.SWELL, 1.2, -0.22, 0.78),
        (EventKind.INTERRUPTION, 0.0, -0.63, 0.36),
    ],
)
def test_the_definition_leaves_durations_so_far_off(
    kind: EventKind, share: float, least: float, most: float
) -> None:
    rng = np.random.default_rng(1)
    off = []
    for begin, length in zip(5 + rng.random(2000), rng.uniform(3, 8, 2000), strict=True):
        ended, _ = detect((), defined(share, begin, begin + length), 1.0)
        (event,) = (one for one in ended if one.kind is kind)
        off.append(event.duration_s * 1e9 / CYCLE_NS - length)
    assert min(off) == pytest.approx(least, abs=0.03)
    assert max(off) == pytest.approx(most, abs=0.03)
