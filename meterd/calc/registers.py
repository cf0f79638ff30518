"""Energy registers: import and export counted apart, in whole joules."""

from __future__ import annotations

from dataclasses import replace

from meterd.model import Registers


def accumulate(registers: Registers, power_w: float, elapsed_s: float) -> Registers:
    """Count the energy of one window: imported and exported apart, whole joules, no remainder lost.

    A register never falls; OBIS 1-0:1.8.0 and 2.8.0.
    """
    if elapsed_s < 0:
        raise ValueError(f"time went back by {-elapsed_s} s")
    energy_j = abs(power_w) * elapsed_s
    if power_w >= 0:
        whole, carry = divmod(registers.import_carry_j + energy_j, 1.0)
        return replace(registers, import_j=registers.import_j + int(whole), import_carry_j=carry)
    whole, carry = divmod(registers.export_carry_j + energy_j, 1.0)
    return replace(registers, export_j=registers.export_j + int(whole), export_carry_j=carry)
