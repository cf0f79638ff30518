"""What a person decides about an exception: accept, estimate, or edit with a reason."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, select

from server.errors import AlreadyExistsError, NotFoundError, SettingError
from server.schema import (
    EXCEPTION_RESOLUTION,
    METER,
    STREAM_HEAD,
    VALIDATION_EXCEPTION,
)
from server.validation import due, exceptions, store, work
from server.validation.chain import REFERENCE_S
from server.validation.registers import registers_at
from server.validation.rules import SLOT_S

Method = Literal["linear", "reference_day"]
REASON_CHARACTERS_MAX = 500
COVERAGE_MIN = 0.9


def accept(
    connection: Connection, serial: str, ordinal: int, *, reason: str, who: str, now_utc_s: int
) -> None:
    """The readings are good as they are.

    Raises:
        NotFoundError: no such exception.
        AlreadyExistsError: it is not open.
        SettingError: no reason.
    """
    found = _open(connection, serial, ordinal, reason, who)
    exceptions.decide(connection, found.meter_id, ordinal, "accepted", reason, now_utc_s, who=who)
    _again(connection, found, now_utc_s)


def edit(
    connection: Connection,
    serial: str,
    ordinal: int,
    *,
    import_j: int,
    export_j: int,
    reason: str,
    who: str,
    now_utc_s: int,
) -> None:
    """That time counts this energy.

    Raises:
        NotFoundError: no such exception.
        AlreadyExistsError: it is not open.
        SettingError: no reason, a negative energy, or an exception that has no energy of its own.
    """
    found = _open(connection, serial, ordinal, reason, who)
    if min(import_j, export_j) < 0:
        raise SettingError("energy is counted in two registers: neither is below zero")
    if found.rule in ("zero", "inactive", "duplicate_interval"):
        raise SettingError(f"{found.rule} can be accepted only: the registers around it are known")
    exceptions.decide(
        connection,
        found.meter_id,
        ordinal,
        "edited",
        reason,
        now_utc_s,
        who=who,
        import_j=import_j,
        export_j=export_j,
    )
    _again(connection, found, now_utc_s)


def estimate(
    connection: Connection,
    serial: str,
    ordinal: int,
    *,
    method: Method,
    reason: str,
    who: str,
    now_utc_s: int,
) -> None:
    """Estimate that time: a gap keeps its energy and gets a shape, other failures get energy.

    ``linear`` spreads what the registers say evenly; ``reference_day`` follows the same weekday a
    week earlier.

    Raises:
        NotFoundError: no such exception.
        AlreadyExistsError: it is not open.
        SettingError: no reason, or that time cannot be estimated so.
    """
    found = _open(connection, serial, ordinal, reason, who)
    energy: tuple[int, int] | None = None
    if found.rule == "gap":
        if method == "reference_day":
            _require_reference(connection, found)
    elif method == "linear" or found.rule not in ("jump", "register_decrease", "sum_mismatch"):
        raise SettingError(
            f"{found.rule} cannot be estimated by {method}: accept it, or edit it with its energy"
        )
    else:
        energy = _energy_before(connection, found)
    exceptions.decide(
        connection,
        found.meter_id,
        ordinal,
        "estimated",
        reason,
        now_utc_s,
        who=who,
        method=method,
        import_j=None if energy is None else energy[0],
        export_j=None if energy is None else energy[1],
    )
    _again(connection, found, now_utc_s)


def _open(connection: Connection, serial: str, ordinal: int, reason: str, who: str) -> Row[Any]:
    for what, text in (("a reason", reason), ("the name of who decides", who)):
        if not text.strip() or len(text) > REASON_CHARACTERS_MAX or not text.isprintable():
            raise SettingError(f"{what} is 1 to {REASON_CHARACTERS_MAX} printable characters")
    query = (
        select(VALIDATION_EXCEPTION, EXCEPTION_RESOLUTION.c.who)
        .join(METER, METER.c.id == VALIDATION_EXCEPTION.c.meter_id)
        .outerjoin(
            EXCEPTION_RESOLUTION,
            and_(
                EXCEPTION_RESOLUTION.c.meter_id == VALIDATION_EXCEPTION.c.meter_id,
                EXCEPTION_RESOLUTION.c.ordinal == VALIDATION_EXCEPTION.c.ordinal,
            ),
        )
        .where(METER.c.serial == serial, VALIDATION_EXCEPTION.c.ordinal == ordinal)
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        raise NotFoundError(f"meter {serial!r} has no exception {ordinal}")
    if found.resolved_utc_s is not None:
        raise AlreadyExistsError(f"exception {ordinal} of {serial} was decided by {found.who}")
    return found


def _require_reference(connection: Connection, found: Row[Any]) -> None:
    length_s = found.to_utc_s - found.from_utc_s
    reference = store.reference_day(
        connection, found.meter_id, found.from_utc_s, found.to_utc_s, REFERENCE_S
    )
    if length_s > REFERENCE_S or len(reference) * SLOT_S < COVERAGE_MIN * length_s:
        raise SettingError("the week before is not covered by intervals: estimate it linear")


def _energy_before(connection: Connection, found: Row[Any]) -> tuple[int, int]:
    """What was counted in the same time a week earlier."""
    first, last = (
        registers_at(connection, found.usage_point_id, moment - REFERENCE_S)
        for moment in (found.from_utc_s, found.to_utc_s)
    )
    if first is None or last is None:
        raise SettingError("there are no readings a week earlier: edit it with its energy")
    return last.import_j - first.import_j, last.export_j - first.export_j


def _again(connection: Connection, found: Row[Any], now_utc_s: int) -> None:
    """Make the intervals anew that the decision changes."""
    stream, seq = found.stream, found.seq
    if stream == "":  # read by hand, or a week: its newest reading leads there
        stream, seq = _newest(connection, found.meter_id)
    due.mark(connection, found.meter_id, stream, seq, seq)
    work.meter(connection, found.meter_id, now_utc_s)


def _newest(connection: Connection, meter_id: int) -> tuple[str, int]:
    query = (
        select(STREAM_HEAD.c.stream, STREAM_HEAD.c.last_seq)
        .where(STREAM_HEAD.c.meter_id == meter_id, STREAM_HEAD.c.last_seq.is_not(None))
        .order_by(STREAM_HEAD.c.ordinal.desc())
        .limit(1)
    )
    row = connection.execute(query).one()
    return row[0], row[1]
