"""Dates of rows from before the clock was set: arithmetic, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from server.dating import Tie, utc_ms
from server.db import reading
from server.history import latest, profile
from tests.served import NOON_UTC_S, Served, add_customer, claimed_meter, post, serving
from tests.signed import Signer

DAY_MS = 24 * 3600 * 1000
CRYSTAL = 1 + 60e-6  # a machine whose clock runs 60 ppm fast
START_MS = NOON_UTC_S * 1000


def machine_ms(true_ms: float) -> int:
    """What CLOCK_BOOTTIME says that long after the start."""
    return round(true_ms * CRYSTAL)


def error_s(ties: list[Tie], true_ms: float) -> float:
    found = utc_ms(ties, machine_ms(true_ms))
    assert found is not None
    return abs(found - (START_MS + true_ms)) / 1000


def tie(true_ms: float, error_ms: int = 0) -> Tie:
    return Tie(machine_ms(true_ms), START_MS + round(true_ms) + error_ms)


def test_between_two_anchors_three_weeks_of_a_crystal_do_not_matter() -> None:
    ties = [tie(0), tie(21 * DAY_MS)]
    worst_s = max(error_s(ties, day * DAY_MS) for day in range(22))
    assert worst_s <= 0.002


def test_between_two_anchors_their_own_errors_are_all_there_is() -> None:
    ties = [tie(0, 170), tie(21 * DAY_MS, -170)]
    assert max(error_s(ties, day * DAY_MS) for day in range(22)) <= 0.2


def test_with_one_anchor_sixty_ppm_are_109_seconds_in_three_weeks() -> None:
    # 21 d × 86 400 s × 60·10⁻⁶ = 108.9 s
    assert error_s([tie(0)], 21 * DAY_MS) == pytest.approx(108.9, abs=0.05)
    assert error_s([tie(21 * DAY_MS)], 0) == pytest.approx(108.9, abs=0.05)


def test_without_an_anchor_there_is_no_date() -> None:
    assert utc_ms([], 5) is None


def test_an_anchor_dates_its_own_moment_exactly() -> None:
    ties = [Tie(1000, 50_000), Tie(1000, 60_000), Tie(3000, 70_000)]
    assert [utc_ms(ties, at) for at in (999, 1000, 2000, 3000, 3001)] == [
        *(49_999, 60_000, 65_000, 70_000, 70_001)
    ]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


@pytest.fixture
def credential(served: Served) -> str:
    return claimed_meter(served)


def anchor(signer: Signer, boottime_s: int, utc_s: int) -> bytes:
    detail = {"utc_ms": utc_s * 1000, "boottime_ms": boottime_s * 1000, "uncertainty_ms": 5}
    return signer.event("anchor", detail, boottime_ms=boottime_s * 1000)


def guessed(signer: Signer, boottime_s: int, clock: str = "unknown", **more: Any) -> bytes:
    return signer.reading(5 + boottime_s, boottime_ms=boottime_s * 1000, clock=clock, **more)


def dates(served: Served) -> list[tuple[int, int]]:
    return served.rows("SELECT seq, dated_utc_s FROM reading_date ORDER BY seq")


def test_an_anchor_dates_the_readings_before_it_and_those_after(
    served: Served, credential: str
) -> None:
    signer = Signer()
    rows = [guessed(signer, 60), guessed(signer, 120)]
    post(served, credential, rows)
    assert dates(served) == []
    rows = [anchor(signer, 150, NOON_UTC_S), guessed(signer, 180, "relative")]
    post(served, credential, rows, 3)
    expected = [(1, NOON_UTC_S - 90), (2, NOON_UTC_S - 30), (4, NOON_UTC_S + 30)]
    assert dates(served) == expected
    post(served, credential, [guessed(signer, 240, "informative")], 5)
    assert dates(served) == [*expected, (5, NOON_UTC_S + 90)]


def test_the_next_anchor_makes_the_dates_since_the_last_one_better(
    served: Served, credential: str
) -> None:
    signer = Signer()
    rows = [
        anchor(signer, 0, NOON_UTC_S),
        guessed(signer, 1000, "relative"),
        guessed(signer, 2000, "synced"),
        anchor(signer, 2000, NOON_UTC_S + 1800),
        guessed(signer, 3000, "relative"),
    ]
    post(served, credential, rows[:3])
    assert dates(served) == [(2, NOON_UTC_S + 1000)]
    post(served, credential, rows[3:], 4)
    assert dates(served) == [(2, NOON_UTC_S + 900), (5, NOON_UTC_S + 2800)]


def test_an_anchor_says_nothing_of_another_start(served: Served, credential: str) -> None:
    signer = Signer()
    rows = [guessed(signer, 60)]
    signer.boot = 2
    rows += [guessed(signer, 30), anchor(signer, 40, NOON_UTC_S)]
    signer.boot = 3
    rows += [guessed(signer, 50)]
    post(served, credential, rows)
    assert dates(served) == [(2, NOON_UTC_S - 10)]


def test_the_dates_do_not_depend_on_how_the_rows_arrive(served: Served) -> None:
    found = []
    for trial in range(6):
        serial = f"MX-{trial}"
        credential = claimed_meter(served, serial)
        signer = Signer(serial=serial)
        rows = []
        for at_s in range(10, 400, 10):
            signer.boot = 1 + at_s // 150
            if at_s in (70, 90, 210, 390):
                rows.append(anchor(signer, at_s, NOON_UTC_S + at_s * 2))
            else:
                rows.append(guessed(signer, at_s))
        runs = [range(at, min(at + 4, len(rows))) for at in range(0, len(rows), 4)]
        Random(trial).shuffle(runs)
        for run in runs:
            post(served, credential, [rows[place] for place in run], run[0] + 1)
        query = "SELECT seq, dated_utc_s FROM reading_date WHERE meter_id = ? ORDER BY seq"
        found.append(served.rows(query, trial + 1))
    assert len(found[0]) == 35
    assert found == [found[0]] * 6


@pytest.mark.parametrize("detail", [{}, {"utc_ms": "x", "boottime_ms": 1}, {"utc_ms": -1}])
def test_an_anchor_that_says_nothing_dates_nothing(
    served: Served, credential: str, detail: dict[str, Any]
) -> None:
    signer = Signer()
    rows = [guessed(signer, 60), signer.event("anchor", detail)]
    assert post(served, credential, rows).get_json()["rows"][1]["result"] == "stored"
    assert dates(served) == []


def test_the_history_goes_by_the_found_dates(served: Served, credential: str) -> None:
    signer = Signer()
    rows = [guessed(signer, at, import_j=at) for at in (60, 120, 180)]
    post(served, credential, [*rows, anchor(signer, 180, NOON_UTC_S)])
    with reading(served.database) as connection:
        points = profile(connection, 1, NOON_UTC_S - 300, NOON_UTC_S)
        guesses = profile(connection, 1, 0, 10_000)
        newest = latest(connection, 1)
    assert [(point.utc_s, point.import_j) for point in points] == [
        *((NOON_UTC_S - 120, 60), (NOON_UTC_S - 60, 120), (NOON_UTC_S, 180))
    ]
    assert guesses == []
    assert newest is not None
    assert (newest["utc_s"], newest["anchored"]) == (NOON_UTC_S, 1)
