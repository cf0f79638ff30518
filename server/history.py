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

Place = tuple[int, int]
"""Where a reading was counted: the ordinal of its stream, its number there."""
Streams = dict[int, tuple[str, int]]
"""By ordinal: the stream, and the number of its last reading."""


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
    torn = _torn(connection, meter_id, streams, [(ordinal, seq) for *_, seq, ordinal in rows])
    points: list[Point] = []
    before: Place | None = None
    for *quantities, seq, ordinal in rows:
        here = (ordinal, seq)
        begins = before is None or ordinal != before[0]
        if begins or (ordinal in torn and before != (ordinal, seq - 1)):
            points.extend(_between(connection, meter_id, streams, before, here))
        points.append(Point._make(quantities))
        before = here
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


def _streams(connection: Connection, meter_id: int) -> Streams:
    """The streams that have readings."""
    query = select(STREAM_HEAD.c.ordinal, STREAM_HEAD.c.stream, STREAM_HEAD.c.last_seq).where(
        STREAM_HEAD.c.meter_id == meter_id, STREAM_HEAD.c.last_seq.is_not(None)
    )
    return {row.ordinal: (row.stream, row.last_seq) for row in connection.execute(query)}


def _torn(
    connection: Connection, meter_id: int, streams: Streams, places: Sequence[Place]
) -> set[int]:
    """The streams in which readings of other dates were counted between these."""
    found: dict[int, list[int]] = {}
    for ordinal, seq in places:
        found.setdefault(ordinal, []).append(seq)
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
    streams: Streams,
    before: Place | None,
    here: Place,
) -> list[Point]:
    """The reading that was counted last before ``here``, unless that is ``before``."""
    ordinal, seq = here
    after_seq = before[1] if before is not None and before[0] == ordinal else 0
    found = _last_before(connection, meter_id, streams[ordinal][0], after_seq, seq)
    if found is None and after_seq == 0:
        earlier = max((other for other in streams if other < ordinal), default=None)
        if earlier is None or before == (earlier, streams[earlier][1]):
            return []
        stream, last_seq = streams[earlier]
        found = _last_before(connection, meter_id, stream, last_seq - 1, last_seq + 1)
    return [] if found is None else [found]


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
