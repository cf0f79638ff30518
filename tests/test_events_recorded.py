"""Dips and energy in recordings of real networks, against reference values that others computed."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from meterd import recording
from meterd.analyze import analyze
from meterd.metrology.events import EventKind

FOLDER = Path(__file__).parents[2] / "shared" / "waveforms"
REFERENCE = FOLDER / "reference.json"
real_recordings = pytest.mark.skipif(
    not REFERENCE.is_file(), reason="the recordings of third parties are not here"
)


def reference(name: str) -> dict[str, Any]:
    found = json.loads(REFERENCE.read_text())["recordings"]
    return next(item for item in found if item["name"] == name)


@real_recordings
@pytest.mark.waveforms
@pytest.mark.parametrize("nominal_v", [None, 13_800 / sqrt(3)])
def test_the_dip_of_a_real_feeder_is_found(nominal_v: float | None) -> None:
    name = "comtrade60_feeder_dip_phA"
    declared_v = reference(name)["urms_half"]["Udin"]
    residual_v = reference(name)["urms_half"]["urms_half_min"]
    seen = analyze(recording.load(FOLDER / f"{name}.npz"), nominal_v=nominal_v)
    (event,) = seen.events
    assert (event.kind, event.ended) == (EventKind.DIP, True)
    assert event.extreme_v == pytest.approx(residual_v, abs=0.005 * declared_v)
    assert event.start_ns / 1e9 == pytest.approx(0.2616, abs=0.5 / 60)
    assert event.duration_s == pytest.approx(0.3533 - 0.2616, abs=1 / 60)


@real_recordings
@pytest.mark.waveforms
def test_urms_of_a_real_feeder_is_the_references() -> None:
    ours = analyze(recording.load(FOLDER / "comtrade60_feeder_dip_phA.npz")).half_cycles
    urms = reference("comtrade60_feeder_dip_phA")["urms_half"]
    assert float(ours.urms_v.max()) == pytest.approx(urms["urms_half_max"], rel=1e-3)
    assert float(ours.urms_v.min()) == pytest.approx(urms["urms_half_min"], rel=1e-3)
    assert len(ours.urms_v) == pytest.approx(urms["n"], abs=3)  # where it begins may differ


@real_recordings
@pytest.mark.waveforms
def test_a_real_burst_load_has_the_mean_power_of_its_whole_record() -> None:
    # It conducts every other cycle: whichever cycle the record's ends cut off, one of 150 in half
    # of them conducting, moves the mean by 0.3 %.
    whole = reference("hfhad50_induction_cooker")["energy_whole_record"]
    seen = analyze(recording.load(FOLDER / "hfhad50_induction_cooker.npz"))
    mean_w = whole["net_J"] / whole["duration_s"]
    assert seen.quantities.power_w == pytest.approx(mean_w, rel=0.0035)
    assert seen.quantities.duration_s == pytest.approx(whole["duration_s"], abs=0.02)
    counted_w = seen.registers.import_j / seen.quantities.duration_s
    assert counted_w == pytest.approx(mean_w, rel=0.0035)
    assert seen.registers.export_j == 0
