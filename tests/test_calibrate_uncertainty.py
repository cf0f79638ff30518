"""The uncertainty of a gain, by hand after the GUM, and two loads weighted by it."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest

from meterd import config
from meterd.calibration import guide, uncertainty
from meterd.calibration.history import Adjustment
from meterd.calibration.observation import Observation
from meterd.calibration.uncertainty import Reference
from meterd.config import NoiseFloor
from meterd.errors import CalibrationRefusedError
from meterd.simulate.mains import Socket
from tests.chain import NOMINAL
from tests.test_calibrate import TOML, observed

OLD = Adjustment(NOMINAL, NoiseFloor())


@pytest.fixture(scope="module")
def eight_amperes(tmp_path_factory: pytest.TempPathFactory) -> Observation:
    folder = tmp_path_factory.mktemp("meter")
    (folder / "meterd.toml").write_text(TOML)
    return observed(config.load(folder / "meterd.toml"), Socket(127.0, 8.0, 1.0))


def at(seen: Observation, current_a: float) -> Observation:
    return replace(seen, mean=replace(seen.mean, current_a=current_a), current_spread=0.0)


@pytest.mark.parametrize(
    ("text", "value", "resolution"),
    [("8.02", 8.02, 0.01), ("127", 127.0, 1.0), (" 0.500 ", 0.5, 0.001), ("1.2e2", 120.0, 1.0)],
)
def test_the_last_digit_tells_the_resolution(text: str, value: float, resolution: float) -> None:
    shown = uncertainty.reference("current", "A", text)
    assert shown.value == value
    assert shown.resolution == pytest.approx(resolution)


@pytest.mark.parametrize("text", ["", "8,02", "nan", "inf", "0", "-8", "8 A", "eight"])
def test_what_is_no_positive_number_is_no_reading(text: str) -> None:
    with pytest.raises(CalibrationRefusedError, match="reference current"):
        uncertainty.reference("current", "A", text)


def test_a_budget_is_the_root_of_the_sum_of_squares_times_two() -> None:
    found = uncertainty.budget(
        Reference(8.0, 0.01),
        spread=0.001,
        windows=25,
        amplitude_codes=100.0,
        reference_uncertainty_pct=0.2,
    )
    # 0.1 % over √25; 0.005 A over √3 of 8 A; 0.2 % over k = 2; 0.5 codes over √3 of 100 codes
    parts = (0.0002, 0.005 / sqrt(3) / 8.0, 0.001, 0.5 / sqrt(3) / 100)
    assert found.expanded_pct == pytest.approx(200 * sqrt(sum(part**2 for part in parts)))
    unknown = replace(found, reference=None)
    assert unknown.combined == pytest.approx(sqrt(found.combined**2 - 0.001**2))


def test_two_loads_weigh_as_much_as_they_are_sure(eight_amperes: Observation) -> None:
    def first(shown: Reference) -> guide.FirstLoad:
        return guide.first_load(
            OLD,
            at(eight_amperes, 8.0),
            Reference(127.0, 1e-9),
            shown,
            nominal_hz=60.0,
            true_deg=0.0,
            reference_uncertainty_pct=None,
        )

    second = guide.second_load(
        OLD,
        at(eight_amperes, 2.0),
        Reference(2.02, 1e-9),
        first(Reference(8.0, 1e-9)),
        nominal_hz=60.0,
        reference_uncertainty_pct=0.0,
    )
    # Only the ADC's part is left: four times as large at a quarter of the current, and in units
    # of the ratio 1.01 times more. Ratios 1 and 1.01, weights 1 and 1 / (4 · 1.01)².
    light = 1 / (4 * 1.01) ** 2
    assert second.ratio == pytest.approx((1.0 + light * 1.01) / (1 + light), rel=1e-9)
    assert second.disagreement_pct == pytest.approx(1.0)
    adc = 0.5 / sqrt(3) / (sqrt(2) * 8.0 / NOMINAL.current_a_per_code)
    assert second.allowed_pct == pytest.approx(200 * adc * sqrt(1 + 16), rel=1e-6)
    assert second.uncertainty_pct < first(Reference(8.0, 1e-9)).current.budget.expanded_pct


def test_noise_is_given_in_the_volts_and_amperes_of_the_new_gains() -> None:
    old = Adjustment(NOMINAL, NoiseFloor(0.28, None))
    gain = NOMINAL.voltage_v_per_code
    new = guide.with_calibration(old, replace(NOMINAL, voltage_v_per_code=-2 * gain))
    assert new.noise.voltage_noise_v == pytest.approx(0.56)
    assert new.noise.current_noise_a is None
