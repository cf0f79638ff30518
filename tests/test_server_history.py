"""Energy is a difference of registers; what is not covered is not guessed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import energy, history
from server.db import reading
from server.energy import Hour, Point, PowerPoint
from tests.served import NOON_UTC_S, Served, add_customer, claimed_meter, line, post, serving
from tests.signed import Signer

HOUR_S = 3600
KWH_J = 3_600_000
MIDNIGHT_UTC_S = NOON_UTC_S - 12 * HOUR_S


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


@pytest.fixture
def credential(served: Served) -> str:
    return claimed_meter(served)


def constant_power(
    first_seq: int, start_utc_s: int, stop_utc_s: int, power_w: int, import_j: int = 0
) -> list[bytes]:
    """A reading a minute; the import register begins at ``import_j``."""
    return [
        line(
            first_seq + index,
            end_utc_s,
            power_w=float(power_w),
            measured_s=60.0,
            import_j=import_j + power_w * (end_utc_s - start_utc_s),
        )
        for index, end_utc_s in enumerate(range(start_utc_s + 60, stop_utc_s + 1, 60))
    ]


def profile_of(served: Served, after_utc_s: int, until_utc_s: int) -> list[Point]:
    with reading(served.database) as connection:
        return history.profile(connection, 1, after_utc_s, until_utc_s)


def hours_of(served: Served, start_utc_s: int, count: int = 24) -> list[Hour]:
    points = profile_of(served, start_utc_s - HOUR_S, served.clock() + 60)
    return energy.hours(points, start_utc_s, count, served.clock())


def test_a_kilowatt_is_a_kilowatt_hour_in_every_hour(served: Served, credential: str) -> None:
    lines = constant_power(1, NOON_UTC_S - 4 * HOUR_S, NOON_UTC_S, 1000)
    post(served, credential, lines)
    found = hours_of(served, NOON_UTC_S - 3 * HOUR_S)
    assert [hour.start_utc_s for hour in found] == [NOON_UTC_S - n * HOUR_S for n in (3, 2, 1)]
    for hour in found:
        assert (hour.energy.import_j, hour.energy.export_j) == (KWH_J, 0)
        assert not hour.partial
        assert hour.power_w == pytest.approx(1000)
        assert (hour.power_w_max, hour.power_w_min) == (1000, 1000)


def test_hours_add_up_to_the_difference_of_the_registers(served: Served, credential: str) -> None:
    first = constant_power(1, NOON_UTC_S - 2 * HOUR_S, NOON_UTC_S - HOUR_S - 1200, 300)
    second = constant_power(
        len(first) + 1, NOON_UTC_S - HOUR_S - 1200, NOON_UTC_S, 2400, import_j=300 * 2400
    )
    post(served, credential, first + second)
    energies = [hour.energy.import_j for hour in hours_of(served, NOON_UTC_S - 2 * HOUR_S)]
    assert energies[1] == 2400 * HOUR_S
    # the very first minute is before the first known register
    assert energies[0] == 300 * 2400 + 2400 * 1200 - 300 * 60


def test_an_hour_without_its_beginning_or_end_is_partial(served: Served, credential: str) -> None:
    from_twenty_past = constant_power(
        1, NOON_UTC_S - 2 * HOUR_S + 1200, NOON_UTC_S - HOUR_S - 600, 1000
    )
    post(served, credential, from_twenty_past)
    [hour] = hours_of(served, NOON_UTC_S - 2 * HOUR_S)
    assert hour.partial
    assert hour.energy.import_j == 1000 * (1800 - 60)


def test_the_hour_that_runs_is_not_partial_for_that(served: Served, credential: str) -> None:
    served.clock.now_utc_s = NOON_UTC_S + 600
    post(served, credential, constant_power(1, NOON_UTC_S - HOUR_S, NOON_UTC_S + 600, 1000))
    running = hours_of(served, NOON_UTC_S)[-1]
    assert not running.partial
    assert running.energy.import_j == 600_000


def test_an_hour_in_which_a_register_fell_has_no_energy(served: Served, credential: str) -> None:
    post(
        served,
        credential,
        [
            line(1, NOON_UTC_S - 120, import_j=5000, export_j=10),
            line(2, NOON_UTC_S - 60, import_j=4000, export_j=30),
        ],
    )
    [hour] = hours_of(served, NOON_UTC_S - HOUR_S)
    assert (hour.energy.import_j, hour.energy.export_j) == (None, 20)


def test_mean_power_is_weighted_by_what_was_measured(served: Served, credential: str) -> None:
    post(
        served,
        credential,
        [
            line(1, NOON_UTC_S - 120, power_w=100.0, measured_s=60.0),
            line(2, NOON_UTC_S - 60, power_w=-500.0, measured_s=20.0),
            line(3, NOON_UTC_S, power_w=None, measured_s=60.0),
        ],
    )
    [hour] = hours_of(served, NOON_UTC_S - HOUR_S)
    assert hour.power_w == pytest.approx((100 * 60 - 500 * 20) / 80)
    points = profile_of(served, NOON_UTC_S - HOUR_S, NOON_UTC_S)
    [point] = energy.power_line(points, NOON_UTC_S - HOUR_S, NOON_UTC_S, 300)
    assert point.start_utc_s == NOON_UTC_S - 300
    assert point.power_w == pytest.approx(-50)


def test_a_reading_belongs_to_the_step_that_it_ends_in(served: Served, credential: str) -> None:
    start_utc_s = NOON_UTC_S - HOUR_S
    ends = (start_utc_s, start_utc_s + 300, start_utc_s + 301, NOON_UTC_S, NOON_UTC_S + 1)
    lines = [line(seq, end, power_w=float(seq)) for seq, end in enumerate(ends, 1)]
    post(served, credential, lines)
    profile = profile_of(served, start_utc_s, NOON_UTC_S)
    points = energy.power_line(profile, start_utc_s, NOON_UTC_S, 300)
    assert points == [
        PowerPoint(start_utc_s, 2.0),
        PowerPoint(start_utc_s + 300, 3.0),
        PowerPoint(NOON_UTC_S - 300, 4.0),
    ]


@pytest.mark.parametrize(
    ("ends", "begins"),
    [
        ((-900, 60, 600), 60),  # too long before to stand for the moment
        ((-899, 60, 600), -899),
        ((0, 60, 600), 0),
        ((60, 600), 60),
    ],
)
def test_energy_since_begins_where_the_moment_is_known(
    served: Served, credential: str, ends: tuple[int, ...], begins: int
) -> None:
    lines = [
        line(seq, MIDNIGHT_UTC_S + end, import_j=10_000 + end) for seq, end in enumerate(ends, 1)
    ]
    post(served, credential, lines)
    points = profile_of(served, MIDNIGHT_UTC_S - HOUR_S, NOON_UTC_S + 60)
    span = energy.energy_since(points, MIDNIGHT_UTC_S, NOON_UTC_S)
    assert span is not None
    assert (span.from_utc_s, span.to_utc_s) == (MIDNIGHT_UTC_S + begins, MIDNIGHT_UTC_S + 600)
    assert span.import_j == 600 - begins


def test_one_reading_makes_no_energy(served: Served, credential: str) -> None:
    post(served, credential, [line(1, NOON_UTC_S - 60, import_j=10**9)])
    points = profile_of(served, MIDNIGHT_UTC_S, NOON_UTC_S + 60)
    assert energy.energy_since(points, MIDNIGHT_UTC_S, NOON_UTC_S) is None
    [hour] = hours_of(served, NOON_UTC_S - HOUR_S)
    assert hour.partial
    assert hour.energy.import_j == 0


def test_readings_of_another_meter_do_not_count(served: Served, credential: str) -> None:
    other = claimed_meter(served, "MX-000002")
    ends = (NOON_UTC_S - HOUR_S + 60, NOON_UTC_S)  # those of the hour's first and last reading
    theirs = [
        line(seq, end, meter="MX-000002", import_j=seq * 10**9, power_w=9e9)
        for seq, end in enumerate(ends, 1)
    ]
    post(served, other, theirs)
    post(served, credential, constant_power(1, NOON_UTC_S - HOUR_S, NOON_UTC_S, 1000))
    [hour] = hours_of(served, NOON_UTC_S - HOUR_S)
    assert hour.energy.import_j == 1000 * (HOUR_S - 60)
    assert hour.power_w_max == 1000


def test_a_date_that_went_backwards_counts_no_energy_twice(served: Served, credential: str) -> None:
    """Two hours; a start with a clock an hour back, dated over the first; then the clock is set."""
    first = constant_power(1, NOON_UTC_S - 4 * HOUR_S, NOON_UTC_S - 2 * HOUR_S, 1000)
    back = constant_power(
        *(121, NOON_UTC_S - 4 * HOUR_S, NOON_UTC_S - 3 * HOUR_S, 500), import_j=2 * KWH_J
    )
    last = constant_power(
        *(181, NOON_UTC_S - HOUR_S, NOON_UTC_S, 1000), import_j=2 * KWH_J + KWH_J // 2
    )
    post(served, credential, first + back + last)
    found = hours_of(served, NOON_UTC_S - 4 * HOUR_S)
    energies = [hour.energy.import_j for hour in found]
    lost_j = 60 * (1000 + 500 + 1000)  # the minutes that a start and two jumps lead into
    assert sum(filter(None, energies)) == 3 * KWH_J + KWH_J // 2 - lost_j
    assert energies == [KWH_J + KWH_J // 2 - 60 * 1500, KWH_J, KWH_J - 60 * 1000]
    assert [hour.partial for hour in found] == [True, False, True]


def test_energy_goes_on_over_rows_that_are_no_readings(served: Served, credential: str) -> None:
    signer = Signer()
    rows = []
    for minute in range(1, 121):
        end_utc_s = NOON_UTC_S - 2 * HOUR_S + minute * 60
        rows.append(signer.reading(end_utc_s, import_j=minute * 60_000))
        if minute % 5 == 0:
            rows.append(signer.event("anchor"))
    post(served, credential, rows)
    energies = [hour.energy.import_j for hour in hours_of(served, NOON_UTC_S - 2 * HOUR_S)]
    assert energies == [KWH_J - 60_000, KWH_J]


def test_a_reading_of_a_wrong_date_between_two_takes_its_energy_with_it(
    served: Served, credential: str
) -> None:
    far_utc_s = NOON_UTC_S - 400 * 24 * HOUR_S
    rows = [
        line(1, NOON_UTC_S - 180, import_j=1000),
        line(2, far_utc_s, import_j=5000),
        line(3, NOON_UTC_S - 60, import_j=5600),
        line(4, NOON_UTC_S, import_j=6000),
    ]
    post(served, credential, rows)
    [hour] = hours_of(served, NOON_UTC_S - HOUR_S)
    assert hour.energy.import_j == 400
    assert hour.partial


def test_a_new_stream_goes_on_from_the_register_of_the_one_before(
    served: Served, credential: str
) -> None:
    post(
        served, credential, [line(seq, NOON_UTC_S - 240 + seq * 60, import_j=seq) for seq in (1, 2)]
    )
    new = "f" * 32
    rows = [line(seq, NOON_UTC_S - 120 + seq * 60, stream=new, import_j=10 * seq) for seq in (1, 2)]
    post(served, credential, rows, stream=new)
    [hour] = hours_of(served, NOON_UTC_S - HOUR_S)
    assert hour.energy.import_j == 20 - 1
