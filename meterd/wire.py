"""A reading as the one line that is stored, sent and kept, and back; docs/protocol.md.

The line is made once. Whatever is sent, shown or checked later starts from these bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import msgspec

from meterd.errors import NotAReadingError
from meterd.model import Quality, Reading

SCHEMA = "1.1"
LINE_BYTES_MAX = 8192
"""Several times the longest line of this version."""
INTEGER_MAX = 2**63 - 1
"""SQLite's and JSON libraries' largest whole number: 2.5 million million kWh in joules."""

DECIMALS = {
    "measured_s": 3,
    "coverage_pct": 3,
    "frequency_hz": 4,
    "voltage_v": 3,
    "current_a": 4,
    "power_w": 2,
    "apparent_va": 2,
    "reactive_var": 2,
    "nonactive_var": 2,
    "power_factor": 4,
    "phase_deg": 3,
    "thd_voltage_pct": 2,
    "thd_current_pct": 2,
    "voltage_min_v": 3,
    "voltage_max_v": 3,
    "current_max_a": 4,
    "power_min_w": 2,
    "power_max_w": 2,
    "demand_w": 2,
    "demand_max_w": 2,
}
"""Decimal places on the wire: an order finer than the meter can tell, so rounding costs nothing."""

CLOCKS = ("synced", "relative", "informative", "unknown", "unsynced")
"""How good a date is; the last is schema 1.0's."""

_FLAGS = frozenset(flag.name for flag in Quality if flag.name is not None)
_METER = re.compile(r"[A-Za-z0-9._-]{1,32}")
_STREAM = re.compile(r"[0-9a-f]{32}")


def encode(reading: Reading) -> bytes:
    """``reading`` as one line of JSON without its newline, rounded by ``DECIMALS``.

    Raises:
        NotAReadingError: a value that the protocol does not allow, such as NaN (which JSON
            cannot say and an encoder would quietly turn into "unknown").
    """
    rounded: dict[str, Any] = {name: _rounded(name, getattr(reading, name)) for name in DECIMALS}
    checked = replace(reading, **rounded)
    _check(checked)
    try:
        line = msgspec.json.encode(checked)
    except (TypeError, msgspec.MsgspecError) as error:
        raise NotAReadingError(f"reading {reading.seq} cannot be written: {error}") from error
    assert b"\n" not in line
    assert len(line) <= LINE_BYTES_MAX
    return line


def decode(line: bytes) -> Reading:
    """The reading in ``line``; fields that this version does not know are left out.

    Raises:
        NotAReadingError: not JSON, a field absent or of a wrong type, a value out of range, or a
            major schema version other than this one's.
    """
    if len(line) > LINE_BYTES_MAX:
        raise NotAReadingError(f"a line of {len(line)} bytes; at most {LINE_BYTES_MAX} are read")
    try:
        reading = msgspec.json.decode(line, type=Reading, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotAReadingError(f"the line is not a reading: {error}") from error
    _check(reading)
    return reading


def _rounded(name: str, quantity: float | None) -> float | None:
    if quantity is None:
        return None
    if not math.isfinite(quantity):
        raise NotAReadingError(f"{name} is {quantity}: a quantity is a finite number or None")
    return round(float(quantity), DECIMALS[name]) + 0.0  # + 0.0: no "-0.0"


def _check(reading: Reading) -> None:
    """The protocol's table, read once more on the way out and on the way in."""
    allowed = {
        "schema": reading.schema.partition(".")[0] == SCHEMA.partition(".")[0],
        "kind": reading.kind == "reading",
        "boot": 0 <= reading.boot <= INTEGER_MAX,
        "boottime_ms": 0 <= reading.boottime_ms <= INTEGER_MAX,
        "meter": _METER.fullmatch(reading.meter) is not None,
        "stream": _STREAM.fullmatch(reading.stream) is not None,
        "seq": 1 <= reading.seq <= INTEGER_MAX,
        "end_utc_s": 0 <= reading.end_utc_s <= INTEGER_MAX,
        "interval_s": 1 <= reading.interval_s <= 3600,
        "measured_s": reading.measured_s >= 0,
        "coverage_pct": 0 <= reading.coverage_pct <= 100,
        "clock": reading.clock in CLOCKS,
        "flags": _FLAGS.issuperset(reading.flags),
        "import_j": 0 <= reading.import_j <= INTEGER_MAX,
        "export_j": 0 <= reading.export_j <= INTEGER_MAX,
    }
    wrong = [name for name, fine in allowed.items() if not fine]
    if wrong:
        raise NotAReadingError(
            f"reading {reading.seq} of stream {reading.stream!r}: "
            + ", ".join(f"{name} is {getattr(reading, name)!r}" for name in wrong)
            + "; docs/protocol.md says what is allowed"
        )
