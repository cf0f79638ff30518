"""The readings of one meter: the newest, and those of a time, dated as well as can be.

Each query reads one range of one key, so that its cost does not grow with the fleet or the years.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Subquery, exists, func, or_, select, union_all

from server.dates import CLOCKS_DATED
from server.energy import Point
from server.schema import READING, READING_DATE, STREAM_HEAD


def latest(connection: Connection, meter_id: int) -> RowMapping | None:
    """The newest reading of the newest stream: by count, for a meter's clock may be wrong.

    With ``utc_s``, its end dated as well as can be, and ``anchored``, whether an anchor dates it.
    """
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
    dated = func.coalesce(READING_DATE.c.dated_utc_s, READING.c.end_utc_s).label("utc_s")
    query = (
        select(*columns, dated, READING_DATE.c.seq.is_not(None).label("anchored"))
        .outerjoin(READING_DATE, _same_row())
        .where(
            READING.c.meter_id == meter_id,
            READING.c.stream == newest.stream,
            READING.c.seq == newest.last_seq,
        )
    )
    return connection.execute(query).mappings().one()


def profile(
    connection: Connection, meter_id: int, after_utc_s: int, until_utc_s: int
) -> list[Point]:
    """The readings dated in ``(after, until]``, in the order in which they were counted.

    Where another reading was counted between two of them it stands there too: energy begins at it.
    """
    dated = _dated(meter_id, after_utc_s, until_utc_s)
    query = (
        select(*(dated.c[name] for name in Point._fields), dated.c.seq, STREAM_HEAD.c.ordinal)
        .join(
            STREAM_HEAD,
            (STREAM_HEAD.c.meter_id == meter_id) & (STREAM_HEAD.c.stream == dated.c.stream),
        )
        .order_by(STREAM_HEAD.c.ordinal, dated.c.seq)
    )
    rows = connection.execute(query).all()
    streams = _streams(connection, meter_id)
    torn = _torn(connection, meter_id, streams, rows)
    points: list[Point] = []
    before: Any = None
    for row in rows:
        begins = before is None or row.ordinal != before.ordinal
        if begins or (row.ordinal in torn and row.seq != before.seq + 1):
            points.extend(_between(connection, meter_id, streams, before, row))
        points.append(Point(*row[: len(Point._fields)]))
        before = row
    return points


def _dated(meter_id: int, after_utc_s: int, until_utc_s: int) -> Subquery:
    """By the meter's date where there is no better one."""
    names = [name for name in Point._fields if name != "utc_s"]
    columns = [READING.c.stream, READING.c.seq, *(READING.c[name] for name in names)]
    undated = or_(READING.c.clock.not_in(CLOCKS_DATED), ~exists().where(_same_row()))
    by_meter = select(READING.c.end_utc_s.label("utc_s"), *columns).where(
        READING.c.meter_id == meter_id,
        READING.c.end_utc_s > after_utc_s,
        READING.c.end_utc_s <= until_utc_s,
        undated,
    )
    by_anchor = (
        select(READING_DATE.c.dated_utc_s.label("utc_s"), *columns)
        .join(READING, _same_row())
        .where(
            READING_DATE.c.meter_id == meter_id,
            READING_DATE.c.dated_utc_s > after_utc_s,
            READING_DATE.c.dated_utc_s <= until_utc_s,
        )
    )
    return union_all(by_meter, by_anchor).subquery()


def _same_row() -> Any:
    return (
        (READING_DATE.c.meter_id == READING.c.meter_id)
        & (READING_DATE.c.stream == READING.c.stream)
        & (READING_DATE.c.seq == READING.c.seq)
    )


def _streams(connection: Connection, meter_id: int) -> dict[int, tuple[str, int]]:
    """The streams that have readings, by ordinal, each with the number of its last."""
    query = select(STREAM_HEAD.c.ordinal, STREAM_HEAD.c.stream, STREAM_HEAD.c.last_seq).where(
        STREAM_HEAD.c.meter_id == meter_id, STREAM_HEAD.c.last_seq.is_not(None)
    )
    return {row.ordinal: (row.stream, row.last_seq) for row in connection.execute(query)}


def _torn(
    connection: Connection, meter_id: int, streams: dict[int, tuple[str, int]], rows: Sequence[Any]
) -> set[int]:
    """The streams in which readings of other dates were counted between these."""
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row.ordinal, []).append(row.seq)
    torn = set()
    for ordinal, numbers in found.items():
        query = select(func.count()).where(
            READING.c.meter_id == meter_id,
            READING.c.stream == streams[ordinal][0],
            READING.c.seq.between(numbers[0], numbers[-1]),
        )
        if connection.scalar(query) != len(numbers):
            torn.add(ordinal)
    return torn


def _between(
    connection: Connection,
    meter_id: int,
    streams: dict[int, tuple[str, int]],
    before: Any,
    row: Any,
) -> list[Point]:
    """The reading that was counted last before ``row``, unless that is ``before``."""
    stream, _ = streams[row.ordinal]
    after_seq = before.seq if before is not None and before.ordinal == row.ordinal else 0
    found = _last_before(connection, meter_id, stream, after_seq, row.seq)
    if found is None and after_seq == 0:
        earlier = max((ordinal for ordinal in streams if ordinal < row.ordinal), default=None)
        if earlier is None or (before is not None and _is_last(before, streams, earlier)):
            return []
        stream, last_seq = streams[earlier]
        found = _last_before(connection, meter_id, stream, last_seq - 1, last_seq + 1)
    return [] if found is None else [found]


def _is_last(row: Any, streams: dict[int, tuple[str, int]], ordinal: int) -> bool:
    return (row.ordinal, row.seq) == (ordinal, streams[ordinal][1])


def _last_before(
    connection: Connection, meter_id: int, stream: str, after_seq: int, before_seq: int
) -> Point | None:
    """The last reading of a stream between two numbers."""
    utc_s = func.coalesce(READING_DATE.c.dated_utc_s, READING.c.end_utc_s)
    names = [name for name in Point._fields if name != "utc_s"]
    query = (
        select(utc_s, *(READING.c[name] for name in names))
        .outerjoin(READING_DATE, _same_row())
        .where(
            READING.c.meter_id == meter_id,
            READING.c.stream == stream,
            READING.c.seq > after_seq,
            READING.c.seq < before_seq,
        )
        .order_by(READING.c.seq.desc())
        .limit(1)
    )
    found = connection.execute(query).one_or_none()
    return None if found is None else Point(*found)
