"""Money: double entry, each key once, nothing changed afterwards, whatever is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from server.db import reading, writing
from server.errors import ConflictError, SettingError
from server.ledger import Posting, balance_cents, close_period, post, statement, trial_cents
from server.payments import BadLine, Imported, Payment, import_csv, pay
from server.registry import Person, add_customer
from tests.served import NOON_UTC_S, Served, serving

BILLED = Posting(
    "bill:1",
    1,
    "bill",
    date(2026, 8, 15),
    {"receivable": 49_649, "revenue": -42_801, "tax": -6_848},
)
PAID = Payment("SPEI 77", 1, 49_649, date(2026, 8, 20))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        add_accounts(served)
        yield served


def add_accounts(served: Served) -> None:
    """Accounts 1, 2 and 3."""
    with writing(served.database) as connection:
        for name in ("Ana", "Beto", "Carla"):
            add_customer(connection, Person(name), NOON_UTC_S)


def book(served: Served, posting: Posting) -> bool:
    with writing(served.database) as connection:
        return post(connection, posting, who="ana", now_utc_s=NOON_UTC_S)


def book_payment(served: Served, payment: Payment) -> bool:
    with writing(served.database) as connection:
        return pay(connection, payment, who="ana", now_utc_s=NOON_UTC_S)


def owed(served: Served, account_id: int = 1) -> int:
    with reading(served.database) as connection:
        return balance_cents(connection, account_id)


def test_a_bill_is_owed_and_a_payment_settles_it(served: Served) -> None:
    assert book(served, BILLED)
    assert owed(served) == 49_649
    assert book_payment(served, PAID)
    assert owed(served) == 0
    with reading(served.database) as connection:
        assert [entry.cents for entry in statement(connection, 1)] == [49_649, -49_649]
        assert sum(cents for _, cents in trial_cents(connection)) == 0


def test_the_same_key_with_the_same_content_is_booked_once(served: Served) -> None:
    assert book_payment(served, PAID)
    assert not book_payment(served, PAID)
    assert owed(served) == -49_649


@pytest.mark.parametrize(
    "other",
    [
        replace(PAID, amount_cents=1),
        replace(PAID, account_id=2),
        replace(PAID, paid_on=date(2026, 8, 21)),
    ],
)
def test_the_same_key_with_another_content_is_refused(served: Served, other: Payment) -> None:
    book_payment(served, PAID)
    with pytest.raises(ConflictError, match="used for something else"):
        book_payment(served, other)
    assert (owed(served, 1), owed(served, 2)) == (-49_649, 0)


def test_a_closed_month_takes_nothing_and_neither_does_one_before(served: Served) -> None:
    with writing(served.database) as connection:
        assert close_period(connection, "2026-08", who="ana", now_utc_s=1)
        assert not close_period(connection, "2026-07", who="ana", now_utc_s=1)
    for day in (date(2026, 8, 31), date(2026, 7, 1)):
        with pytest.raises(ConflictError, match="is closed"):
            book(served, replace(BILLED, booked_on=day))
    assert book(served, replace(BILLED, booked_on=date(2026, 9, 1)))


def test_a_repeat_of_what_was_booked_before_the_close_is_still_a_repeat(served: Served) -> None:
    book(served, BILLED)
    with writing(served.database) as connection:
        close_period(connection, "2026-08", who="ana", now_utc_s=1)
    assert not book(served, BILLED)


@pytest.mark.parametrize(
    "entries",
    [{"receivable": 1}, {"receivable": 1, "cash": -2}, {"receivable": 0, "cash": 0}, {}],
)
def test_entries_that_do_not_sum_to_zero_are_refused(
    served: Served, entries: dict[str, int]
) -> None:
    with pytest.raises(SettingError, match="sum to zero"):
        book(served, replace(BILLED, entries=entries))  # type: ignore[arg-type]


TXN = "INSERT INTO ledger_txn VALUES ('x', 1, 'h', 'payment', '{}', '2026-08-01', '', 'w', 1, 9)"
ENTRY = "INSERT INTO ledger_entry VALUES ({}, 'x', '{}', {})"


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([TXN.format("2026-08")], "sum to zero"),
        ([ENTRY.format(1, "cash", 5), TXN.format("2026-08")], "sum to zero"),
        ([ENTRY.format(1, "cash", 0)], "ck_ledger_entry_cents"),
        (
            [ENTRY.format(1, "cash", 5), ENTRY.format(2, "tax", -5), TXN.format("2026-08")],
            "sum to zero",
        ),
        ([ENTRY.format(1, "cash", 5)], "FOREIGN KEY"),
        (
            [
                ENTRY.format(1, "cash", 5),
                ENTRY.format(1, "tax", -5),
                TXN.format("2026-08"),
                ENTRY.format(1, "dap", 5),
            ],
            "complete",
        ),
        (
            [
                "INSERT INTO ledger_closed VALUES ('2026-08', 1, 'w')",
                ENTRY.format(1, "cash", 5),
                ENTRY.format(1, "tax", -5),
                TXN.format("2026-08"),
            ],
            "closed",
        ),
    ],
)
def test_the_database_itself_refuses_what_is_not_double_entry(
    served: Served, statements: list[str], message: str
) -> None:
    with pytest.raises(IntegrityError, match=message):
        execute(served, statements)


def execute(served: Served, statements: list[str]) -> None:
    with writing(served.database) as connection:
        for sql in statements:
            connection.exec_driver_sql(sql)


@pytest.mark.parametrize("table", ["ledger_txn", "ledger_entry"])
@pytest.mark.parametrize("action", ["DELETE FROM {}", "UPDATE {} SET account_id = 2"])
def test_what_is_booked_cannot_be_changed(served: Served, table: str, action: str) -> None:
    book(served, BILLED)
    with (
        pytest.raises(IntegrityError, match="append-only"),
        writing(served.database) as connection,
    ):
        connection.exec_driver_sql(action.format(table))


def imported(served: Served, text: str) -> Imported:
    accounts = {"A-1": 1, "A-2": 2}
    with writing(served.database) as connection:
        return import_csv(
            connection, text.splitlines(), accounts.get, who="ana", now_utc_s=NOON_UTC_S
        )


FILE = """reference,account,amount,paid_on
R1,A-1,100.00,2026-08-01
R2,A-2,50.5,2026-08-02
"""


def test_a_file_of_payments_is_booked_once_however_often_it_comes(served: Served) -> None:
    assert imported(served, FILE) == Imported(2, 0, 15_050, ())
    assert imported(served, FILE) == Imported(0, 2, 0, ())
    assert (owed(served, 1), owed(served, 2)) == (-10_000, -5_050)


def test_each_bad_line_is_named_and_the_good_ones_are_booked(served: Served) -> None:
    found = imported(
        served,
        FILE
        + "R3,A-9,1.00,2026-08-01\n"
        + "R4,A-1,1.001,2026-08-01\n"
        + "R5,A-1,-1.00,2026-08-01\n"
        + "R6,A-1,1.00,1/8/2026\n"
        + "R1,A-1,200.00,2026-08-01\n"
        + ",A-1,1.00,2026-08-01\n"
        + "R7,A-1,1.00\n"
        + "R8,A-1,1.00,2026-08-01,more\n",
    )
    assert (found.booked, found.cents) == (2, 15_050)
    assert [bad.line for bad in found.bad] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert found.bad[0] == BadLine(4, "there is no account 'A-9'")


def test_a_file_with_other_columns_is_refused_whole(served: Served) -> None:
    with pytest.raises(SettingError, match="reference,account,amount,paid_on"):
        imported(served, "ref,account,amount,paid_on\nR1,A-1,1.00,2026-08-01\n")


STEPS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(1, 3), st.booleans()),
    max_size=25,
)


class CrashError(Exception):
    """The program ends in the middle of a transaction."""


@settings(deadline=None, max_examples=25)
@given(steps=STEPS)
def test_any_order_repeat_or_crash_leaves_the_sums_of_a_replay(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    """L1 of the reliability figures, on SQLite."""
    with TemporaryDirectory() as folder, serving(Path(folder)) as served:
        add_accounts(served)
        kept: dict[str, Payment] = {}
        for account_id, number, hundreds, crashes in steps:
            payment = Payment(str(number), account_id, hundreds * 100, date(2026, 8, 1))
            try:
                with writing(served.database) as connection:
                    pay(connection, payment, who="a", now_utc_s=1)
                    if crashes:
                        raise CrashError
                kept.setdefault(payment.reference, payment)
            except CrashError:
                pass
            except ConflictError:
                assert kept[payment.reference] != payment
        for account_id in (1, 2, 3):
            paid = [p.amount_cents for p in kept.values() if p.account_id == account_id]
            assert owed(served, account_id) == -sum(paid)
        ((count,),) = served.rows("SELECT count(*) FROM ledger_txn")
        assert count == len(kept)
        assert served.rows("SELECT coalesce(sum(cents), 0) FROM ledger_entry") == [(0,)]
