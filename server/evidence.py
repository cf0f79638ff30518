"""What a meter's signed record says beside its readings: its standing, its relay, its supply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select

from server import meter_keys, wire
from server.chain import UNSIGNED_TAIL_ROWS_MAX
from server.schema import RECORD_ROW, STREAM_HEAD

DISTURBANCES = ("dip", "swell", "interruption", "outage")
DISTURBANCES_MAX = 200
"""Of a supply so bad that there are more in the period the newest are told."""

Standing = Literal["signed", "unsigned", "broken"]


@dataclass(frozen=True, slots=True)
class RecordStanding:
    """Whether the rows of the newest stream are the meter's."""

    state: Standing
    key: str | None  # fingerprint of the meter's present key
    reason: str | None = None
    broken_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The supply left its limits."""

    kind: str
    start_utc_s: float
    duration_s: float | None
    extreme_v: float | None


def standing(connection: Connection, meter_id: int) -> RecordStanding:
    """How far the newest stream is signed: wholly, but for the rows the meter has yet to sign."""
    query = (
        select(STREAM_HEAD)
        .where(STREAM_HEAD.c.meter_id == meter_id)
        .order_by(STREAM_HEAD.c.ordinal.desc())
        .limit(1)
    )
    head = connection.execute(query).one_or_none()
    key = meter_keys.current(connection, meter_id)
    if head is None:
        return RecordStanding("unsigned", key)
    if head.chain_state == "broken":
        return RecordStanding("broken", key, head.chain_reason, head.chain_broken_seq)
    signed = (
        head.chain_state == "sound"
        and head.chain_seq - head.checkpoint_seq <= UNSIGNED_TAIL_ROWS_MAX
    )
    return RecordStanding("signed" if signed else "unsigned", key)


def writes_events(connection: Connection, meter_id: int) -> bool:
    """Whether the meter's record has events at all, as those of schema 1.0 have not."""
    query = select(RECORD_ROW.c.seq).where(RECORD_ROW.c.meter_id == meter_id).limit(1)
    return connection.scalar(query) is not None


def disturbances(
    connection: Connection, meter_id: int, since_utc_s: int, until_utc_s: int
) -> list[Disturbance]:
    """Dips, swells, interruptions and outages that ended in a period, newest first."""
    query = (
        select(RECORD_ROW.c.utc_s, RECORD_ROW.c.event, RECORD_ROW.c.line)
        .where(
            RECORD_ROW.c.meter_id == meter_id,
            RECORD_ROW.c.event.in_(DISTURBANCES),
            RECORD_ROW.c.utc_s > since_utc_s,
            RECORD_ROW.c.utc_s <= until_utc_s,
        )
        .order_by(RECORD_ROW.c.utc_s.desc())
        .limit(DISTURBANCES_MAX)
    )
    return [
        _disturbance(row.event, row.utc_s, wire.EVENT_DECODER.decode(row.line).detail)
        for row in connection.execute(query)
    ]


def _disturbance(kind: str, utc_s: int, detail: Mapping[str, object]) -> Disturbance:
    """What the meter left out stays unknown."""
    start_utc_s = _number(detail.get("start_utc_s"))
    return Disturbance(
        kind,
        utc_s if start_utc_s is None else start_utc_s,
        _number(detail.get("duration_s")),
        _number(detail.get("extreme_v")),
    )


def _number(found: object) -> float | None:
    """A number of a size that a date or a voltage has, or None."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return found if 0 <= found <= 253_402_300_799 else None
