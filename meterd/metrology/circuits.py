"""What several circuits are together: both legs billed as one, the house between grid and sun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

from meterd.model import Quantities


def billed(window: Quantities, roles: Sequence[str]) -> Quantities:
    """The grid circuit, the second leg's powers added where there is one.

    ``roles`` are those of ``window.others``. Voltage, current, angle and harmonics stay the first
    leg's; P, Q and S are the arithmetic sums of the legs (IEEE Std 1459-2010, 3.2.2.5).
    """
    if "leg2" not in roles:
        return window
    leg2 = window.others[list(roles).index("leg2")]
    power_w = window.power_w + leg2.power_w
    apparent_va = window.apparent_va + leg2.apparent_va
    known = window.power_factor is not None and apparent_va > 0
    return replace(
        window,
        power_w=power_w,
        apparent_va=apparent_va,
        reactive_var=window.reactive_var + leg2.reactive_var,
        nonactive_var=sqrt(max(0.0, apparent_va**2 - power_w**2)),
        power_factor=power_w / apparent_va if known else None,
    )


def house_w(power_w: float, others: Sequence[Quantities], roles: Sequence[str]) -> float | None:
    """What the house takes: what comes from the network and what the sun gives.

    ``power_w`` is the billed one. None without a solar circuit, and where the load has a circuit
    of its own, which says it better.
    """
    if "solar" not in roles or "load" in roles:
        return None
    return power_w + others[list(roles).index("solar")].power_w
