"""From raw readings to intervals with a quality, and the exceptions that a person decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from server.db import reading, writing
from server.errors import AlreadyExistsError, SettingError
from server.validation import decisions
from server.validation.exceptions import open_exceptions
from server.validation.registers import RegisterValue, registers_at
from tests.served import NOON_UTC_S, Served, serving
from tests.validated import Told, arrive, exceptions, intervals, supply, validate

SLOT_S = 900
HOUR_S = 3600
KWH_J = 3_600_000
T0 = NOON_UTC_S  # a whole hour
WHO = {"reason": "read on site", "who": "inspector"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        yield site


@pytest.fixture
def meter_id(served: Served) -> int:
    return supply(served).meter_id


def steady(count: int, *, first: int = 1, j: int = 900_000) -> list[Told]:
    """One kilowatt: 900 kJ in each quarter of an hour."""
    return [Told(n, T0 + n * SLOT_S, n * j) for n in range(first, first + count)]


def at(served: Served, utc_s: int) -> RegisterValue:
    with reading(served.database) as connection:
        value = registers_at(connection, 1, utc_s)
    assert value is not None
    return value


def open_at(served: Served, from_utc_s: int, to_utc_s: int) -> list[str]:
    with reading(served.database) as connection:
        return [each.rule for each in open_exceptions(connection, 1, from_utc_s, to_utc_s)]


def decide(served: Served, what: str, ordinal: int, **more: Any) -> None:
    arguments = WHO | {"now_utc_s": served.clock()} | more
    with writing(served.database) as connection:
        getattr(decisions, what)(connection, "MX-1", ordinal, **arguments)


def test_good_readings_become_valid_intervals(served: Served, meter_id: int) -> None:
    arrive(served, meter_id, steady(5))
    validate(served)
    assert intervals(served, meter_id) == [
        (T0 + n * SLOT_S, SLOT_S, 900_000, 0, 0) for n in range(2, 6)
    ]
    assert exceptions(served, meter_id) == []
    assert at(served, T0 + 4 * SLOT_S) == RegisterValue(
        3_600_000, 0, steady(1)[0].stream, 4, 0, meter_id, T0 + 4 * SLOT_S
    )


def test_readings_of_a_minute_become_quarters_of_an_hour(served: Served, meter_id: int) -> None:
    told = [Told(n, T0 + n * 60, n * 60_000, interval_s=60) for n in range(1, 47)]
    arrive(served, meter_id, told)
    validate(served)
    assert intervals(served, meter_id) == [
        (T0 + SLOT_S, 840, 840_000, 0, 0),  # counted from the first reading on
        (T0 + 2 * SLOT_S, SLOT_S, 900_000, 0, 0),
        (T0 + 3 * SLOT_S, SLOT_S, 900_000, 0, 0),
    ]


def test_a_gap_of_hours_is_estimated_by_rule_and_shown_so(served: Served, meter_id: int) -> None:
    arrive(served, meter_id, [steady(1)[0], Told(2, T0 + 5 * SLOT_S, 4_500_000)])
    validate(served)
    assert intervals(served, meter_id) == [
        (T0 + n * SLOT_S, SLOT_S, 900_000, 0, 9) for n in range(2, 6)
    ]
    assert exceptions(served, meter_id) == [("gap", T0 + SLOT_S, T0 + 5 * SLOT_S, "estimated")]
    half_way = at(served, T0 + 3 * SLOT_S)
    assert (half_way.import_j, half_way.quality, half_way.seq) == (2_700_000, 9, 1)


def test_a_gap_of_two_days_waits_for_a_person(served: Served, meter_id: int) -> None:
    arrive(served, meter_id, [Told(1, T0, 0), Told(2, T0 + 48 * HOUR_S, 48 * KWH_J)])
    validate(served)
    assert open_at(served, T0, T0 + HOUR_S) == ["gap"]
    assert {row[4] for row in intervals(served, meter_id)} == {10}
    assert at(served, T0 + 24 * HOUR_S).quality == 10
    decide(served, "estimate", 1, method="linear")
    assert open_at(served, T0, T0 + HOUR_S) == []
    assert {row[4] for row in intervals(served, meter_id)} == {9}
    middle = at(served, T0 + 24 * HOUR_S)
    assert (middle.import_j, middle.quality) == (24 * KWH_J, 9)


def test_late_readings_replace_the_estimate_by_a_new_revision(
    served: Served, meter_id: int
) -> None:
    told = [Told(n, T0 + n * SLOT_S, n * n * 1000) for n in range(1, 6)]
    arrive(served, meter_id, [told[0], told[4]])
    validate(served)
    arrive(served, meter_id, told[1:4])
    validate(served)
    assert intervals(served, meter_id) == [
        (T0 + n * SLOT_S, SLOT_S, (2 * n - 1) * 1000, 0, 0) for n in range(2, 6)
    ]
    assert open_at(served, T0, T0 + 2 * HOUR_S) == []
    assert served.rows("SELECT decision FROM exception_resolution") == [("estimated",)]
    assert served.rows(
        "SELECT revision, import_j, quality, superseded_utc_s IS NULL FROM interval_reading "
        "WHERE end_utc_s = ? ORDER BY revision",
        T0 + 2 * SLOT_S,
    ) == [(1, 6000, 9, 0), (2, 3000, 0, 1)]


def test_a_register_that_falls_counts_nothing_until_a_person_says_what(
    served: Served, meter_id: int
) -> None:
    told = [Told(1, T0, 5 * KWH_J), Told(2, T0 + SLOT_S, 0), Told(3, T0 + 2 * SLOT_S, 900_000)]
    arrive(served, meter_id, told)
    validate(served)
    assert open_at(served, T0, T0 + HOUR_S) == ["register_decrease"]
    assert at(served, T0 + 2 * SLOT_S).import_j == 5 * KWH_J + 900_000
    decide(served, "edit", 1, import_j=800_000, export_j=0)
    assert intervals(served, meter_id) == [
        (T0 + SLOT_S, SLOT_S, 800_000, 0, 7),
        (T0 + 2 * SLOT_S, SLOT_S, 900_000, 0, 0),
    ]
    assert at(served, T0 + 2 * SLOT_S).import_j == 5 * KWH_J + 1_700_000


def test_more_than_the_service_carries_is_a_jump(served: Served, meter_id: int) -> None:
    # 10 kW carry 2.5 kWh in a quarter of an hour, with a tenth more allowed.
    carried_j = 11_000 * SLOT_S
    arrive(served, meter_id, [Told(1, T0, 0), Told(2, T0 + SLOT_S, carried_j)])
    validate(served)
    assert exceptions(served, meter_id) == []
    arrive(served, meter_id, [Told(3, T0 + 2 * SLOT_S, 2 * carried_j + 1)])
    validate(served)
    assert open_at(served, T0, T0 + HOUR_S) == ["jump"]
    decide(served, "accept", 1)
    assert intervals(served, meter_id)[-1][2:] == (carried_j + 1, 0, 17)


def test_an_edit_takes_a_false_jump_out_of_all_that_follows(served: Served, meter_id: int) -> None:
    told = [Told(1, T0, 0), Told(2, T0 + SLOT_S, 10**9), Told(3, T0 + 2 * SLOT_S, 10**9 + 5)]
    arrive(served, meter_id, told)
    validate(served)
    decide(served, "edit", 1, import_j=900_000, export_j=0)
    assert at(served, T0 + 2 * SLOT_S).import_j == 900_005
    assert at(served, T0 + SLOT_S).quality == 7


def test_two_readings_of_one_time_are_a_duplicate_interval(served: Served, meter_id: int) -> None:
    told = [Told(1, T0, 0), Told(2, T0 + SLOT_S, 900_000), Told(3, T0 + SLOT_S, 900_010)]
    arrive(served, meter_id, [*told, Told(4, T0 + 2 * SLOT_S, 1_800_000)])
    validate(served)
    assert open_at(served, T0, T0 + HOUR_S) == ["duplicate_interval"]
    assert [row[2] for row in intervals(served, meter_id)] == [900_000, 900_000]


def test_power_that_says_otherwise_than_the_registers_is_a_mismatch(
    served: Served, meter_id: int
) -> None:
    # 1 kW in the registers, 500 W by the mean power: 450 kJ apart.
    told = [Told(n, T0 + n * SLOT_S, n * 900_000, power_w=1000.0) for n in range(3)]
    arrive(
        served,
        meter_id,
        [Told(n.seq + 1, n.end_utc_s, n.import_j, power_w=n.power_w) for n in told],
    )
    arrive(served, meter_id, [Told(4, T0 + 3 * SLOT_S, 2_700_000, power_w=500.0)])
    validate(served)
    assert exceptions(served, meter_id) == [
        ("sum_mismatch", T0 + 2 * SLOT_S, T0 + 3 * SLOT_S, None)
    ]


def test_a_week_without_energy_is_asked_about_once(served: Served, meter_id: int) -> None:
    week_s = 7 * 24 * HOUR_S
    monday = T0 // week_s * week_s
    told = [Told(n + 1, monday + n * HOUR_S, 7, interval_s=HOUR_S) for n in range(24 * 7 + 2)]
    arrive(served, meter_id, told)
    validate(served, 50)
    assert [row[0] for row in exceptions(served, meter_id)] == ["zero"]


def test_readings_without_a_date_wait_for_one_and_lose_no_energy(
    served: Served, meter_id: int
) -> None:
    undated = Told(2, 1_000_000, 900_000, clock="unknown")
    arrive(served, meter_id, [Told(1, T0, 0), undated, Told(3, T0 + 2 * SLOT_S, 1_800_000)])
    validate(served)
    assert sum(row[2] for row in intervals(served, meter_id)) == 1_800_000
    assert {row[4] for row in intervals(served, meter_id)} == {9}


def test_a_reference_day_gives_a_gap_the_shape_of_the_week_before(
    served: Served, meter_id: int
) -> None:
    week = 7 * 24 * 4
    told, register = [], 0
    for n in range(1, week + 1):  # each fourth quarter of an hour takes 2 kW, the others none
        register += 1_800_000 if n % 4 == 0 else 0
        told.append(Told(n, T0 + n * SLOT_S, register))
    end = T0 + (week + 120) * SLOT_S  # thirty hours later
    arrive(served, meter_id, [*told, Told(week + 1, end, register + 30 * 900_000)])
    validate(served)
    ordinal = served.rows(
        "SELECT ordinal FROM validation_exception WHERE rule = 'gap' AND resolved_utc_s IS NULL"
    )[0][0]
    decide(served, "estimate", ordinal, method="reference_day")
    gap = intervals(served, meter_id)[-120:]
    assert {row[4] for row in gap} == {8}
    assert sum(row[2] for row in gap) == 30 * 900_000
    assert [row[2] for row in gap[:8]] == [0, 0, 0, 900_000] * 2
    assert at(served, gap[7][0]).import_j == register + 2 * 900_000


def test_who_decided_and_why_cannot_be_changed(served: Served, meter_id: int) -> None:
    arrive(served, meter_id, [Told(1, T0, 0), Told(2, T0 + 48 * HOUR_S, 48 * KWH_J)])
    validate(served)
    decide(served, "accept", 1)
    with pytest.raises(AlreadyExistsError, match="decided by inspector"):
        decide(served, "accept", 1)
    for statement in (
        "UPDATE exception_resolution SET who = 'nobody'",
        "DELETE FROM exception_resolution",
        "DELETE FROM validation_exception",
        "UPDATE validation_exception SET reason = ''",
        "UPDATE interval_reading SET import_j = 0",
        "DELETE FROM interval_reading",
    ):
        with pytest.raises(IntegrityError, match="append-only"), writing(served.database) as c:
            c.exec_driver_sql(statement)


def test_a_decision_needs_a_reason(served: Served, meter_id: int) -> None:
    arrive(served, meter_id, [Told(1, T0, 0), Told(2, T0 + 48 * HOUR_S, 48 * KWH_J)])
    validate(served)
    with pytest.raises(SettingError, match="a reason"):
        decide(served, "accept", 1, reason=" ")


def test_what_is_not_validated_yet_is_raw(served: Served, meter_id: int) -> None:
    arrive(served, meter_id, steady(4))
    assert at(served, T0 + 2 * SLOT_S).quality == 14
    validate(served)
    assert at(served, T0 + 2 * SLOT_S).quality == 0
    assert at(served, T0 + 40 * SLOT_S).quality == 14  # no later reading
