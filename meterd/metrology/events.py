"""Dips, swells and interruptions of the voltage from its Urms(1/2) (IEC 61000-4-30).

A dip lies below 90 % of the nominal (declared) voltage, a swell above 110 %, an interruption
below 10 %; each ends when the voltage is back by a hysteresis of 2 %. Every kind is looked for by
itself, as the standard does: an interruption lies inside a dip whose residual voltage is below
10 %, and statistics that count it as an interruption alone (EN 50160) leave that dip out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from meterd.model import HalfCycles

DIP, DIP_END = 0.90, 0.92
SWELL, SWELL_END = 1.10, 1.08
INTERRUPTION, INTERRUPTION_END = 0.10, 0.12
"""Shares of the nominal voltage at which events begin and, with the hysteresis, end."""


class EventKind(StrEnum):
    """The events of a supply voltage that Urms(1/2) shows."""

    DIP = "dip"
    SWELL = "swell"
    INTERRUPTION = "interruption"


@dataclass(frozen=True, slots=True)
class PowerQualityEvent:
    """One event; while it is not ended, duration and extreme are those so far.

    Dips and swells are dated by the ends of the cycles that crossed the threshold and came back.
    An interruption begins with the first cycle that had no voltage, but not before its dip, and
    ends with the first cycle that had some: dated by ends alone it would be a cycle too short.
    """

    kind: EventKind
    start_ns: int  # monotonic instant
    duration_s: float
    extreme_v: float  # lowest Urms(1/2) (the residual voltage); highest of a swell
    ended: bool


Events = tuple[PowerQualityEvent, ...]


def detect(open_events: Events, half_cycles: HalfCycles, nominal_v: float) -> tuple[Events, Events]:
    """Go on with the events that are open, find new ones: (ended, still open), by their start.

    Half cycles must go on where the last ones stopped; those that could not be measured neither
    begin nor end an event. At most one event of a kind is open.

    Raises:
        ValueError: the nominal voltage is not positive.
    """
    if not nominal_v > 0:
        raise ValueError(f"the nominal voltage is {nominal_v} V")
    if not len(half_cycles.urms_v):
        return (), open_events
    share = half_cycles.urms_v / nominal_v
    low, high = float(share.min()), float(share.max())
    if not open_events and low >= DIP and high <= SWELL:
        return (), ()
    found: list[PowerQualityEvent] = []
    for kind, outside, back in (  # dips first: interruptions lie inside them
        (EventKind.DIP, share < DIP, share >= DIP_END),
        (EventKind.SWELL, share > SWELL, share <= SWELL_END),
        (EventKind.INTERRUPTION, share < INTERRUPTION, share >= INTERRUPTION_END),
    ):
        before = next((event for event in open_events if event.kind is kind), None)
        found += _of_a_kind(kind, before, half_cycles, outside, back, found)
    found.sort(key=lambda event: event.start_ns)
    ended = tuple(event for event in found if event.ended)
    return ended, tuple(event for event in found if not event.ended)


def _of_a_kind(
    kind: EventKind,
    event: PowerQualityEvent | None,
    cycles: HalfCycles,
    outside: NDArray[np.bool_],
    back: NDArray[np.bool_],
    others: list[PowerQualityEvent],
) -> list[PowerQualityEvent]:
    """The events of one kind; ``outside`` begins one, ``back`` ends it, between them it goes on."""
    found: list[PowerQualityEvent] = []
    begins, ends = np.flatnonzero(outside), np.flatnonzero(back)
    place = 0
    while True:
        if event is None:
            later = begins[np.searchsorted(begins, place) :]
            if not len(later):
                return found
            place = int(later[0])
            start_ns = int(cycles.end_ns[place])
            if kind is EventKind.INTERRUPTION:
                dip_ns = max(dip.start_ns for dip in others if dip.start_ns <= start_ns)
                start_ns = max(int(cycles.begin_ns[place]), dip_ns)
            event = PowerQualityEvent(kind, start_ns, 0.0, float(cycles.urms_v[place]), False)
        later = ends[np.searchsorted(ends, place) :]
        ended = len(later) > 0
        last = int(later[0]) if ended else len(outside) - 1
        found.append(_through(event, cycles, place, last, ended))
        if not ended:
            return found
        event, place = None, last


def _through(
    event: PowerQualityEvent, cycles: HalfCycles, place: int, last: int, ended: bool
) -> PowerQualityEvent:
    """The event after the cycles from ``place`` to ``last``."""
    during = cycles.urms_v[place : last + 1]
    extreme_v = (
        max(event.extreme_v, float(during.max()))
        if event.kind is EventKind.SWELL
        else min(event.extreme_v, float(during.min()))
    )
    duration_s = (int(cycles.end_ns[last]) - event.start_ns) / 1e9
    return replace(event, duration_s=duration_s, extreme_v=extreme_v, ended=ended)
