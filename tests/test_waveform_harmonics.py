"""Harmonics of real recordings, against reference values that others computed.

The reference's lines are rms values of blocks of 10 or 12 cycles put together as mean squares,
as this meter's are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meterd import recording
from meterd.analyze import analyze

FOLDER = Path(__file__).parents[2] / "shared" / "waveforms"
REFERENCE = FOLDER / "reference.json"
NO_LOAD = "daqopen50_mains_noload"
LINES = 15
SHARE_MIN = 0.01
pytestmark = [
    pytest.mark.waveforms,
    pytest.mark.skipif(
        not REFERENCE.is_file(), reason="the recordings of third parties are not here"
    ),
]


def cases() -> list[Any]:
    """Every recording with its voltage, and its current where there was a load."""
    if not REFERENCE.is_file():
        return [pytest.param({}, "V_rms", id="absent")]
    return [
        pytest.param(item, channel, id=f"{item['name']}-{channel}")
        for item in json.loads(REFERENCE.read_text())["recordings"]
        for channel in ("V_rms", "I_rms")
        if (item["name"], channel) != (NO_LOAD, "I_rms")
    ]


@pytest.mark.parametrize(("item", "channel"), cases())
def test_harmonics_to_the_15th_are_within_5_percent_of_each_line(
    item: dict[str, Any], channel: str
) -> None:
    from_s, to_s = item["window_s"]
    whole = recording.load(FOLDER / f"{item['name']}.npz")
    seen = analyze(whole, from_s=from_s, to_s=to_s).quantities
    lines = seen.harmonic_voltage_v if channel == "V_rms" else seen.harmonic_current_a
    expected = item["harmonics"][channel][:LINES]
    strong = {
        order: value
        for order, value in enumerate(expected, start=1)
        if value > SHARE_MIN * expected[0]
    }
    assert {order: float(lines[order - 1]) for order in strong} == pytest.approx(strong, rel=0.05)
