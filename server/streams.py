"""How far a stream is held, and whether what is held is the meter's: STREAM_HEAD.

Both go on from where they stood: a request costs what it brings, however long the stream is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Row,
    func,
    insert,
    null,
    select,
    union_all,
    update,
)

from server import chain, meter_keys, wire
from server.chain import Chain, Link
from server.schema import QUARANTINE, READING, RECORD_ROW, STREAM_HEAD

LOG = logging.getLogger(__name__)
STREAMS_MAX = 1000
SCAN_ROWS = 2000
CHAIN_ROWS_MAX = 20_000
"""Rows hashed in one request. Where a line fills an old hole the rest follows in the next ones."""
MISSING_PAIRS_MAX = 16
MISSING_SCAN_ROWS = 20_000


class TooManyStreamsError(Exception):
    """A meter began more streams than any life of SD cards explains: an operator must look."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Whose stream: the key of its rows and the name that its chain begins with."""

    meter_id: int
    serial: str


@dataclass(frozen=True, slots=True)
class Held:
    """What the server holds of a stream."""

    hwm: int
    last_seq: int  # the highest reading, 0 for none
    chain: Chain
    missing: list[tuple[int, int]]

    @property
    def head(self) -> str | None:
        """The chain's hash at ``hwm``; None where quarantine or a broken chain stands before it."""
        whole = self.chain.seq == self.hwm and self.chain.state != "broken"
        return self.chain.hash.hex() if whole else None


def held(connection: Connection, meter: Meter, stream: str) -> Held:
    """The state of a stream; that of an empty one if it is not known."""
    row = _row(connection, meter, stream)
    if row is None:
        return Held(0, 0, Chain(0, chain.genesis(meter.serial, stream)), [])
    found = _held(row, meter, stream)
    return replace(found, missing=_missing(connection, meter, stream, found.hwm))


def begin(connection: Connection, meter: Meter, stream: str, now_utc_s: int) -> Held:
    """The state of a stream, which is made known if it is new; ``missing`` is not looked for.

    Raises:
        TooManyStreamsError: this would be the meter's stream number 1001.
    """
    row = _row(connection, meter, stream)
    if row is not None:
        return _held(row, meter, stream)
    of_meter = STREAM_HEAD.c.meter_id == meter.meter_id
    streams = connection.scalar(select(func.count()).select_from(STREAM_HEAD).where(of_meter)) or 0
    if streams >= STREAMS_MAX:
        raise TooManyStreamsError(f"this meter has begun {streams} streams already")
    values = {
        "meter_id": meter.meter_id,
        "stream": stream,
        "hwm": 0,
        "first_seen_utc_s": now_utc_s,
        "ordinal": streams + 1,
    }
    connection.execute(insert(STREAM_HEAD).values(values))
    return Held(0, 0, Chain(0, chain.genesis(meter.serial, stream)), [])


def advance(
    connection: Connection,
    meter: Meter,
    stream: str,
    before: Held,
    newest_reading_seq: int,
    now_utc_s: int,
) -> Held:
    """Follow the rows that are held now: mark, chain, keys; stored in the caller's transaction."""
    hwm, more = _advanced_mark(connection, meter, stream, before.hwm)
    links = _links(connection, meter, stream, before.chain.seq)
    after = before.chain
    if links:
        keys = meter_keys.enrolled(connection, meter.meter_id)
        after, known = chain.follow(after, links, keys, meter=meter.serial, now_utc_s=now_utc_s)
        meter_keys.keep(connection, meter.meter_id, keys, known)
    if after.state == "broken" and before.chain.state != "broken":
        LOG.error(
            "ALARM: meter %s stream %s is broken at row %s: %s; its rows are kept as evidence",
            *(meter.serial, stream, after.broken_seq, after.reason),
        )
    now = Held(
        hwm,
        max(before.last_seq, newest_reading_seq),
        after,
        _missing(connection, meter, stream, hwm) if more else [],
    )
    _store(connection, meter, stream, now)
    return now


def _row(connection: Connection, meter: Meter, stream: str) -> Row[Any] | None:
    where = (STREAM_HEAD.c.meter_id == meter.meter_id) & (STREAM_HEAD.c.stream == stream)
    return connection.execute(select(STREAM_HEAD).where(where)).one_or_none()


def _held(row: Row[Any], meter: Meter, stream: str) -> Held:
    registers = None if row.chain_import_j is None else (row.chain_import_j, row.chain_export_j)
    known = Chain(
        row.chain_seq,
        row.chain_hash or chain.genesis(meter.serial, stream),
        row.chain_state,
        row.chain_reason,
        row.chain_broken_seq,
        row.checkpoint_seq,
        row.key_fingerprint,
        registers,
    )
    return Held(row.hwm, row.last_seq or 0, known, [])


def _store(connection: Connection, meter: Meter, stream: str, now: Held) -> None:
    import_j, export_j = now.chain.registers or (None, None)
    where = (STREAM_HEAD.c.meter_id == meter.meter_id) & (STREAM_HEAD.c.stream == stream)
    connection.execute(
        update(STREAM_HEAD)
        .where(where)
        .values(
            hwm=now.hwm,
            last_seq=now.last_seq or None,
            chain_seq=now.chain.seq,
            chain_hash=now.chain.hash,
            chain_state=now.chain.state,
            chain_reason=now.chain.reason,
            chain_broken_seq=now.chain.broken_seq,
            chain_import_j=import_j,
            chain_export_j=export_j,
            checkpoint_seq=now.chain.checkpoint_seq,
            key_fingerprint=now.chain.key,
        )
    )


def _numbers(meter: Meter, stream: str, hwm: int, limit: int) -> CompoundSelect[Any]:
    """The numbers above the mark, of whatever is held under them, in order."""
    numbers = [
        select(table.c.seq).where(
            table.c.meter_id == meter.meter_id, table.c.stream == stream, table.c.seq > hwm
        )
        for table in (READING, RECORD_ROW, QUARANTINE)
    ]
    return union_all(*numbers).order_by("seq").limit(limit)


def _advanced_mark(connection: Connection, meter: Meter, stream: str, hwm: int) -> tuple[int, bool]:
    """The highest number up to which every line is held, and whether later ones are held too."""
    while True:
        before = hwm
        for seq in connection.scalars(_numbers(meter, stream, hwm, SCAN_ROWS)):
            if seq > hwm + 1:
                return hwm, True
            hwm = seq
        if hwm == before:
            return hwm, False


def _missing(connection: Connection, meter: Meter, stream: str, hwm: int) -> list[tuple[int, int]]:
    """The first gaps among the numbers above the mark."""
    numbers = _numbers(meter, stream, hwm, MISSING_SCAN_ROWS).subquery()
    before = func.lag(numbers.c.seq, 1, hwm).over(order_by=numbers.c.seq).label("before")
    pairs = select(numbers.c.seq, before).subquery()
    gaps = (
        select(pairs.c.before, pairs.c.seq)
        .where(pairs.c.seq > pairs.c.before + 1)
        .limit(MISSING_PAIRS_MAX)
    )
    return [(row.before + 1, row.seq - 1) for row in connection.execute(gaps)]


def _links(connection: Connection, meter: Meter, stream: str, after_seq: int) -> list[Link]:
    """The stored rows that follow on ``after_seq`` without a gap, as the chain sees them."""
    columns = ("seq", "line")
    of_reading = select(
        *(READING.c[name] for name in columns),
        READING.c.import_j,
        READING.c.export_j,
        null().label("kind"),
    )
    of_record = select(*(RECORD_ROW.c[name] for name in columns), null(), null(), RECORD_ROW.c.kind)
    both = [
        query.where(
            table.c.meter_id == meter.meter_id,
            table.c.stream == stream,
            table.c.seq > after_seq,
            table.c.seq <= after_seq + CHAIN_ROWS_MAX,
        )
        for table, query in ((READING, of_reading), (RECORD_ROW, of_record))
    ]
    found = connection.execute(union_all(*both).order_by("seq")).all()
    return _without_gap(found, after_seq)


def _without_gap(rows: Sequence[Row[Any]], after_seq: int) -> list[Link]:
    links = []
    for expected, row in enumerate(rows, after_seq + 1):
        if row.seq != expected:
            break
        links.append(_link(row))
    return links


def _link(row: Row[Any]) -> Link:
    if row.kind is None:
        return Link(row.seq, row.line, (row.import_j, row.export_j))
    if row.kind == "checkpoint":
        checkpoint = wire.CHECKPOINT_DECODER.decode(row.line)
        return Link(row.seq, row.line, (checkpoint.import_j, checkpoint.export_j), checkpoint)
    if row.kind == "event":
        return Link(row.seq, row.line, None, wire.EVENT_DECODER.decode(row.line))
    return Link(row.seq, row.line)
