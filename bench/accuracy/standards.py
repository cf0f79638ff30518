"""Limits of IEC 62053-21 (class 1) and IEC 62053-22 (class 0.5S) for active energy.

The standards' texts were not at hand; those of class 0.5S at small currents are as commonly quoted.
"""

from __future__ import annotations

from dataclasses import dataclass

IMAX_A = 40.0
"""The largest current of this front end: 50 A rms has peaks of 70.7 A, its range ends at 62.5 A."""


@dataclass(frozen=True, slots=True)
class AccuracyClass:
    """A class and the current its load points count from."""

    name: str
    basic_a: float
    unity_pct: tuple[tuple[float, float], ...]  # from this share of the basic current: limit
    inductive_pct: tuple[tuple[float, float], ...]  # also 0.8 capacitive

    def limit_pct(self, current_a: float, power_factor: float) -> float | None:
        """The error allowed at a load point, None below the range."""
        steps = self.unity_pct if power_factor == 1.0 else self.inductive_pct
        share = current_a / self.basic_a
        reached = [limit for begins, limit in steps if share >= begins - 1e-9]
        return reached[-1] if reached else None


CLASS_1 = AccuracyClass(
    "class 1 (IEC 62053-21, Ib 5 A)",
    5.0,
    ((0.05, 1.5), (0.1, 1.0)),
    ((0.1, 1.5), (0.2, 1.0)),
)
CLASS_05S = AccuracyClass(
    "class 0.5S (IEC 62053-22, In 10 A)",
    10.0,
    ((0.01, 1.0), (0.05, 0.5)),
    ((0.02, 1.0), (0.1, 0.6)),
)
CLASSES = (CLASS_1, CLASS_05S)
