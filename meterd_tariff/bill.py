"""One bill: what it rests on, frozen, and what follows from it; the same bytes each time.

``compute`` makes the result from the inputs and the tariff alone. The text of a bill is both,
encoded in one way: whoever has the inputs and the tariff's file can make the same text again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

import msgspec

from meterd_tariff.charges import (
    TAXED,
    HoursEnergy,
    Kind,
    Line,
    Terms,
    charges,
    dac_holds,
    total_cents,
)
from meterd_tariff.errors import TariffError
from meterd_tariff.netting import (
    ExpiredLots,
    HourExport,
    Lot,
    Regime,
    Used,
    expired_lines,
    export_line,
    fixed_export_line,
    net,
)
from meterd_tariff.seasons import Period, fractions, price_month
from meterd_tariff.tariff import Tariff, decode, export_price, version
from meterd_tariff.units import JOULES_PER_WH

FORMAT = "meterd-bill/1"
PERIOD_LINES: tuple[Kind, ...] = (*TAXED, "tax", "dap", "export_credit", "lot_expired")
ACCOUNT_LINES: tuple[Kind, ...] = ("previous", "deposit", "payment", "correction")
Register = Annotated[int, msgspec.Meta(ge=0)]


class RegisterReading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a meter's record, by its place and its bytes, and the registers it tells.

    Where a person read the meter there is no row: no stream, number 0 and no hash.
    """

    stream: str
    seq: int
    line_sha256: str
    utc_s: int
    clock: str  # how sure the date is, in the row's words; "anchored": derived from an anchor
    import_j: Register
    export_j: Register


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one meter counted in the period, or in the part of it while it hung there."""

    meter: str
    opening: RegisterReading
    closing: RegisterReading
    # What decisions about readings that failed validation add to the difference; nobody signs it.
    decided_import_j: int = 0
    decided_export_j: int = 0


class DacState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the household's tariff or the one for high consumption holds."""

    base_tariff: str
    above_kwh_month: int
    held: bool
    holds: bool
    twelve_months_j: int | None  # None: the account is younger, nothing changes


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that the amounts follow from."""

    number: str
    account: str
    customer: str
    service_number: str
    time_zone: str
    tariff: str
    tariff_version: str
    period: Period
    start_utc_s: int
    end_utc_s: int
    terms: Terms
    regime: Regime
    expired_lots: ExpiredLots
    segments: tuple[Segment, ...]
    issued_on: date
    due_on: date
    cutoff_from: date
    lots: tuple[Lot, ...] = ()
    pml_millicents: int | None = None  # mean of the period, for the lot that it may leave
    hours: tuple[HoursEnergy, ...] = ()  # imports, for a time-of-use tariff
    export_hours: tuple[HourExport, ...] = ()
    account_lines: tuple[Line, ...] = ()
    dac: DacState | None = None


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What follows."""

    price_month: str
    seasons: tuple[str, ...]
    import_j: int
    export_j: int
    billed_j: int
    used: tuple[Used, ...]
    expired: tuple[Lot, ...]
    lots: tuple[Lot, ...]
    lines: tuple[Line, ...]
    subtotal_cents: int  # before tax
    tax_cents: int
    period_cents: int  # everything that this period adds to the account
    total_cents: int  # to pay, with what stood on the account


class Bill(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="bill", tag_field="type"):
    """A bill as it is kept and signed."""

    format: Literal["meterd-bill/1"]
    inputs: Inputs
    result: Result


def compute(inputs: Inputs, tariff_file: bytes) -> Bill:
    """The bill of these inputs.

    Raises:
        TariffError: the inputs contradict each other or the tariff.
        PriceMissingError: a price is not known.
    """
    if version(tariff_file) != inputs.tariff_version:
        raise TariffError("the tariff is not the one that the bill names")
    tariff = decode(tariff_file)
    if tariff.code != inputs.tariff:
        raise TariffError(f"the file holds tariff {tariff.code}, not {inputs.tariff}")
    _require_consistent(inputs)
    import_j, export_j = counted(inputs.segments, tariff.register_step_wh)
    return Bill("meterd-bill/1", inputs, _result(inputs, tariff, import_j, export_j))


def text(bill: Bill) -> str:
    """The bill as it is kept and signed: one line of JSON."""
    return msgspec.json.encode(bill).decode()


def read(bill_text: str) -> Bill:
    """The bill that a text holds, if it is written as bills are.

    Raises:
        TariffError: it is not.
    """
    try:
        bill = msgspec.json.decode(bill_text, type=Bill, strict=True)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise TariffError(f"this is no bill: {error}") from error
    if text(bill) != bill_text:
        raise TariffError("the bill is not written as bills are")
    return bill


def counted(segments: Sequence[Segment], step_wh: int) -> tuple[int, int]:
    """Import and export of the segments in joules: registers cut to whole steps, then differences.

    So what a step leaves over is counted in the next period, and nothing is counted twice.

    Raises:
        TariffError: a register fell.
    """
    step_j = step_wh * JOULES_PER_WH
    import_j = export_j = 0
    for segment in segments:
        first, last = segment.opening, segment.closing
        last_import_j = last.import_j + segment.decided_import_j
        last_export_j = last.export_j + segment.decided_export_j
        if last_import_j < first.import_j or last_export_j < first.export_j:
            raise TariffError(f"a register of meter {segment.meter} fell")
        import_j += (last_import_j // step_j - first.import_j // step_j) * step_j
        export_j += (last_export_j // step_j - first.export_j // step_j) * step_j
    return import_j, export_j


def _require_consistent(inputs: Inputs) -> None:
    if inputs.period.days < 1 or not inputs.segments:
        raise TariffError("a bill is for at least one day and one meter")
    if any(line.kind not in ACCOUNT_LINES for line in inputs.account_lines):
        raise TariffError("only what stood on the account may be given as a line")
    _require_lots(inputs)
    dac = inputs.dac
    if dac is None or dac.twelve_months_j is None:
        return
    if dac.holds != dac_holds(dac.held, dac.twelve_months_j, dac.above_kwh_month):
        raise TariffError("the mean of twelve months gives the other tariff")


def _require_lots(inputs: Inputs) -> None:
    ends = [lot.period_end for lot in inputs.lots]
    if ends != sorted(set(ends)) or (ends and ends[-1] >= inputs.period.end):
        raise TariffError("the credits are not of earlier periods, oldest first")


def _result(inputs: Inputs, tariff: Tariff, import_j: int, export_j: int) -> Result:
    netted = inputs.regime == "medicion_neta"
    if netted and tariff.hours:
        raise TariffError(f"tariff {tariff.code} is by hours, and net metering here is not")
    bank = net(
        import_j,
        export_j if netted else 0,
        inputs.lots,
        inputs.period.end,
        inputs.pml_millicents,
    )
    period_lines = charges(tariff, inputs.terms, inputs.period, bank.billed_j, inputs.hours)
    period_lines += expired_lines(bank.expired, inputs.expired_lots)
    if inputs.regime in ("facturacion_neta", "venta_total"):
        period_lines.append(_export_credit(inputs, tariff, export_j))
    lines = (*period_lines, *inputs.account_lines)
    return Result(
        price_month=price_month(inputs.period),
        seasons=tuple(season for season, _ in _seasons(inputs, tariff)),
        import_j=import_j,
        export_j=export_j,
        billed_j=bank.billed_j,
        used=bank.used,
        expired=bank.expired,
        lots=bank.lots,
        lines=lines,
        subtotal_cents=total_cents(lines, TAXED),
        tax_cents=total_cents(lines, ("tax",)),
        period_cents=total_cents(period_lines),
        total_cents=total_cents(lines),
    )


def _seasons(inputs: Inputs, tariff: Tariff) -> tuple[tuple[str, int], ...]:
    return fractions(tariff, inputs.terms.summer_from_month, inputs.period)


def _export_credit(inputs: Inputs, tariff: Tariff, export_j: int) -> Line:
    """At the hours' local prices, or at the tariff's own price where it has one."""
    season, _ = fractions(tariff, inputs.terms.summer_from_month, inputs.period)[0]
    own = export_price(
        tariff, month=price_month(inputs.period), season=season, region=inputs.terms.region
    )
    if own is not None:
        return fixed_export_line(export_j, own)
    return export_line(inputs.export_hours, export_j)
