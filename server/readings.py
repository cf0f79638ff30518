"""Readings as they arrive: kept once, never changed, answered for one by one.

The key is (meter, stream, seq). The same bytes again are a duplicate, other bytes a conflict: the
first stay, the second are kept in quarantine. A line that is no reading goes there too and holds
its number, so that it does not block those after it. A valid line whose number only quarantine
holds is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, union, update
from sqlalchemy.dialects import sqlite

from server.schema import QUARANTINE, READING, SERVER_SETTING, STREAM_HEAD
from server.wire import Invalid, Reading

STREAMS_MAX = 1000
QUARANTINED_PER_NUMBER_MAX = 8
SCAN_ROWS = 2000

Result = Literal["stored", "duplicate", "conflict", "invalid"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A line, the number its place gives it, and what it decodes to."""

    seq: int
    line: bytes
    decoded: Reading | Invalid


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What became of one line."""

    seq: int
    result: Result
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """How far the server holds a stream."""

    epoch: str
    hwm: int


class TooManyStreamsError(Exception):
    """A meter began more streams than any life of SD cards explains: an operator must look."""


def head(connection: Connection, meter_id: int, stream: str) -> Head:
    """The high-water mark of a stream, 0 for one that is not known."""
    where = (STREAM_HEAD.c.meter_id == meter_id) & (STREAM_HEAD.c.stream == stream)
    hwm = connection.scalar(select(STREAM_HEAD.c.hwm).where(where))
    return Head(_epoch(connection), hwm or 0)


def keep(
    connection: Connection, meter_id: int, stream: str, arrivals: Sequence[Arrival], now_utc_s: int
) -> tuple[Head, list[RowAnswer]]:
    """Store a batch in the caller's transaction and say what became of each line.

    ``arrivals`` are numbered without a gap. Nothing is acknowledged until the caller's transaction
    has been committed.

    Raises:
        TooManyStreamsError: this would be the meter's stream number 1001.
    """
    hwm, last_seq = _begin_stream(connection, meter_id, stream, now_utc_s)
    held = _held_lines(connection, meter_id, stream, arrivals[0].seq, arrivals[-1].seq)
    answers = [_judge(arrival, held.get(arrival.seq)) for arrival in arrivals]
    judged = list(zip(arrivals, answers, strict=True))
    stored = [arrival for arrival, answer in judged if answer.result == "stored"]
    _insert(connection, meter_id, stored, now_utc_s)
    for arrival, answer in judged:
        if answer.result in ("conflict", "invalid"):
            _quarantine(connection, (meter_id, stream), arrival, answer, now_utc_s)
    hwm = _advance(connection, meter_id, stream, hwm)
    last_seq = max([last_seq, *(arrival.seq for arrival in stored)])
    where = (STREAM_HEAD.c.meter_id == meter_id) & (STREAM_HEAD.c.stream == stream)
    changes = {"hwm": hwm, "last_seq": last_seq or None}
    connection.execute(update(STREAM_HEAD).where(where).values(changes))
    return Head(_epoch(connection), hwm), answers


def _judge(arrival: Arrival, held: bytes | None) -> RowAnswer:
    if held == arrival.line:
        return RowAnswer(arrival.seq, "duplicate")
    if isinstance(arrival.decoded, Invalid):
        return RowAnswer(arrival.seq, "invalid", arrival.decoded.reason)
    if held is not None:
        reason = "other bytes are held under this number; they stay, these are kept apart"
        return RowAnswer(arrival.seq, "conflict", reason)
    return RowAnswer(arrival.seq, "stored")


def _begin_stream(
    connection: Connection, meter_id: int, stream: str, now_utc_s: int
) -> tuple[int, int]:
    """The stream's high-water mark and highest reading, 0 for what there is not."""
    of_meter = STREAM_HEAD.c.meter_id == meter_id
    where = of_meter & (STREAM_HEAD.c.stream == stream)
    query = select(STREAM_HEAD.c.hwm, STREAM_HEAD.c.last_seq).where(where)
    known = connection.execute(query).one_or_none()
    if known is not None:
        return known.hwm, known.last_seq or 0
    streams = connection.scalar(select(func.count()).select_from(STREAM_HEAD).where(of_meter)) or 0
    if streams >= STREAMS_MAX:
        raise TooManyStreamsError(f"this meter has begun {streams} streams already")
    values = {
        "meter_id": meter_id,
        "stream": stream,
        "hwm": 0,
        "first_seen_utc_s": now_utc_s,
        "ordinal": streams + 1,
    }
    connection.execute(insert(STREAM_HEAD).values(values))
    return 0, 0


def _held_lines(
    connection: Connection, meter_id: int, stream: str, first_seq: int, last_seq: int
) -> dict[int, bytes]:
    rows = connection.execute(
        select(READING.c.seq, READING.c.line).where(
            READING.c.meter_id == meter_id,
            READING.c.stream == stream,
            READING.c.seq.between(first_seq, last_seq),
        )
    )
    return {row.seq: row.line for row in rows}


@cache
def _reading_insert() -> str:
    """Compiled once and given tuples: Core's own executemany takes two to three times as long."""
    return str(insert(READING).compile(dialect=sqlite.dialect()))


def _insert(
    connection: Connection, meter_id: int, stored: Sequence[Arrival], now_utc_s: int
) -> None:
    first, *decoded_names, before_last, last = READING.c.keys()
    assert (first, before_last, last) == ("meter_id", "received_utc_s", "line")
    rows = [
        (meter_id, *_values(arrival.decoded, decoded_names), now_utc_s, arrival.line)
        for arrival in stored
    ]
    if rows:
        connection.exec_driver_sql(_reading_insert(), rows)


def _values(decoded: Reading | Invalid, names: Sequence[str]) -> list[Any]:
    assert isinstance(decoded, Reading)
    return [
        " ".join(decoded.flags) if name == "flags" else getattr(decoded, name) for name in names
    ]


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


def _advance(connection: Connection, meter_id: int, stream: str, hwm: int) -> int:
    """The highest number up to which every line is held, readings and quarantine together."""
    while True:
        numbers = [
            select(table.c.seq)
            .where(table.c.meter_id == meter_id, table.c.stream == stream, table.c.seq > hwm)
            .order_by(table.c.seq)
            .limit(SCAN_ROWS)
            .subquery()
            for table in (READING, QUARANTINE)
        ]
        both = union(*(select(number.c.seq) for number in numbers)).subquery()
        held = connection.scalars(select(both.c.seq).order_by(both.c.seq).limit(SCAN_ROWS)).all()
        before = hwm
        for seq in held:
            if seq != hwm + 1:
                return hwm
            hwm = seq
        if hwm - before < SCAN_ROWS:
            return hwm


def _epoch(connection: Connection) -> str:
    query = select(SERVER_SETTING.c.value).where(SERVER_SETTING.c.name == "epoch")
    epoch: str = connection.execute(query).scalar_one()
    return epoch
