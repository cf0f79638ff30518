"""The rules that a reading must pass, against the one counted before it. Pure.

``register_decrease``, ``jump``, ``gap``, ``duplicate_interval`` and ``sum_mismatch``; ``zero`` and
``inactive`` look at longer times and stand in ``server.validation.quiet``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from server.validation.knots import Knot

Rule = Literal[
    "register_decrease", "jump", "gap", "duplicate_interval", "zero", "inactive", "sum_mismatch"
]

SLOT_S = 900
GAP_INTERVALS = 1.5
JUMP_TOLERANCE = 1.1
SERVICE_A_DEFAULT = 100
SUM_TOLERANCE = 0.02
SUM_TOLERANCE_J = 7200
"""Two watt hours: a register counts whole joules, and powers are rounded to hundredths."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a step from one reading to the next did not pass."""

    rule: Rule
    stream: str
    seq: int
    from_utc_s: int
    to_utc_s: int
    import_j: int  # the difference of the registers, which may be negative
    export_j: int
    reason: str

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """The same failure, found again."""
        return (self.rule, self.stream, self.seq, self.from_utc_s, self.to_utc_s)


def service_max_w(max_power_w: int | None, max_current_a: int | None, nominal_v: int) -> int:
    """The most that the service carries: as agreed, by its fuse, or by a fuse of 100 A."""
    return max_power_w or (max_current_a or SERVICE_A_DEFAULT) * nominal_v


def in_time(knots: list[Knot]) -> list[Knot]:
    """Without readings that are dated at or before one that was counted earlier."""
    kept: list[Knot] = []
    for knot in knots:
        if not kept or knot.utc_s > kept[-1].utc_s:
            kept.append(knot)
    return kept


def findings(knots: list[Knot], max_w: int) -> list[Finding]:
    """What the readings after the first did not pass."""
    found = []
    kept = knots[0]
    for knot in knots[1:]:
        if knot.utc_s <= kept.utc_s:
            reason = "dated no later than the reading counted before it"
            found.append(_finding("duplicate_interval", knot, knot, reason))
        else:
            found += _of_step(kept, knot, max_w)
            kept = knot
    return found


def _of_step(before: Knot, knot: Knot, max_w: int) -> list[Finding]:
    import_j, export_j = knot.import_j - before.import_j, knot.export_j - before.export_j
    elapsed_s = knot.utc_s - before.utc_s
    if import_j < 0 or export_j < 0:
        reason = f"a register fell: import {import_j:+d} J, export {export_j:+d} J"
        return [_finding("register_decrease", before, knot, reason)]
    found = []
    most_j = int(max_w * JUMP_TOLERANCE * max(elapsed_s, knot.interval_s))
    if import_j + export_j > most_j:
        reason = f"{import_j + export_j} J in {elapsed_s} s: the service carries {max_w} W"
        found.append(_finding("jump", before, knot, reason))
    if elapsed_s > max(SLOT_S, GAP_INTERVALS * knot.interval_s):
        reason = f"no reading for {elapsed_s} s"
        found.append(_finding("gap", before, knot, reason))
    elif _differs(import_j, export_j, knot, elapsed_s):
        reason = f"registers say {import_j - export_j:+d} J, power and time {_power_j(knot):+.0f} J"
        found.append(_finding("sum_mismatch", before, knot, reason))
    return found


def _differs(import_j: int, export_j: int, knot: Knot, elapsed_s: int) -> bool:
    """Whether energy by registers and by mean power differ by more than the tolerance.

    Only where the reading covers the step and was measured nearly all the time.
    """
    if knot.power_w is None or abs(elapsed_s - knot.interval_s) > 2:
        return False
    unmeasured_s = max(0.0, knot.interval_s - knot.measured_s)
    tolerance_j = SUM_TOLERANCE_J + SUM_TOLERANCE * (import_j + export_j)
    tolerance_j += abs(knot.power_w) * (unmeasured_s + 2)
    return abs(import_j - export_j - _power_j(knot)) > tolerance_j


def _power_j(knot: Knot) -> float:
    return (knot.power_w or 0.0) * knot.measured_s


def _finding(rule: Rule, before: Knot, knot: Knot, reason: str) -> Finding:
    return Finding(
        rule,
        knot.stream,
        knot.seq,
        before.utc_s,
        knot.utc_s,
        knot.import_j - before.import_j,
        knot.export_j - before.export_j,
        reason,
    )


def steps(knots: list[Knot]) -> list[tuple[Knot, Knot]]:
    """Each reading with the one before it, of those that are in the order of time."""
    return list(pairwise(in_time(knots)))
