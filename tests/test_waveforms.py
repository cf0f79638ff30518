"""Real recordings of appliances, against reference values that others computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meterd import recording
from meterd.analyze import analyze

FOLDER = Path(__file__).parents[2] / "shared" / "waveforms"
REFERENCE = FOLDER / "reference.json"
pytestmark = [
    pytest.mark.waveforms,
    pytest.mark.skipif(
        not REFERENCE.is_file(), reason="the recordings of third parties are not here"
    ),
]
NO_LOAD = "daqopen50_mains_noload"
FEEDER = "comtrade60_feeder_dip_phA"


def recordings() -> list[Any]:
    if not REFERENCE.is_file():
        return [pytest.param({}, id="absent")]
    found = json.loads(REFERENCE.read_text())["recordings"]
    return [pytest.param(item, id=item["name"]) for item in found]


def within(item: dict[str, Any], name: str, share: float) -> float:
    """The tolerance: a share of the value, or the recording's own spread where that is wider."""
    value = abs(item["ref"].get(f"{name}_ac", item["ref"].get(name)))
    spread = ((item["spread"] or {}).get(name) or {}).get("maxdev", 0.0)
    return max(share * float(value), float(spread))


@pytest.mark.parametrize("item", recordings())
def test_a_recording_is_measured_as_the_reference_says(item: dict[str, Any]) -> None:
    ref, (from_s, to_s) = item["ref"], item["window_s"]
    whole = recording.load(FOLDER / f"{item['name']}.npz")
    seen = analyze(whole, from_s=from_s, to_s=to_s).quantities
    assert seen.voltage_v == pytest.approx(ref["Vrms_ac"], abs=within(item, "Vrms", 0.001))
    hertz = 0.005 if to_s - from_s >= 1.5 else 0.05
    assert seen.frequency_hz == pytest.approx(ref["f"], abs=max(hertz, within(item, "f", 0.0)))
    if item["name"] == NO_LOAD:
        return
    assert seen.current_a == pytest.approx(ref["Irms_ac"], abs=within(item, "Irms", 0.001))
    assert seen.power_w == pytest.approx(ref["P_ac"], abs=within(item, "P", 0.001))
    assert seen.phase_deg == pytest.approx(ref["phi1_deg"], abs=0.1)
    assert seen.thd_voltage_pct == pytest.approx(100 * ref["THD_V"], abs=0.3)
    assert seen.thd_current_pct == pytest.approx(100 * ref["THD_I"], abs=0.3)


@pytest.mark.parametrize("item", recordings())
def test_a_recording_comes_through_ten_bits(item: dict[str, Any]) -> None:
    ref, (from_s, to_s) = item["ref"], item["window_s"]
    whole = recording.load(FOLDER / f"{item['name']}.npz")
    # The socket has 127 V and at most 40 A: others are scaled as a transformer ratio would.
    volts = ref["Vrms_ac"] / 127.0 if ref["Vrms_ac"] > 150 else 1.0
    amps = max(1.0, ref["Irms_ac"] / 40.0)
    scaled = recording.Recording(whole.t_s, whole.voltage_v / volts, whole.current_a / amps)
    seen = analyze(scaled, from_s=from_s, to_s=to_s, chain=True).quantities
    assert seen.voltage_v == pytest.approx(
        ref["Vrms_ac"] / volts, abs=within(item, "Vrms", 0.003) / volts
    )
    power_w = ref["P_ac"] / volts / amps
    spread_w = within(item, "P", 0.0) / volts / amps
    assert seen.power_w == pytest.approx(power_w, abs=max(0.005 * abs(power_w), 0.3, spread_w))


def test_a_recording_beyond_the_front_end_is_scaled_and_told_in_its_own_size() -> None:
    whole = recording.load(FOLDER / f"{FEEDER}.npz")
    result = analyze(whole, from_s=1.1, to_s=2.2, chain=True)
    plain = analyze(whole, from_s=1.1, to_s=2.2)
    assert result.quantities.voltage_v == pytest.approx(plain.quantities.voltage_v, rel=0.003)
    assert result.quantities.power_w == pytest.approx(plain.quantities.power_w, rel=0.005)
    assert any("to fit the front end" in remark for remark in result.remarks)


def test_a_recording_with_its_current_reversed_is_exported() -> None:
    whole = recording.load(FOLDER / "plaid60_08_hair_dryer.npz")
    reversed_ = recording.Recording(whole.t_s, whole.voltage_v, -whole.current_a)
    forward, back = analyze(whole), analyze(reversed_)
    assert back.registers.export_j == forward.registers.import_j > 0
    assert back.registers.import_j == 0
    assert back.quantities.power_w == pytest.approx(-forward.quantities.power_w, rel=1e-9)


def test_a_50_hz_recording_declared_faster_is_a_valid_60_hz_one() -> None:
    with np.load(FOLDER / "fired50_kettle.npz") as arrays:
        volts, amps, rate_hz = arrays["volts"], arrays["amps"], float(arrays["fs"]) * 1.2
    t_s = np.arange(len(volts)) / rate_hz
    seen = analyze(
        recording.Recording(t_s, volts.astype(np.float64), amps.astype(np.float64)), from_s=0.5
    ).quantities
    original = analyze(recording.load(FOLDER / "fired50_kettle.npz"), from_s=0.6).quantities
    assert original.frequency_hz is not None
    assert seen.frequency_hz == pytest.approx(original.frequency_hz * 1.2, abs=0.06)
    assert seen.power_w == pytest.approx(original.power_w, rel=0.005)
