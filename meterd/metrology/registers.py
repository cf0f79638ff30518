"""Energy registers: imported, exported and the reactive energy of the four quadrants."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from meterd.model import Registers

_Number = TypeVar("_Number", int, float)
_Quadrants: TypeAlias = tuple[_Number, _Number, _Number, _Number]


def accumulate(
    registers: Registers, power_w: float, elapsed_s: float, reactive_var: float = 0.0
) -> Registers:
    """Count the energy of one window: whole joules and var·s, no remainder lost.

    Imported and exported energy go apart, reactive energy into the quadrant that the signs of
    both powers name. A register never falls; OBIS 1-0:1.8.0, 2.8.0 and 5.8.0 to 8.8.0.
    """
    if elapsed_s < 0:
        raise ValueError(f"time went back by {-elapsed_s} s")
    import_j, import_carry_j = registers.import_j, registers.import_carry_j
    export_j, export_carry_j = registers.export_j, registers.export_carry_j
    if power_w >= 0:
        whole, import_carry_j = divmod(import_carry_j + power_w * elapsed_s, 1.0)
        import_j += int(whole)
    else:
        whole, export_carry_j = divmod(export_carry_j - power_w * elapsed_s, 1.0)
        export_j += int(whole)
    reactive = _with_reactive(registers, power_w, reactive_var, elapsed_s)
    return Registers(import_j, export_j, import_carry_j, export_carry_j, *reactive)


def quadrant(power_w: float, reactive_var: float) -> int:
    """I imports and is inductive, II exports and is, III exports, IV imports capacitively."""
    if power_w >= 0:
        return 1 if reactive_var >= 0 else 4
    return 2 if reactive_var >= 0 else 3


def _with_reactive(
    registers: Registers, power_w: float, reactive_var: float, elapsed_s: float
) -> tuple[_Quadrants[int], _Quadrants[float]]:
    """The four registers and what each carries."""
    if not reactive_var:
        return registers.reactive_vars, registers.reactive_carry_vars
    place = quadrant(power_w, reactive_var) - 1
    counted, carried = list(registers.reactive_vars), list(registers.reactive_carry_vars)
    whole, carried[place] = divmod(carried[place] + abs(reactive_var) * elapsed_s, 1.0)
    counted[place] += int(whole)
    q1, q2, q3, q4 = counted
    c1, c2, c3, c4 = carried
    return (q1, q2, q3, q4), (c1, c2, c3, c4)
