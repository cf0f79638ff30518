"""Bills for tests: inputs with what is usual, and changes."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from meterd_tariff.bill import Inputs, RegisterReading, Segment
from meterd_tariff.charges import Terms
from meterd_tariff.seasons import Period
from meterd_tariff.units import JOULES_PER_KWH
from server import tariff_files

TARIFFS = tariff_files.load()
STREAM = "8c5a0a5e4a5b4f0c9f6f0d8a4d1b2c3e"


def register(seq: int, import_kwh: int, export_kwh: int = 0) -> RegisterReading:
    """A reading of whole kilowatt-hours."""
    registers = (import_kwh * JOULES_PER_KWH, export_kwh * JOULES_PER_KWH)
    return RegisterReading(STREAM, seq, "0" * 64, 1_700_000_000 + seq, "synced", *registers)


def segment(import_kwh: int, export_kwh: int = 0, *, from_kwh: int = 13125) -> Segment:
    """So much import and export of one meter."""
    closing = register(2, from_kwh + import_kwh, export_kwh)
    return Segment("MX-000001", register(1, from_kwh), closing)


def inputs(code: str, period: Period, *segments: Segment, **changes: Any) -> Inputs:
    """What a bill rests on."""
    usual: dict[str, Any] = {
        "number": "1-1",
        "account": "1",
        "customer": "Ana López",
        "service_number": "123456789012",
        "time_zone": "America/Hermosillo",
        "tariff": code,
        "tariff_version": TARIFFS[code].version,
        "period": period,
        "start_utc_s": 1_700_000_000,
        "end_utc_s": 1_705_000_000,
        "terms": Terms(),
        "regime": "none",
        "expired_lots": "paid",
        "segments": segments,
        "issued_on": period.end,
        "due_on": period.end + timedelta(days=10),
        "cutoff_from": period.end + timedelta(days=11),
    }
    return Inputs(**(usual | changes))


PRINTED = Period(date(2026, 4, 18), date(2026, 6, 20), "bimonthly")
"""The period of the printed bill, 63 days."""
