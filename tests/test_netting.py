"""Net metering: lots oldest first, twelve months, and no kilowatt-hour out of nothing."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterd_tariff.errors import PriceMissingError, TariffError
from meterd_tariff.netting import (
    HourExport,
    Lot,
    Netted,
    Used,
    expired_lines,
    export_line,
    fixed_export_line,
    net,
)
from meterd_tariff.units import JOULES_PER_KWH as KWH
from meterd_tariff.units import millicents

P1, P2, P3 = date(2026, 2, 1), date(2026, 4, 1), date(2026, 6, 1)
ENERGY = st.integers(0, 10**13)


def test_the_example_of_the_rules_leaves_twenty_in_the_bank() -> None:
    first = net(220 * KWH, 300 * KWH, (), P1)
    assert first.lots == (Lot(P1, 80 * KWH, None),)
    second = net(260 * KWH, 320 * KWH, first.lots, P2)
    assert second.lots == (Lot(P1, 80 * KWH, None), Lot(P2, 60 * KWH, None))
    third = net(400 * KWH, 280 * KWH, second.lots, P3)
    assert third.used == (Used(P1, 80 * KWH), Used(P2, 40 * KWH))
    assert third.billed_j == 0
    assert third.lots == (Lot(P2, 20 * KWH, None),)


def test_what_the_bank_does_not_cover_is_billed() -> None:
    found = net(100 * KWH, 30 * KWH, [Lot(P1, 20 * KWH, None)], P2)
    assert (found.billed_j, found.lots) == (50 * KWH, ())


def test_a_lot_serves_a_period_that_ends_twelve_months_later_and_none_after() -> None:
    lot = Lot(date(2025, 6, 1), 10 * KWH, 70_000)
    assert net(4 * KWH, 0, [lot], date(2026, 6, 1)).billed_j == 0
    late = net(4 * KWH, 0, [lot], date(2026, 6, 2))
    assert (late.billed_j, late.expired, late.lots) == (4 * KWH, (lot,), ())


def test_twelve_months_after_a_leap_day_end_in_february() -> None:
    assert Lot(date(2028, 2, 29), 1, None).usable_until == date(2029, 2, 28)


def test_an_expired_lot_is_paid_at_the_price_of_when_it_was_generated() -> None:
    (line,) = expired_lines([Lot(P1, 10 * KWH, millicents("0.81237"))], "paid")
    assert (line.kind, line.cents) == ("lot_expired", -812)


def test_an_older_contract_forfeits_it_and_the_bill_still_says_so() -> None:
    (line,) = expired_lines([Lot(P1, 10 * KWH, None)], "forfeited")
    assert (line.cents, line.energy_j) == (0, 10 * KWH)


def test_without_a_price_an_expired_lot_stops_the_bill() -> None:
    with pytest.raises(PriceMissingError, match="period to 2026-02-01"):
        expired_lines([Lot(P1, KWH, None)], "paid")


def test_exports_are_worth_the_price_of_their_hour_rounded_once() -> None:
    hours = [HourExport(0, KWH // 2, 81_237), HourExport(3600, KWH, -10_000)]
    line = export_line(hours, KWH * 3 // 2)
    assert line.cents == -31  # 40.6185 - 10 = 30.6185 centavos
    with pytest.raises(TariffError, match="not the register"):
        export_line(hours, KWH)


def test_a_tariff_of_its_own_pays_one_price() -> None:
    assert fixed_export_line(100 * KWH, millicents("1.20")).cents == -12_000


@settings(deadline=None)
@given(periods=st.lists(st.tuples(ENERGY, ENERGY, st.integers(28, 70)), max_size=30))
def test_no_energy_appears_or_vanishes_in_the_bank(periods: list[tuple[int, int, int]]) -> None:
    lots: tuple[Lot, ...] = ()
    end = date(2025, 1, 1)
    for import_j, export_j, days in periods:
        end += timedelta(days=days)
        found = net(import_j, export_j, lots, end)
        _balances(lots, import_j, export_j, found)
        assert all(lot.left_j > 0 for lot in found.lots)
        assert [lot.period_end for lot in found.lots] == sorted(
            {lot.period_end for lot in found.lots}
        )
        assert all(lot.usable_until >= end for lot in found.lots)
        lots = found.lots


def _balances(before: tuple[Lot, ...], import_j: int, export_j: int, found: Netted) -> None:
    """What came in and was there went out or is there; what was billed nothing else covered."""
    had = sum(lot.left_j for lot in before)
    used = sum(part.energy_j for part in found.used)
    expired = sum(lot.left_j for lot in found.expired)
    left = sum(lot.left_j for lot in found.lots)
    assert had + export_j + found.billed_j == import_j + expired + left
    assert used + found.billed_j == max(0, import_j - export_j)
    if found.billed_j:  # nothing usable stays in the bank while energy is billed
        assert found.lots == ()


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 10**10), min_size=1, max_size=6), wanted=st.integers(0, 10**11)
)
def test_a_younger_lot_is_touched_only_when_the_older_ones_are_empty(
    sizes: list[int], wanted: int
) -> None:
    lots = [Lot(date(2026, 1, 1) + timedelta(days=at), size, None) for at, size in enumerate(sizes)]
    found = net(wanted, 0, lots, date(2026, 3, 1))
    touched = [part.period_end for part in found.used]
    assert touched == [lot.period_end for lot in lots][: len(touched)]
    for lot, part in list(zip(lots, found.used, strict=False))[:-1]:
        assert part.energy_j == lot.left_j
