"""Dates found for stored readings, in a table beside them: the readings stay as they came.

Only readings whose clock was not synced have an entry, and it is made anew when an anchor nearer
to them arrives. Anchors of one boot tie the rows of the same boot in the same stream. Computing
the dates when a page asks would need to know which rows are of a day before they are dated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import sqlite

from server import dating, wire
from server.dating import Tie
from server.schema import READING, READING_DATE, RECORD_ROW

CLOCKS_DATED = ("unknown", "informative", "relative")
REDATED_ROWS_MAX = 100_000
"""Readings between two anchors: ten weeks of one a minute. Of more, the newest are dated."""


def update(
    connection: Connection, meter_id: int, stream: str, rows: Sequence[wire.Row]
) -> tuple[int, int] | None:
    """Date what ``rows``, just stored, let one date: themselves and those their anchors reach.

    Returns between which numbers dates may have changed; None: nowhere.
    """
    anchors = [row.seq for row in rows if isinstance(row, wire.Event) and row.event == "anchor"]
    undated = [row.seq for row in rows if isinstance(row, wire.Reading) and _is_dated(row)]
    if not anchors and not undated:
        return None
    first_seq, last_seq = min(anchors + undated), max(anchors + undated)
    before_seq, after_seq = _neighbours(connection, meter_id, stream, first_seq, last_seq)
    ties = _ties(connection, meter_id, stream, before_seq, after_seq)
    if not ties:
        return None
    if anchors:  # they also reach the rows between them and the next anchors
        first_seq, last_seq = before_seq, after_seq
    return _date(connection, (meter_id, stream), first_seq, last_seq, ties)


def _is_dated(row: wire.Reading) -> bool:
    return row.clock in CLOCKS_DATED and row.boot is not None and row.boottime_ms is not None


def _neighbours(
    connection: Connection, meter_id: int, stream: str, first_seq: int, last_seq: int
) -> tuple[int, int]:
    """The numbers of the anchors before and behind these rows, or the ends of the stream."""
    anchor = (
        (RECORD_ROW.c.meter_id == meter_id)
        & (RECORD_ROW.c.stream == stream)
        & (RECORD_ROW.c.event == "anchor")
    )
    before = select(func.max(RECORD_ROW.c.seq)).where(anchor, RECORD_ROW.c.seq < first_seq)
    after = select(func.min(RECORD_ROW.c.seq)).where(anchor, RECORD_ROW.c.seq > last_seq)
    return connection.scalar(before) or 1, connection.scalar(after) or wire.SEQ_MAX


def _ties(
    connection: Connection, meter_id: int, stream: str, first_seq: int, last_seq: int
) -> dict[int, list[Tie]]:
    """The anchors among these numbers, by boot."""
    query = select(RECORD_ROW.c.line).where(
        RECORD_ROW.c.meter_id == meter_id,
        RECORD_ROW.c.stream == stream,
        RECORD_ROW.c.event == "anchor",
        RECORD_ROW.c.seq.between(first_seq, last_seq),
    )
    ties: dict[int, list[Tie]] = defaultdict(list)
    for line in connection.scalars(query):
        event = wire.EVENT_DECODER.decode(line)
        anchor = wire.detail_of(event, wire.Anchor)
        if isinstance(anchor, wire.Anchor):
            ties[event.boot].append(Tie(anchor.boottime_ms, anchor.utc_ms))
    return {boot: sorted(found) for boot, found in ties.items()}


def _date(
    connection: Connection,
    key: tuple[int, str],
    first_seq: int,
    last_seq: int,
    ties: dict[int, list[Tie]],
) -> tuple[int, int] | None:
    meter_id, stream = key
    query = (
        select(READING.c.seq, READING.c.boot, READING.c.boottime_ms)
        .where(
            READING.c.meter_id == meter_id,
            READING.c.stream == stream,
            READING.c.seq.between(first_seq, last_seq),
            READING.c.clock.in_(CLOCKS_DATED),
            READING.c.boot.in_(ties),
        )
        .order_by(READING.c.seq.desc())
        .limit(REDATED_ROWS_MAX)
    )
    dated = []
    for row in connection.execute(query):
        utc_ms = dating.utc_ms(ties[row.boot], row.boottime_ms)
        assert utc_ms is not None
        dated.append((meter_id, stream, row.seq, max(0, (utc_ms + 500) // 1000)))
    _upsert(connection, dated)
    return (dated[-1][2], dated[0][2]) if dated else None


def _upsert(connection: Connection, dated: Iterable[tuple[int, str, int, int]]) -> None:
    insert = sqlite.insert(READING_DATE)
    statement = insert.on_conflict_do_update(
        index_elements=["meter_id", "stream", "seq"],
        set_={"dated_utc_s": insert.excluded.dated_utc_s},
    )
    rows = list(dated)
    if rows:
        connection.exec_driver_sql(str(statement.compile(dialect=sqlite.dialect())), rows)
