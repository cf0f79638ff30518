"""Agreements as billing reads them, and the periods that follow from their cycles."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from meterd_tariff.charges import Dap, Terms
from meterd_tariff.netting import ExpiredLots, Regime
from meterd_tariff.seasons import Cycle, Period
from server.schema import ACCOUNT, BILLING_TERMS, CUSTOMER, SERVICE_AGREEMENT, USAGE_POINT

MONTHS: dict[Cycle, int] = {"monthly": 1, "bimonthly": 2}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Who is billed where, and how."""

    agreement_id: int
    account_id: int
    account: str
    customer_id: int
    customer: str
    usage_point_id: int
    service_number: str
    zone: ZoneInfo
    tariff_code: str | None
    regime: Regime
    cycle: Cycle
    cycle_days: int | None
    anchor: date
    from_utc_s: int
    to_utc_s: int | None
    terms: Terms
    expired_lots: ExpiredLots
    price_node: str | None


def agreements(connection: Connection, account: str | None = None) -> list[Agreement]:
    """Every agreement, ended ones too, or those of one account; in the order they were made."""
    query = (
        select(
            SERVICE_AGREEMENT,
            ACCOUNT.c.number.label("account"),
            CUSTOMER.c.id.label("customer_id"),
            CUSTOMER.c.name.label("customer"),
            USAGE_POINT.c.service_number,
            USAGE_POINT.c.time_zone,
            BILLING_TERMS.c.region,
            BILLING_TERMS.c.price_node,
            BILLING_TERMS.c.expired_lots,
        )
        .join(ACCOUNT, ACCOUNT.c.id == SERVICE_AGREEMENT.c.account_id)
        .join(CUSTOMER, CUSTOMER.c.id == ACCOUNT.c.customer_id)
        .join(USAGE_POINT, USAGE_POINT.c.id == SERVICE_AGREEMENT.c.usage_point_id)
        .outerjoin(BILLING_TERMS, BILLING_TERMS.c.agreement_id == SERVICE_AGREEMENT.c.id)
        .order_by(SERVICE_AGREEMENT.c.id)
    )
    if account is not None:
        query = query.where(ACCOUNT.c.number == account)
    return [_agreement(row) for row in connection.execute(query).mappings()]


def account_named(connection: Connection, number: str) -> int | None:
    """The id of an account; None where there is none."""
    query = select(ACCOUNT.c.id).where(ACCOUNT.c.number == number)
    account_id: int | None = connection.scalar(query)
    return account_id


def period_from(agreement: Agreement, start: date) -> Period:
    """The period that begins on a day; the last one ends with the agreement.

    Months are counted from the anchor, so that one which began on the 31st comes back to it.
    """
    if agreement.cycle == "custom":
        assert agreement.cycle_days is not None
        end = start + timedelta(days=agreement.cycle_days)
    else:
        end = _after_months(agreement.anchor, start, MONTHS[agreement.cycle])
    last = last_day(agreement)
    if last is not None and last < end:
        return Period(start, max(last, start + timedelta(days=1)), "custom")
    return Period(start, end, agreement.cycle)


def last_day(agreement: Agreement) -> date | None:
    """The local day on which the agreement ended; None while it is in force."""
    if agreement.to_utc_s is None:
        return None
    return datetime.fromtimestamp(agreement.to_utc_s, UTC).astimezone(agreement.zone).date()


def bounds_utc_s(agreement: Agreement, period: Period) -> tuple[int, int]:
    """Where a period begins and ends: local midnights, but no further than the agreement."""
    start_utc_s = midnight_utc_s(period.start, agreement.zone)
    end_utc_s = midnight_utc_s(period.end, agreement.zone)
    start_utc_s = max(start_utc_s, agreement.from_utc_s)
    if agreement.to_utc_s is not None and last_day(agreement) in (period.end, period.start):
        end_utc_s = agreement.to_utc_s
    return start_utc_s, end_utc_s


def midnight_utc_s(day: date, zone: ZoneInfo) -> int:
    """When a local day begins. Where a change of the clock skips midnight, just after the gap."""
    return int(datetime.combine(day, time(0), zone).timestamp())


def _after_months(anchor: date, start: date, months: int) -> date:
    """So many months on, on the anchor's day, or the month's last."""
    count = start.year * 12 + start.month - 1 + months
    year, month = count // 12, count % 12 + 1
    return date(year, month, min(anchor.day, monthrange(year, month)[1]))


def _agreement(row: Any) -> Agreement:
    dap = None
    if row["dap_bp"] is not None or row["dap_centavos"] is not None:
        dap = Dap(row["dap_bp"], row["dap_centavos"])
    return Agreement(
        agreement_id=row["id"],
        account_id=row["account_id"],
        account=row["account"],
        customer_id=row["customer_id"],
        customer=row["customer"],
        usage_point_id=row["usage_point_id"],
        service_number=row["service_number"],
        zone=ZoneInfo(row["time_zone"]),
        tariff_code=row["tariff_code"],
        regime=row["regime"],
        cycle=row["cycle"],
        cycle_days=row["cycle_days"],
        anchor=date.fromisoformat(row["anchor_date"]),
        from_utc_s=row["from_utc_s"],
        to_utc_s=row["to_utc_s"],
        terms=Terms(row["summer_start_month"], row["region"], row["iva_bp"], dap),
        expired_lots=row["expired_lots"] or "paid",
        price_node=row["price_node"],
    )
