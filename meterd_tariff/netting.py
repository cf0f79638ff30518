"""Net metering after RES/142/2017: what a period imports and exports, kept apart until here.

*Medición neta* sets exports against imports. What is left over becomes a lot, a kilowatt-hour
credit of its period, which later periods use up, the oldest first, for twelve months; what is then
left is paid at the mean local price (PML) of when it was generated, or forfeited under the older
contracts. *Facturación neta* and *venta total* bill every import and pay every export at the PML
of its hour. Pure: lots go in, lots come out.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

import msgspec

from meterd_tariff.charges import Line
from meterd_tariff.errors import PriceMissingError, TariffError
from meterd_tariff.units import (
    JOULES_PER_KWH,
    MILLICENTS_PER_CENT,
    energy_cents,
    half_up,
)

LOT_MONTHS = 12

Regime = Literal["none", "medicion_neta", "facturacion_neta", "venta_total"]
ExpiredLots = Literal["paid", "forfeited"]
Energy = Annotated[int, msgspec.Meta(ge=0)]


class Lot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Energy exported in a period beyond what it imported, and not used yet."""

    period_end: date
    left_j: Annotated[int, msgspec.Meta(gt=0)]
    pml_millicents: int | None  # mean of its period, per kilowatt-hour; None: not known

    @property
    def usable_until(self) -> date:
        """The last day on which a period may end that uses it."""
        months = self.period_end.year * 12 + self.period_end.month - 1 + LOT_MONTHS
        year, month = months // 12, months % 12 + 1
        return date(year, month, min(self.period_end.day, monthrange(year, month)[1]))


class Used(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a period took from a lot."""

    period_end: date
    energy_j: int


class Netted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What medición neta makes of a period."""

    billed_j: Energy
    used: tuple[Used, ...]
    expired: tuple[Lot, ...]
    lots: tuple[Lot, ...]  # left afterwards, oldest first


class HourExport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Exported energy of an hour, and the hour's price."""

    start_utc_s: int
    export_j: Energy
    pml_millicents: int


def net(
    import_j: int,
    export_j: int,
    lots: Sequence[Lot],
    period_end: date,
    pml_millicents: int | None = None,
) -> Netted:
    """Set a period's export and the bank against its import.

    ``lots`` are oldest first and end before ``period_end``. Raises nothing.
    """
    assert import_j >= 0
    assert export_j >= 0
    ends = [lot.period_end for lot in lots]
    assert ends == sorted(set(ends))
    assert not ends or ends[-1] < period_end
    expired = tuple(lot for lot in lots if lot.usable_until < period_end)
    missing_j = max(0, import_j - export_j)
    used: list[Used] = []
    left: list[Lot] = []
    for lot in lots[len(expired) :]:
        taken_j = min(lot.left_j, missing_j)
        missing_j -= taken_j
        if taken_j:
            used.append(Used(lot.period_end, taken_j))
        if lot.left_j > taken_j:
            left.append(Lot(lot.period_end, lot.left_j - taken_j, lot.pml_millicents))
    if export_j > import_j:
        left.append(Lot(period_end, export_j - import_j, pml_millicents))
    return Netted(missing_j, tuple(used), expired, tuple(left))


def expired_lines(expired: Sequence[Lot], how: ExpiredLots) -> list[Line]:
    """A line for each lot whose twelve months are over: a payment, or nothing.

    Raises:
        PriceMissingError: it must be paid and the mean price of its period is not known.
    """
    return [_expired_line(lot, how) for lot in expired]


def export_line(hours: Sequence[HourExport], export_j: int) -> Line:
    """What exports are worth at the price of each hour: one line, rounded once, negative.

    Raises:
        TariffError: the hours do not add up to the register's difference.
    """
    if sum(hour.export_j for hour in hours) != export_j:
        raise TariffError("the exports by hours are not the register's difference")
    worth = sum(hour.export_j * hour.pml_millicents for hour in hours)
    cents = half_up(worth, JOULES_PER_KWH * MILLICENTS_PER_CENT)
    return Line("export_credit", "PML", -cents, export_j)


def fixed_export_line(export_j: int, millicents_per_kwh: int) -> Line:
    """What exports are worth at the tariff's own price."""
    cents = energy_cents(export_j, millicents_per_kwh)
    return Line("export_credit", "exportación", -cents, export_j, millicents_per_kwh)


def _expired_line(lot: Lot, how: ExpiredLots) -> Line:
    name = f"{lot.period_end}"
    if how == "forfeited":
        return Line("lot_expired", name, 0, lot.left_j)
    price = lot.pml_millicents
    if price is None:
        raise PriceMissingError(
            f"the mean local price of the period to {lot.period_end} is not known, and its "
            "expired credit must be paid at it"
        )
    return Line("lot_expired", name, -energy_cents(lot.left_j, price), lot.left_j, price)
