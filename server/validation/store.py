"""Intervals, hours and offsets as they are stored. A revision supersedes; none is overwritten."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import sqlite

from server.schema import INTERVAL_HOUR, INTERVAL_READING, REGISTER_OFFSET
from server.validation.curve import EDITED, LINEAR, QUESTIONABLE, REFERENCE_DAY, Interval

HOUR_S = 3600
Offset = tuple[str, int, int, int]
"""The stream and number from which on it counts, and what it adds to both registers."""

_INSERT_INTERVAL = (
    "INSERT INTO interval_reading (meter_id, end_utc_s, revision, usage_point_id, interval_s, "
    "import_j, export_j, quality, made_utc_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def put_intervals(
    connection: Connection,
    place: tuple[int, int],
    period: tuple[int, int],
    intervals: Sequence[Interval],
    now_utc_s: int,
) -> int:
    """Make these the intervals that end in ``(from, to]``; returns how many are new."""
    meter_id, usage_point_id = place
    held = _held(connection, meter_id, period)
    wanted = {interval.end_utc_s: interval for interval in intervals}
    gone = [end for end, (_, interval) in held.items() if wanted.get(end) != interval]
    fresh = [each for each in intervals if held.get(each.end_utc_s, (0, None))[1] != each]
    table = INTERVAL_READING.c
    for end_utc_s in gone:
        connection.execute(
            update(INTERVAL_READING)
            .where(table.meter_id == meter_id, table.end_utc_s == end_utc_s)
            .where(table.superseded_utc_s.is_(None))
            .values(superseded_utc_s=now_utc_s)
        )
    revisions = _revisions(connection, meter_id, period) if gone or fresh else {}
    rows = [
        (
            meter_id,
            each.end_utc_s,
            revisions.get(each.end_utc_s, 0) + 1,
            usage_point_id,
            each.interval_s,
            each.import_j,
            each.export_j,
            each.quality,
            now_utc_s,
        )
        for each in fresh
    ]
    if rows:
        connection.exec_driver_sql(_INSERT_INTERVAL, rows)
    changed = {*gone, *(each.end_utc_s for each in fresh)}
    if changed:
        _put_hours(connection, meter_id, changed)
    return len(rows)


def _held(
    connection: Connection, meter_id: int, period: tuple[int, int]
) -> dict[int, tuple[int, Interval]]:
    table = INTERVAL_READING.c
    query = select(
        table.revision,
        table.end_utc_s,
        table.interval_s,
        table.import_j,
        table.export_j,
        table.quality,
    ).where(
        table.meter_id == meter_id,
        table.end_utc_s > period[0],
        table.end_utc_s <= period[1],
        table.superseded_utc_s.is_(None),
    )
    return {row[1]: (row[0], Interval(*row[1:])) for row in connection.execute(query)}


def _revisions(connection: Connection, meter_id: int, period: tuple[int, int]) -> dict[int, int]:
    table = INTERVAL_READING.c
    query = (
        select(table.end_utc_s, func.max(table.revision))
        .where(
            table.meter_id == meter_id, table.end_utc_s > period[0], table.end_utc_s <= period[1]
        )
        .group_by(table.end_utc_s)
    )
    return {end: revision for end, revision in connection.execute(query)}


_PUT_HOURS = (
    "INSERT OR REPLACE INTO interval_hour (meter_id, start_utc_s, usage_point_id, import_j, "
    "export_j, covered_s, estimated_s, questionable_s) "
    "SELECT meter_id, (end_utc_s - 1) / 3600 * 3600, max(usage_point_id), sum(import_j), "
    "sum(export_j), sum(interval_s), "
    f"sum(CASE WHEN quality IN ({EDITED}, {REFERENCE_DAY}, {LINEAR}) THEN interval_s ELSE 0 END), "
    f"sum(CASE WHEN quality = {QUESTIONABLE} THEN interval_s ELSE 0 END) FROM interval_reading "
    "WHERE meter_id = ? AND end_utc_s > ? AND end_utc_s <= ? AND superseded_utc_s IS NULL "
    "GROUP BY 1, 2"
)


def _put_hours(connection: Connection, meter_id: int, ends: Collection[int]) -> None:
    """Add up anew the hours in which these intervals are."""
    from_s = (min(ends) - 1) // HOUR_S * HOUR_S
    to_s = -(-max(ends) // HOUR_S) * HOUR_S
    table = INTERVAL_HOUR.c
    connection.execute(
        delete(INTERVAL_HOUR).where(
            table.meter_id == meter_id, table.start_utc_s >= from_s, table.start_utc_s < to_s
        )
    )
    connection.exec_driver_sql(_PUT_HOURS, (meter_id, from_s, to_s))


def put_offsets(
    connection: Connection,
    meter_id: int,
    judged: Collection[tuple[str, int]],
    offsets: Sequence[Offset],
) -> None:
    """Make these the offsets that begin at the readings that were looked at."""
    by_stream: dict[str, list[int]] = {}
    for stream, seq in judged:
        by_stream.setdefault(stream, []).append(seq)
    table = REGISTER_OFFSET.c
    for stream, numbers in by_stream.items():
        connection.execute(
            delete(REGISTER_OFFSET).where(
                table.meter_id == meter_id,
                table.stream == stream,
                table.seq.between(min(numbers), max(numbers)),
            )
        )
    for stream, seq, import_j, export_j in offsets:
        values = {"meter_id": meter_id, "stream": stream, "seq": seq}
        registers = {"import_j": import_j, "export_j": export_j}
        connection.execute(sqlite.insert(REGISTER_OFFSET).values(values | registers))


def reference_day(
    connection: Connection, meter_id: int, from_utc_s: int, to_utc_s: int, shift_s: int
) -> list[tuple[int, int, int]]:
    """The intervals of another time, moved on by ``shift_s``: end and both energies."""
    table = INTERVAL_READING.c
    query = (
        select(table.end_utc_s + shift_s, table.import_j, table.export_j)
        .where(
            table.meter_id == meter_id,
            table.end_utc_s > from_utc_s - shift_s,
            table.end_utc_s < to_utc_s - shift_s + 900,
            table.superseded_utc_s.is_(None),
        )
        .order_by(table.end_utc_s)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]
