"""Readings in, bills out: the vectors through the whole run, once each, whatever is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from meterd_tariff.bill import Bill
from meterd_tariff.netting import Lot
from meterd_tariff.units import JOULES_PER_KWH as KWH
from server import registry
from server.billing import bills
from server.billing.hourly import keep_prices
from server.billing.run import Outcome
from server.db import reading, writing
from server.ledger import Posting, balance_cents, close_period, post, trial_cents
from server.payments import Payment, pay
from server.schema import BILLING_TERMS, REGISTER_OFFSET
from tests.bill_runs import accept_all, bill_run, midnight, on, read, supply
from tests.served import QUICK, STREAM, Served, claim, serving

START, END = date(2026, 6, 15), date(2026, 8, 15)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


def the_bill(outcomes: list[Outcome]) -> Bill:
    ((bill, state, reason),) = [(each.bill, each.state, each.reason) for each in outcomes]
    assert state == "closed", reason
    assert bill is not None
    return bill


def billed(served: Served, kwh: float, start: date = START, end: date = END, **terms: Any) -> Bill:
    """The bill of one period with so much import."""
    credential = supply(served, start, **terms)
    read(served, credential, 1, midnight(start), 13_125)
    read(served, credential, 2, midnight(end), 13_125 + kwh)
    on(served, end)
    return the_bill(bill_run(served, f"{end:%Y-%m}"))


VECTORS = {
    "1, 300 kWh": (300, START, END, {}, 49_649),
    "1, minimum": (0, START, END, {}, 6_542),
    "1F summer": (2000, START, END, {"tariff_code": "1F", "summer_start_month": 5}, 228_520),
    "1C summer": (
        1000,
        date(2026, 7, 15),
        date(2026, 9, 15),
        {"tariff_code": "1C", "summer_start_month": 5},
        175_415,
    ),
    "1 in 2018": (300, date(2018, 6, 15), date(2018, 8, 15), {}, 34_715),
}


@pytest.mark.parametrize("name", VECTORS)
def test_readings_become_the_published_amount(served: Served, name: str) -> None:
    kwh, start, end, terms, total = VECTORS[name]
    assert billed(served, kwh, start, end, **terms).result.total_cents == total


def test_the_printed_bill_with_deposit_balance_and_payment(served: Served) -> None:
    start, end = date(2026, 4, 18), date(2026, 6, 20)
    credential = supply(served, start, tariff_code="1B", summer_start_month=5, dap_bp=250)
    read(served, credential, 1, midnight(start), 13_125)
    read(served, credential, 2, midnight(end), 13_453)
    on(served, end)
    with writing(served.database) as connection:
        for key, kind, cents, book in (
            ("old", "correction", 65_600, "adjustment"),
            ("deposit", "deposit", 67_300, "deposit"),
        ):
            entries: Any = {"receivable": cents, book: -cents}
            day = date(2026, 4, 18)
            posting = Posting(key, 1, kind, day, entries)  # type: ignore[arg-type]
            post(connection, posting, who="ana", now_utc_s=1)
        pay(connection, Payment("7", 1, 65_600, date(2026, 5, 2)), who="ana", now_utc_s=1)
    bill = the_bill(bill_run(served, "2026-06", read_on=end))
    assert [(line.kind, line.cents) for line in bill.result.lines] == [
        ("energy", 25_100),
        ("energy", 9_071),
        ("tax", 5_467),
        ("dap", 854),
        ("deposit", 67_300),
        # 656.00 stood there before the first bill, and was booked and paid since: both are named.
        ("payment", -65_600),
        ("correction", 65_600),
    ]
    assert bill.result.total_cents == 107_792
    with reading(served.database) as connection:
        assert balance_cents(connection, 1) == bill.result.total_cents


def test_net_metering_keeps_its_bank_from_bill_to_bill(served: Served) -> None:
    days = [date(2018, month, 1) for month in (1, 3, 5, 7)]
    credential = supply(served, days[0], regime="medicion_neta")
    imports, exports = [0, 220, 480, 880], [0, 300, 620, 900]
    for seq, (day, import_kwh, export_kwh) in enumerate(
        zip(days, imports, exports, strict=True), 1
    ):
        read(served, credential, seq, midnight(day), import_kwh, export_kwh)
    on(served, days[-1])
    made = [the_bill(bill_run(served, month)) for month in ("2018-02", "2018-04", "2018-06")]
    assert [lot.left_j // KWH for lot in made[1].result.lots] == [80, 60]
    assert made[2].result.billed_j == 0
    assert [part.energy_j // KWH for part in made[2].result.used] == [80, 40]
    assert made[2].result.lots == (Lot(days[2], 20 * KWH, None),)
    (minimum,) = [line for line in made[2].result.lines if line.kind == "minimum"]
    assert minimum.energy_j == 50 * KWH


def test_a_year_above_the_limit_brings_the_tariff_for_high_consumption(served: Served) -> None:
    days = [date(2025 + (month > 12), (month - 1) % 12 + 1, 15) for month in range(7, 22, 2)]
    credential = supply(served, days[0], tariff_code="1", summer_start_month=5)
    with writing(served.database) as connection:
        connection.execute(insert(BILLING_TERMS).values(agreement_id=1, region="Central"))
    for seq, day in enumerate(days, 1):
        read(served, credential, seq, midnight(day), 600 * (seq - 1))
    on(served, days[-1])
    # Prices of 2025 are not known: those periods are skipped, and so is all that follows.
    (first,) = bill_run(served, "2025-09")
    assert first.state == "skipped"
    assert "no price of basico (winter in Central) for 2025-08" in (first.reason or "")


def test_the_tariff_for_high_consumption_comes_and_says_why(served: Served) -> None:
    start = date(2018, 1, 1)
    days = [date(2018 + month // 12, month % 12 + 1, 1) for month in range(0, 15, 2)]
    credential = supply(served, start)
    for seq, day in enumerate(days, 1):
        read(served, credential, seq, midnight(day), 600 * (seq - 1))
    on(served, days[-1])
    months = ["2018-02", "2018-04", "2018-06", "2018-08", "2018-10", "2018-12"]
    made = [the_bill(bill_run(served, month)) for month in months]
    assert {bill.inputs.tariff for bill in made} == {"1"}
    (last,) = bill_run(served, "2019-02")
    assert last.reason == "tariff DAC needs to know the month in which summer begins"


def test_a_second_run_changes_nothing(served: Served) -> None:
    bill = billed(served, 300)
    before = served.rows("SELECT * FROM bill"), served.rows("SELECT * FROM ledger_txn")
    (again,) = bill_run(served, "2026-08")
    assert (again.state, again.reason) == ("already", f"bill {bill.inputs.number} is closed")
    assert (served.rows("SELECT * FROM bill"), served.rows("SELECT * FROM ledger_txn")) == before


def test_a_preview_closes_nothing(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 0)
    read(served, credential, 2, midnight(END), 300)
    on(served, END)
    (outcome,) = bill_run(served, "2026-08", preview=True)
    assert outcome.state == "preview"
    assert outcome.bill is not None
    assert outcome.bill.result.total_cents == 49_649
    assert served.rows("SELECT count(*) FROM bill") == [(0,)]


def test_a_closed_bill_makes_the_same_bytes_again_and_cannot_be_changed(served: Served) -> None:
    bill = billed(served, 300)
    with reading(served.database) as connection:
        assert bills.recomputes(bills.named(connection, bill.inputs.number))
    for sql in ("DELETE FROM bill", "UPDATE bill SET total_cents = 0"):
        with (
            pytest.raises(IntegrityError, match="append-only"),
            writing(served.database) as connection,
        ):
            connection.exec_driver_sql(sql)


def test_what_is_billed_is_owed_and_every_book_adds_up(served: Served) -> None:
    billed(served, 300, dap_centavos=1_000)
    with reading(served.database) as connection:
        assert balance_cents(connection, 1) == 49_649 + 1_000
        assert trial_cents(connection) == [
            ("dap", -1_000),
            ("receivable", 50_649),
            ("revenue", -42_801),
            ("tax", -6_848),
        ]


def test_a_period_that_has_not_ended_is_skipped_and_said_so(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 0)
    on(served, date(2026, 8, 14))
    (outcome,) = bill_run(served, "2026-08")
    assert (outcome.state, outcome.reason) == ("skipped", "the period ends on 2026-08-15")


def test_a_period_before_must_be_billed_first(served: Served) -> None:
    supply(served, START)
    on(served, date(2026, 12, 1))
    (outcome,) = bill_run(served, "2026-10")
    assert outcome.reason == "the period from 2026-06-15 to 2026-08-15 is not billed yet"


def test_a_missing_reading_is_named(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 0)
    on(served, END)
    (outcome,) = bill_run(served, "2026-08")
    assert outcome.reason == "meter MX-000001 has no reading of the last day of the period"


def test_an_agreement_without_a_tariff_is_skipped(served: Served) -> None:
    supply(served, START, tariff_code=None)
    on(served, END)
    (outcome,) = bill_run(served, "2026-08")
    assert outcome.reason == "the agreement names no tariff"


def test_a_bill_is_not_booked_in_a_closed_month(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 0)
    read(served, credential, 2, midnight(END), 300)
    on(served, END)
    with writing(served.database) as connection:
        close_period(connection, "2026-08", who="ana", now_utc_s=1)
    (outcome,) = bill_run(served, "2026-08")
    assert outcome.state == "skipped"
    assert served.rows("SELECT count(*) FROM ledger_entry") == [(0,)]
    on(served, date(2026, 9, 2))
    assert the_bill(bill_run(served, "2026-08")).result.total_cents == 49_649


def test_the_last_reading_at_or_before_the_boundary_counts_and_the_next_period_goes_on(
    served: Served,
) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 0)
    read(served, credential, 2, midnight(END) - 60, 299)
    read(served, credential, 3, midnight(END) + 60, 301)
    read(served, credential, 4, midnight(date(2026, 10, 15)), 400)
    on(served, date(2026, 10, 15))
    first = the_bill(bill_run(served, "2026-08"))
    second = the_bill(bill_run(served, "2026-10"))
    assert first.result.import_j == 299 * KWH
    assert second.result.import_j == 101 * KWH


def test_late_readings_do_not_open_a_gap_between_two_bills(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 0)
    read(served, credential, 2, midnight(END) - 3600, 298)
    on(served, END)
    first = the_bill(bill_run(served, "2026-08"))
    read(served, credential, 3, midnight(END) - 60, 299)
    read(served, credential, 4, midnight(date(2026, 10, 15)), 400)
    on(served, date(2026, 10, 15))
    second = the_bill(bill_run(served, "2026-10"))
    assert first.result.import_j + second.result.import_j == 400 * KWH


def test_a_new_stream_of_the_same_meter_goes_on_counting(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 100)
    read(served, credential, 2, midnight(START) + 86_400, 150)
    other = STREAM[::-1]
    read(served, credential, 1, midnight(END), 400, stream=other)
    on(served, END)
    assert the_bill(bill_run(served, "2026-08")).result.import_j == 300 * KWH


def test_decisions_about_doubtful_readings_add_up_and_stay_in_their_period(served: Served) -> None:
    credential = supply(served, START)
    for seq, (day, kwh) in enumerate(
        [(START, 100), (date(2026, 7, 1), 150), (date(2026, 8, 1), 170), (END, 200)], 1
    ):
        read(served, credential, seq, midnight(day), kwh)
    with writing(served.database) as connection:
        decided = [(1, 7_000), (2, 30), (3, 12)]  # from which reading on, kilowatt-hours
        rows = [
            {"meter_id": 1, "stream": STREAM, "seq": seq, "import_j": kwh * KWH, "export_j": 0}
            for seq, kwh in decided
        ]
        connection.execute(insert(REGISTER_OFFSET), rows)
    on(served, END)
    bill = the_bill(bill_run(served, "2026-08"))
    assert bill.inputs.segments[0].decided_import_j == 42 * KWH
    assert bill.result.import_j == 142 * KWH


def test_an_exchange_of_meters_adds_both(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 1_000)
    read(served, credential, 2, midnight(date(2026, 7, 1)), 1_100)
    served.clock.now_utc_s = midnight(date(2026, 7, 1))
    with writing(served.database) as connection:
        made = registry.exchange(
            connection,
            QUICK,
            service_number="123456789012",
            serial="MX-000002",
            now_utc_s=served.clock(),
        )
    after = claim(served, made.claim_code, "MX-000002").get_json()["credential"]
    start = midnight(date(2026, 7, 1)) + 60
    read(served, after, 1, start, 0, meter="MX-000002")
    read(served, after, 2, midnight(END), 200, meter="MX-000002")
    on(served, END)
    accept_all(served)
    bill = the_bill(bill_run(served, "2026-08"))
    assert [part.meter for part in bill.inputs.segments] == ["MX-000001", "MX-000002"]
    assert bill.result.import_j == 300 * KWH


def test_a_baja_ends_the_last_period_with_the_agreement(served: Served) -> None:
    credential = supply(served, START)
    read(served, credential, 1, midnight(START), 0)
    read(served, credential, 2, midnight(date(2026, 7, 15)) + 3_600, 100)
    served.clock.now_utc_s = midnight(date(2026, 7, 15)) + 7_200
    with writing(served.database) as connection:
        registry.baja(connection, service_number="123456789012", now_utc_s=served.clock())
    on(served, END)
    accept_all(served)
    bill = the_bill(bill_run(served, "2026-07"))
    assert (bill.inputs.period.end, bill.inputs.period.cycle) == (date(2026, 7, 15), "custom")
    assert bill.result.import_j == 100 * KWH
    assert [each.state for each in bill_run(served, "2026-07")] == ["already"]


def test_boundaries_are_in_the_usage_points_zone_over_a_change_of_the_clock(
    served: Served,
) -> None:
    zone, start, end = "America/Tijuana", date(2026, 3, 1), date(2026, 4, 1)
    credential = supply(served, start, zone=zone, cycle="monthly", tariff_code="EXAMPLE-FLAT")
    read(served, credential, 1, midnight(start, zone), 0)
    read(served, credential, 2, midnight(end, zone), 100)
    read(served, credential, 3, midnight(end, zone) + 1, 999)
    on(served, end)
    bill = the_bill(bill_run(served, "2026-03"))
    assert bill.inputs.end_utc_s - bill.inputs.start_utc_s == 31 * 86_400 - 3_600
    assert bill.result.import_j == 100 * KWH


def test_total_sale_pays_each_hours_export_at_its_price(served: Served) -> None:
    credential = supply(served, START, regime="venta_total")
    first = midnight(START)
    read(served, credential, 1, first, 0)
    read(served, credential, 2, first + 3_600, 100, 10)
    read(served, credential, 3, first + 7_200, 200, 30)
    read(served, credential, 4, midnight(END), 300, 30)
    on(served, END)
    accept_all(served)
    with writing(served.database) as connection:
        connection.execute(insert(BILLING_TERMS).values(agreement_id=1, price_node="07HLL"))
    (outcome,) = bill_run(served, "2026-08", preview=True)
    assert "node 07HLL has no local price" in (outcome.reason or "")
    with writing(served.database) as connection:
        keep_prices(connection, "07HLL", {first: 50_000, first + 3_600: 80_000})
    bill = the_bill(bill_run(served, "2026-08"))
    (credit,) = [line.cents for line in bill.result.lines if line.kind == "export_credit"]
    assert credit == -(500 + 1_600)


def test_time_of_use_counts_the_hours_of_the_local_clock(served: Served) -> None:
    start, end = date(2026, 7, 10), date(2026, 7, 11)  # a Friday
    terms: dict[str, Any] = {"tariff_code": "EXAMPLE-TOU", "summer_start_month": 5}
    credential = supply(served, start, cycle="custom", cycle_days=1, **terms)
    for hour in range(25):
        read(served, credential, hour + 1, midnight(start) + hour * 3_600, hour)
    on(served, end)
    bill = the_bill(bill_run(served, "2026-07")[:1])
    assert {part.name: part.energy_j // KWH for part in bill.inputs.hours} == {
        "base": 6,
        "intermedia": 16,
        "punta": 2,
    }


def test_the_next_bill_names_what_was_owed_and_paid(served: Served) -> None:
    credential = supply(served, START)
    for seq, (day, kwh) in enumerate([(START, 0), (END, 300), (date(2026, 10, 15), 400)], 1):
        read(served, credential, seq, midnight(day), kwh)
    on(served, END)
    bill_run(served, "2026-08")
    with writing(served.database) as connection:
        pay(connection, Payment("A", 1, 49_649, date(2026, 8, 20)), who="ana", now_utc_s=1)
    on(served, date(2026, 10, 15))
    bill = the_bill(bill_run(served, "2026-10"))
    assert [(line.kind, line.cents) for line in bill.inputs.account_lines] == [
        ("previous", 49_649),
        ("payment", -49_649),
    ]
    assert bill.result.total_cents == bill.result.period_cents
