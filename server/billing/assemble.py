"""What a bill rests on, gathered: registers, credits, the year's mean, the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from msgspec import structs
from sqlalchemy import Connection

from meterd_tariff.bill import Bill, DacState, Inputs, Segment, compute
from meterd_tariff.charges import Kind, Line, dac_holds
from meterd_tariff.seasons import Period
from server import ledger
from server.billing import bills, hourly
from server.billing.agreements import Agreement, bounds_utc_s
from server.billing.registers import segments
from server.errors import NotBillableError
from server.tariff_files import TariffFile, named

DAC = "DAC"
DUE_DAYS = 10
YEAR_DAYS_SLACK = 5
"""Bimonthly periods drift: a year of bills may begin these days after the anniversary."""
SINCE_KINDS: tuple[Kind, ...] = ("deposit", "payment", "correction")
NAMES: dict[str, str] = {
    "previous": "adeudo anterior",
    "deposit": "depósito en garantía",
    "payment": "su pago",
    "correction": "corrección",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A bill that is not closed, and the tariff's file that it was computed with."""

    bill: Bill
    tariff: TariffFile


def draft(
    connection: Connection,
    agreement: Agreement,
    period: Period,
    tariffs: Mapping[str, TariffFile],
    now_utc_s: int,
    counted: Sequence[Segment] | None = None,
) -> Draft:
    """The bill of a period as it would be closed now; ``counted`` takes the registers' place.

    Raises:
        NotBillableError: readings are missing or in doubt, or the agreement names no tariff.
        TariffError: a price is missing, or the agreement does not fit its tariff.
    """
    if agreement.tariff_code is None:
        raise NotBillableError("the agreement names no tariff")
    before = bills.last_of(connection, agreement)
    dac = _dac(connection, agreement, period, tariffs, before)
    tariff = named(dict(tariffs), DAC if dac is not None and dac.holds else agreement.tariff_code)
    start_utc_s, end_utc_s = bounds_utc_s(agreement, period)
    if counted is None:
        counted = segments(connection, agreement.usage_point_id, start_utc_s, end_utc_s)
        counted = _continued(counted, before)
    issued_on = datetime.fromtimestamp(now_utc_s, UTC).astimezone(agreement.zone).date()
    inputs = Inputs(
        number=f"{agreement.account}-{agreement.agreement_id}-{period.end:%Y%m%d}",
        account=agreement.account,
        customer=agreement.customer,
        service_number=agreement.service_number,
        time_zone=agreement.zone.key,
        tariff=tariff.tariff.code,
        tariff_version=tariff.version,
        period=period,
        start_utc_s=start_utc_s,
        end_utc_s=end_utc_s,
        terms=agreement.terms,
        regime=agreement.regime,
        expired_lots=agreement.expired_lots,
        segments=tuple(counted),
        issued_on=issued_on,
        due_on=issued_on + timedelta(days=DUE_DAYS),
        cutoff_from=issued_on + timedelta(days=DUE_DAYS + 1),
        lots=() if before is None else before.bill.result.lots,
        account_lines=_account_lines(connection, agreement, before),
        dac=dac,
    )
    inputs = _with_hours(connection, agreement, tariff, inputs)
    return Draft(compute(inputs, tariff.content), tariff)


def _continued(
    counted: tuple[Segment, ...], before: bills.ClosedBill | None
) -> tuple[Segment, ...]:
    """A period begins at the reading that the one before ended at: nothing falls between two."""
    if before is None:
        return counted
    last, first = before.bill.inputs.segments[-1], counted[0]
    if last.meter != first.meter or last.closing == first.opening:
        return counted
    if last.closing.import_j > first.opening.import_j:
        raise NotBillableError(
            "readings that came late changed where the last period ended: see what it was billed"
        )
    return (structs.replace(first, opening=last.closing), *counted[1:])


def _with_hours(
    connection: Connection, agreement: Agreement, tariff: TariffFile, inputs: Inputs
) -> Inputs:
    node, regime = agreement.price_node, agreement.regime
    if regime == "medicion_neta":
        price = hourly.mean_price(connection, node, inputs.start_utc_s, inputs.end_utc_s)
        return structs.replace(inputs, pml_millicents=price)
    sells = regime in ("facturacion_neta", "venta_total")
    if not tariff.tariff.hours and not sells:
        return inputs
    hours = hourly.by_hours(connection, inputs.segments, tariff.tariff.register_step_wh)
    if tariff.tariff.hours:
        parts = hourly.time_of_use(tariff.tariff, agreement.terms, agreement.zone, hours)
        inputs = structs.replace(inputs, hours=parts)
    if sells and all(row.export is None for row in tariff.tariff.prices):
        exports = hourly.priced_exports(connection, node, hours)
        inputs = structs.replace(inputs, export_hours=tuple(exports))
    return inputs


def _dac(
    connection: Connection,
    agreement: Agreement,
    period: Period,
    tariffs: Mapping[str, TariffFile],
    before: bills.ClosedBill | None,
) -> DacState | None:
    """Whether the tariff for high consumption holds, by the bills of the year before."""
    assert agreement.tariff_code is not None
    above = named(dict(tariffs), agreement.tariff_code).tariff.dac_above_kwh_month
    if above is None:
        return None
    earlier = None if before is None else before.bill.inputs.dac
    held = earlier is not None and earlier.holds
    year_ago = _year_before(period.start)
    year = [
        row
        for row in bills.of_agreement(connection, agreement)
        if date.fromisoformat(row.end_date) > year_ago
    ]
    first = min((date.fromisoformat(row.start_date) for row in year), default=None)
    if first is None or first > year_ago + timedelta(days=YEAR_DAYS_SLACK):
        return DacState(agreement.tariff_code, above, held, held, None)
    twelve_months_j = sum(row.billed_j for row in year)
    holds = dac_holds(held, twelve_months_j, above)
    return DacState(agreement.tariff_code, above, held, holds, twelve_months_j)


def _year_before(day: date) -> date:
    return date(day.year - 1, day.month, min(day.day, 28) if day.month == 2 else day.day)


def _account_lines(
    connection: Connection, agreement: Agreement, before: bills.ClosedBill | None
) -> tuple[Line, ...]:
    """What stood on the account after the last bill, and what was booked since."""
    since = 0 if before is None else before.ledger_ordinal
    booked = ledger.statement(connection, agreement.account_id, since)
    owed = ledger.balance_cents(connection, agreement.account_id)
    lines = [
        Line(kind, NAMES[kind], sum(entry.cents for entry in booked if entry.kind == kind))
        for kind in SINCE_KINDS
    ]
    previous = owed - sum(line.cents for line in lines)
    return tuple(
        line
        for line in (*lines[:1], Line("previous", NAMES["previous"], previous), *lines[1:])
        if line.cents
    )
