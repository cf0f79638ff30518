"""Tariffs are dated data: strict, identified by their bytes, with what is known and no more."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from meterd_tariff.errors import PriceMissingError, TariffError
from meterd_tariff.tariff import (
    Season,
    day_type,
    decode,
    energy_price,
    export_price,
    fixed_price,
    hours_name,
    version,
)
from meterd_tariff.units import cents, millicents, money
from server import tariff_files
from server.errors import NotFoundError, SettingError

TARIFFS = tariff_files.load()
FLAT = TARIFFS["EXAMPLE-FLAT"].content


def price(code: str, name: str, month: str, season: Season, region: str | None = None) -> int:
    return energy_price(TARIFFS[code].tariff, name, month=month, season=season, region=region)


def test_the_household_tariffs_and_the_examples_are_there() -> None:
    wanted = {"1", "1A", "1B", "1C", "1D", "1E", "1F", "DAC", "EXAMPLE-FLAT", "EXAMPLE-TOU"}
    assert set(TARIFFS) == wanted


@pytest.mark.parametrize(
    ("code", "name", "month", "season", "text"),
    [
        ("1", "basico", "2026-01", "winter", "1.110"),
        ("1", "intermedio", "2026-12", "winter", "1.393"),
        ("1", "excedente", "2026-07", "summer", "4.016"),
        ("1D", "alto", "2026-02", "summer", "1.480"),
        ("1F", "alto", "2026-10", "summer", "2.566"),
        ("1E", "alto", "2018-06", "summer", "0.948"),
        ("1B", "bajo", "2026-05", "summer", "1.163"),
        ("1C", "intermedio", "2018-02", "winter", "0.956"),
    ],
)
def test_prices_are_the_published_ones(
    code: str, name: str, month: str, season: Season, text: str
) -> None:
    assert price(code, name, month, season) == millicents(text)


def test_prices_by_region_and_season() -> None:
    assert price("DAC", "energia", "2026-08", "summer", "Baja California") == 644_700
    assert price("DAC", "energia", "2026-08", "winter", "Baja California") == 553_600
    assert price("DAC", "energia", "2026-08", "winter", "Noroeste") == 621_100


@pytest.mark.parametrize(
    ("code", "name", "month", "season"),
    [
        ("1F", "basico", "2018-06", "summer"),
        ("1C", "alto", "2026-05", "summer"),
        ("1", "basico", "2025-12", "winter"),
        ("DAC", "energia", "2026-07", "summer"),
    ],
)
def test_what_nobody_entered_is_an_error_that_names_tariff_and_month(
    code: str, name: str, month: str, season: Season
) -> None:
    with pytest.raises(PriceMissingError, match=rf"tariff {code} .*{name}.*{month}"):
        price(code, name, month, season, "Central" if code == "DAC" else None)


def test_each_price_says_how_sure_it_is_and_where_it_comes_from() -> None:
    for file in TARIFFS.values():
        rows = [(row.certainty, row.source) for row in file.tariff.prices]
        rows += [(row.certainty, row.source) for row in file.tariff.fixed]
        assert all(certainty in "ABCD" and source.strip() for certainty, source in rows)


def test_fixed_charges_hold_for_their_months() -> None:
    assert fixed_price(TARIFFS["DAC"].tariff, "2026-08") == millicents("145.04")
    assert fixed_price(TARIFFS["1"].tariff, "1999-01") == 0
    with pytest.raises(PriceMissingError, match="DAC has no fixed charge for 2026-09"):
        fixed_price(TARIFFS["DAC"].tariff, "2026-09")


def test_a_tariff_may_pay_for_exported_energy() -> None:
    flat, one = TARIFFS["EXAMPLE-FLAT"].tariff, TARIFFS["1"].tariff
    assert export_price(flat, month="2026-03", season="winter", region=None) == 120_000
    assert export_price(one, month="2026-03", season="winter", region=None) is None


def test_hours_go_by_season_kind_of_day_and_holidays() -> None:
    tariff = TARIFFS["EXAMPLE-TOU"].tariff
    friday, sunday, holiday = date(2026, 7, 10), date(2026, 7, 12), date(2026, 9, 16)
    assert hours_name(tariff, friday, 5, "summer") == "base"
    assert hours_name(tariff, friday, 20, "summer") == "punta"
    assert hours_name(tariff, friday, 18, "summer") == "intermedia"
    assert hours_name(tariff, friday, 18, "winter") == "punta"
    assert hours_name(tariff, sunday, 20, "summer") == "base"
    assert day_type(tariff, holiday) == "holiday"
    assert hours_name(tariff, holiday, 20, "summer") == "base"
    assert day_type(tariff, date(2026, 2, 2)) == "holiday"
    assert day_type(tariff, date(2027, 2, 2)) == "workday"


def test_the_version_changes_with_any_byte() -> None:
    assert version(FLAT) != version(FLAT + b"\n")
    assert version(FLAT) == TARIFFS["EXAMPLE-FLAT"].version


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'code = "EXAMPLE-FLAT"', b'code = "X"\nblokcs = 1', "blokcs"),
        (b'"2.00"', b"2.00", "Expected `str`"),
        (b'"2.00"', b'"2.000001"', "at most five decimals"),
        (b'"2.00"', b'"dos"', "no amount"),
        (b'energia = "2.00"', b'energy = "2.00"', "prices 'energy'"),
        (b'"2025-01"', b'"2025-13"', "no months"),
        (b'name = "energia"', b'name = "energia"\nkwh_month = 5', "blocks but the last"),
        (b'currency = "MXN"', b'currency = "USD"', "Invalid enum value"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused_in_words(
    old: bytes, new: bytes, message: str
) -> None:
    assert old in FLAT
    with pytest.raises(TariffError, match=message):
        decode(FLAT.replace(old, new))


def test_an_hour_without_a_price_or_with_two_is_refused() -> None:
    content = TARIFFS["EXAMPLE-TOU"].content
    with pytest.raises(TariffError, match="has 0 prices"):
        decode(content.replace(b"to_hour = 20", b"to_hour = 19"))
    with pytest.raises(TariffError, match="has 2 prices"):
        decode(content.replace(b"to_hour = 20", b"to_hour = 21"))


def test_an_operators_folder_holds_each_code_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(FLAT)
    assert set(tariff_files.load(tmp_path)) == {"EXAMPLE-FLAT"}
    (tmp_path / "b.toml").write_bytes(FLAT)
    with pytest.raises(SettingError, match=r"b\.toml: there is a tariff EXAMPLE-FLAT already"):
        tariff_files.load(tmp_path)


def test_a_code_that_is_not_there_is_an_error() -> None:
    with pytest.raises(NotFoundError, match="no tariff '2'"):
        tariff_files.named(TARIFFS, "2")


def test_amounts_are_read_and_written_exactly() -> None:
    assert cents("1077.92") == 107_792
    assert (money(107_792), money(-5), money(0)) == ("1077.92", "-0.05", "0.00")
    assert cents("-0.05") == -5
    with pytest.raises(TariffError, match="fraction of a centavo"):
        cents("1.001")
