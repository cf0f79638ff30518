"""Several circuits on the ADC's channels, measured over the same cycles."""

from __future__ import annotations

from functools import partial
from math import pi, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from meterd import acquire, calc
from meterd.metrology.synchronism import Voltage, compare
from meterd.model import Quantities, SampleBlock
from meterd.simulate.adc import SimulatedAdc, SimulatedClock
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import Mains
from meterd.simulate.mcp3008 import Mcp3008
from tests.chain import NOMINAL

GRID, LEG2, SOLAR = (0, 1), (2, 3), (0, 4)


def load(
    volts: float, amps: float, lag_deg: float, turned_deg: float = 0.0, hertz: float = 60.0
) -> Mains:
    def at(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        turned = 2 * pi * hertz * t_s + np.radians(turned_deg)
        return (
            volts * sqrt(2) * np.sin(turned),
            amps * sqrt(2) * np.sin(turned - np.radians(lag_deg)),
        )

    return at


def measured(
    circuits: dict[tuple[int, int], Mains], seconds: float = 3.0
) -> tuple[Quantities, ...]:
    """All circuits through front ends, one MCP3008 and its turns, as averages."""
    wirings = [Wiring(mains, FrontEnd(), channels) for channels, mains in circuits.items()]

    def pins(channels: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        volts = np.zeros(len(t_s))
        for wiring in wirings:
            mine = np.isin(channels, wiring.channels)
            volts[mine] = wiring(channels[mine], t_s[mine])
        return volts

    clock = SimulatedClock(paced=False)
    chip = Mcp3008(pins, vref_v=3.3, noise_codes=0.5, rng=np.random.default_rng(1))
    adc = SimulatedAdc(chip, clock)
    channels = tuple(dict.fromkeys(channel for pair in circuits for channel in pair))
    batch = acquire.whole_batch(channels, 510)
    timing = acquire.measure_timing(adc, channels, batch, clock.now_ns)
    read = partial(
        acquire.read_block, adc, channels, batches=10, batch=batch, timing=timing,
        clock_ns=clock.now_ns,
    )  # fmt: skip
    blocks: list[SampleBlock] = []
    while clock.now_ns() < seconds * 1e9:
        blocks.append(read())
    pairs = [(pair, NOMINAL) for pair in circuits]
    waveforms = (calc.align_circuits(block, pairs) for block in blocks)
    windows = [
        w for w in calc.stream(waveforms, 60.0, mains_min_v=6.0) if isinstance(w, Quantities)
    ]
    mean = calc.aggregate(windows)
    return (mean, *mean.others)


def test_both_legs_of_a_split_phase_service_are_measured_in_the_same_turns() -> None:
    one, two = measured(
        {GRID: load(120.0, 8.0, 30.0), LEG2: load(121.0, 5.0, 60.0, turned_deg=180.0)}
    )
    assert one.power_w == pytest.approx(120.0 * 8.0 * sqrt(3) / 2, rel=1e-3)
    assert two.power_w == pytest.approx(121.0 * 5.0 * 0.5, rel=2e-3)
    assert two.phase_deg == pytest.approx(60.0, abs=0.1)
    assert two.voltage_v == pytest.approx(121.0, rel=1e-3)


def test_a_solar_circuit_may_share_the_grids_voltage() -> None:
    grid, solar = measured({GRID: load(127.0, 6.0, 180.0), SOLAR: load(127.0, 9.0, 0.0)})
    assert grid.power_w == pytest.approx(-127.0 * 6.0, rel=1e-3)
    assert solar.power_w == pytest.approx(127.0 * 9.0, rel=1e-3)
    # The house takes what the sun gives and the network does not get.
    assert grid.power_w + solar.power_w == pytest.approx(127.0 * 3.0, rel=5e-3)


def voltage(volts: float, hertz: float | None, angle_deg: float) -> Voltage:
    return Voltage(volts, hertz, volts * np.exp(1j * np.radians(angle_deg)))


def test_two_voltages_in_step_may_be_connected() -> None:
    found = compare(voltage(127.0, 60.0, 0.0), voltage(129.54, 60.1, -15.0))
    assert found.permitted
    assert found.voltage_pct == pytest.approx(2.0)
    assert found.frequency_hz == pytest.approx(0.1)
    assert found.phase_deg == pytest.approx(-15.0)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (voltage(141.0, 60.0, 0.0), "ΔV"),
        (voltage(127.0, 60.4, 0.0), "Δf"),
        (voltage(127.0, 60.0, 25.0), "Δφ"),
        (voltage(127.0, 60.0, 180.0), "Δφ"),
        (voltage(0.3, None, 0.0), "no voltage"),
    ],
)
def test_voltages_out_of_step_may_not_be_connected(other: Voltage, reason: str) -> None:
    found = compare(voltage(127.0, 60.0, 0.0), other)
    assert not found.permitted
    assert reason in found.reasons[0]


def test_the_angle_between_two_measured_voltages_is_the_one_on_the_socket() -> None:
    network, other = measured(
        {GRID: load(127.0, 3.0, 0.0), LEG2: load(126.0, 3.0, 0.0, turned_deg=-12.0)}
    )
    angle = np.degrees(np.angle(other.voltage_phasor_v[0] / network.voltage_phasor_v[0]))
    assert angle == pytest.approx(-12.0, abs=0.05)


def test_a_second_voltage_has_a_frequency_of_its_own() -> None:
    network, other = measured(
        {GRID: load(127.0, 3.0, 0.0), LEG2: load(127.0, 3.0, 0.0, hertz=60.4)}
    )
    assert network.frequency_hz == pytest.approx(60.0, abs=0.005)
    assert other.frequency_hz == pytest.approx(60.4, abs=0.02)


def test_a_second_voltage_that_is_dead_has_no_frequency() -> None:
    _, other = measured({GRID: load(127.0, 3.0, 0.0), LEG2: load(0.0, 0.0, 0.0)})
    assert other.frequency_hz is None
    assert other.power_factor is None
