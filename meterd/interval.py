"""Windows gathered into the intervals of the load profile, each of which becomes a reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from meterd.metrology.circuits import house_w
from meterd.metrology.quantities import aggregate
from meterd.model import (
    NO_DEMAND,
    CircuitRecord,
    Demand,
    EventRecord,
    Missed,
    Quality,
    Quantities,
    Reading,
    Registers,
    Stamp,
)

WINDOWS_PER_AGGREGATE = 15
"""150 cycles at 50 Hz, 180 at 60 Hz: the 3 s aggregation of IEC 61000-4-30."""

MEASURED = (
    "frequency_hz",
    "voltage_v",
    "current_a",
    "power_w",
    "apparent_va",
    "reactive_var",
    "nonactive_var",
    "power_factor",
    "phase_deg",
    "thd_voltage_pct",
    "thd_current_pct",
)
"""What a reading says of an interval; its names are those of the quantities."""
SURE_CLOCKS = ("synced", "relative")
EVENTS_MAX = 20
"""A reading names this many events; all of them are in the meter's own record."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """The least and the most of the 10/12-cycle windows of an interval."""

    voltage_min_v: float
    voltage_max_v: float
    current_max_a: float
    power_min_w: float
    power_max_w: float


@dataclass(frozen=True, slots=True)
class Interval:
    """What has been measured of the interval (end − interval, end]."""

    end_utc_s: int
    recent: tuple[Quantities, ...] = ()
    aggregates: tuple[Quantities, ...] = ()
    flags: Quality = Quality.GOOD
    extremes: Extremes | None = None
    events: tuple[EventRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a reading comes from and how sure its date is."""

    schema: str
    meter: str
    stream: str
    seq: int
    stamp: Stamp  # of the interval's end


def interval_end(utc_s: float, interval_s: int) -> int:
    """The end of the interval that ``utc_s`` falls in: (end − interval_s, end]."""
    return -int(-utc_s // interval_s) * interval_s


def add(interval: Interval, window: Quantities | Missed) -> Interval:
    """The interval with one more window, or with a gap in it."""
    if isinstance(window, Missed):
        return replace(interval, flags=interval.flags | Quality.GAP)
    recent = (*interval.recent, window)
    extremes = _widened(interval.extremes, window)
    if len(recent) < WINDOWS_PER_AGGREGATE:
        return replace(interval, recent=recent, extremes=extremes)
    aggregates = (*interval.aggregates, aggregate([*recent]))
    return replace(interval, recent=(), aggregates=aggregates, extremes=extremes)


def with_events(interval: Interval, ended: Iterable[EventRecord]) -> Interval:
    """The interval with the events that ended in it."""
    return replace(interval, events=(*interval.events, *ended))


def _widened(known: Extremes | None, window: Quantities) -> Extremes:
    voltage_v, current_a, power_w = window.voltage_v, window.current_a, window.power_w
    if known is None:
        return Extremes(voltage_v, voltage_v, current_a, power_w, power_w)
    return Extremes(
        min(known.voltage_min_v, voltage_v),
        max(known.voltage_max_v, voltage_v),
        max(known.current_max_a, current_a),
        min(known.power_min_w, power_w),
        max(known.power_max_w, power_w),
    )


def is_empty(interval: Interval) -> bool:
    """Whether nothing, not even a gap, was seen in it."""
    return not (interval.recent or interval.aggregates or interval.flags)


def _circuits(measured: Quantities, roles: Sequence[str]) -> list[CircuitRecord]:
    records = [
        CircuitRecord(
            role,
            round(other.voltage_v, 3),
            round(other.current_a, 4),
            round(other.power_w, 2),
            round(other.reactive_var, 2),
            None if other.power_factor is None else round(other.power_factor, 4),
            None if other.thd_current_pct is None else round(other.thd_current_pct, 2),
        )
        for role, other in zip(roles, measured.others, strict=True)
    ]
    taken_w = house_w(measured.power_w, measured.others, roles)
    if taken_w is None:
        return records
    return [*records, CircuitRecord("house", None, None, round(taken_w, 2), None, None, None)]


def _measured(measured: Quantities | None) -> dict[str, Any]:
    return {name: getattr(measured, name) if measured else None for name in MEASURED}


def reading(
    interval: Interval,
    registers: Registers,
    origin: Origin,
    interval_s: int,
    demand: Demand = NO_DEMAND,
    roles: Sequence[str] = (),
) -> Reading:
    """The interval as it is stored and sent; what was not measured in it is unknown."""
    parts = [*interval.aggregates, *interval.recent]
    measured = aggregate(parts) if parts else None
    measured_s = measured.duration_s - measured.gap_s if measured else 0.0
    flags = interval.flags | (measured.flags if measured else Quality.GAP)
    if origin.stamp.clock not in SURE_CLOCKS:
        flags |= Quality.CLOCK_UNSET
    return Reading(
        schema=origin.schema,
        meter=origin.meter,
        stream=origin.stream,
        seq=origin.seq,
        end_utc_s=interval.end_utc_s,
        interval_s=interval_s,
        measured_s=measured_s,
        coverage_pct=min(100.0, 100.0 * measured_s / interval_s),
        boot=origin.stamp.boot,
        boottime_ms=origin.stamp.boottime_ms,
        clock=origin.stamp.clock,
        flags=[flag.name for flag in Quality if flag & flags and flag.name],
        **_measured(measured),
        import_j=registers.import_j,
        export_j=registers.export_j,
        reactive_q1_vars=registers.reactive_vars[0],
        reactive_q2_vars=registers.reactive_vars[1],
        reactive_q3_vars=registers.reactive_vars[2],
        reactive_q4_vars=registers.reactive_vars[3],
        **(asdict(interval.extremes) if interval.extremes else {}),
        demand_w=demand.last_w,
        demand_max_w=demand.max_w,
        demand_max_end_utc_s=demand.max_end_utc_s,
        events=list(interval.events[:EVENTS_MAX]),
        circuits=_circuits(measured, roles) if measured else [],
    )
