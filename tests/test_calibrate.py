"""Simple calibration takes a known error of the front end out again."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterd import calibrate, config
from meterd.calibrate import Observation
from meterd.errors import CalibrationRefusedError
from meterd.model import Calibration
from meterd.simulate.frontend import FrontEnd
from meterd.simulate.mains import Socket, synthetic
from tests.chain import NOMINAL, blocks, measured

HEATER = Socket(127.0, 8.0, power_factor=1.0)
PARTS = FrontEnd(
    voltage_gain_error=0.03,
    current_gain_error=-0.02,
    voltage_offset_v=0.02,
    current_offset_v=-0.01,
    current_delay_s=80e-6,
)
TOML = """
[meter]
serial = "MX-1"
[adc]
device = "simulated"
[[circuit]]
voltage_channel = 0
current_channel = 1
"""


@pytest.fixture
def meter(tmp_path: Path) -> config.Config:
    (tmp_path / "meterd.toml").write_text(TOML)
    return config.load(tmp_path / "meterd.toml")


def observe(
    meter: config.Config, socket: Socket, calibration: Calibration = NOMINAL
) -> Observation:
    reading = blocks(synthetic(socket), 10.0, front_end=PARTS)
    steps = list(calibrate.observe(lambda: next(reading), meter, calibration, 3.0, mains_min_v=6.0))
    assert all(isinstance(step, float) and 0 <= step <= 1 for step in steps[:-1])
    last = steps[-1]
    assert isinstance(last, Observation)
    return last


def test_gains_phase_and_offset_are_found_to_the_meters_accuracy(meter: config.Config) -> None:
    found = calibrate.voltage(NOMINAL, observe(meter, HEATER), 127.0)
    found = calibrate.current(found, observe(meter, HEATER, found), 8.0)
    found = calibrate.phase(found, observe(meter, HEATER, found), 0.0)
    found = calibrate.offset(found, observe(meter, HEATER, found))
    assert found.voltage_v_per_code == pytest.approx(NOMINAL.voltage_v_per_code / 1.03, rel=5e-4)
    assert found.current_a_per_code == pytest.approx(NOMINAL.current_a_per_code / 0.98, rel=5e-4)
    assert found.current_delay_s == pytest.approx(80e-6, abs=1e-6)
    # The middle is 512 codes, floor() stands half a code below, offsets are 6.2 and −3.1 codes.
    assert found.voltage_zero_code == pytest.approx(511.5 + 0.02 / 3.3 * 1024, abs=0.1)
    assert found.current_zero_code == pytest.approx(511.5 - 0.01 / 3.3 * 1024, abs=0.1)
    load = Socket(127.0, 6.0, power_factor=0.5)
    seen = measured(load, 3.0, found, front_end=PARTS)
    assert seen.power_w == pytest.approx(127.0 * 6.0 * 0.5, rel=0.002)


def test_the_delay_holds_at_50_hz_too(meter: config.Config) -> None:
    found = calibrate.phase(NOMINAL, observe(meter, HEATER), 0.0)
    seen = measured(Socket(127.0, 8.0, 1.0, 50.0), 3.0, found, front_end=PARTS)
    assert seen.phase_deg == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("socket", "change", "reason"),
    [
        (Socket(0.0, 8.0, 1.0), lambda s: calibrate.voltage(NOMINAL, s, 127.0), "no mains"),
        (HEATER, lambda s: calibrate.voltage(NOMINAL, s, 0.0), "must be above 0 V"),
        (HEATER, lambda s: calibrate.voltage(NOMINAL, s, 12.7), "more than a factor of two"),
        (Socket(127.0, 0.2, 1.0), lambda s: calibrate.current(NOMINAL, s, 0.2), "too little"),
        (Socket(127.0, 8.0, 1.0, vary_s=4.0), lambda s: calibrate.current(NOMINAL, s, 8.0), "wand"),
        (
            Socket(127.0, 8.0, 1.0, exporting=True),
            lambda s: calibrate.phase(NOMINAL, s, 0.0),
            "direction reversed",
        ),
    ],
    ids=["no voltage", "zero", "far", "small", "unstable", "reversed"],
)
def test_bad_conditions_are_refused_with_the_reason(
    meter: config.Config, socket: Socket, change: object, reason: str
) -> None:
    seen = observe(meter, socket)
    with pytest.raises(CalibrationRefusedError, match=reason):
        change(seen)  # type: ignore[operator]  # one of the lambdas above
