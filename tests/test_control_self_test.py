"""A self-test says what the running meter knows of its parts."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from meterd.control.self_test import RESULT_BYTES_MAX, Snapshot, self_test
from meterd.model import Quality, SampleBlock

STEPS = np.arange(100, dtype=np.uint16)
BLOCK = SampleBlock(
    channels=(0, 1),
    codes=np.column_stack((500 + STEPS % 2, 400 + 2 * (STEPS % 2))).astype(np.uint16),
    t_ns=np.zeros((100, 2), np.int64),
    valid=np.ones(100, np.bool_),
)
SOUND = Snapshot(BLOCK, 7000.0, 10**9, None, "ok", "synced", 42)


def test_a_sound_meter_says_so_with_its_figures() -> None:
    assert self_test(SOUND) == {
        "fine": True,
        "problems": [],
        "channels": [
            {"channel": 0, "mean_code": 500.5, "spread_codes": 0.5, "at_end": 0},
            {"channel": 1, "mean_code": 401.0, "spread_codes": 1.0, "at_end": 0},
        ],
        "sampling_hz": 7000.0,
        "disk_free_bytes": 10**9,
        "display": "ok",
        "clock": "synced",
        "rows": 42,
    }


def test_each_fault_is_named() -> None:
    broken = replace(
        BLOCK,
        codes=np.full((100, 2), 1023, np.uint16),
        valid=np.arange(100) > 2,
        flags=Quality.CLIPPED,
    )
    result = self_test(Snapshot(broken, None, 0, "the disk is full", "failing", "unknown", 0))
    assert result["problems"] == [
        "the converter stands at the end of its range",
        "3 of 100 rows have no instant",
        "channel 0 stands still at 1023",
        "channel 1 stands still at 1023",
        "the database refuses: the disk is full",
        "the disk is nearly full",
        "the display does not answer",
        "no time source has set the clock",
    ]


def test_the_worst_result_fits_its_bound() -> None:
    still = SampleBlock(
        tuple(range(8)),
        np.full((100, 8), 1023, np.uint16),
        np.zeros((100, 8), np.int64),
        np.zeros(100, np.bool_),
        Quality.CLIPPED,
    )
    worst = Snapshot(still, 1e5 / 3, 0, "é" * 500, "failing", "unknown", 2**53)
    assert len(msgspec.json.encode(self_test(worst))) <= RESULT_BYTES_MAX


def test_nothing_known_is_no_sound_meter() -> None:
    assert not self_test(Snapshot(None, None, None, None, "none", "synced", 0))["fine"]
