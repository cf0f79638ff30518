"""Lists a page at a time, and the tree of areas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import registry
from server.db import reading, writing
from server.errors import AlreadyExistsError, NotFoundError, SettingError
from server.registry import areas, search
from server.registry.search import Asked
from tests.served import QUICK, Served, serving

PEOPLE = (
    ("Ana", "S1", "MX-1", "Norte"),
    ("Ana", "S2", "MX-2", "Sur"),
    ("Luz_1", "S3", "MX-3", "-"),
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        with writing(site.database) as connection:
            areas.create(connection, name="Sonora")
            areas.create(connection, name="Norte", kind="feeder", parent="Sonora")
            for name, number, serial, area in PEOPLE:
                registry.alta(
                    connection,
                    QUICK,
                    customer=registry.Person(name),
                    place=registry.UsagePoint(number, area),
                    terms=registry.Terms("1"),
                    serial=serial,
                    now_utc_s=site.clock(),
                )
        yield site


def serials(served: Served, asked: Asked) -> list[str]:
    with reading(served.database) as connection:
        return [row.serial for row in search.meters(connection, asked).rows]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Asked(), ["MX-1", "MX-2", "MX-3"]),
        (Asked("ana"), ["MX-1", "MX-2"]),
        (Asked("S3"), ["MX-3"]),
        (Asked("mx-2"), ["MX-2"]),
        (Asked("_"), ["MX-3"]),  # a character, not any character
        (Asked("%"), []),
        (Asked(area="Sonora"), ["MX-1"]),
        (Asked("Ana", area="Sur"), ["MX-2"]),
    ],
)
def test_meters_are_found_by_serial_number_name_and_area(
    served: Served, asked: Asked, found: list[str]
) -> None:
    assert serials(served, asked) == found


def test_pages_of_one_give_each_customer_once(served: Served) -> None:
    found, cursor = [], None
    with reading(served.database) as connection:
        for _ in range(3):
            page = search.customers(connection, Asked(limit=1, cursor=cursor))
            found += [(row.name, row.service_number) for row in page.rows]
            cursor = page.cursor
    assert found == [("Ana", "S1"), ("Ana", "S2"), ("Luz_1", "S3")]
    assert cursor is None


def test_after_a_baja_customer_and_meter_are_still_listed(served: Served) -> None:
    with writing(served.database) as connection:
        registry.baja(
            connection,
            service_number="S1",
            now_utc_s=served.clock(),
            final=registry.Registers(1, 0),
        )
    with reading(served.database) as connection:
        customer = search.customers(connection, Asked("Ana")).rows[0]
        meter = search.meters(connection, Asked("MX-1")).rows[0]
    assert (customer.service_number, customer.serial) == (None, None)
    assert (meter.status, meter.service_number, meter.customer) == ("retired", "S1", None)


@pytest.mark.parametrize(
    "asked",
    [
        Asked(limit=0),
        Asked(limit=501),
        Asked("x" * 101),
        Asked(cursor="x"),
        Asked(cursor="WzFd"),
        Asked(cursor="W1tdLDEsMiwzXQ=="),
    ],
)
def test_what_cannot_be_asked_is_explained(served: Served, asked: Asked) -> None:
    with reading(served.database) as connection, pytest.raises(SettingError):
        search.customers(connection, asked)


def test_areas_are_a_tree_that_never_bites_its_tail(served: Served) -> None:
    with writing(served.database) as connection:
        with pytest.raises(SettingError, match="in itself"):
            areas.move(connection, name="Sonora", parent="Norte")
        with pytest.raises(SettingError, match="in itself"):
            areas.move(connection, name="Sonora", parent="Sonora")
        with pytest.raises(NotFoundError):
            areas.create(connection, name="X", parent="nowhere")
        with pytest.raises(AlreadyExistsError):
            areas.create(connection, name="Norte")
        areas.move(connection, name="Sur", parent="Norte")
        listed = [(each.name, each.depth, each.usage_points) for each in areas.listed(connection)]
    assert listed == [("Sonora", 0, 0), ("Norte", 1, 1), ("Sur", 2, 1)]
    assert serials(served, Asked(area="Sonora")) == ["MX-1", "MX-2"]
