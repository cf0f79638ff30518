"""The readings of a meter as validation sees them: in the order in which they were counted.

A reading whose date is not known, or lies a day after its arrival, has no place in time and is
passed over; its energy shows in the registers of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from server.dates import CLOCKS_DATED
from server.schema import READING, READING_DATE, STREAM_HEAD

AHEAD_MAX_S = 24 * 3600


class Knot(NamedTuple):
    """One reading: when, and what its registers were."""

    ordinal: int  # of its stream
    stream: str
    seq: int
    utc_s: int
    interval_s: int
    measured_s: float
    power_w: float | None
    import_j: int
    export_j: int


class Stream(NamedTuple):
    """A stream of the meter that has readings."""

    ordinal: int
    name: str


def streams(connection: Connection, meter_id: int) -> list[Stream]:
    """Those with readings, in the order in which they began."""
    query = (
        select(STREAM_HEAD.c.ordinal, STREAM_HEAD.c.stream)
        .where(STREAM_HEAD.c.meter_id == meter_id, STREAM_HEAD.c.last_seq.is_not(None))
        .order_by(STREAM_HEAD.c.ordinal)
    )
    return [Stream(*row) for row in connection.execute(query)]


def between(
    connection: Connection, meter_id: int, stream: Stream, from_seq: int, to_seq: int, limit: int
) -> list[Knot]:
    """The readings of these numbers, at most ``limit``."""
    numbers = READING.c.seq.between(from_seq, to_seq)
    query = _query(meter_id, stream, numbers).order_by(READING.c.seq).limit(limit)
    return _knots(connection, query, stream)


def neighbours(
    connection: Connection,
    meter_id: int,
    known: Sequence[Stream],
    place: tuple[int, int],
    *,
    forward: bool,
    limit: int,
) -> list[Knot]:
    """The readings that were counted next before or behind a place, nearest first."""
    ordinal, seq = place
    found: list[Knot] = []
    for stream in known if forward else reversed(known):
        if stream.ordinal == ordinal:
            numbers = READING.c.seq > seq if forward else READING.c.seq < seq
        elif (stream.ordinal > ordinal) == forward:
            numbers = READING.c.seq > 0
        else:
            continue
        order = READING.c.seq.asc() if forward else READING.c.seq.desc()
        query = _query(meter_id, stream, numbers).order_by(order).limit(limit - len(found))
        found += _knots(connection, query, stream)
        if len(found) >= limit:
            break
    return found


def last_until(connection: Connection, meter_id: int, utc_s: int) -> Knot | None:
    """The last reading that is dated at or before a moment."""
    by_meter = (
        select(READING.c.stream, READING.c.seq, READING.c.end_utc_s)
        .where(
            READING.c.meter_id == meter_id,
            READING.c.end_utc_s <= utc_s,
            READING.c.clock.not_in(CLOCKS_DATED),
            _plausible(READING.c.end_utc_s),
        )
        .order_by(READING.c.end_utc_s.desc(), READING.c.seq.desc())
        .limit(1)
    )
    by_anchor = (
        select(READING_DATE.c.stream, READING_DATE.c.seq, READING_DATE.c.dated_utc_s)
        .join(READING, _same_row())
        .where(
            READING_DATE.c.meter_id == meter_id,
            READING_DATE.c.dated_utc_s <= utc_s,
            _plausible(READING_DATE.c.dated_utc_s),
        )
        .order_by(READING_DATE.c.dated_utc_s.desc(), READING_DATE.c.seq.desc())
        .limit(1)
    )
    rows = [*connection.execute(by_meter), *connection.execute(by_anchor)]
    if not rows:
        return None
    stream_name, seq, _ = max(rows, key=lambda row: row[2])
    named = {stream.name: stream for stream in streams(connection, meter_id)}
    return between(connection, meter_id, named[stream_name], seq, seq, 1)[0]


def _plausible(utc_s: ColumnElement[Any]) -> ColumnElement[bool]:
    return utc_s <= READING.c.received_utc_s + AHEAD_MAX_S


def _same_row() -> ColumnElement[bool]:
    return (
        (READING_DATE.c.meter_id == READING.c.meter_id)
        & (READING_DATE.c.stream == READING.c.stream)
        & (READING_DATE.c.seq == READING.c.seq)
    )


def _query(meter_id: int, stream: Stream, numbers: ColumnElement[bool]) -> Select[Any]:
    utc_s = func.coalesce(READING_DATE.c.dated_utc_s, READING.c.end_utc_s)
    return (
        select(
            READING.c.seq,
            utc_s,
            READING.c.interval_s,
            READING.c.measured_s,
            READING.c.power_w,
            READING.c.import_j,
            READING.c.export_j,
        )
        .outerjoin(READING_DATE, _same_row())
        .where(
            READING.c.meter_id == meter_id,
            READING.c.stream == stream.name,
            numbers,
            or_(READING.c.clock.not_in(CLOCKS_DATED), READING_DATE.c.seq.is_not(None)),
            _plausible(utc_s),
        )
    )


def _knots(connection: Connection, query: Select[Any], stream: Stream) -> list[Knot]:
    return [Knot(stream.ordinal, stream.name, *row) for row in connection.execute(query)]
