"""Customers and meters from a CSV file: all of it or nothing, and each bad line by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import registry
from server.csv_cells import text_of
from server.db import writing
from server.errors import SettingError
from server.registry import Report
from tests.served import Served, serving

HEAD = "service_number,name,serial,area,max_current_a,tariff,iva_pct,customer,phone"
GOOD = f"""{HEAD}
S1,Ana López,MX-1,Norte,60,1C,16,ana,+52 662 1234567
S2,Ana López,MX-2,Norte,,1C,8.5,ana,
S3,"Beto, S.A.",MX-3,,,,,,
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        yield site


def load(served: Served, text: str, *, dry_run: bool = False) -> Report:
    with writing(served.database) as connection:
        return registry.import_supplies(
            connection, text.encode(), now_utc_s=served.clock(), dry_run=dry_run
        )


def test_a_file_makes_customers_supplies_and_meters(served: Served) -> None:
    assert load(served, "\ufeff" + GOOD) == Report(created=3)
    assert served.rows("SELECT name FROM customer ORDER BY id") == [("Ana López",), ("Beto, S.A.",)]
    assert served.rows("SELECT account_id, tariff_code, iva_bp FROM service_agreement") == [
        (1, "1C", 1600),
        (1, "1C", 850),
        (2, None, 1600),
    ]


def test_a_dry_run_stores_nothing(served: Served) -> None:
    assert load(served, GOOD, dry_run=True) == Report(created=3)
    assert served.rows("SELECT count(*) FROM customer") == [(0,)]


def test_a_file_that_is_sent_again_changes_nothing(served: Served) -> None:
    load(served, GOOD)
    assert load(served, GOOD) == Report(unchanged=3)
    more = GOOD + "S4,Ana López,MX-4,,,,,ana,\n"
    assert load(served, more) == Report(created=1, unchanged=3)
    assert served.rows("SELECT account_id FROM service_agreement WHERE id = 4") == [(1,)]


def test_every_bad_line_is_listed_with_its_number_and_nothing_is_stored(served: Served) -> None:
    load(served, f"{HEAD}\nS9,Ana,MX-9,,,,,,\n")
    report = load(
        served,
        f"""{HEAD}
S1,Ana,MX-1,,,,,,
S1,Ana,MX 2,,,,,,
S3,,MX-3,,sixty,,,,
S4,=cmd,MX-4,,,,,,
S5,Ana,MX-5
S9,Eva,MX-9,,,,,,
S7,Ana,MX-9,,,,,,
S8,Ana,MX-1,,,,16.005,,
S6,Ana,MX-1,,0,,,,
""",
    )
    assert [bad.line for bad in report.bad] == [3, 4, 4, 5, 6, 7, 8, 8, 9, 10]
    words = " | ".join(bad.reason for bad in report.bad)
    for expected in (
        "'MX 2' cannot be a serial",
        "max_current_a cannot be 'sixty'",
        "the customer's name",
        "name begins with '='",
        "more or fewer cells",
        "is supplied to 'Ana'",
        "'MX-9' is registered already",
        "iva_pct cannot be '16.005'",
        "1 to 10000 A, not 0",
    ):
        assert expected in words
    assert served.rows("SELECT count(*) FROM customer") == [(1,)]


def test_a_number_or_serial_that_is_twice_in_a_file_is_bad(served: Served) -> None:
    report = load(served, f"{HEAD}\nS1,A,MX-1,,,,,,\nS1,A,MX-2,,,,,,\nS2,A,MX-1,,,,,,\n")
    assert [(bad.line, bad.reason) for bad in report.bad] == [
        (3, "service number 'S1' is on line 2 already"),
        (4, "serial 'MX-1' is on line 2 already"),
    ]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula_on_the_way_in_or_out(served: Served, begin: str) -> None:
    cell = f'"{begin}1+1"'
    assert load(served, f"{HEAD}\nS1,{cell},MX-1,,,,,,\n").bad
    assert text_of([[f"{begin}1", 5, -5]]).lstrip('"').startswith(f"'{begin}1")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"name\nAna\n", b"service_number,name,serial,color\n", b'a"b\n"']
)
def test_what_is_no_such_file_is_refused_whole(served: Served, content: bytes) -> None:
    with writing(served.database) as connection, pytest.raises(SettingError):
        registry.import_supplies(connection, content, now_utc_s=1, dry_run=True)
