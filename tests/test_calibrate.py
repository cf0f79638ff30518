"""Simple calibration takes a known error of the front end out again."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterd import calibrate, config
from meterd.calibration.observation import Observation, Progress, observe
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


def observed(
    meter: config.Config, socket: Socket, calibration: Calibration = NOMINAL
) -> Observation:
    reading = blocks(synthetic(socket), 10.0, front_end=PARTS)
    steps = list(
        observe(
            lambda: next(reading), meter.grid, calibration, 3.0, nominal_hz=60.0, mains_min_v=6.0
        )
    )
    shares = [step.share for step in steps if isinstance(step, Progress)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    last = steps[-1]
    assert isinstance(last, Observation)
    return last


def test_gains_phase_and_offset_are_found_to_the_meters_accuracy(meter: config.Config) -> None:
    found = calibrate.voltage(NOMINAL, observed(meter, HEATER), 127.0)
    found = calibrate.current(found, observed(meter, HEATER, found), 8.0)
    found = calibrate.phase(found, observed(meter, HEATER, found), 0.0)
    found = calibrate.offset(found, observed(meter, HEATER, found))
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
    found = calibrate.phase(NOMINAL, observed(meter, HEATER), 0.0)
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
        (Socket(200.0, 8.0, 1.0), lambda s: calibrate.voltage(NOMINAL, s, 200.0), "clipping"),
    ],
    ids=["no voltage", "zero", "far", "small", "unstable", "reversed", "clipped"],
)
def test_bad_conditions_are_refused_with_the_reason(
    meter: config.Config, socket: Socket, change: object, reason: str
) -> None:
    seen = observed(meter, socket)
    with pytest.raises(CalibrationRefusedError, match=reason):
        change(seen)  # type: ignore[operator]  # one of the lambdas above


def test_the_noise_of_a_sample_is_that_of_the_chip_and_of_ten_bits(meter: config.Config) -> None:
    seen = observed(meter, Socket(127.0, 0.0, 1.0))
    # 0.5 codes rms of noise and a step of 1 code: sqrt(0.5² + 1/12) = 0.577 codes.
    codes = (0.25 + 1 / 12) ** 0.5
    assert seen.voltage_noise_v == pytest.approx(codes * NOMINAL.voltage_v_per_code, rel=0.03)
    assert seen.current_noise_a == pytest.approx(codes * NOMINAL.current_a_per_code, rel=0.03)


def test_harmonics_and_a_frequency_off_nominal_are_no_noise(meter: config.Config) -> None:
    shares = {3: 0.05, 5: 0.03}
    quiet = observed(meter, Socket(127.0, 8.0, 1.0))
    seen = observed(
        meter, Socket(127.0, 8.0, 1.0, 59.37, voltage_harmonics=shares, current_harmonics=shares)
    )
    assert seen.voltage_noise_v == pytest.approx(quiet.voltage_noise_v, rel=0.03)
    assert seen.current_noise_a == pytest.approx(quiet.current_noise_a, rel=0.03)
