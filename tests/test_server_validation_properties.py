"""Whatever came, in whatever order: intervals add up to the registers, and are the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from server import registry
from server.db import reading, writing
from server.registry import Registers
from server.validation.registers import registers_at
from tests.served import NOON_UTC_S, QUICK, STREAM, Served, serving
from tests.validated import Told, arrive, exceptions, intervals, supply, validate

SLOT_S = 900
DAY_S = 24 * 3600
ZONES = sorted(available_timezones())
OTHER = "f" * 32
NUMBERS = count(1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(Path(tmp_path_factory.mktemp("server"))) as site:
        yield site


def midnight_utc_s(zone: str, day: date) -> int:
    return int(datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC).timestamp())


def registers(served: Served, point: int, utc_s: int) -> tuple[int, int]:
    with reading(served.database) as connection:
        value = registers_at(connection, point, utc_s)
    assert value is not None
    return value.import_j, value.export_j


def rises() -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, 2_000_000), st.integers(0, 2_000_000))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    zone=st.sampled_from(ZONES),
    day=st.one_of(
        st.dates(date(1973, 1, 1), date(2037, 12, 30)),
        # Where clocks are put on and back in Mexico's north, Europe and Lord Howe.
        st.sampled_from(
            [date(2026, 3, 8), date(2026, 3, 29), date(2026, 10, 4), date(2026, 11, 1)]
        ),
    ),
    energy=st.lists(rises(), min_size=30, max_size=30),
    missing=st.sets(st.integers(2, 29)),
    shift_s=st.integers(0, 899),
)
def test_intervals_of_a_local_day_add_up_to_the_difference_of_its_registers(
    served: Served,
    zone: str,
    day: date,
    energy: list[tuple[int, int]],
    missing: set[int],
    shift_s: int,
) -> None:
    begin, end = midnight_utc_s(zone, day), midnight_utc_s(zone, day + timedelta(days=1))
    assume(begin % SLOT_S == 0 and end % SLOT_S == 0 and end > begin)
    made = supply(served, next(NUMBERS))
    told, import_j, export_j = [], 0, 0
    for number, (more_import_j, more_export_j) in enumerate(energy, 1):
        import_j, export_j = import_j + more_import_j, export_j + more_export_j
        utc_s = begin - 2 * 3600 + (number - 1) * 3600 + shift_s
        told.append(Told(number, utc_s, import_j, export_j, interval_s=3600))
    arrive(served, made.meter_id, [each for each in told if each.seq not in missing])
    validate(served)
    first, last = (registers(served, made.usage_point_id, moment) for moment in (begin, end))
    rows = [row for row in intervals(served, made.meter_id) if begin < row[0] <= end]
    assert sum(row[1] for row in rows) == end - begin
    assert sum(row[2] for row in rows) == last[0] - first[0]
    assert sum(row[3] for row in rows) == last[1] - first[1]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([60, 300, 900, 901, 5000, 100_000]), rises(), st.booleans()),
        min_size=4,
        max_size=40,
    ),
    stream_at=st.integers(1, 40),
    order=st.randoms(use_true_random=False),
    readings_max=st.integers(1, 5),
)
def test_late_and_shuffled_readings_give_the_same_intervals_as_in_order(
    served: Served,
    steps: list[tuple[int, tuple[int, int], bool]],
    stream_at: int,
    order: object,
    readings_max: int,
) -> None:
    told, utc_s, import_j, export_j = [], NOON_UTC_S, 10**9, 10**9
    for number, (elapsed_s, (more_import_j, more_export_j), falls) in enumerate(steps, 1):
        utc_s += elapsed_s
        import_j += more_import_j - (3_000_000 if falls else 0)
        export_j += more_export_j
        stream, seq = (STREAM, number) if number <= stream_at else (OTHER, number - stream_at)
        told.append(Told(seq, utc_s, import_j, export_j, stream))
    in_order, shuffled = supply(served, next(NUMBERS)), supply(served, next(NUMBERS))
    arrive(served, in_order.meter_id, told)
    validate(served)
    rows = list(told)
    order.shuffle(rows)  # type: ignore[attr-defined]
    while rows:
        arrive(served, shuffled.meter_id, [rows.pop() for _ in rows[:3]])
        validate(served, readings_max)
    assert intervals(served, shuffled.meter_id) == intervals(served, in_order.meter_id)
    still = {row for row in exceptions(served, shuffled.meter_id) if row[3] is None}
    assert still == {row for row in exceptions(served, in_order.meter_id) if row[3] is None}
    for moment in (NOON_UTC_S + steps[0][0], utc_s, (NOON_UTC_S + steps[0][0] + utc_s) // 2):
        there = registers(served, shuffled.usage_point_id, moment)
        assert there == registers(served, in_order.usage_point_id, moment)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(energy=st.lists(rises(), min_size=9, max_size=9), late_s=st.integers(0, 899))
def test_energy_of_a_place_goes_on_over_an_exchange(
    served: Served, energy: list[tuple[int, int]], late_s: int
) -> None:
    number = next(NUMBERS)
    made = supply(served, number, from_utc_s=NOON_UTC_S, start=Registers(5, 7))
    readings, import_j, export_j = [], 5, 7
    for seq, more in enumerate(energy[:4], 1):
        import_j, export_j = import_j + more[0], export_j + more[1]
        readings.append(Told(seq, NOON_UTC_S + seq * SLOT_S, import_j, export_j))
    arrive(served, made.meter_id, readings)
    when = NOON_UTC_S + 4 * SLOT_S + late_s
    final = Registers(import_j + energy[4][0], export_j + energy[4][1])
    with writing(served.database) as connection:
        changed = registry.exchange(
            connection,
            QUICK,
            service_number=f"S{number}",
            serial=f"NEW-{number}",
            now_utc_s=when,
            final=final,
            start=Registers(1_000_000, 0),
        )
    readings, import_j, export_j = [], 1_000_000, 0
    for seq, more in enumerate(energy[5:], 1):
        import_j, export_j = import_j + more[0], export_j + more[1]
        readings.append(Told(seq, NOON_UTC_S + (5 + seq) * SLOT_S, import_j, export_j))
    arrive(served, changed.meter_id, readings)
    validate(served)
    end = NOON_UTC_S + 9 * SLOT_S
    counted = tuple(sum(column) for column in zip(*energy, strict=True))
    assert registers(served, made.usage_point_id, end) == (5 + counted[0], 7 + counted[1])
    rows = [*intervals(served, made.meter_id), *intervals(served, changed.meter_id)]
    assert (sum(row[2] for row in rows), sum(row[3] for row in rows)) == counted
