"""Windows gathered into the intervals of the load profile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meterd import interval
from meterd.interval import Interval, Origin
from meterd.model import Missed, Quality, Quantities, Registers, Stamp

WINDOW = Quantities(
    end_ns=0,
    duration_s=0.2,
    gap_s=0.0,
    cycles=12,
    frequency_hz=60.0,
    voltage_v=127.0,
    current_a=4.0,
    power_w=400.0,
    apparent_va=508.0,
    reactive_var=300.0,
    nonactive_var=313.2,
    power_factor=400 / 508,
    phase_deg=36.87,
    thd_voltage_pct=0.0,
    thd_current_pct=0.0,
    harmonic_voltage_v2=np.array([127.0**2]),
    harmonic_current_a2=np.array([4.0**2]),
)
NOW = Stamp(3, 81_000, 60.0, "synced")
ORIGIN = Origin("1.1", "MX-1", "0" * 32, 7, NOW)


@pytest.mark.parametrize(
    ("utc_s", "end_utc_s"),
    [
        (60.0, 60),
        (60.001, 120),
        (119.9, 120),
        (120.0, 120),
        (0.0, 0),
        (1_763_846_399.5, 1_763_846_400),
    ],
)
def test_an_interval_ends_with_its_end_and_begins_after_the_last(
    utc_s: float, end_utc_s: int
) -> None:
    assert interval.interval_end(utc_s, 60) == end_utc_s


def filled(windows: int, window: Quantities = WINDOW) -> Interval:
    current = Interval(60)
    for _ in range(windows):
        current = interval.add(current, window)
    return current


def test_a_minute_of_windows_is_one_reading() -> None:
    row = interval.reading(filled(300), Registers(24_000, 5), ORIGIN, 60)
    assert row.measured_s == pytest.approx(60.0)
    assert row.coverage_pct == pytest.approx(100.0)
    assert row.power_w == pytest.approx(400.0)
    assert (row.import_j, row.export_j, row.seq, row.end_utc_s) == (24_000, 5, 7, 60)
    assert row.flags == []


def test_an_hour_of_windows_is_kept_in_as_few_values_as_its_3_s_aggregates() -> None:
    current = filled(18_000)
    assert len(current.aggregates) == 1200
    assert len(current.recent) == 0


def test_what_was_not_measured_is_missing_from_the_coverage() -> None:
    current = interval.add(filled(150), Missed(0, 30.0, "no samples"))
    row = interval.reading(current, Registers(), ORIGIN, 60)
    assert row.coverage_pct == pytest.approx(50.0)
    assert row.flags == ["GAP"]


def test_a_stall_inside_a_window_is_missing_from_the_coverage_too() -> None:
    stalled = replace(WINDOW, gap_s=0.05, flags=Quality.GAP)
    row = interval.reading(filled(300, stalled), Registers(), ORIGIN, 60)
    assert row.coverage_pct == pytest.approx(75.0)
    assert row.flags == ["GAP"]


def test_an_interval_without_a_window_is_stored_as_unknown() -> None:
    current = interval.add(Interval(60), Missed(0, 60.0, "no samples"))
    row = interval.reading(current, Registers(9, 9), ORIGIN, 60)
    assert row.voltage_v is None
    assert row.power_w is None
    assert row.coverage_pct == 0.0
    assert (row.import_j, row.export_j) == (9, 9)


def test_a_clock_that_nobody_set_is_said_in_the_reading() -> None:
    for clock, flags in (
        ("synced", []),
        ("relative", []),
        ("informative", ["CLOCK_UNSET"]),
        ("unknown", ["CLOCK_UNSET"]),
    ):
        origin = replace(ORIGIN, stamp=replace(NOW, clock=clock))
        row = interval.reading(filled(300), Registers(), origin, 60)
        assert row.clock == clock
        assert row.flags == flags


def test_a_reading_says_when_its_interval_ended_by_the_clock_that_nobody_sets() -> None:
    row = interval.reading(filled(300), Registers(), ORIGIN, 60)
    assert (row.boot, row.boottime_ms) == (3, 81_000)
