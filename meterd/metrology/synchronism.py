"""Whether two voltages may be connected: the check before a disconnector closes.

ΔV, Δf and Δφ between the network and what stands behind the open contact (a micro-inverter, the
other leg), against the limits of IEEE Std 1547-2018, table 5, for up to 500 kVA.
"""

from __future__ import annotations

from cmath import phase
from dataclasses import dataclass
from math import degrees

FREQUENCY_HZ_MAX = 0.3
VOLTAGE_PCT_MAX = 10.0
PHASE_DEG_MAX = 20.0


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


def compare(network: Voltage, other: Voltage) -> Synchronism:
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
            ("ΔV", voltage_pct, "%", VOLTAGE_PCT_MAX),
            ("Δf", frequency_hz, "Hz", FREQUENCY_HZ_MAX),
            ("Δφ", phase_deg, "°", PHASE_DEG_MAX),
        )
        if abs(value) > limit
    )
    return Synchronism(voltage_pct, frequency_hz, phase_deg, not reasons, reasons)
