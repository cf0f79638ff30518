"""What a run of windows says against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from bench.accuracy.signals import Exact
from meterd.model import Quality, Quantities


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and scatter of many windows' errors."""

    mean: float
    sigma: float  # of one window
    count: int

    @property
    def standard_error(self) -> float:
        """How well the mean is known; its own error is below twice this with 95 %."""
        return self.sigma / sqrt(self.count)


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of windows: powers and rms values in % of the true one, the rest in units."""

    power_pct: Spread
    current_pct: Spread
    voltage_pct: Spread
    reactive_pct: Spread | None  # None: there is none to be relative to
    phase_deg: Spread
    thd_current_points: Spread
    thd_voltage_points: Spread
    frequency_mhz: Spread  # millihertz
    clipped: bool


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation."""
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def errors(windows: Iterable[Quantities], exact: Exact) -> Errors:
    """Errors of each window against the truth, as mean and scatter.

    Raises:
        AssertionError: fewer than two windows, or one that knows no frequency, angle or THD.
    """
    seen = list(windows)
    assert len(seen) > 1, f"{len(seen)} windows"

    def relative(true: float, of: Callable[[Quantities], float]) -> Spread:
        return spread([100 * (of(window) / true - 1) for window in seen])

    def difference(true: float, of: Callable[[Quantities], float | None]) -> Spread:
        known = [value for value in map(of, seen) if value is not None]
        assert len(known) == len(seen), f"{len(seen) - len(known)} windows do not know it"
        return spread([value - true for value in known])

    phase = difference(exact.phase_deg, lambda w: _near(w.phase_deg, exact.phase_deg))
    frequency = difference(exact.frequency_hz, lambda w: w.frequency_hz)
    significant = abs(exact.reactive_var) > 0.05 * exact.apparent_va
    return Errors(
        power_pct=relative(exact.power_w, lambda w: w.power_w),
        current_pct=relative(exact.current_a, lambda w: w.current_a),
        voltage_pct=relative(exact.voltage_v, lambda w: w.voltage_v),
        reactive_pct=relative(exact.reactive_var, lambda w: w.reactive_var)
        if significant
        else None,
        phase_deg=phase,
        thd_current_points=difference(exact.thd_current_pct, lambda w: w.thd_current_pct),
        thd_voltage_points=difference(exact.thd_voltage_pct, lambda w: w.thd_voltage_pct),
        frequency_mhz=Spread(1e3 * frequency.mean, 1e3 * frequency.sigma, frequency.count),
        clipped=any(window.flags & Quality.CLIPPED for window in seen),
    )


def _near(angle_deg: float | None, centre_deg: float) -> float | None:
    """The angle in the turn around ``centre_deg``, so that 180° and −180° are neighbours."""
    if angle_deg is None:
        return None
    return centre_deg + (angle_deg - centre_deg + 180.0) % 360.0 - 180.0
