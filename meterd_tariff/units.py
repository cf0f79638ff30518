"""Money and energy as integers, and the one way in which they are rounded."""

from __future__ import annotations

import re
from fractions import Fraction

from meterd_tariff.errors import TariffError

JOULES_PER_KWH = 3_600_000
JOULES_PER_WH = 3_600
MILLICENTS_PER_CENT = 1_000
CENTS_PER_UNIT = 100
PRICE_DECIMALS = 5
"""A millicent is the fifth decimal of a peso, so every price that is published is whole."""
_DECIMAL = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,5}))?")


def half_up(numerator: int, denominator: int) -> int:
    """The quotient as a whole number; a half goes up (towards plus infinity)."""
    assert denominator > 0
    return (2 * numerator + denominator) // (2 * denominator)


def energy_cents(energy_j: int, millicents_per_kwh: int) -> int:
    """Energy times price in centavos, rounded half up, once."""
    return half_up(energy_j * millicents_per_kwh, JOULES_PER_KWH * MILLICENTS_PER_CENT)


def share_cents(cents: int, basis_points: int) -> int:
    """So many hundredths of a per cent of an amount, rounded half up."""
    return half_up(cents * basis_points, 10_000)


def millicents(text: str) -> int:
    """A decimal amount such as ``1.128``, in hundred-thousandths; never by way of a float.

    Raises:
        TariffError: not a plain decimal number, or more than five decimals.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise TariffError(f"{text!r} is no amount: write it like 1.128, with at most five decimals")
    sign, whole, decimals = found[1], found[2], found[3] or ""
    amount = int(whole + decimals.ljust(PRICE_DECIMALS, "0"))
    return -amount if sign else amount


def basis_points(text: str) -> int:
    """A percentage such as ``16`` or ``2.5``, in hundredths of a per cent.

    Raises:
        TariffError: not a number, or finer than that.
    """
    amount = Fraction(millicents(text), 1_000)
    if amount.denominator != 1:
        raise TariffError(f"{text!r} per cent has more than two decimals")
    return int(amount)


def money(cents: int) -> str:
    """Such as ``1077.92``: exact, for files and messages."""
    sign, rest = ("-", -cents) if cents < 0 else ("", cents)
    return f"{sign}{rest // CENTS_PER_UNIT}.{rest % CENTS_PER_UNIT:02d}"


def cents(text: str) -> int:
    """The opposite of :func:`money`: an amount with at most two decimals.

    Raises:
        TariffError: not an amount, or a fraction of a centavo.
    """
    amount, rest = divmod(millicents(text), MILLICENTS_PER_CENT)
    if rest:
        raise TariffError(f"{text!r} has a fraction of a centavo")
    return amount
