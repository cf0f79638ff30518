"""The resolution of apparent power of IEEE Std 1459-2010, Annex B, and the textbook signals."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from meterd import calc
from meterd.analyze import analyze, as_json
from meterd.metrology.ieee1459 import components
from meterd.model import Quantities, Waveform
from meterd.recording import Recording
from tests.test_calc import mean_of, signal

VOLTS = {1: (100.0, 0.0), 3: (8.0, -70.0), 5: (15.0, 140.0), 7: (5.0, 20.0)}
AMPS = {1: (100.0, -30.0), 3: (20.0, -165.0), 5: (15.0, 233.0), 7: (10.0, 288.0)}


def test_the_example_of_annex_b_is_resolved_within_1e_4() -> None:
    parts = components(mean_of(signal(volts=VOLTS, amps=AMPS)))
    assert parts is not None
    assert parts.fundamental_w == pytest.approx(8660.25404, rel=1e-4)
    assert parts.fundamental_var == pytest.approx(5000.0, rel=1e-4)
    assert parts.fundamental_va == pytest.approx(10000.0, rel=1e-4)
    assert parts.harmonic_w == pytest.approx(-27.46548, abs=1.0)
    assert parts.nonfundamental_va == pytest.approx(3258.47357, rel=1e-3)
    assert parts.current_distortion_var == pytest.approx(2692.58240, rel=1e-3)
    assert parts.voltage_distortion_var == pytest.approx(1772.00451, rel=1e-3)
    assert parts.harmonic_va == pytest.approx(477.12682, rel=1e-3)
    assert parts.nonactive_var == pytest.approx(6007.71269, rel=1e-4)


def test_each_line_has_its_angle_and_its_power() -> None:
    seen = mean_of(signal(volts=VOLTS, amps=AMPS, skew_s=36e-6))
    for order, (volts, volt_angle) in VOLTS.items():
        amps, amp_angle = AMPS[order]
        line = complex(seen.voltage_phasor_v[order - 1])
        assert abs(line) == pytest.approx(volts, rel=2e-3)
        # Sines count their angle from a rising crossing; a phasor of e^jwt stands 90° before.
        shown = np.degrees(np.angle(line * 1j ** (1 - order)))
        assert (shown - volt_angle + 180) % 360 - 180 == pytest.approx(0.0, abs=0.2)
        power = volts * amps * np.cos(np.radians(volt_angle - amp_angle))
        assert seen.harmonic_va[order - 1].real == pytest.approx(power, abs=0.005 * volts * amps)


def shaped(current: object, seconds: float = 4.0) -> Quantities:
    """1 V of sine and a current that is a function of the phase in cycles."""
    rate_hz = 48_000.0
    # Half a sample off the edges of the shapes, so that no sample stands on one.
    t_s = np.asarray((np.arange(round(seconds * rate_hz)) + 0.5) / rate_hz, np.float64)
    amps = np.asarray(current(60.0 * t_s), np.float64)  # type: ignore[operator]  # one of the functions below
    volts = np.asarray(100 * sqrt(2) * np.sin(2 * pi * 60.0 * t_s), np.float64)
    quality = np.zeros(len(t_s), np.uint16)
    waveform = Waveform(0, t_s, volts, t_s, 10.0 * amps, quality)
    found = calc.stream([waveform], 60.0, mains_min_v=6.0)
    return calc.aggregate([w for w in found if isinstance(w, Quantities)])


def sine(cycles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sqrt(2) * np.sin(2 * pi * cycles), np.float64)


SIGNALS = {
    "phase-fired at 90°": (
        lambda c: np.where((2 * c) % 1 >= 0.5, sine(c), 0.0),
        {"power_w": 0.5, "current_a": 0.7071068, "reactive_var": 0.3183099, "thd": 65.054},
    ),
    "burst 2 on, 2 off": (
        lambda c: np.where(c % 4 < 2, sine(c), 0.0),
        {"power_w": 0.5, "current_a": 0.7071068},
    ),
    "half-wave": (
        lambda c: np.where(c % 1 < 0.5, sine(c), 0.0),
        {"power_w": 0.5, "thd": 43.524},
    ),
    "square wave": (
        lambda c: np.where(c % 1 < 0.5, 1.0, -1.0),
        {"power_w": 0.9003163, "thd": 48.3426},
    ),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_the_textbook_signals_have_their_exact_values(name: str) -> None:
    current, expected = SIGNALS[name]
    seen = shaped(current)
    scale = {"power_w": 1000.0, "reactive_var": 1000.0, "current_a": 10.0}
    for quantity, value in expected.items():
        if quantity == "thd":
            # Lines 2 to 40 of a series that goes on for ever: a square wave has 44.9 % in them.
            cut = {"square wave": 46.9, "half-wave": 43.5}.get(name, 64.5)
            assert seen.thd_current_pct == pytest.approx(cut, abs=0.6)
        else:
            assert getattr(seen, quantity) / scale[quantity] == pytest.approx(value, rel=2e-3)


def test_the_interfering_harmonics_of_iec_62053_21() -> None:
    seen = mean_of(
        signal(volts={1: (100.0, 0.0), 5: (10.0, 0.0)}, amps={1: (10.0, 0.0), 5: (4.0, 0.0)})
    )
    assert seen.power_w == pytest.approx(1040.0, rel=1e-4)
    assert seen.voltage_v == pytest.approx(100.49876, rel=1e-4)
    assert seen.current_a == pytest.approx(10.770330, rel=1e-4)
    assert seen.power_factor == pytest.approx(0.9608235, rel=1e-4)


def test_a_program_is_told_each_lines_angle_and_power_and_the_resolution() -> None:
    waveform = signal(volts=VOLTS, amps=AMPS)
    found = analyze(Recording(waveform.t_s, waveform.voltage_v, waveform.current_a))
    said = as_json(found)
    lines = said["harmonics"]
    for order, (amps, angle) in AMPS.items():
        shown = lines["current_angle_deg"][order - 1]
        assert (shown - angle + 180) % 360 - 180 == pytest.approx(0.0, abs=0.2)
        assert lines["current_a"][order - 1] == pytest.approx(amps, rel=2e-3)
    assert sum(lines["power_w"]) == pytest.approx(8632.78855, rel=1e-3)
    assert said["ieee1459"]["nonfundamental_va"] == pytest.approx(3258.47357, rel=1e-3)
