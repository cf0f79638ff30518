"""What an area took and gave, from the hours of its meters."""

from __future__ import annotations

from pathlib import Path

import pytest

from server import registry
from server.area_energy import AreaHour, PointEnergy, consumption
from server.db import reading, writing
from server.errors import NotFoundError, SettingError
from server.registry import Registers, areas
from tests.served import NOON_UTC_S, QUICK, Served, serving
from tests.validated import Told, arrive, validate

HOUR_S = 3600
SLOT_S = 900
KWH_J = 3_600_000


def area_of_three(served: Served) -> None:
    """Norte in Sonora: 1 kW import, 2 kW export, and a meter that is silent; Sur: 5 kW."""
    with writing(served.database) as connection:
        areas.create(connection, name="Sonora")
        areas.create(connection, name="Norte", kind="feeder", parent="Sonora")
        for number, area in enumerate(("Norte", "Norte", "Norte", "Sur"), 1):
            registry.alta(
                connection,
                QUICK,
                customer=registry.Person("Ana"),
                place=registry.UsagePoint(f"S{number}", area),
                terms=registry.Terms("1"),
                serial=f"MX-{number}",
                now_utc_s=NOON_UTC_S,
                start=Registers(0, 0),
            )
    for meter_id, import_w, export_w in ((1, 1000, 0), (2, 0, 2000), (4, 5000, 0)):
        told = [
            Told(n, NOON_UTC_S + n * SLOT_S, n * import_w * SLOT_S, n * export_w * SLOT_S)
            for n in range(1, 9)
        ]
        arrive(served, meter_id, told)
    validate(served)


def test_an_area_adds_up_all_below_it_and_says_who_is_missing(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        area_of_three(served)
        with reading(served.database) as connection:
            found = consumption(connection, "Sonora", NOON_UTC_S, NOON_UTC_S + 2 * HOUR_S, top=1)
    assert (found.import_j, found.export_j, found.net_j) == (2 * KWH_J, 4 * KWH_J, -2 * KWH_J)
    assert (found.meters_reporting, found.meters_expected) == (2, 3)
    assert found.coverage_pct == pytest.approx(200 / 3)
    assert found.hours == [
        AreaHour(NOON_UTC_S, KWH_J, 2 * KWH_J, 2),
        AreaHour(NOON_UTC_S + HOUR_S, KWH_J, 2 * KWH_J, 2),
    ]
    assert found.top == [PointEnergy("S1", "MX-1", 2 * KWH_J, 0, 0)]


def test_hours_follow_when_readings_come_late(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        area_of_three(served)
        arrive(served, 3, [Told(1, NOON_UTC_S + HOUR_S, 3 * KWH_J, interval_s=HOUR_S)])
        validate(served)
        with reading(served.database) as connection:
            found = consumption(connection, "Norte", NOON_UTC_S, NOON_UTC_S + HOUR_S)
    assert (found.import_j, found.meters_reporting) == (4 * KWH_J, 3)
    assert found.estimated_s == HOUR_S  # one reading an hour says nothing of its quarters


def test_raw_readings_are_never_scanned(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        area_of_three(served)
        asked: list[str] = []
        with reading(served.database) as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.set_trace_callback(asked.append)
            consumption(connection, "Norte", NOON_UTC_S, NOON_UTC_S + HOUR_S)
            driver.set_trace_callback(None)
    assert asked
    assert not [sql for sql in asked if "FROM reading" in sql or "JOIN reading" in sql]


def test_a_period_that_cannot_be_is_explained(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        area_of_three(served)
        with reading(served.database) as connection:
            for begin, end in ((0, 0), (1, HOUR_S), (HOUR_S, 0), (0, 20_000 * HOUR_S)):
                with pytest.raises(SettingError):
                    consumption(connection, "Norte", begin, end)
            with pytest.raises(NotFoundError):
                consumption(connection, "Poniente", 0, HOUR_S)
