"""What a period costs, to the centavo: printed bills and arithmetic from the published prices."""

from __future__ import annotations

from datetime import date

import pytest

from meterd_tariff.charges import Dap, Line, Terms, charges, dac_holds, total_cents
from meterd_tariff.errors import PriceMissingError, TariffError
from meterd_tariff.seasons import Period, fractions, price_month
from meterd_tariff.units import JOULES_PER_KWH, energy_cents, half_up, millicents
from server import tariff_files

TARIFFS = tariff_files.load()
JULY = Period(date(2026, 6, 15), date(2026, 8, 15), "bimonthly")  # thirty days before: 16 July
AUGUST = Period(date(2026, 7, 15), date(2026, 9, 15), "bimonthly")
SUBTOTAL = ("energy", "minimum", "fixed")


def lines_of(code: str, kwh: int, period: Period, **terms: object) -> list[Line]:
    """The lines of a bill."""
    tariff = TARIFFS[code].tariff
    return charges(tariff, Terms(**terms), period, kwh * JOULES_PER_KWH)  # type: ignore[arg-type]


def amounts(lines: list[Line], *kinds: str) -> list[int]:
    """The centavos of the lines of some kinds."""
    return [line.cents for line in lines if line.kind in kinds]


VECTORS: dict[str, tuple[str, int, Period, dict[str, object], list[int], int, int, int]] = {
    "1, 300 kWh": ("1", 300, JULY, {}, [16920, 17849, 8032], 42801, 6848, 49649),
    "1, minimum": ("1", 0, JULY, {}, [5640], 5640, 902, 6542),
    "1F summer": (
        "1F",
        2000,
        JULY,
        {"summer_from_month": 5},
        [50700, 146300],
        197000,
        31520,
        228520,
    ),
    "1C summer": (
        "1C",
        1000,
        AUGUST,
        {"summer_from_month": 5},
        [30390, 35250, 45300, 40280],
        151220,
        24195,
        175415,
    ),
    "DAC Central": (
        "DAC",
        600,
        AUGUST,
        {"region": "Central", "summer_from_month": 5},
        [397800, 29008],
        426808,
        68289,
        495097,
    ),
    "1 in 2018": (
        "1",
        300,
        Period(date(2018, 6, 15), date(2018, 8, 15), "bimonthly"),
        {},
        [11895, 12428, 5604],
        29927,
        4788,
        34715,
    ),
    "1B, printed": (
        "1B",
        328,
        Period(date(2026, 4, 18), date(2026, 6, 20), "bimonthly"),
        {"summer_from_month": 5},
        [25100, 9071],
        34171,
        5467,
        39638,
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_lines_subtotal_tax_and_total_are_the_published_ones(name: str) -> None:
    code, kwh, period, terms, lines, subtotal, tax, total = VECTORS[name]
    found = lines_of(code, kwh, period, **terms)
    assert amounts(found, *SUBTOTAL) == lines
    assert sum(amounts(found, *SUBTOTAL)) == subtotal
    assert amounts(found, "tax") == [tax]
    assert total_cents(found) == total


def test_a_minimum_bill_is_fifty_kilowatt_hours_of_the_first_block() -> None:
    (minimum, _) = lines_of("1", 49, JULY)
    assert (minimum.kind, minimum.name) == ("minimum", "basico")
    assert minimum.energy_j == 50 * JOULES_PER_KWH
    assert minimum.millicents_per_kwh == 112_800


def test_fifty_kilowatt_hours_are_no_minimum_bill_and_cost_the_same() -> None:
    (energy, _) = lines_of("1", 50, JULY)
    assert (energy.kind, energy.cents) == ("energy", 5640)


def test_a_monthly_bill_has_single_blocks_and_the_prices_of_fifteen_days_before() -> None:
    period = Period(date(2026, 7, 1), date(2026, 8, 1), "monthly")
    found = lines_of("1", 150, period)
    assert [(line.name, line.energy_j) for line in found if line.kind == "energy"] == [
        ("basico", 75 * JOULES_PER_KWH),
        ("intermedio", 65 * JOULES_PER_KWH),
        ("excedente", 10 * JOULES_PER_KWH),
    ]
    assert price_month(period) == "2026-07"


def test_the_border_strip_pays_eight_per_cent() -> None:
    assert amounts(lines_of("1", 300, JULY, tax_basis_points=800), "tax") == [3424]


def test_public_lighting_is_a_share_of_the_subtotal_and_bears_no_tax() -> None:
    period = Period(date(2026, 4, 18), date(2026, 6, 20), "bimonthly")
    found = lines_of("1B", 328, period, summer_from_month=5, dap=Dap(basis_points=250))
    assert amounts(found, "tax", "dap") == [5467, 854]


@pytest.mark.parametrize(
    ("summer_days", "seasons"),
    [(15, ["winter"]), (16, ["summer", "winter"]), (45, ["summer", "winter"]), (46, ["summer"])],
)
def test_the_season_of_two_months_goes_by_their_summer_days(
    summer_days: int, seasons: list[str]
) -> None:
    end = date.fromordinal(date(2026, 5, 1).toordinal() + summer_days)
    start = date.fromordinal(end.toordinal() - 61)
    period = Period(start, end, "bimonthly")
    parts = fractions(TARIFFS["1B"].tariff, 5, period)
    assert [season for season, _ in parts] == seasons
    assert sum(thirtieths for _, thirtieths in parts) == 60


def test_a_mixed_period_is_two_monthly_fractions_and_the_odd_kilowatt_hour_is_summers() -> None:
    tariff = TARIFFS["1B"].tariff
    period = Period(date(2018, 4, 1), date(2018, 6, 1), "bimonthly")  # 31 summer days
    found = charges(tariff, Terms(summer_from_month=5), period, 301 * JOULES_PER_KWH)
    energy = [
        (line.season, line.name, line.energy_j and line.energy_j // JOULES_PER_KWH)
        for line in found
        if line.kind == "energy"
    ]
    assert energy == [
        ("summer", "basico", 125),
        ("summer", "bajo", 26),
        ("winter", "basico", 75),
        ("winter", "intermedio", 75),
    ]


def test_a_month_without_prices_is_an_error_that_names_tariff_and_month() -> None:
    with pytest.raises(PriceMissingError, match=r"tariff 1F has no price of basico .*2026-09"):
        lines_of(
            "1F", 100, Period(date(2026, 8, 10), date(2026, 10, 10), "bimonthly"),
            summer_from_month=5,
        )  # fmt: skip


def test_summer_needs_its_first_month() -> None:
    with pytest.raises(TariffError, match="month in which summer begins"):
        lines_of("1B", 100, JULY)


def test_the_high_tariff_comes_above_the_limit_and_goes_below_it() -> None:
    limit_j = 12 * 250 * JOULES_PER_KWH
    assert not dac_holds(False, limit_j, 250)
    assert dac_holds(False, limit_j + 1, 250)
    assert dac_holds(True, limit_j, 250)
    assert not dac_holds(True, limit_j - 1, 250)


def test_a_half_centavo_goes_up() -> None:
    assert energy_cents(JOULES_PER_KWH, millicents("0.005")) == 1
    assert energy_cents(JOULES_PER_KWH, millicents("0.00499")) == 0
    assert half_up(-1, 2) == 0


def test_a_custom_period_has_blocks_by_its_days() -> None:
    found = lines_of("1", 100, Period(date(2026, 7, 1), date(2026, 7, 21), "custom"))
    assert [line.energy_j and line.energy_j // JOULES_PER_KWH for line in found[:3]] == [50, 43, 7]
