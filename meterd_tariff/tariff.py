"""A tariff as a file says it: blocks or hours, prices by month, fixed charge, minimum, tax.

One file, one tariff. Its version is the SHA-256 of the file's bytes: a bill names it, and whoever
has the file can compute the bill again. Decoding is strict: what is not known is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import date
from itertools import product
from typing import Annotated, Literal

import msgspec

from meterd_tariff.errors import PriceMissingError, TariffError
from meterd_tariff.units import millicents

FILE_BYTES_MAX = 256 * 1024
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")

Season = Literal["summer", "winter"]
SEASONS: tuple[Season, ...] = ("summer", "winter")
Certainty = Literal["A", "B", "C", "D"]
DayType = Literal["workday", "saturday", "sunday", "holiday"]
DAY_TYPES: tuple[DayType, ...] = ("workday", "saturday", "sunday", "holiday")
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of the consumption; the last one has no width and takes the rest."""

    name: str
    kwh_month: Positive | None = None


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a price of a time-of-use tariff holds: ``[from_hour, to_hour)`` by the local clock."""

    name: str
    season: Season
    days: tuple[DayType, ...]
    from_hour: Annotated[int, msgspec.Meta(ge=0, le=23)]
    to_hour: Annotated[int, msgspec.Meta(ge=1, le=24)]


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Energy prices of some months, before tax; amounts are decimal text per kilowatt-hour."""

    from_month: str
    to_month: str
    energy: dict[str, str]
    certainty: Certainty
    source: str
    season: Season | None = None  # None: both
    region: str | None = None  # None: every one
    export: str | None = None


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed charge of some months, decimal text per month, before tax."""

    from_month: str
    to_month: str
    per_month: str
    certainty: Certainty
    source: str


class Tax(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Value added tax, in per cent; ``border`` is that of the northern border strip."""

    name: str
    percent: str
    border_percent: str


class Tariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    format: Literal["meterd-tariff/1"]
    code: str
    name: dict[str, str]  # by language: es, en
    currency: Literal["MXN"]
    tax: Tax
    blocks: dict[Season, tuple[Block, ...]]
    prices: tuple[Prices, ...]
    hours: tuple[Hours, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    holidays: tuple[str, ...] = ()  # MM-DD for every year, YYYY-MM-DD for one
    summer_months: Annotated[int, msgspec.Meta(ge=0, le=12)] = 0
    minimum_kwh_month: Annotated[int, msgspec.Meta(ge=0)] = 0
    register_step_wh: Positive = 1
    regions: tuple[str, ...] = ()
    dac_above_kwh_month: Positive | None = None
    notes: str = ""


def decode(content: bytes) -> Tariff:
    """The tariff that a file holds.

    Raises:
        TariffError: the file is not written as a tariff; the message says where.
    """
    if len(content) > FILE_BYTES_MAX:
        raise TariffError(f"a tariff has at most {FILE_BYTES_MAX} bytes")
    try:
        tariff = msgspec.toml.decode(content, type=Tariff, strict=True)
    except (msgspec.MsgspecError, ValueError) as error:
        raise TariffError(f"not a tariff: {error}") from error
    _require_blocks(tariff)
    _require_hours(tariff)
    for row in tariff.prices:
        _require_prices(tariff, row)
    for fixed in tariff.fixed:
        _require_months(tariff, fixed.from_month, fixed.to_month)
        millicents(fixed.per_month)
    return tariff


def version(content: bytes) -> str:
    """What identifies the file: 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def energy_price(
    tariff: Tariff, name: str, *, month: str, season: Season, region: str | None
) -> int:
    """Millicents per kilowatt-hour of a block or of hours.

    Raises:
        PriceMissingError: the tariff has none for that month.
    """
    row = _row(tariff, month, season, region, lambda row: name in row.energy)
    if row is None:
        where = f" in {region}" if region else ""
        raise PriceMissingError(
            f"tariff {tariff.code} has no price of {name} ({season}{where}) for {month}"
        )
    return millicents(row.energy[name])


def export_price(tariff: Tariff, *, month: str, season: Season, region: str | None) -> int | None:
    """Millicents per exported kilowatt-hour; None where the tariff pays none of its own."""
    row = _row(tariff, month, season, region, lambda row: row.export is not None)
    return None if row is None or row.export is None else millicents(row.export)


def fixed_price(tariff: Tariff, month: str) -> int:
    """Millicents a month; 0 where the tariff has no fixed charge at all.

    Raises:
        PriceMissingError: it has one, but none for that month.
    """
    if not tariff.fixed:
        return 0
    for row in tariff.fixed:
        if row.from_month <= month <= row.to_month:
            return millicents(row.per_month)
    raise PriceMissingError(f"tariff {tariff.code} has no fixed charge for {month}")


def is_holiday(tariff: Tariff, day: date) -> bool:
    """Whether the tariff names the day."""
    return day.isoformat() in tariff.holidays or f"{day:%m-%d}" in tariff.holidays


def day_type(tariff: Tariff, day: date) -> DayType:
    """What kind of day it is; a holiday is one whatever its weekday."""
    if is_holiday(tariff, day):
        return "holiday"
    types: dict[int, DayType] = {5: "saturday", 6: "sunday"}
    return types.get(day.weekday(), "workday")


def hours_name(tariff: Tariff, day: date, hour: int, season: Season) -> str:
    """The price that holds in an hour of the local clock; decoding has checked there is one."""
    (name,) = _names_at(tariff, season, day_type(tariff, day), hour)
    return name


def _names_at(tariff: Tariff, season: Season, kind: DayType, hour: int) -> list[str]:
    return [
        hours.name
        for hours in tariff.hours
        if hours.season == season and kind in hours.days and hours.from_hour <= hour < hours.to_hour
    ]


def _row(
    tariff: Tariff, month: str, season: Season, region: str | None, has: Callable[[Prices], bool]
) -> Prices | None:
    for row in tariff.prices:
        if (
            row.from_month <= month <= row.to_month
            and row.season in (None, season)
            and row.region in (None, region)
            and has(row)
        ):
            return row
    return None


def _require_blocks(tariff: Tariff) -> None:
    for season in SEASONS:
        blocks = tariff.blocks.get(season, ())
        if tariff.hours and blocks:
            raise TariffError(f"tariff {tariff.code} has blocks and hours: one of them")
        if not tariff.hours and not blocks:
            raise TariffError(f"tariff {tariff.code} has no blocks for {season}")
        for place, block in enumerate(blocks, start=1):
            if (block.kwh_month is None) != (place == len(blocks)):
                raise TariffError(
                    f"tariff {tariff.code}: all {season} blocks but the last are wide"
                )


def _require_hours(tariff: Tariff) -> None:
    if not tariff.hours:
        return
    for season, kind, hour in product(SEASONS, DAY_TYPES, range(24)):
        names = _names_at(tariff, season, kind, hour)
        if len(names) != 1:
            when = f"{season}, {kind}, {hour}:00"
            raise TariffError(f"tariff {tariff.code}: {when} has {len(names)} prices, not one")


def _require_prices(tariff: Tariff, row: Prices) -> None:
    _require_months(tariff, row.from_month, row.to_month)
    if row.region is not None and row.region not in tariff.regions:
        raise TariffError(f"tariff {tariff.code} has no region {row.region!r}")
    known = {block.name for blocks in tariff.blocks.values() for block in blocks}
    known |= {hours.name for hours in tariff.hours}
    unknown = row.energy.keys() - known
    if unknown:
        raise TariffError(f"tariff {tariff.code} prices {min(unknown)!r}, which it does not have")
    for text in (*row.energy.values(), *([] if row.export is None else [row.export])):
        millicents(text)


def _require_months(tariff: Tariff, first: str, last: str) -> None:
    if not (_MONTH.fullmatch(first) and _MONTH.fullmatch(last) and first <= last):
        raise TariffError(f"tariff {tariff.code}: {first} to {last} are no months (YYYY-MM)")
