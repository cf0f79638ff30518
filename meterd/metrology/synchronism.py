"""Whether two voltages may be connected: the check before a disconnector closes.

ΔV, Δf and Δφ between the network and what stands behind the open contact (a micro-inverter, the
other leg), against the limits of IEEE Std 1547-2018, table 5, for up to 500 kVA.
"""

from __future__ import annotations

from cmath import phase
from dataclasses import dataclass
from math import degrees

from meterd.model import Quantities

FREQUENCY_HZ_MAX = 0.3
VOLTAGE_PCT_MAX = 10.0
PHASE_DEG_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How far two sides may differ, either way."""

    voltage_pct: float = VOLTAGE_PCT_MAX
    frequency_hz: float = FREQUENCY_HZ_MAX
    phase_deg: float = PHASE_DEG_MAX


IEEE_1547 = Limits()


@dataclass(frozen=True, slots=True)
class Voltage:
    """One side: rms, frequency, and the fundamental's angle on a clock common to both."""

    voltage_v: float
    frequency_hz: float | None
    phasor_v: complex


@dataclass(frozen=True, slots=True)
class Synchronism:
    """The differences, other side less network, and whether it may be closed."""

    voltage_pct: float | None
    frequency_hz: float | None
    phase_deg: float | None
    permitted: bool
    reasons: tuple[str, ...]


def side_of(window: Quantities) -> Voltage:
    """The voltage of one circuit; circuits of one window share the clock of their angles."""
    phasor_v = complex(window.voltage_phasor_v[0]) if len(window.voltage_phasor_v) else 0j
    return Voltage(window.voltage_v, window.frequency_hz, phasor_v)


def compare(network: Voltage, other: Voltage, limits: Limits = IEEE_1547) -> Synchronism:
    """Compare the other side with the network; a side without voltage permits nothing.

    Connecting a dead network or a dead house is another decision, and not this check's.
    """
    if network.frequency_hz is None or other.frequency_hz is None:
        side = "network" if network.frequency_hz is None else "other side"
        return Synchronism(None, None, None, False, (f"the {side} has no voltage",))
    voltage_pct = 100.0 * (other.voltage_v / network.voltage_v - 1.0)
    frequency_hz = other.frequency_hz - network.frequency_hz
    phase_deg = degrees(phase(other.phasor_v / network.phasor_v))
    reasons = tuple(
        f"{name} {value:+.2f} {unit} is beyond ±{limit:g} {unit}"
        for name, value, unit, limit in (
            ("ΔV", voltage_pct, "%", limits.voltage_pct),
            ("Δf", frequency_hz, "Hz", limits.frequency_hz),
            ("Δφ", phase_deg, "°", limits.phase_deg),
        )
        if abs(value) > limit
    )
    return Synchronism(voltage_pct, frequency_hz, phase_deg, not reasons, reasons)
