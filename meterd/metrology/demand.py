"""Demand: the mean imported power of blocks of time, its maximum, and where the block is heading.

Block demand as utilities bill it: blocks of 1 to 60 minutes on the clock, 15 by default. OBIS
1-0:1.4.0 (running), 1.5.0 (last) and 1.6.0 (maximum).
"""

from __future__ import annotations

from dataclasses import replace

from meterd.model import Demand

WHOLE = 0.98
"""A block that was measured for less than this share of its time has no demand: it would be a
guess, too low after a power cut and too high when divided by less."""


def step(
    demand: Demand, power_w: float, elapsed_s: float, end_utc_s: float, block_s: int
) -> Demand:
    """Count a window of imported power that ended at ``end_utc_s``; exports count as 0."""
    block_end_utc_s = -int(-end_utc_s // block_s) * block_s
    if block_end_utc_s != demand.block_end_utc_s:
        demand = _closed(demand, block_s)
        demand = replace(demand, block_end_utc_s=block_end_utc_s, energy_j=0.0, elapsed_s=0.0)
    return replace(
        demand,
        energy_j=demand.energy_j + max(0.0, power_w) * elapsed_s,
        elapsed_s=demand.elapsed_s + elapsed_s,
    )


def _closed(demand: Demand, block_s: int) -> Demand:
    if demand.elapsed_s < WHOLE * block_s:
        return replace(demand, last_w=None)
    last_w = demand.energy_j / block_s
    if demand.max_w is not None and last_w <= demand.max_w:
        return replace(demand, last_w=last_w)
    return replace(demand, last_w=last_w, max_w=last_w, max_end_utc_s=demand.block_end_utc_s)


def predicted_w(demand: Demand, power_w: float, now_utc_s: float, block_s: int) -> float | None:
    """The running block's demand at its end, if the power now stays as it is.

    None before anything was measured in the block.
    """
    if demand.block_end_utc_s is None or not demand.elapsed_s:
        return None
    left_s = min(block_s, max(0.0, demand.block_end_utc_s - now_utc_s))
    return (demand.energy_j + max(0.0, power_w) * left_s) / block_s
