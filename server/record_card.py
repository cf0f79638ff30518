"""What a customer reads of the meter's record: its signatures, its relay, its supply."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from server import evidence, meter_commands
from server.evidence import Disturbance, RecordStanding
from server.language import UNKNOWN, Language, date_and_time, number
from server.signing import digits

DAYS = 30
SHOWN_MAX = 8
AHEAD_S = 60
MINUTE_S = 60
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class RecordState:
    """What the record says at one moment."""

    standing: RecordStanding
    relay: tuple[str, int] | None  # the command that last moved it, and when it was answered
    has_events: bool
    disturbances: list[Disturbance]


@dataclass(frozen=True, slots=True)
class DisturbanceRow:
    """One line of the list of disturbances."""

    name: str
    begin: str
    length: str
    voltage: str


def take(connection: Connection, meter_id: int, now_utc_s: int) -> RecordState:
    """Read it in the page's transaction."""
    since_utc_s = now_utc_s - DAYS * 24 * HOUR_S
    return RecordState(
        evidence.standing(connection, meter_id),
        meter_commands.last_switching(connection, meter_id),
        evidence.writes_events(connection, meter_id),
        evidence.disturbances(connection, meter_id, since_utc_s, now_utc_s + AHEAD_S),
    )


def card(language: Language, state: RecordState, zone: ZoneInfo) -> dict[str, object]:
    """The words of it; ``disturbances`` is None for a meter that tells none."""
    standing = state.standing
    shown = [_row(language, found, zone) for found in state.disturbances[:SHOWN_MAX]]
    return {
        "state": standing.state,
        "digits": "" if standing.key is None else digits(standing.key),
        "relay": "" if state.relay is None else state.relay[0],
        "relay_since": "" if state.relay is None else date_and_time(language, state.relay[1], zone),
        "disturbances": shown if state.has_events else None,
        "summary": _summary(language, state.disturbances),
        "more": len(state.disturbances) - len(shown),
    }


def _summary(language: Language, found: list[Disturbance]) -> str:
    """Such as ``2 dips · 1 outage``."""
    counts = Counter(each.kind for each in found)
    names = _names(language, plural=True)
    single = _names(language, plural=False)
    return " · ".join(
        f"{counts[kind]} {(single if counts[kind] == 1 else names)[kind]}"
        for kind in evidence.DISTURBANCES
        if counts[kind]
    )


def _names(language: Language, *, plural: bool) -> dict[str, str]:
    say = language.say
    if plural:
        return {
            "dip": say("dips"),
            "swell": say("swells"),
            "interruption": say("interruptions"),
            "outage": say("outages"),
        }
    return {
        "dip": say("dip"),
        "swell": say("swell"),
        "interruption": say("interruption"),
        "outage": say("outage"),
    }


def _row(language: Language, found: Disturbance, zone: ZoneInfo) -> DisturbanceRow:
    voltage = number(language, found.extreme_v, 0)
    return DisturbanceRow(
        _names(language, plural=False)[found.kind],
        date_and_time(language, int(found.start_utc_s), zone),
        _length(language, found.duration_s),
        voltage if voltage == UNKNOWN else f"{voltage} V",
    )


def _length(language: Language, duration_s: float | None) -> str:
    """Such as ``0.12 s``, ``45 s``, ``12 min`` or ``3.5 h``."""
    if duration_s is None:
        return UNKNOWN
    if duration_s < MINUTE_S:
        return number(language, duration_s, 2 if duration_s < 10 else 0) + " s"
    if duration_s < HOUR_S:
        return number(language, duration_s / MINUTE_S, 0) + " min"
    return number(language, duration_s / HOUR_S, 1) + " h"
