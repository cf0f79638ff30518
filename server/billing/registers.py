"""The registers at the ends of a period: of each meter that hung at the usage point in it.

Energy is the difference of two readings of one meter, the last ones dated at or before the two
boundaries; a stream that ended in between changes nothing, for the registers go on in the next.
What validation has not settled is not billed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, exists, func, literal, or_, select

from meterd_tariff.bill import RegisterReading, Segment
from server.errors import NotBillableError
from server.schema import (
    METER,
    METER_INSTALL,
    READING,
    READING_DATE,
    REGISTER_OFFSET,
    STREAM_HEAD,
    VALIDATION_DUE,
    VALIDATION_EXCEPTION,
)

STALE_S = 24 * 3600
"""A reading that is older than this does not stand for a boundary."""


def segments(
    connection: Connection, usage_point_id: int, start_utc_s: int, end_utc_s: int
) -> tuple[Segment, ...]:
    """What the meters counted between two moments, in the order in which they hung there.

    Raises:
        NotBillableError: a reading is missing or in doubt, or no meter hung there.
    """
    _require_validated(connection, usage_point_id, start_utc_s, end_utc_s)
    query = (
        select(METER_INSTALL, METER.c.serial)
        .join(METER, METER.c.id == METER_INSTALL.c.meter_id)
        .where(
            METER_INSTALL.c.usage_point_id == usage_point_id,
            METER_INSTALL.c.from_utc_s < end_utc_s,
            or_(METER_INSTALL.c.to_utc_s.is_(None), METER_INSTALL.c.to_utc_s > start_utc_s),
        )
        .order_by(METER_INSTALL.c.from_utc_s)
    )
    installs = connection.execute(query).mappings().all()
    if not installs:
        raise NotBillableError("no meter hung there in the period")
    return tuple(_segment(connection, row, start_utc_s, end_utc_s) for row in installs)


def reading_at(
    connection: Connection, meter_id: int, utc_s: int, *, stale_s: int = STALE_S
) -> RegisterReading | None:
    """The last reading dated at or before a moment, if it is not too old to stand for it."""
    return _end_of(connection, meter_id, utc_s - stale_s, utc_s, last=True)


def first_reading(
    connection: Connection, meter_id: int, after_utc_s: int, until_utc_s: int
) -> RegisterReading | None:
    """The first reading dated behind a moment."""
    return _end_of(connection, meter_id, after_utc_s, until_utc_s, last=False)


def _end_of(
    connection: Connection, meter_id: int, after_utc_s: int, until_utc_s: int, *, last: bool
) -> RegisterReading | None:
    """The last or first reading dated in ``(after, until]``; of two dated alike, by count."""
    same = (
        (READING_DATE.c.meter_id == READING.c.meter_id)
        & (READING_DATE.c.stream == READING.c.stream)
        & (READING_DATE.c.seq == READING.c.seq)
    )
    by_meter = _select(READING.c.end_utc_s, READING.c.clock).where(
        READING.c.end_utc_s > after_utc_s,
        READING.c.end_utc_s <= until_utc_s,
        READING.c.clock != "unknown",
        ~exists().where(same),
    )
    by_anchor = (
        _select(READING_DATE.c.dated_utc_s, literal("anchored"))
        .join(READING_DATE, same)
        .where(
            READING_DATE.c.meter_id == meter_id,
            READING_DATE.c.dated_utc_s > after_utc_s,
            READING_DATE.c.dated_utc_s <= until_utc_s,
        )
    )
    found: list[Any] = []
    for query in (by_meter, by_anchor):
        order = [query.selected_columns[name] for name in ("utc_s", "ordinal", "seq")]
        ordered = query.where(READING.c.meter_id == meter_id).order_by(
            *(column.desc() if last else column.asc() for column in order)
        )
        found += connection.execute(ordered.limit(1)).all()
    if not found:
        return None
    row = (max if last else min)(found, key=lambda row: (row.utc_s, row.ordinal, row.seq))
    return RegisterReading(
        row.stream,
        row.seq,
        sha256(row.line).hexdigest(),
        row.utc_s,
        row.date_from,
        row.import_j,
        row.export_j,
    )


def _select(utc_s: Any, clock: Any) -> Any:
    return select(
        READING.c.stream,
        READING.c.seq,
        READING.c.line,
        READING.c.import_j,
        READING.c.export_j,
        utc_s.label("utc_s"),
        clock.label("date_from"),
        STREAM_HEAD.c.ordinal,
    ).join(
        STREAM_HEAD,
        (STREAM_HEAD.c.meter_id == READING.c.meter_id) & (STREAM_HEAD.c.stream == READING.c.stream),
    )


def _segment(connection: Connection, install: Any, start_utc_s: int, end_utc_s: int) -> Segment:
    opening = _opening(connection, install, start_utc_s, end_utc_s)
    closing = _closing(connection, install, end_utc_s)
    if opening.stream and closing.stream:
        _require_sound(connection, install, opening, closing)
    before = (0, 0)  # what a person read when it was hung up comes before all decisions
    if opening.stream:
        before = _offset(connection, install["meter_id"], opening)
    after = _offset(connection, install["meter_id"], closing)
    return Segment(install["serial"], opening, closing, after[0] - before[0], after[1] - before[1])


def _opening(
    connection: Connection, install: Any, start_utc_s: int, end_utc_s: int
) -> RegisterReading:
    meter_id, hung_utc_s = install["meter_id"], install["from_utc_s"]
    if hung_utc_s >= start_utc_s and install["start_import_j"] is not None:
        return _by_hand(hung_utc_s, install["start_import_j"], install["start_export_j"])
    found = reading_at(connection, meter_id, start_utc_s)
    if found is None and hung_utc_s >= start_utc_s - STALE_S:
        found = first_reading(connection, meter_id, max(start_utc_s, hung_utc_s), end_utc_s)
    if found is None:
        raise NotBillableError(
            f"meter {install['serial']} has no reading of the day before the period begins"
        )
    return found


def _closing(connection: Connection, install: Any, end_utc_s: int) -> RegisterReading:
    down_utc_s = install["to_utc_s"]
    if down_utc_s is None or down_utc_s > end_utc_s:
        found = reading_at(connection, install["meter_id"], end_utc_s)
    elif install["final_stream"] is None and install["final_import_j"] is not None:
        return _by_hand(down_utc_s, install["final_import_j"], install["final_export_j"])
    else:
        found = reading_at(connection, install["meter_id"], down_utc_s)
    if found is None:
        raise NotBillableError(
            f"meter {install['serial']} has no reading of the last day of the period"
        )
    return found


def _by_hand(utc_s: int, import_j: int, export_j: int) -> RegisterReading:
    return RegisterReading("", 0, "", utc_s, "by hand", import_j, export_j)


def _require_sound(
    connection: Connection, install: Any, opening: RegisterReading, closing: RegisterReading
) -> None:
    """Nothing between the two readings may be known to be false."""
    of_meter = STREAM_HEAD.c.meter_id == install["meter_id"]
    ordinals = {
        row.stream: row.ordinal
        for row in connection.execute(
            select(STREAM_HEAD.c.stream, STREAM_HEAD.c.ordinal).where(of_meter)
        )
    }
    first, last = ordinals[opening.stream], ordinals[closing.stream]
    if (first, opening.seq) > (last, closing.seq):
        raise NotBillableError(
            f"meter {install['serial']}: the dates of its readings run backwards in the period"
        )
    broken = select(STREAM_HEAD.c.chain_reason).where(
        of_meter, STREAM_HEAD.c.ordinal.between(first, last), STREAM_HEAD.c.chain_state == "broken"
    )
    reason = connection.execute(broken).first()
    if reason is not None:
        raise NotBillableError(
            f"the signed record of meter {install['serial']} is broken: {reason[0]}"
        )


def _offset(connection: Connection, meter_id: int, reading: RegisterReading) -> tuple[int, int]:
    """What decisions add to the registers up to a reading: each row adds, from its reading on.

    A register that a person read at the end of an install comes after all of them.
    """
    table = REGISTER_OFFSET.c
    query = (
        select(
            func.coalesce(func.sum(table.import_j), 0), func.coalesce(func.sum(table.export_j), 0)
        )
        # Outer: a decision about a register read by hand belongs to no stream.
        .outerjoin(
            STREAM_HEAD,
            (STREAM_HEAD.c.meter_id == table.meter_id) & (STREAM_HEAD.c.stream == table.stream),
        )
        .where(table.meter_id == meter_id)
    )
    if reading.stream:
        ordinal = (
            select(STREAM_HEAD.c.ordinal)
            .where(STREAM_HEAD.c.meter_id == meter_id, STREAM_HEAD.c.stream == reading.stream)
            .scalar_subquery()
        )
        here = (table.stream == reading.stream) & (table.seq <= reading.seq)
        query = query.where(or_(STREAM_HEAD.c.ordinal < ordinal, here))
    row = connection.execute(query).one()
    return int(row[0]), int(row[1])


def _require_validated(
    connection: Connection, usage_point_id: int, start_utc_s: int, end_utc_s: int
) -> None:
    open_ones = select(VALIDATION_EXCEPTION.c.reason).where(
        VALIDATION_EXCEPTION.c.usage_point_id == usage_point_id,
        VALIDATION_EXCEPTION.c.resolved_utc_s.is_(None),
        VALIDATION_EXCEPTION.c.from_utc_s < end_utc_s,
        VALIDATION_EXCEPTION.c.to_utc_s > start_utc_s,
    )
    reason = connection.scalar(open_ones.limit(1))
    if reason is not None:
        raise NotBillableError(f"an exception of validation is open: {reason}")
    due = (
        select(VALIDATION_DUE.c.meter_id)
        .join(METER_INSTALL, METER_INSTALL.c.meter_id == VALIDATION_DUE.c.meter_id)
        .where(METER_INSTALL.c.usage_point_id == usage_point_id)
    )
    if connection.scalar(due.limit(1)) is not None:
        raise NotBillableError("readings wait to be validated")
