"""The readings of a meter as validation sees them: in the order in which they were counted.

A reading whose date is not known, or lies a day after its arrival, has no place in time and is
passed over; its energy shows in the registers of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, TextClause, select, text

from server.dates import CLOCKS_DATED
from server.schema import STREAM_HEAD
from server.wire import SEQ_MAX

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


_PLACED = (
    "(r.clock NOT IN ({clocks}) OR d.seq IS NOT NULL) "
    f"AND coalesce(d.dated_utc_s, r.end_utc_s) <= r.received_utc_s + {AHEAD_MAX_S}"
).format(clocks=", ".join(f"'{clock}'" for clock in CLOCKS_DATED))
_KNOTS = (
    "SELECT r.seq, coalesce(d.dated_utc_s, r.end_utc_s), r.interval_s, r.measured_s, r.power_w, "
    "r.import_j, r.export_j FROM reading r LEFT JOIN reading_date d "
    "ON d.meter_id = r.meter_id AND d.stream = r.stream AND d.seq = r.seq "
    "WHERE r.meter_id = :meter_id AND r.stream = :stream AND r.seq >= :from_seq "
    f"AND r.seq <= :to_seq AND {_PLACED} ORDER BY r.seq "
)
_UP, _DOWN = text(_KNOTS + "LIMIT :most"), text(_KNOTS + "DESC LIMIT :most")
"""Text, for these run for each reading that comes and building them takes longer than they do."""
_LAST = text(
    "SELECT stream, seq FROM ("
    "SELECT * FROM (SELECT r.stream, r.seq, r.end_utc_s AS utc_s FROM reading r "
    "LEFT JOIN reading_date d ON d.meter_id = r.meter_id AND d.stream = r.stream "
    "AND d.seq = r.seq WHERE r.meter_id = :meter_id AND r.end_utc_s <= :utc_s "
    f"AND d.seq IS NULL AND {_PLACED} ORDER BY r.end_utc_s DESC, r.seq DESC LIMIT 1) AS a "
    "UNION ALL "
    "SELECT * FROM (SELECT d.stream, d.seq, d.dated_utc_s AS utc_s FROM reading_date d "
    "JOIN reading r ON d.meter_id = r.meter_id AND d.stream = r.stream "
    "AND d.seq = r.seq WHERE d.meter_id = :meter_id AND d.dated_utc_s <= :utc_s "
    f"AND {_PLACED} ORDER BY d.dated_utc_s DESC, d.seq DESC LIMIT 1) AS b"
    ") AS c ORDER BY utc_s DESC, seq DESC LIMIT 1"
)


def between(
    connection: Connection, meter_id: int, stream: Stream, from_seq: int, to_seq: int, limit: int
) -> list[Knot]:
    """The readings of these numbers, at most ``limit``."""
    return _knots(connection, _UP, meter_id, stream, (from_seq, to_seq, limit))


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
            numbers = (seq + 1, SEQ_MAX) if forward else (1, seq - 1)
        elif (stream.ordinal > ordinal) == forward:
            numbers = (1, SEQ_MAX)
        else:
            continue
        most = limit - len(found)
        found += _knots(connection, _UP if forward else _DOWN, meter_id, stream, (*numbers, most))
        if len(found) >= limit:
            break
    return found


def last_until(
    connection: Connection, meter_id: int, known: Sequence[Stream], utc_s: int
) -> Knot | None:
    """The last reading that is dated at or before a moment."""
    row = connection.execute(_LAST, {"meter_id": meter_id, "utc_s": utc_s}).one_or_none()
    if row is None:
        return None
    (stream,) = (each for each in known if each.name == row.stream)
    return between(connection, meter_id, stream, row.seq, row.seq, 1)[0]


def _knots(
    connection: Connection,
    query: TextClause,
    meter_id: int,
    stream: Stream,
    numbers: tuple[int, int, int],
) -> list[Knot]:
    from_seq, to_seq, most = numbers
    values = {"from_seq": from_seq, "to_seq": to_seq, "most": most}
    rows = connection.execute(query, {"meter_id": meter_id, "stream": stream.name} | values)
    return [Knot(stream.ordinal, stream.name, *row) for row in rows]
