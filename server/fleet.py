"""All meters at once: which are in touch, whose record is broken, what was put aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
)

from server.chain import UNSIGNED_TAIL_ROWS_MAX
from server.meter_commands import UNANSWERED
from server.registry import NO_AREA, InstalledMeter, UsagePoint
from server.schema import (
    ACCOUNT,
    ACCOUNT_LOGIN,
    AREA,
    CUSTOMER,
    METER,
    METER_COMMAND,
    METER_INSTALL,
    METER_KEY,
    QUARANTINE,
    READING,
    SERVICE_AGREEMENT,
    STREAM_HEAD,
    USAGE_POINT,
)

LATE_AFTER_S = 300
LATE_AFTER_INTERVALS = 3
STATES = ("online", "late", "waiting", "retired")
RECORDS = ("signed", "unsigned", "broken")


@dataclass(frozen=True, slots=True)
class Overview:
    """How many meters are how."""

    states: dict[str, int]
    broken: int
    with_quarantine: int
    quarantined: int
    waiting_commands: int
    customers: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A meter, where it hangs, and for whom; a place of dashes where it hangs nowhere."""

    meter: InstalledMeter
    customer_id: int | None
    customer: str


def meters(now_utc_s: int) -> Select[Any]:
    """One row for each meter, with its newest reading and what is to be looked at."""
    head, last = STREAM_HEAD.alias("head"), STREAM_HEAD.alias("last")
    key = METER_KEY.alias("key_now")
    return select(
        METER.c.id,
        METER.c.serial,
        _state(now_utc_s).label("state"),
        CUSTOMER.c.name.label("customer"),
        CUSTOMER.c.id.label("customer_id"),
        USAGE_POINT.c.service_number,
        func.coalesce(AREA.c.name, NO_AREA).label("area"),
        METER.c.last_seen_utc_s,
        READING.c.power_w,
        READING.c.voltage_v,
        READING.c.import_j,
        READING.c.export_j,
        _record(head).label("record"),
        key.c.fingerprint,
        _count(QUARANTINE, QUARANTINE.c.meter_id == METER.c.id).label("quarantined"),
        _count(METER_COMMAND, _waiting()).label("waiting_commands"),
    ).select_from(_joined(head, last, key))


def customers() -> Select[Any]:
    """One row for each customer, with the meters that hang at the customer's places."""
    hanging = (
        select(func.count())
        .select_from(
            METER_INSTALL.join(
                SERVICE_AGREEMENT,
                SERVICE_AGREEMENT.c.usage_point_id == METER_INSTALL.c.usage_point_id,
            ).join(ACCOUNT, ACCOUNT.c.id == SERVICE_AGREEMENT.c.account_id)
        )
        .where(
            ACCOUNT.c.customer_id == CUSTOMER.c.id,
            SERVICE_AGREEMENT.c.to_utc_s.is_(None),
            METER_INSTALL.c.to_utc_s.is_(None),
        )
        .correlate(CUSTOMER)
        .scalar_subquery()
    )
    user_name = (
        select(func.min(ACCOUNT_LOGIN.c.user_name))
        .where(ACCOUNT_LOGIN.c.customer_id == CUSTOMER.c.id)
        .correlate(CUSTOMER)
        .scalar_subquery()
    )
    return select(
        CUSTOMER.c.id,
        CUSTOMER.c.name,
        user_name.label("user_name"),
        hanging.label("meters"),
        CUSTOMER.c.created_utc_s,
    )


def overview(connection: Connection, now_utc_s: int) -> Overview:
    """Count them: one walk over the meters, two look-ups each."""
    rows = meters(now_utc_s).subquery()
    states = dict.fromkeys(STATES, 0)
    broken = with_quarantine = quarantined = waiting = 0
    grouped = select(
        rows.c.state,
        func.count().label("meters"),
        func.sum(case((rows.c.record == "broken", 1), else_=0)).label("broken"),
        func.sum(case((rows.c.quarantined > 0, 1), else_=0)).label("with_quarantine"),
        func.sum(rows.c.quarantined).label("quarantined"),
        func.sum(rows.c.waiting_commands).label("waiting"),
    ).group_by(rows.c.state)
    for row in connection.execute(grouped):
        states[row.state] = row.meters
        broken += row.broken
        with_quarantine += row.with_quarantine
        quarantined += row.quarantined
        waiting += row.waiting
    customers_held = connection.scalar(select(func.count()).select_from(CUSTOMER)) or 0
    return Overview(states, broken, with_quarantine, quarantined, waiting, customers_held)


def wanting(now_utc_s: int) -> Select[Any]:
    """The meters that somebody must look at: late, broken, or with lines put aside."""
    rows = meters(now_utc_s).subquery()
    return select(rows).where(
        or_(rows.c.state == "late", rows.c.record == "broken", rows.c.quarantined > 0)
    )


def placed(connection: Connection, serial: str) -> Placed | None:
    """A meter by its serial."""
    query = (
        select(
            METER,
            USAGE_POINT,
            CUSTOMER.c.name,
            CUSTOMER.c.id,
            func.coalesce(AREA.c.name, NO_AREA).label("area"),
        )
        .select_from(_hanging())
        .where(METER.c.serial == serial)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    place = UsagePoint("—", "-")
    if row[USAGE_POINT.c.id] is not None:
        names = ("time_zone", "nominal_v", "nominal_hz")
        place = UsagePoint(
            row[USAGE_POINT.c.service_number],
            row["area"],
            **{name: row[USAGE_POINT.c[name]] for name in names},
        )
    meter = InstalledMeter(
        row[METER.c.id], serial, row[METER.c.status], row[METER.c.last_seen_utc_s], place
    )
    return Placed(meter, row[CUSTOMER.c.id], row[CUSTOMER.c.name] or "—")


def _hanging() -> FromClause:
    now = and_(METER_INSTALL.c.meter_id == METER.c.id, METER_INSTALL.c.to_utc_s.is_(None))
    return (
        METER.outerjoin(METER_INSTALL, now)
        .outerjoin(USAGE_POINT, USAGE_POINT.c.id == METER_INSTALL.c.usage_point_id)
        .outerjoin(AREA, AREA.c.id == USAGE_POINT.c.area_id)
        .outerjoin(
            SERVICE_AGREEMENT,
            and_(
                SERVICE_AGREEMENT.c.usage_point_id == USAGE_POINT.c.id,
                SERVICE_AGREEMENT.c.to_utc_s.is_(None),
            ),
        )
        .outerjoin(ACCOUNT, ACCOUNT.c.id == SERVICE_AGREEMENT.c.account_id)
        .outerjoin(CUSTOMER, CUSTOMER.c.id == ACCOUNT.c.customer_id)
    )


def _joined(head: FromClause, last: FromClause, key: FromClause) -> FromClause:
    newest = _newest_ordinal(STREAM_HEAD.alias("newest"), literal(value=True))
    counted = STREAM_HEAD.alias("counted")
    with_readings = _newest_ordinal(counted, counted.c.last_seq.is_not(None))
    return (
        _hanging()
        .outerjoin(head, and_(head.c.meter_id == METER.c.id, head.c.ordinal == newest))
        .outerjoin(last, and_(last.c.meter_id == METER.c.id, last.c.ordinal == with_readings))
        .outerjoin(
            READING,
            and_(
                READING.c.meter_id == METER.c.id,
                READING.c.stream == last.c.stream,
                READING.c.seq == last.c.last_seq,
            ),
        )
        .outerjoin(key, and_(key.c.meter_id == METER.c.id, key.c.retired_utc_s.is_(None)))
    )


def _newest_ordinal(heads: Any, where: ColumnElement[bool]) -> Any:
    return (
        select(func.max(heads.c.ordinal))
        .where(heads.c.meter_id == METER.c.id, where)
        .correlate(METER)
        .scalar_subquery()
    )


def _state(now_utc_s: int) -> ColumnElement[str]:
    """As :func:`server.meter_page.status_of` says of one."""
    silent_s = now_utc_s - METER.c.last_seen_utc_s
    patient_s = LATE_AFTER_INTERVALS * READING.c.interval_s
    late = silent_s > case((patient_s > LATE_AFTER_S, patient_s), else_=LATE_AFTER_S)
    return case(
        (METER.c.status == "retired", "retired"),
        (METER.c.last_seen_utc_s.is_(None), "waiting"),
        (late, "late"),
        else_="online",
    )


def _record(head: Any) -> ColumnElement[str]:
    """As :func:`server.evidence.standing` says of one."""
    signed = and_(
        head.c.chain_state == "sound",
        head.c.chain_seq - head.c.checkpoint_seq <= UNSIGNED_TAIL_ROWS_MAX,
    )
    return case((head.c.chain_state == "broken", "broken"), (signed, "signed"), else_="unsigned")


def _waiting() -> ColumnElement[bool]:
    return and_(METER_COMMAND.c.meter_id == METER.c.id, METER_COMMAND.c.state.in_(UNANSWERED))


def _count(table: FromClause, where: ColumnElement[bool]) -> Any:
    counted = select(func.count()).select_from(table).where(where)
    return counted.correlate(METER).scalar_subquery()
