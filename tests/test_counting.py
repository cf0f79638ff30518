"""What is counted: starting current, quadrants, demand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meterd import calc
from meterd.metrology import demand, starting
from meterd.metrology.starting import NO_LOAD
from meterd.model import NO_DEMAND, Demand, Quantities, Registers
from meterd.simulate.mains import Socket, synthetic
from tests.chain import blocks, waveforms
from tests.test_interval import WINDOW

BLOCK_S = 900


def registers_of(socket: Socket, seconds: float) -> tuple[Registers, list[Quantities]]:
    load, registers, shown = NO_LOAD, Registers(), []
    for window in calc.stream(waveforms(blocks(synthetic(socket), seconds)), 60.0, mains_min_v=6.0):
        if isinstance(window, Quantities):
            load, seen = starting.step(load, window)
            registers = calc.accumulate(registers, seen.power_w, seen.duration_s, seen.reactive_var)
            shown.append(seen)
    return registers, shown


def test_noise_alone_moves_no_register_and_shows_no_current() -> None:
    # 70 mA of noise; half of the windows' powers are positive, so counting them would creep.
    registers, shown = registers_of(Socket(127.0, 0.0), 120.0)
    assert registers == Registers()
    assert {window.current_a for window in shown} == {0.0}
    assert {window.power_factor for window in shown} == {None}


@pytest.mark.parametrize("exporting", [False, True])
def test_20_ma_are_counted_within_5_percent_over_a_minute(exporting: bool) -> None:
    registers, _ = registers_of(Socket(127.0, 0.020, 1.0, exporting=exporting), 60.0)
    counted = registers.export_j if exporting else registers.import_j
    assert counted == pytest.approx(127.0 * 0.020 * 60.0, rel=0.05)
    assert (registers.import_j if exporting else registers.export_j) == 0


def test_a_reactive_load_is_counted_though_it_has_no_power() -> None:
    registers, _ = registers_of(Socket(127.0, 0.5, 0.0), 20.0)
    assert registers.reactive_vars[0] + registers.reactive_vars[1] == pytest.approx(
        127.0 * 0.5 * 20.0, rel=0.02
    )


@pytest.mark.parametrize(
    ("leading", "exporting", "quadrant"),
    [(False, False, 1), (False, True, 3), (True, True, 2), (True, False, 4)],
)
def test_reactive_energy_goes_into_its_quadrant(
    leading: bool, exporting: bool, quadrant: int
) -> None:
    socket = Socket(127.0, 5.0, 0.8, leading=leading, exporting=exporting)
    registers, _ = registers_of(socket, 10.0)
    counted = registers.reactive_vars[quadrant - 1]
    assert counted == pytest.approx(127.0 * 5.0 * 0.6 * 10.0, rel=0.02)
    assert sum(registers.reactive_vars) == counted


def test_a_load_that_stops_is_not_counted_for_more_than_moments() -> None:
    load, window = starting.step(NO_LOAD, WINDOW)
    assert load.counts
    for _ in range(40):
        load, window = starting.step(load, starting.without_current(WINDOW))
    assert not load.counts
    assert window.power_w == 0.0


def after(
    steps: list[tuple[float, float]], start: Demand = NO_DEMAND, begin_utc_s: float = 0.0
) -> Demand:
    """Demand after (power, seconds) pieces of one second each."""
    now_utc_s, running = begin_utc_s, start
    for power_w, seconds in steps:
        for _ in range(round(seconds)):
            now_utc_s += 1.0
            running = demand.step(running, power_w, 1.0, now_utc_s, BLOCK_S)
    return running


def test_demand_is_the_mean_power_of_a_block_on_the_clock() -> None:
    running = after([(1000.0, 600), (4000.0, 300), (0.0, 1)])
    assert running.last_w == pytest.approx(2000.0)
    assert running.max_w == pytest.approx(2000.0)
    assert running.max_end_utc_s == 900


def test_the_maximum_stays_with_its_time_until_it_is_passed() -> None:
    running = after([(3000.0, 900), (1000.0, 900), (0.0, 1)])
    assert running.last_w == pytest.approx(1000.0)
    assert running.max_w == pytest.approx(3000.0)
    assert running.max_end_utc_s == 900


def test_exported_power_is_no_demand() -> None:
    assert after([(-5000.0, 900), (0.0, 1)]).last_w == 0.0


def test_a_block_that_was_not_wholly_measured_has_no_demand() -> None:
    running = after([(9000.0, 600), (0.0, 1)], begin_utc_s=300.0)
    assert running.last_w is None
    assert running.max_w is None


def test_the_prediction_is_the_blocks_end_if_the_power_stays() -> None:
    running = after([(1000.0, 450)])
    assert demand.predicted_w(running, 3000.0, 450.0, BLOCK_S) == pytest.approx(2000.0)
    assert demand.predicted_w(running, 0.0, 450.0, BLOCK_S) == pytest.approx(500.0)
    assert demand.predicted_w(NO_DEMAND, 3000.0, 450.0, BLOCK_S) is None


def test_a_window_of_no_load_keeps_its_voltage_and_frequency() -> None:
    bare = starting.without_current(replace(WINDOW, power_w=0.3))
    assert (bare.voltage_v, bare.frequency_hz, bare.power_w) == (127.0, 60.0, 0.0)
