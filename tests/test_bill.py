"""A bill: frozen inputs, the same bytes each time, and the printed one to the centavo."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from meterd_tariff.bill import DacState, compute, read, text
from meterd_tariff.charges import Dap, HoursEnergy, Line, Terms, total_cents
from meterd_tariff.errors import PriceMissingError, TariffError
from meterd_tariff.netting import HourExport, Lot
from meterd_tariff.seasons import Period
from meterd_tariff.units import JOULES_PER_KWH as KWH
from tests.billed import PRINTED, TARIFFS, inputs, register, segment

JULY = Period(date(2026, 6, 15), date(2026, 8, 15), "bimonthly")


def bill_of(code: str, period: Period, *segments: Any, **changes: Any) -> Any:
    return compute(inputs(code, period, *segments, **changes), TARIFFS[code].content)


def test_the_printed_bill_with_its_deposit_balance_and_payment() -> None:
    bill = bill_of(
        "1B",
        PRINTED,
        segment(328),
        terms=Terms(summer_from_month=5, dap=Dap(basis_points=250)),
        account_lines=(
            Line("deposit", "depósito", 67_300),
            Line("previous", "adeudo anterior", 65_600),
            Line("payment", "su pago", -65_600),
        ),
    )
    assert [line.cents for line in bill.result.lines] == [
        25_100,
        9_071,
        5_467,
        854,
        67_300,
        65_600,
        -65_600,
    ]
    assert bill.result.subtotal_cents == 34_171
    assert bill.result.subtotal_cents + bill.result.tax_cents == 39_638
    assert bill.result.total_cents == 107_792
    assert bill.result.import_j == (13_453 - 13_125) * KWH


def test_registers_are_cut_to_whole_kilowatt_hours_and_nothing_is_lost_between_bills() -> None:
    part = KWH * 9 // 10
    first, second, third = (register(seq, 100 * seq) for seq in (1, 2, 3))
    middle = structs.replace(second, import_j=second.import_j + part)
    one = bill_of("1", JULY, type(segment(1))("M", first, middle))
    two = bill_of("1", JULY, type(segment(1))("M", middle, third))
    assert one.result.import_j == 100 * KWH
    assert one.result.import_j + two.result.import_j == 200 * KWH


def test_meters_that_were_exchanged_add_up() -> None:
    bill = bill_of("1", JULY, segment(200), segment(100, from_kwh=0))
    assert bill.result.import_j == 300 * KWH
    assert bill.result.total_cents == 49_649


def test_a_net_zero_customer_pays_the_minimum() -> None:
    bill = bill_of("1", JULY, segment(220, 300), regime="medicion_neta")
    assert bill.result.billed_j == 0
    assert bill.result.lots == (Lot(date(2026, 8, 15), 80 * KWH, None),)
    assert bill.result.total_cents == 6_542


def test_without_net_metering_exports_change_nothing() -> None:
    assert bill_of("1", JULY, segment(300, 900)).result.total_cents == 49_649


def test_total_sale_bills_all_imports_and_pays_each_hour_at_its_price() -> None:
    bill = bill_of(
        "1",
        JULY,
        segment(300, 2),
        regime="venta_total",
        export_hours=(HourExport(0, KWH, 81_237), HourExport(3600, KWH, 50_000)),
    )
    assert [line.cents for line in bill.result.lines if line.kind == "export_credit"] == [-131]
    assert bill.result.total_cents == 49_649 - 131


def test_an_export_price_of_the_tariffs_own_needs_no_hours() -> None:
    bill = bill_of("EXAMPLE-FLAT", JULY, segment(100, 50), regime="facturacion_neta")
    assert bill.result.subtotal_cents == 20_000 + 12_000
    assert bill.result.total_cents == 37_120 - 6_000


def test_time_of_use_prices_the_energy_of_its_hours() -> None:
    hours = (
        HoursEnergy("summer", "base", 60 * KWH),
        HoursEnergy("summer", "punta", 40 * KWH),
    )
    terms = Terms(summer_from_month=5)
    bill = bill_of("EXAMPLE-TOU", JULY, segment(100), hours=hours, terms=terms)
    assert [line.cents for line in bill.result.lines[:2]] == [6_600, 12_800]
    with pytest.raises(TariffError, match="by hours is not the registers"):
        bill_of("EXAMPLE-TOU", JULY, segment(101), hours=hours, terms=terms)


def test_an_expired_credit_without_its_price_stops_the_bill() -> None:
    old = (Lot(date(2025, 8, 1), 10 * KWH, None),)
    with pytest.raises(PriceMissingError):
        bill_of("1", JULY, segment(1), regime="medicion_neta", lots=old)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tariff_version": "0" * 64}, "not the one that the bill names"),
        ({"account_lines": (Line("energy", "basico", 1),)}, "only what stood on the account"),
        ({"lots": (Lot(date(2026, 8, 15), 1, None),)}, "not of earlier periods"),
        ({"dac": DacState("1", 250, False, True, 12 * 250 * KWH)}, "gives the other tariff"),
    ],
)
def test_inputs_that_contradict_each_other_make_no_bill(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TariffError, match=message):
        bill_of("1", JULY, segment(300), **changes)


def test_a_register_that_fell_makes_no_bill() -> None:
    with pytest.raises(TariffError, match="fell"):
        bill_of("1", JULY, segment(-1))


def test_the_text_holds_the_inputs_and_makes_the_same_bill_again() -> None:
    bill = bill_of("1", JULY, segment(300), terms=Terms(dap=Dap(fixed_cents=500)))
    written = text(bill)
    again = read(written)
    assert text(compute(again.inputs, TARIFFS["1"].content)) == written
    with pytest.raises(TariffError, match="not written as bills are"):
        read(written.replace(":", ": ", 1))


@settings(deadline=None, max_examples=60)
@given(
    import_kwh=st.integers(0, 5_000),
    export_kwh=st.integers(0, 5_000),
    code=st.sampled_from(["1", "1A", "1C", "1E", "EXAMPLE-FLAT"]),
    regime=st.sampled_from(["none", "medicion_neta"]),
    days=st.integers(55, 65),
    start_day=st.integers(0, 280),
    deposit=st.integers(-10_000, 10_000),
)
def test_the_total_is_the_sum_of_the_lines_and_recomputes_byte_for_byte(
    import_kwh: int,
    export_kwh: int,
    code: str,
    regime: str,
    days: int,
    start_day: int,
    deposit: int,
) -> None:
    year = 2026 if code == "EXAMPLE-FLAT" else 2018
    start = date(year, 1, 1) + timedelta(days=start_day)
    period = Period(start, start + timedelta(days=days), "bimonthly")
    bill = bill_of(
        code,
        period,
        segment(import_kwh, export_kwh),
        regime=regime,
        terms=Terms(summer_from_month=4, dap=Dap(basis_points=250)),
        account_lines=(Line("deposit", "depósito", deposit),),
    )
    result = bill.result
    assert result.total_cents == total_cents(result.lines) == result.period_cents + deposit
    energy = sum(line.energy_j or 0 for line in result.lines if line.kind == "energy")
    minimum = any(line.kind == "minimum" for line in result.lines)
    assert minimum or energy == result.billed_j
    assert text(compute(bill.inputs, TARIFFS[code].content)) == text(bill)
