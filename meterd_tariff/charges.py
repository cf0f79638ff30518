"""The lines of a bill: blocks or hours, minimum, fixed charge, tax, public lighting.

Each line is rounded half up to the centavo once; sums are sums of rounded lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from meterd_tariff.errors import TariffError
from meterd_tariff.seasons import Period, fractions, price_month
from meterd_tariff.tariff import Block, Season, Tariff, energy_price, fixed_price
from meterd_tariff.units import (
    JOULES_PER_KWH,
    JOULES_PER_WH,
    MILLICENTS_PER_CENT,
    basis_points,
    energy_cents,
    half_up,
    share_cents,
)

Kind = Literal[
    "energy",
    "minimum",
    "fixed",
    "tax",
    "dap",
    "export_credit",
    "lot_expired",
    "previous",
    "deposit",
    "payment",
    "correction",
]
TAXED: tuple[Kind, ...] = ("energy", "minimum", "fixed")
THIRTIETHS_PER_MONTH = 30


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line: what for, how much of it at which price, and the amount."""

    kind: Kind
    name: str
    cents: int
    energy_j: int | None = None
    millicents_per_kwh: int | None = None
    season: Season | None = None


class Dap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """*Derecho de alumbrado público*: a share of the subtotal, or an amount; after tax."""

    basis_points: int | None = None  # hundredths of a per cent
    fixed_cents: int | None = None


class HoursEnergy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Energy that a time-of-use tariff prices alike."""

    season: Season
    name: str
    energy_j: int


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an agreement adds to its tariff."""

    summer_from_month: int | None = None
    region: str | None = None
    tax_basis_points: int | None = None  # None: the tariff's
    dap: Dap | None = None


def charges(
    tariff: Tariff,
    terms: Terms,
    period: Period,
    billed_j: int,
    hours: Sequence[HoursEnergy] = (),
) -> list[Line]:
    """What a period's energy costs, with everything that depends on it.

    Raises:
        PriceMissingError: the tariff has no price for that month.
        TariffError: hours are missing, or given to a tariff of blocks.
    """
    assert billed_j >= 0
    if tariff.hours:
        lines = _hour_lines(tariff, terms, period, billed_j, hours)
    elif hours:
        raise TariffError(f"tariff {tariff.code} has no prices by hours")
    else:
        lines = _block_lines(tariff, terms, period, billed_j)
    lines += _fixed_lines(tariff, period)
    subtotal_cents = sum(line.cents for line in lines)
    tax_points = terms.tax_basis_points
    if tax_points is None:
        tax_points = basis_points(tariff.tax.percent)
    tax_name = f"{tariff.tax.name} {tax_points / 100:g} %"
    lines.append(Line("tax", tax_name, share_cents(subtotal_cents, tax_points)))
    if terms.dap is not None:
        lines.append(Line("dap", "DAP", _dap_cents(terms.dap, subtotal_cents)))
    return lines


def total_cents(lines: Sequence[Line], kinds: Sequence[Kind] | None = None) -> int:
    """The sum of the lines, or of those of some kinds."""
    return sum(line.cents for line in lines if kinds is None or line.kind in kinds)


def dac_holds(held: bool, twelve_months_j: int, above_kwh_month: int) -> bool:
    """Whether the high-consumption tariff holds after a year of so much energy.

    It comes when the mean of twelve months exceeds the limit and goes when it falls below; a mean
    of exactly the limit changes nothing.
    """
    limit_j = 12 * above_kwh_month * JOULES_PER_KWH
    if twelve_months_j == limit_j:
        return held
    return twelve_months_j > limit_j


def _block_lines(tariff: Tariff, terms: Terms, period: Period, billed_j: int) -> list[Line]:
    parts = fractions(tariff, terms.summer_from_month, period)
    month = price_month(period)
    lines: list[Line] = []
    for (season, thirtieths), part_j in zip(
        parts, _shares(billed_j, len(parts), tariff.register_step_wh), strict=True
    ):
        blocks = tariff.blocks[season]
        minimum_j = _width_j(tariff.minimum_kwh_month, thirtieths)
        if part_j < minimum_j:
            pieces = [(blocks[0].name, minimum_j)]
        else:
            pieces = _pieces(blocks, thirtieths, part_j)
        kind: Kind = "minimum" if part_j < minimum_j else "energy"
        for name, energy_j in pieces:
            price = energy_price(tariff, name, month=month, season=season, region=terms.region)
            cents = energy_cents(energy_j, price)
            lines.append(Line(kind, name, cents, energy_j, price, season))
    return lines


def _shares(billed_j: int, parts: int, step_wh: int) -> list[int]:
    """Halves in whole steps of the register; the odd step is summer's, which stands first."""
    if parts == 1:
        return [billed_j]
    step_j = step_wh * JOULES_PER_WH
    first_j = (billed_j // step_j + 1) // 2 * step_j
    return [first_j, billed_j - first_j]


def _pieces(blocks: Sequence[Block], thirtieths: int, energy_j: int) -> list[tuple[str, int]]:
    """Energy filled into the blocks in their order; the last takes the rest."""
    pieces: list[tuple[str, int]] = []
    left_j = energy_j
    for block in blocks:
        width_j = left_j if block.kwh_month is None else _width_j(block.kwh_month, thirtieths)
        taken_j = min(left_j, width_j)
        if taken_j or not pieces:
            pieces.append((block.name, taken_j))
        left_j -= taken_j
    assert left_j == 0
    return pieces


def _width_j(kwh_month: int, thirtieths: int) -> int:
    """In whole kilowatt-hours, also where a custom period cuts a month."""
    return half_up(kwh_month * thirtieths, THIRTIETHS_PER_MONTH) * JOULES_PER_KWH


def _hour_lines(
    tariff: Tariff, terms: Terms, period: Period, billed_j: int, hours: Sequence[HoursEnergy]
) -> list[Line]:
    if sum(part.energy_j for part in hours) != billed_j:
        raise TariffError("the energy by hours is not the registers' difference")
    month = price_month(period)
    lines = []
    for part in hours:
        price = energy_price(
            tariff, part.name, month=month, season=part.season, region=terms.region
        )
        cents = energy_cents(part.energy_j, price)
        lines.append(Line("energy", part.name, cents, part.energy_j, price, part.season))
    return lines


def _fixed_lines(tariff: Tariff, period: Period) -> list[Line]:
    per_month = fixed_price(tariff, price_month(period))
    if per_month == 0:
        return []
    whole = THIRTIETHS_PER_MONTH * MILLICENTS_PER_CENT
    return [Line("fixed", "cargo fijo", half_up(per_month * period.thirtieths, whole))]


def _dap_cents(dap: Dap, subtotal_cents: int) -> int:
    return share_cents(subtotal_cents, dap.basis_points or 0) + (dap.fixed_cents or 0)
