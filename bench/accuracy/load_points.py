"""Errors over the current range at the power factors of the standards, ours and the peers'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.accuracy import signals
from bench.accuracy.beside import OURS, as_shown, everyone, ours, power_error_pct
from bench.accuracy.errors import Spread, errors
from bench.accuracy.rows import Row, Table
from bench.accuracy.sampling import direct
from bench.accuracy.standards import CLASSES, IMAX_A, AccuracyClass

CURRENTS_A = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0)
POWER_FACTORS = ((1.0, False), (0.5, False), (0.8, True))
BELOW_A = 1.0
BELOW_LONGER = 6
"""Small currents are measured this many times longer: their windows scatter more."""
HALF = 0.5


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One current at one power factor."""

    current_a: float
    power_factor: float
    leading: bool
    exporting: bool
    power_pct: Spread  # ours
    method_pct: dict[str, float]  # each method's mean error of power, ours among them

    @property
    def name(self) -> str:
        """The point in words."""
        kind = "" if self.power_factor == 1.0 else " leading" if self.leading else " lagging"
        return f"PF {self.power_factor:g}{kind}{', export' if self.exporting else ''}"


def measured(
    current_a: float,
    power_factor: float,
    seconds: float,
    rng: np.random.Generator,
    *,
    leading: bool = False,
    exporting: bool = False,
    with_peers: bool = True,
) -> LoadPoint:
    """Sines of 127 V at 60 Hz through ten bits, evenly sampled (direct)."""
    signal = signals.circuit(current_a, power_factor, leading=leading, exporting=exporting)
    long = seconds * (BELOW_LONGER if current_a < BELOW_A else 1)
    blocks = list(direct(signal.mains, long, rng))
    found = ours(blocks)
    shown = everyone(blocks) if with_peers else {OURS: as_shown(found)}
    in_percent = {name: power_error_pct(values, signal) for name, values in shown.items()}
    return LoadPoint(
        current_a=current_a,
        power_factor=power_factor,
        leading=leading,
        exporting=exporting,
        power_pct=errors(found, signal.exact).power_pct,
        method_pct={name: error for name, error in in_percent.items() if error is not None},
    )


def load_points(
    seconds: float, rng: np.random.Generator, *, with_peers: bool = True
) -> list[LoadPoint]:
    """All currents at all power factors, and export at a few of them."""
    imported = [
        measured(amperes, pf, seconds, rng, leading=leading, with_peers=with_peers)
        for pf, leading in POWER_FACTORS
        for amperes in CURRENTS_A
    ]
    exported = [
        measured(amperes, pf, seconds, rng, exporting=True, with_peers=False)
        for pf in (1.0, 0.5)
        for amperes in (0.5, 10.0, IMAX_A)
    ]
    return imported + exported


def table(points: Sequence[LoadPoint], accuracy_class: AccuracyClass) -> Table:
    """Every load point inside the class's range against half of its limit."""
    rows: list[Row] = []
    for point in points:
        limit = accuracy_class.limit_pct(point.current_a, point.power_factor)
        if limit is None:
            continue
        error = point.power_pct
        rows.append(
            Row(
                f"{point.name}: {point.current_a:g} A",
                f"{error.mean:+.3f} ± {2 * error.standard_error:.3f} %",
                f"≤ {HALF * limit:g} % (class: {limit:g} %)",
                abs(error.mean) <= HALF * limit,
            )
        )
    method = (
        "Sines of 127 V, direct, error of energy against the exact integral; the target is half "
        f"of the class's limit. Imax is {IMAX_A:g} A: 50 A rms has peaks of 70.7 A, and this front "
        "end's range ends at 62.5 A."
    )
    return Table(f"Load points of {accuracy_class.name}", method, tuple(rows))


def tables(points: Sequence[LoadPoint]) -> list[Table]:
    """Both classes."""
    return [table(points, accuracy_class) for accuracy_class in CLASSES]
