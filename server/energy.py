"""Energy and mean power of periods, from readings in the order in which they were counted. Pure.

Energy is always a difference of registers between two readings that follow each other by count
(stream, then number), never a sum of powers, and belongs to the period that the later one is
dated in. So a date that went backwards moves energy, and none is counted twice. What the readings
do not cover is not guessed: it is None, absent, or marked as partial.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HOUR_S = 3600
BOUNDARY_S = 900
"""A reading that ends at most this long before a moment stands for that moment."""
AHEAD_S = 60
"""A meter's clock may be this much ahead of ours."""


class Point(NamedTuple):
    """What energy and power are made of: one reading, dated as well as can be."""

    utc_s: int
    interval_s: int
    measured_s: float
    power_w: float | None
    import_j: int
    export_j: int


@dataclass(frozen=True, slots=True)
class EnergySpan:
    """Energy between two readings; None where a register fell."""

    from_utc_s: int
    to_utc_s: int
    import_j: int | None
    export_j: int | None


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the load profile."""

    start_utc_s: int
    energy: EnergySpan
    partial: bool  # readings are missing at its beginning or end, or its dates are not in order
    power_w: float | None  # mean, positive = import
    power_w_max: float | None  # the highest mean of an interval
    power_w_min: float | None


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """Mean power of a few minutes."""

    start_utc_s: int
    power_w: float


@dataclass(slots=True)
class _Period:
    """``(start, stop]`` while its readings are added up."""

    start_utc_s: int
    stop_utc_s: int
    points: list[Point]
    import_j: int | None = 0
    export_j: int | None = 0
    steps: int = 0
    runs: int = 0  # how often readings begin that nothing in or before the period leads to
    joined_utc_s: int | None = None  # the reading before the period that lends its register

    def add(self, before: Point | None, point: Point, slack_s: int) -> None:
        """Count the energy from ``before`` if that stands in the period or close before it."""
        self.points.append(point)
        if before is None or not self.start_utc_s - slack_s < before.utc_s <= self.stop_utc_s:
            self.runs += 1
            return
        if before.utc_s <= self.start_utc_s:
            self.joined_utc_s = before.utc_s
        self.steps += 1
        if self.import_j is not None:
            rise_j = point.import_j - before.import_j
            self.import_j = self.import_j + rise_j if rise_j >= 0 else None
        if self.export_j is not None:
            rise_j = point.export_j - before.export_j
            self.export_j = self.export_j + rise_j if rise_j >= 0 else None

    def span(self) -> EnergySpan:
        """What was counted, and from when to when."""
        first_utc_s = min(point.utc_s for point in self.points)
        return EnergySpan(
            first_utc_s if self.joined_utc_s is None else self.joined_utc_s,
            max(point.utc_s for point in self.points),
            self.import_j,
            self.export_j,
        )


def energy_since(points: Sequence[Point], since_utc_s: int, now_utc_s: int) -> EnergySpan | None:
    """Energy from a moment until the last reading.

    It begins at the reading that stands for the moment, or else at the first one after it:
    ``from_utc_s`` says which. None if there are not two readings.
    """
    period = _Period(since_utc_s, now_utc_s + AHEAD_S, [])
    before = None
    for point in points:
        if period.start_utc_s < point.utc_s <= period.stop_utc_s:
            period.add(before, point, BOUNDARY_S)
        before = point
    return period.span() if period.steps else None


def hours(points: Iterable[Point], start_utc_s: int, count: int, now_utc_s: int) -> list[Hour]:
    """The hours from ``start_utc_s`` on that have readings; the one before lends its register."""
    stop_utc_s = min(start_utc_s + count * HOUR_S, now_utc_s + AHEAD_S)
    periods: dict[int, _Period] = {}
    before = None
    for point in points:
        if start_utc_s < point.utc_s <= stop_utc_s:
            begin_utc_s = _step_of(point, start_utc_s, HOUR_S)
            period = periods.get(begin_utc_s)
            if period is None:
                period = periods[begin_utc_s] = _Period(begin_utc_s, begin_utc_s + HOUR_S, [])
            period.add(before, point, 2 * point.interval_s)
        before = point
    return [_hour(periods[begin], now_utc_s) for begin in sorted(periods)]


def power_line(
    points: Iterable[Point], start_utc_s: int, stop_utc_s: int, step_s: int
) -> list[PowerPoint]:
    """Mean power of each step of ``(start, stop]`` that was measured, in order."""
    steps: dict[int, list[Point]] = {}
    for point in points:
        if start_utc_s < point.utc_s <= stop_utc_s:
            steps.setdefault(_step_of(point, start_utc_s, step_s), []).append(point)
    means = ((begin, _mean_power_w(steps[begin])) for begin in sorted(steps))
    return [PowerPoint(begin, power_w) for begin, power_w in means if power_w is not None]


def _step_of(point: Point, start_utc_s: int, step_s: int) -> int:
    """Where the step begins in whose ``(begin, end]`` the reading ends."""
    return start_utc_s + (point.utc_s - start_utc_s - 1) // step_s * step_s


def _hour(period: _Period, now_utc_s: int) -> Hour:
    energy = period.span()
    slack_s = 2 * max(point.interval_s for point in period.points)
    whole = period.stop_utc_s - energy.to_utc_s < slack_s
    powers_w = [point.power_w for point in period.points if point.power_w is not None]
    return Hour(
        period.start_utc_s,
        energy,
        partial=period.runs > 0 or (not whole and period.stop_utc_s <= now_utc_s),
        power_w=_mean_power_w(period.points),
        power_w_max=max(powers_w, default=None),
        power_w_min=min(powers_w, default=None),
    )


def _mean_power_w(points: Iterable[Point]) -> float | None:
    """Weighted by the time that was measured; None if none was."""
    energy_j = measured_s = 0.0
    for point in points:
        if point.power_w is not None:
            energy_j += point.power_w * point.measured_s
            measured_s += point.measured_s
    return energy_j / measured_s if measured_s > 0 else None
