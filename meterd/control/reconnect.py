"""Closing the contact: after a delay, and only while the voltages on both sides allow it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from meterd.config import Config, Relay
from meterd.metrology.synchronism import Limits, compare, side_of
from meterd.model import Missed, Quality, Quantities

DEAD_SHARE = 0.1
"""Below this share of the nominal voltage the side behind the contact is dead."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A reconnection under way."""

    since_ns: int  # monotonic
    windows: int = 0  # one after the other that allowed it
    because: str = "the delay has not passed"
    """What kept it open in the last window."""


def impossible(config: Config) -> str | None:
    """Why this meter can never know that closing is safe; None: it can."""
    relay = config.relay
    assert relay is not None
    if relay.load_circuit is not None or relay.dead_load:
        return None
    return (
        "the voltage behind the contact is not measured: configure [relay] load_circuit, or "
        "dead_load = true where nothing behind it generates"
    )


def advance(
    closing: Closing, window: Quantities | Missed, config: Config, now_ns: int
) -> tuple[Closing, bool]:
    """Look at one window; True: close now."""
    relay = config.relay
    assert relay is not None
    if now_ns - closing.since_ns < relay.reconnect_delay_s * 1e9:
        return closing, False
    because = forbidden(window, config, relay)
    if because is not None:
        return replace(closing, windows=0, because=because), False
    closing = replace(closing, windows=closing.windows + 1, because="")
    return closing, closing.windows >= relay.windows


def given_up(closing: Closing, relay: Relay, now_ns: int) -> bool:
    """Whether it has been tried for as long as is configured."""
    return now_ns - closing.since_ns >= (relay.reconnect_delay_s + relay.give_up_s) * 1e9


def forbidden(window: Quantities | Missed, config: Config, relay: Relay) -> str | None:
    """Why the contact must not close in this window; None: it may."""
    if isinstance(window, Missed):
        return f"the voltages were not measured: {window.reason}"
    if window.frequency_hz is None or Quality.MAINS_LOST in window.flags:
        return "the network has no voltage"
    if relay.load_circuit is None:
        return impossible(config)
    behind = window.others[config.further_roles.index(relay.load_circuit)]
    if behind.voltage_v < DEAD_SHARE * config.meter.nominal_v:
        return None
    limits = Limits(relay.voltage_pct_max, relay.frequency_hz_max, relay.phase_deg_max)
    found = compare(side_of(window), side_of(behind), limits)
    return None if found.permitted else ", ".join(found.reasons)
