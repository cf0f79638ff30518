"""Below the starting current there is nothing to count: noise must not move a register.

IEC 62053-21 asks a class 1 meter of 5 A to count from 0.4 % of it, 20 mA, and not to count at no
load. One window's power scatters by 0.2 W on ten bits; its mean over a second decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from meterd.model import Quantities

STARTING_CURRENT_A = 0.020
OPENS_AT = 0.5
"""Share of the starting current from which on it counts …"""
CLOSES_AT = 0.4
"""… and below which it stops."""
HARMONIC_SHARE = 2.0
"""A current without power of its own scatters more: it opens at this multiple."""
MEMORY = 0.2
"""Weight of the newest window: a memory of about a second."""
REMEMBERS = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """The last second of a circuit, and whether it counts."""

    power_w: float = 0.0
    reactive_var: float = 0.0
    current_a2: float = 0.0
    counts: bool = False


NO_LOAD = Load()


def step(load: Load, window: Quantities) -> tuple[Load, Quantities]:
    """Take note of a window; it comes back as it is, or without current where there is no load."""
    start_va = STARTING_CURRENT_A * window.voltage_v
    start_a2 = (HARMONIC_SHARE * STARTING_CURRENT_A) ** 2
    power_w = _mixed(load.power_w, window.power_w, start_va)
    reactive_var = _mixed(load.reactive_var, window.reactive_var, start_va)
    current_a2 = _mixed(load.current_a2, window.current_a**2, start_a2)
    share = CLOSES_AT if load.counts else OPENS_AT
    counts = (
        max(abs(power_w), abs(reactive_var)) >= share * start_va > 0
        or current_a2 >= share**2 * start_a2
    )
    load = Load(power_w, reactive_var, current_a2, counts)
    return load, window if counts else without_current(window)


def _mixed(old: float, new: float, start: float) -> float:
    """A mean that remembers no more than twice the start, so that it forgets a large load soon."""
    limit = REMEMBERS * start
    return max(-limit, min(limit, old + MEMORY * (new - old)))


def without_current(window: Quantities) -> Quantities:
    """The window with no current in it: powers 0, angle and power factor unknown."""
    return replace(
        window,
        current_a=0.0,
        power_w=0.0,
        apparent_va=0.0,
        reactive_var=0.0,
        nonactive_var=0.0,
        power_factor=None,
        phase_deg=None,
        thd_current_pct=None,
        harmonic_current_a2=np.zeros_like(window.harmonic_current_a2),
        harmonic_va=np.zeros_like(window.harmonic_va),
        current_phasor_a=np.zeros_like(window.current_phasor_a),
    )
