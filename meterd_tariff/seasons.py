"""Which part of a billing period is summer, how many months it has, which month's prices hold.

A period is ``[start, end)`` in local days: both are the dates on which the meter is read.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

import msgspec

from meterd_tariff.errors import TariffError
from meterd_tariff.tariff import Season, Tariff

Cycle = Literal["monthly", "bimonthly", "custom"]
THIRTIETHS: dict[Cycle, int] = {"monthly": 30, "bimonthly": 60}
PRICE_DAYS_BEFORE_END: dict[Cycle, int] = {"monthly": 15, "bimonthly": 30}
WINTER_DAYS_MAX = 15
SUMMER_DAYS_MIN = 46
"""Of a bimonthly period; between the two it is mixed."""
LONG_DAYS = 45
"""A custom period that is longer follows the bimonthly rules, another the monthly ones."""


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one bill is for."""

    start: date
    end: date
    cycle: Cycle

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days

    @property
    def thirtieths(self) -> int:
        """Its length in thirtieths of a month: what widths and fixed charges are multiplied by."""
        return THIRTIETHS.get(self.cycle, self.days)

    @property
    def long(self) -> bool:
        """Whether the rules of two months hold."""
        return self.cycle == "bimonthly" or (self.cycle == "custom" and self.days > LONG_DAYS)


def price_month(period: Period) -> str:
    """The month of the date 15 (monthly) or 30 days (bimonthly) before the end: its prices hold."""
    cycle: Cycle = "bimonthly" if period.long else "monthly"
    day = period.end - timedelta(days=PRICE_DAYS_BEFORE_END[cycle])
    return f"{max(day, period.start):%Y-%m}"


def is_summer(tariff: Tariff, summer_from_month: int | None, day: date) -> bool:
    """Whether a day is in the tariff's summer at a locality.

    Raises:
        TariffError: the tariff has a summer and the agreement does not say when it begins.
    """
    if tariff.summer_months == 0:
        return False
    if summer_from_month is None:
        raise TariffError(f"tariff {tariff.code} needs to know the month in which summer begins")
    return (day.month - summer_from_month) % 12 < tariff.summer_months


def fractions(
    tariff: Tariff, summer_from_month: int | None, period: Period
) -> tuple[tuple[Season, int], ...]:
    """The seasons of a period with their lengths in thirtieths of a month.

    One for the whole, or summer and winter by halves where a period of two months is mixed. A
    shorter one belongs to the season of most of its days, a tie to summer.
    """
    days = (period.start + timedelta(days=passed) for passed in range(period.days))
    summer_days = sum(is_summer(tariff, summer_from_month, day) for day in days)
    whole = period.thirtieths
    if not period.long:
        return (("summer" if 2 * summer_days >= period.days else "winter", whole),)
    if summer_days <= WINTER_DAYS_MAX:
        return (("winter", whole),)
    if summer_days >= SUMMER_DAYS_MIN:
        return (("summer", whole),)
    return (("summer", whole - whole // 2), ("winter", whole // 2))
