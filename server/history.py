"""What the readings say about a meter: now, since a moment, and over the last day.

Energy is always a difference of registers, never a sum of powers. What the readings do not cover
is not guessed: it is None, absent, or marked as partial. Each query reads one range of one key, so
that its cost does not grow with the fleet or the years.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select

from server.schema import READING, STREAM_HEAD

HOUR_S = 3600
BOUNDARY_S = 900
"""A reading that ends at most this long before a moment stands for that moment."""
AHEAD_S = 60
"""A meter's clock may be this much ahead of ours."""


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
    partial: bool  # readings are missing at its beginning or end
    power_w: float | None  # mean, positive = import
    power_w_max: float | None  # the highest mean of an interval
    power_w_min: float | None


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """Mean power of a few minutes."""

    start_utc_s: int
    power_w: float


def latest(connection: Connection, meter_id: int) -> RowMapping | None:
    """The newest reading of the newest stream: by count, for a meter's clock may be wrong."""
    head = (
        select(STREAM_HEAD.c.stream, STREAM_HEAD.c.last_seq)
        .where(STREAM_HEAD.c.meter_id == meter_id, STREAM_HEAD.c.last_seq.is_not(None))
        .order_by(STREAM_HEAD.c.ordinal.desc())
        .limit(1)
    )
    newest = connection.execute(head).one_or_none()
    if newest is None:
        return None
    columns = [column for column in READING.c if column.name != "line"]
    query = select(*columns).where(
        READING.c.meter_id == meter_id,
        READING.c.stream == newest.stream,
        READING.c.seq == newest.last_seq,
    )
    return connection.execute(query).mappings().one()


def energy_since(
    connection: Connection, meter_id: int, since_utc_s: int, now_utc_s: int
) -> EnergySpan | None:
    """Energy from a moment until the last reading.

    It begins at the reading that stands for the moment, or else at the first one after it:
    ``from_utc_s`` says which. None if there are not two readings.
    """
    before = _registers(meter_id, since_utc_s - BOUNDARY_S, since_utc_s).order_by(
        READING.c.end_utc_s.desc(), READING.c.seq.desc()
    )
    after = _registers(meter_id, since_utc_s, now_utc_s + AHEAD_S)
    first = after.order_by(READING.c.end_utc_s, READING.c.seq)
    last = after.order_by(READING.c.end_utc_s.desc(), READING.c.seq.desc())
    begin = connection.execute(before).one_or_none() or connection.execute(first).one_or_none()
    end = connection.execute(last).one_or_none()
    if begin is None or end is None or begin.end_utc_s >= end.end_utc_s:
        return None
    return _span(begin, end)


def power_line(
    connection: Connection, meter_id: int, start_utc_s: int, stop_utc_s: int, step_s: int
) -> list[PowerPoint]:
    """Mean power of each step of ``(start, stop]`` that was measured, in order."""
    step = (READING.c.end_utc_s - start_utc_s - 1) // step_s
    weight = func.sum(READING.c.measured_s)
    query = (
        select(step.label("step"), (_energy_sum() / weight).label("power_w"))
        .where(
            READING.c.meter_id == meter_id,
            READING.c.end_utc_s > start_utc_s,
            READING.c.end_utc_s <= stop_utc_s,
            READING.c.power_w.is_not(None),
            READING.c.measured_s > 0,
        )
        .group_by(step)
        .order_by(step)
    )
    return [
        PowerPoint(start_utc_s + row.step * step_s, row.power_w)
        for row in connection.execute(query)
    ]


def hours(
    connection: Connection, meter_id: int, start_utc_s: int, count: int, now_utc_s: int
) -> list[Hour]:
    """The hours from ``start_utc_s`` on that have readings; the one before lends its register."""
    ranged = _hour_rows(connection, meter_id, start_utc_s - HOUR_S, count + 1, now_utc_s)
    found = {row["hour"]: row for row in ranged}
    return [
        _hour(start_utc_s - HOUR_S + hour * HOUR_S, row, found.get(hour - 1), now_utc_s)
        for hour, row in sorted(found.items())
        if hour >= 1
    ]


def _hour(start_utc_s: int, row: RowMapping, previous: RowMapping | None, now_utc_s: int) -> Hour:
    slack_s = 2 * row["interval_s"]
    joined = previous is not None and start_utc_s - previous["last_utc_s"] < slack_s
    begin = (
        (previous["last_utc_s"], previous["last_import_j"], previous["last_export_j"])
        if previous is not None and joined
        else (row["first_utc_s"], row["first_import_j"], row["first_export_j"])
    )
    stop_utc_s = start_utc_s + HOUR_S
    whole = stop_utc_s - row["last_utc_s"] < slack_s
    energy = EnergySpan(
        begin[0],
        row["last_utc_s"],
        _rise(begin[1], row["last_import_j"]),
        _rise(begin[2], row["last_export_j"]),
    )
    return Hour(
        start_utc_s,
        energy,
        partial=not joined or (not whole and stop_utc_s <= now_utc_s),
        power_w=row["power_w"],
        power_w_max=row["power_w_max"],
        power_w_min=row["power_w_min"],
    )


def _hour_rows(
    connection: Connection, meter_id: int, start_utc_s: int, count: int, now_utc_s: int
) -> Sequence[RowMapping]:
    """One row an hour, with the registers of its first and last reading."""
    hour = (READING.c.end_utc_s - start_utc_s - 1) // HOUR_S
    groups = (
        select(
            hour.label("hour"),
            func.min(READING.c.end_utc_s).label("first_utc_s"),
            func.max(READING.c.end_utc_s).label("last_utc_s"),
            func.max(READING.c.interval_s).label("interval_s"),
            (_energy_sum() / func.nullif(func.sum(_measured()), 0)).label("power_w"),
            func.max(READING.c.power_w).label("power_w_max"),
            func.min(READING.c.power_w).label("power_w_min"),
        )
        .where(
            READING.c.meter_id == meter_id,
            READING.c.end_utc_s > start_utc_s,
            READING.c.end_utc_s <= min(start_utc_s + count * HOUR_S, now_utc_s + AHEAD_S),
        )
        .group_by(hour)
        .subquery()
    )
    first = READING.alias("first")
    last = READING.alias("last")
    query = select(
        groups,
        first.c.import_j.label("first_import_j"),
        first.c.export_j.label("first_export_j"),
        last.c.import_j.label("last_import_j"),
        last.c.export_j.label("last_export_j"),
    )
    query = query.join(
        first, (first.c.meter_id == meter_id) & (first.c.end_utc_s == groups.c.first_utc_s)
    ).join(last, (last.c.meter_id == meter_id) & (last.c.end_utc_s == groups.c.last_utc_s))
    return connection.execute(query).mappings().all()


def _measured() -> Any:
    return READING.c.measured_s * (READING.c.power_w.is_not(None))


def _energy_sum() -> Any:
    return func.sum(READING.c.power_w * READING.c.measured_s)


def _registers(meter_id: int, after_utc_s: int, until_utc_s: int) -> Select[Any]:
    return (
        select(READING.c.end_utc_s, READING.c.import_j, READING.c.export_j)
        .where(
            READING.c.meter_id == meter_id,
            READING.c.end_utc_s > after_utc_s,
            READING.c.end_utc_s <= until_utc_s,
        )
        .limit(1)
    )


def _span(begin: Any, end: Any) -> EnergySpan:
    return EnergySpan(
        begin.end_utc_s,
        end.end_utc_s,
        _rise(begin.import_j, end.import_j),
        _rise(begin.export_j, end.export_j),
    )


def _rise(before_j: int, after_j: int) -> int | None:
    return after_j - before_j if after_j >= before_j else None
