"""What a self-test says: what the running meter knows of its parts, in words and numbers.

Nothing is tried that would disturb measuring: the converter is judged by its last block, the
database by its last commit, the display by its thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from meterd.model import ADC_CODES, Quality, SampleBlock

RESULT_BYTES_MAX = 2048
DISK_FREE_MIN_BYTES = 64 * 1024 * 1024
SPREAD_MIN_CODES = 0.05
"""A channel that stands stiller than this is not connected to anything that lives."""
WORDS_MAX = 120


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the running meter knows at one moment; None is unknown."""

    block: SampleBlock | None  # the last one that was read
    sampling_hz: float | None  # of each channel
    disk_free_bytes: int | None
    database_error: str | None  # None: the last commit succeeded
    display: str  # ok, failing, none
    clock: str  # as docs/protocol.md names how good the date is
    rows: int  # in the meter's own record


def self_test(known: Snapshot) -> dict[str, object]:
    """The result of the command ``self_test``, at most ``RESULT_BYTES_MAX`` bytes of JSON."""
    result: dict[str, object] = {
        "fine": not (found := [*_problems(known)]),
        "problems": found,
        "channels": _channels(known.block),
        "sampling_hz": None if known.sampling_hz is None else round(known.sampling_hz, 1),
        "disk_free_bytes": known.disk_free_bytes,
        "display": known.display[:WORDS_MAX],
        "clock": known.clock[:WORDS_MAX],
        "rows": known.rows,
    }
    assert len(msgspec.json.encode(result)) <= RESULT_BYTES_MAX
    return result


def _channels(block: SampleBlock | None) -> list[dict[str, object]]:
    if block is None or not len(block.codes):
        return []
    return [
        {
            "channel": channel,
            "mean_code": round(float(np.mean(codes)), 2),
            "spread_codes": round(float(np.std(codes)), 3),
            "at_end": int(np.count_nonzero((codes == 0) | (codes == ADC_CODES - 1))),
        }
        for channel, codes in zip(block.channels, block.codes.T, strict=True)
    ]


def _problems(known: Snapshot) -> Iterator[str]:
    if known.block is None or not len(known.block.codes):
        yield "no block was read"
    else:
        yield from _block_problems(known.block)
    if known.database_error is not None:
        yield f"the database refuses: {known.database_error[:WORDS_MAX]}"
    if known.disk_free_bytes is not None and known.disk_free_bytes < DISK_FREE_MIN_BYTES:
        yield "the disk is nearly full"
    if known.display == "failing":
        yield "the display does not answer"
    if known.clock in ("unknown", "informative", "unsynced"):
        yield "no time source has set the clock"


def _block_problems(block: SampleBlock) -> Iterator[str]:
    if Quality.CLIPPED in block.flags:
        yield "the converter stands at the end of its range"
    if not block.valid.all():
        yield f"{int(np.count_nonzero(~block.valid))} of {len(block.valid)} rows have no instant"
    for channel, codes in zip(block.channels, block.codes.T, strict=True):
        if float(np.std(codes)) < SPREAD_MIN_CODES:
            yield f"channel {channel} stands still at {int(codes[0])}"
