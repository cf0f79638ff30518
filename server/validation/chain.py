"""The readings of a meter at its usage point, from its install to its end, as one curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from server.schema import METER_INSTALL, USAGE_POINT
from server.validation import knots, store
from server.validation.curve import (
    EDITED,
    LINEAR,
    QUESTIONABLE,
    REFERENCE_DAY,
    VALID,
    VALIDATED,
    WORST_LAST,
    Vertex,
    shaped,
)
from server.validation.exceptions import Identity, Verdict
from server.validation.knots import Knot, Stream
from server.validation.rules import SLOT_S, Finding, service_max_w, steps
from server.validation.store import Offset

BEFORE_FIRST, BEHIND_LAST = 0, 2**40
NEAR_KNOTS = (2, 32, 1000)
"""Readings looked at to find the one before a quarter of an hour began: a meter that writes each
second needs 900."""
REFERENCE_S = 7 * 24 * 3600
"""The same weekday, seven times twenty-four hours earlier."""
QUALITY_OF: dict[str, int] = {"accepted": VALIDATED, "edited": EDITED, "estimated": LINEAR}


class Install(NamedTuple):
    """Where a meter hung, its registers at both ends, and what the service can carry."""

    usage_point_id: int
    meter_id: int
    from_utc_s: int
    to_utc_s: int | None
    start: tuple[int, int] | None
    final: tuple[int, int] | None
    max_w: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Readings that follow each other by count, and what is at both ends of them."""

    knots: list[Knot]
    begins: bool  # nothing was counted before at this usage point by this meter
    ends: bool


def install_of(connection: Connection, meter_id: int) -> Install | None:
    """Where the meter hangs or hung last."""
    query = (
        _installs()
        .where(METER_INSTALL.c.meter_id == meter_id)
        .order_by(METER_INSTALL.c.from_utc_s.desc(), METER_INSTALL.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _install(row)


def installs_at(connection: Connection, usage_point_id: int) -> list[Install]:
    """All meters that hung at a usage point, in their order."""
    query = (
        _installs()
        .where(METER_INSTALL.c.usage_point_id == usage_point_id)
        .order_by(METER_INSTALL.c.from_utc_s, METER_INSTALL.c.id)
    )
    return [_install(row) for row in connection.execute(query)]


def _installs() -> Any:
    return select(
        METER_INSTALL,
        USAGE_POINT.c.max_power_w,
        USAGE_POINT.c.max_current_a,
        USAGE_POINT.c.nominal_v,
    ).join(USAGE_POINT, USAGE_POINT.c.id == METER_INSTALL.c.usage_point_id)


def _install(row: Row[Any]) -> Install:
    start, final = (
        None if pair[0] is None else pair
        for pair in (
            (row.start_import_j, row.start_export_j),
            (row.final_import_j, row.final_export_j),
        )
    )
    max_w = service_max_w(row.max_power_w, row.max_current_a, row.nominal_v)
    return Install(
        row.usage_point_id, row.meter_id, row.from_utc_s, row.to_utc_s, start, final, max_w
    )


def around(
    connection: Connection, install: Install, known: list[Stream], touched: list[Knot]
) -> Stretch:
    """The touched readings, the ones before and behind them, and those in the same quarters of
    an hour as these; with what was read by hand at the ends of the install."""
    back, first = _context(connection, install, known, touched[0], forward=False)
    ahead, last = _context(connection, install, known, touched[-1], forward=True)
    return _stretch(install, [*reversed(back), *touched, *ahead], first, last)


def beside(connection: Connection, install: Install, known: list[Stream], knot: Knot) -> Stretch:
    """A reading with the ones counted right before and behind it."""
    place = (knot.ordinal, knot.seq)
    back, ahead = (
        knots.neighbours(connection, install.meter_id, known, place, forward=forward, limit=1)
        for forward in (False, True)
    )
    return _stretch(install, [*back, knot, *ahead], not back, not ahead)


def _stretch(install: Install, whole: list[Knot], first: bool, last: bool) -> Stretch:
    """What of it hangs at the usage point; ``first``, ``last``: the meter has no others there."""
    inside = [knot for knot in whole if _hangs(install, knot)]
    if not inside:
        return Stretch([], begins=False, ends=False)
    begins = first or inside[0] is not whole[0]
    ends = last or inside[-1] is not whole[-1]
    if begins and install.start is not None:
        start = Knot(0, "", BEFORE_FIRST, install.from_utc_s, 0, 0.0, None, *install.start)
        inside = [start, *(knot for knot in inside if knot.utc_s > start.utc_s)]
    if ends and install.final is not None and install.to_utc_s is not None:
        final = Knot(0, "", BEHIND_LAST, install.to_utc_s, 0, 0.0, None, *install.final)
        inside = [*(knot for knot in inside if knot.utc_s < final.utc_s), final]
    return Stretch(inside, begins, ends and install.final is not None)


def _context(
    connection: Connection, install: Install, known: list[Stream], knot: Knot, *, forward: bool
) -> tuple[list[Knot], bool]:
    """The reading next to this one, and on to the end of its quarter of an hour.

    Also whether there are no more.
    """
    found: list[Knot] = []
    place = (knot.ordinal, knot.seq)
    for limit in NEAR_KNOTS:
        found = knots.neighbours(
            connection, install.meter_id, known, place, forward=forward, limit=limit
        )
        for count, other in enumerate(found, 1):
            if _beyond(found[0], other, forward=forward):
                return found[:count], False
        if len(found) < limit:
            return found, True
    return found, False


def _beyond(near: Knot, far: Knot, *, forward: bool) -> bool:
    """Whether the quarter of an hour of ``near`` lies between the two."""
    if forward:
        return far.utc_s >= -(-near.utc_s // SLOT_S) * SLOT_S
    return far.utc_s <= near.utc_s // SLOT_S * SLOT_S


def _hangs(install: Install, knot: Knot) -> bool:
    until = install.to_utc_s
    return knot.utc_s >= install.from_utc_s and (until is None or knot.utc_s <= until)


def curve(
    connection: Connection,
    meter_id: int,
    stretch: list[Knot],
    found: list[Finding],
    verdicts: dict[Identity, Verdict],
) -> tuple[list[Vertex], list[Offset]]:
    """What was counted up to each reading, and where that departs from the meter's registers.

    A register that fell counts nothing; an edit counts what the person says, an estimate of
    energy what it came to.
    """
    of_reading: dict[tuple[str, int], list[Finding]] = {}
    for finding in found:
        of_reading.setdefault((finding.stream, finding.seq), []).append(finding)
    first = stretch[0]
    vertices = [Vertex(first.utc_s, first.import_j, first.export_j)]
    offsets: list[Offset] = []
    for before, knot in steps(stretch):
        told = [
            verdicts.get(finding.identity)
            for finding in of_reading.get((knot.stream, knot.seq), [])
            if finding.to_utc_s > finding.from_utc_s
        ]
        raised = (knot.import_j - before.import_j, knot.export_j - before.export_j)
        counted = _counted(raised, told)
        if counted != raised:
            offset = (counted[0] - raised[0], counted[1] - raised[1])
            offsets.append((knot.stream, knot.seq, *offset))
        last = vertices[-1]
        here = Vertex(
            knot.utc_s, last.import_j + counted[0], last.export_j + counted[1], _quality(told)
        )
        if any(v and v.method == "reference_day" and v.import_j is None for v in told):
            shift = (meter_id, last.utc_s, here.utc_s, REFERENCE_S)
            vertices += shaped(last, here, store.reference_day(connection, *shift))
        else:
            vertices.append(here)
    return vertices, offsets


def _counted(raised: tuple[int, int], told: list[Verdict | None]) -> tuple[int, int]:
    for verdict in told:
        if verdict is not None and verdict.import_j is not None:
            assert verdict.export_j is not None
            return verdict.import_j, verdict.export_j
    return max(0, raised[0]), max(0, raised[1])


def _quality(told: list[Verdict | None]) -> int:
    qualities = [_quality_of(verdict) for verdict in told]
    return max(qualities, key=WORST_LAST.index, default=VALID)


def _quality_of(verdict: Verdict | None) -> int:
    if verdict is None or verdict.decision is None:
        return QUESTIONABLE
    if verdict.method == "reference_day":
        return REFERENCE_DAY
    return QUALITY_OF.get(verdict.decision, QUESTIONABLE)
