"""The operator's way through a supply's life, by the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from server.cli import main
from server.db import writing
from tests.served import NOON_UTC_S, STREAM, Served, serving
from tests.validated import Told, arrive, validate

ALTA = ("--name", "Ana", "--service-number", "S1", "--serial", "MX-1", "--area", "Norte")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        yield site


def run(served: Served, *words: str) -> tuple[int, str]:
    url = f"sqlite:///{served.database.path}"
    result = CliRunner().invoke(main, [*words, "--database", url])
    return result.exit_code, result.output


def done(served: Served, *words: str) -> dict[str, Any]:
    status, output = run(served, *words, "--json")
    assert status == 0, output
    answer: dict[str, Any] = json.loads(output)
    return answer


def test_a_supply_from_alta_over_exchange_to_baja(served: Served) -> None:
    made = done(served, "alta", *ALTA, "--tariff", "1C", "--user", "ana", "--iva-pct", "8")
    assert (made["customer_id"], made["user"], len(made["password"])) == (1, "ana", 16)
    assert served.rows("SELECT tariff_code, iva_bp FROM service_agreement") == [("1C", 800)]
    status, said = run(served, "baja", "--service-number", "S1")
    assert (status, "never sent a reading" in said) == (1, True)
    changed = done(
        served,
        *("exchange", "--service-number", "S1", "--serial", "MX-2"),
        *("--final-import-kwh", "12.5", "--final-export-kwh", "0"),
    )
    assert changed["final"]["registers"] == {"import_j": 45_000_000, "export_j": 0}
    final = ("--final-import-kwh", "3", "--final-export-kwh", "1")
    status, said = run(served, "baja", "--service-number", "S1", *final)
    assert "Meter MX-2 is retired at 3.000 kWh import, 1.000 kWh export" in said
    rows = done(served, "meters", "--search", "mx")["rows"]
    assert [(row["serial"], row["status"]) for row in rows] == [
        ("MX-1", "retired"),
        ("MX-2", "retired"),
    ]
    assert done(served, "customers", "--area", "Norte")["rows"] == []
    assert [row["name"] for row in done(served, "customers")["rows"]] == ["Ana"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("alta", *ALTA[2:]), "say who"),
        (("alta", *ALTA, "--iva-pct", "nan"), "a share or an amount"),
        (("alta", *ALTA, "--anchor-date", "tomorrow"), "is no date"),
        (("alta", *ALTA, "--start-import-kwh", "1"), "give both registers"),
        (("customers", "--limit", "0"), "a page has 1 to 500 rows"),
        (("exceptions", "resolve", "--serial", "X", "--number", "1", "--reason", "r"), "one thing"),
        (("area-consumption", "--area", "X", "--from", "2026-01-01", "--to", "x"), "is no date"),
        (("revoke-credential", "--serial", "X"), "there is no meter"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    served: Served, words: tuple[str, ...], sentence: str
) -> None:
    status, said = run(served, *words)
    assert status == 1
    assert said.startswith("Error: ")
    assert sentence in said


def test_areas_are_added_moved_and_shown(served: Served) -> None:
    done(served, "areas", "add", "--name", "Sonora")
    done(served, "areas", "add", "--name", "F1", "--kind", "feeder", "--parent", "Sonora")
    assert run(served, "areas", "list")[1] == "Sonora (zone): 0\n  F1 (feeder): 0\n"
    done(served, "areas", "move", "--name", "F1")
    assert run(served, "areas", "list")[1] == "F1 (feeder): 0\nSonora (zone): 0\n"


def test_an_import_lists_bad_lines_and_ends_with_status_one(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "supplies.csv"
    file.write_text("service_number,name,serial\nS1,Ana,MX-1\nS2,,MX-2\n")
    status, said = run(served, "import-customers", str(file))
    assert status == 1
    assert "Line 3: the customer's name" in said
    assert "1 new, 0 as they were, 1 bad; nothing was stored." in said
    file.write_text("service_number,name,serial\nS1,Ana,MX-1\n")
    assert done(served, "import-customers", str(file), "--dry-run")["stored"] is False
    assert done(served, "import-customers", str(file))["stored"] is True


def test_an_exception_is_listed_and_resolved_and_the_area_adds_up(served: Served) -> None:
    done(served, "alta", *ALTA, "--start-import-kwh", "0", "--start-export-kwh", "0")
    with writing(served.database) as connection:
        connection.exec_driver_sql("UPDATE meter_install SET from_utc_s = ?", (NOON_UTC_S,))
    arrive(served, 1, [Told(1, NOON_UTC_S + 900, 10**9, stream=STREAM)])
    assert done(served, "validate")["open"] == 1
    listed = done(served, "exceptions", "list")["exceptions"]
    assert [(each["rule"], each["ordinal"]) for each in listed] == [("jump", 1)]
    resolve = ("exceptions", "resolve", "--serial", "MX-1", "--number", "1", "--reason", "photo")
    edited = done(served, *resolve, "--import-kwh", "0.5", "--export-kwh", "0", "--by", "eva")
    assert edited["decision"] == "edited"
    assert run(served, "exceptions", "list")[1] == "None is open.\n"
    validate(served)
    period = ("--from", "2025-11-22T19:00", "--to", "2025-11-22T20:00")
    answer = done(served, "area-consumption", "--area", "Norte", *period)
    assert (answer["import_j"], answer["meters_reporting"]) == (1_800_000, 1)
    _, curve = run(served, "area-consumption", "--area", "Norte", *period, "--csv")
    assert curve.splitlines()[1] == "Norte,2025-11-22T19:00:00Z,0.500000,0.000000,0.5,1"
