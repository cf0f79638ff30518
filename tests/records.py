"""Rows for a meter's record, without a meter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from meterd import store, wire
from meterd.model import NO_DEMAND, Demand, Reading, Registers, Stamp
from meterd.record.rows import Place, detail, event_row
from meterd.record.signing import new_key
from meterd.recorder import Recorder

WIRE = Path(__file__).parent / "wire"
EXAMPLE = wire.decode((WIRE / "readings.ndjson").read_bytes().splitlines()[0])
METER = EXAMPLE.meter
KEY = new_key()


def open_new(path: Path, now_utc_s: int = 0) -> store.Store:
    """The record of the example's meter, opened for writing."""
    return store.open_store(path, meter=METER, now_utc_s=now_utc_s)


def add_reading(
    kept: store.Store, reading: Reading, registers: Registers, demand: Demand = NO_DEMAND
) -> int:
    """Store a reading as it is, and its number."""
    row = store.reading_row(wire.encode(reading), reading)
    store.append(kept, [row], store.Saved(registers, reading.end_utc_s, demand))
    return row.seq


def add_event(kept: store.Store, event: str, what: Mapping[str, object], utc_s: int) -> int:
    """Store an event as it is, and its number."""
    place = Place(kept.meter, kept.stream, store.next_seq(kept))
    row = event_row(place, Stamp(1, 0, utc_s, "synced"), event, what)
    store.append(kept, [row])
    return row.seq


def example(kept: store.Store, seq: int, **said: object) -> Reading:
    """The example as row ``seq`` of a record."""
    return replace(EXAMPLE, stream=kept.stream, seq=seq, **said)  # type: ignore[arg-type]


def recorder(kept: store.Store, utc_s: float = 1_763_846_400.0) -> Recorder:
    """A recorder whose clock stands still."""
    return Recorder(kept, KEY, lambda: Stamp(1, 0, utc_s, "synced"))


def last_event(kept: store.Store, event: str) -> dict[str, object] | None:
    """What the last event of a name says."""
    lines = store.events(kept, event, 1)
    return detail(lines[-1]) if lines else None
