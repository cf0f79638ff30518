"""Rows as they arrive: kept once, never changed, answered for one by one.

The key is (meter, stream, seq), for readings, events and checkpoints alike. The same bytes again
are a duplicate, other bytes a conflict: the first stay, the second are kept in quarantine. A line
that is no row goes there too and holds its number, so that it does not block those after it. A
valid line whose number only quarantine holds is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, Table, insert, select, union_all
from sqlalchemy.dialects import sqlite

from server import dates, meter_commands, streams
from server.schema import QUARANTINE, READING, RECORD_ROW
from server.streams import Held, Meter
from server.validation import due
from server.wire import Event, Invalid, Other, Reading, Row

QUARANTINED_PER_NUMBER_MAX = 8

Result = Literal["stored", "duplicate", "conflict", "invalid"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A line, the number its place gives it, and what it decodes to."""

    seq: int
    line: bytes
    decoded: Row | Invalid


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What became of one line."""

    seq: int
    result: Result
    reason: str | None = None


def keep(
    connection: Connection,
    meter: Meter,
    stream: str,
    arrivals: Sequence[Arrival],
    now_utc_s: int,
) -> tuple[Held, list[RowAnswer]]:
    """Store a batch in the caller's transaction and say what became of each line.

    ``arrivals`` are numbered without a gap. Nothing is acknowledged until the caller's transaction
    has been committed.

    Raises:
        TooManyStreamsError: this would be the meter's stream number 1001.
    """
    meter_id = meter.meter_id
    before = streams.begin(connection, meter, stream, now_utc_s)
    lines = _held_lines(connection, meter_id, stream, arrivals[0].seq, arrivals[-1].seq)
    answers = [_judge(arrival, lines.get(arrival.seq)) for arrival in arrivals]
    judged = list(zip(arrivals, answers, strict=True))
    stored = [arrival for arrival, answer in judged if answer.result == "stored"]
    newest_reading_seq = _insert(connection, meter_id, stored, now_utc_s)
    for arrival, answer in judged:
        if answer.result in ("conflict", "invalid"):
            _quarantine(connection, (meter_id, stream), arrival, answer, now_utc_s)
    rows = [arrival.decoded for arrival in stored if not isinstance(arrival.decoded, Invalid)]
    dated = dates.update(connection, meter_id, stream, rows)
    _mark_due(connection, (meter_id, stream), rows, dated)
    events = [row for row in rows if isinstance(row, Event)]
    meter_commands.answered(connection, meter_id, events, now_utc_s)
    held = streams.advance(connection, meter, stream, before, newest_reading_seq, now_utc_s)
    return held, answers


def _mark_due(
    connection: Connection,
    key: tuple[int, str],
    rows: Sequence[Row],
    dated: tuple[int, int] | None,
) -> None:
    """Validation follows later, in steps of its own: here only what it has to look at is noted."""
    numbers = [row.seq for row in rows if isinstance(row, Reading)] + list(dated or ())
    if numbers:
        due.mark(connection, *key, min(numbers), max(numbers))


def _judge(arrival: Arrival, held: bytes | None) -> RowAnswer:
    if held == arrival.line:
        return RowAnswer(arrival.seq, "duplicate")
    if isinstance(arrival.decoded, Invalid):
        return RowAnswer(arrival.seq, "invalid", arrival.decoded.reason)
    if held is not None:
        reason = "other bytes are held under this number; they stay, these are kept apart"
        return RowAnswer(arrival.seq, "conflict", reason)
    return RowAnswer(arrival.seq, "stored")


def _held_lines(
    connection: Connection, meter_id: int, stream: str, first_seq: int, last_seq: int
) -> dict[int, bytes]:
    both = [
        select(table.c.seq, table.c.line).where(
            table.c.meter_id == meter_id,
            table.c.stream == stream,
            table.c.seq.between(first_seq, last_seq),
        )
        for table in (READING, RECORD_ROW)
    ]
    return {row.seq: row.line for row in connection.execute(union_all(*both))}


@cache
def _insert_into(table: Table) -> str:
    """Compiled once and given tuples: Core's own executemany takes two to three times as long."""
    return str(insert(table).compile(dialect=sqlite.dialect()))


def _insert(
    connection: Connection, meter_id: int, stored: Sequence[Arrival], now_utc_s: int
) -> int:
    """Returns the number of the last reading among them, 0 for none."""
    names = READING.c.keys()
    assert (names[0], *names[-2:]) == ("meter_id", "received_utc_s", "line")
    readings = [
        (meter_id, *_columns(arrival.decoded, names[1:-2]), now_utc_s, arrival.line)
        for arrival in stored
        if isinstance(arrival.decoded, Reading)
    ]
    if readings:
        connection.exec_driver_sql(_insert_into(READING), readings)
    others = [
        (meter_id, *_record_columns(arrival.decoded), now_utc_s, arrival.line)
        for arrival in stored
        if not isinstance(arrival.decoded, Reading | Invalid)
    ]
    if others:
        connection.exec_driver_sql(_insert_into(RECORD_ROW), others)
    return max((row.seq for row in stored if isinstance(row.decoded, Reading)), default=0)


def _columns(decoded: Reading, names: Sequence[str]) -> list[Any]:
    return [
        " ".join(decoded.flags) if name == "flags" else getattr(decoded, name) for name in names
    ]


def _record_columns(decoded: Row) -> tuple[Any, ...]:
    """From ``stream`` to ``boottime_ms``, as the table has them."""
    event = decoded.event if isinstance(decoded, Event) else None
    utc_s = None if isinstance(decoded, Other | Reading) else decoded.utc_s
    return (
        decoded.stream,
        decoded.seq,
        decoded.kind,
        event,
        utc_s,
        decoded.boot,
        decoded.boottime_ms,
    )


def _quarantine(
    connection: Connection,
    key: tuple[int, str],
    arrival: Arrival,
    answer: RowAnswer,
    now_utc_s: int,
) -> None:
    """Keep a refused line once; of one number at most eight different ones."""
    meter_id, stream = key
    line_hash = hashlib.sha256(arrival.line).digest()
    hashes = connection.scalars(
        select(QUARANTINE.c.line_hash).where(
            QUARANTINE.c.meter_id == meter_id,
            QUARANTINE.c.stream == stream,
            QUARANTINE.c.seq == arrival.seq,
        )
    ).all()
    if line_hash in hashes or len(hashes) >= QUARANTINED_PER_NUMBER_MAX:
        return
    values = {
        "meter_id": meter_id,
        "stream": stream,
        "seq": arrival.seq,
        "line_hash": line_hash,
        "kind": answer.result,
        "reason": answer.reason,
        "received_utc_s": now_utc_s,
        "line": arrival.line,
    }
    connection.execute(insert(QUARANTINE).values(values))
