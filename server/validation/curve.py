"""Counted energy as a function of time, and the intervals cut from it. Pure.

Between two readings energy is counted in a straight line, rounded down to a joule, so that
intervals telescope: however a time is cut, the parts add up to the difference of the registers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from server.validation.rules import SLOT_S

VALID, EDITED, REFERENCE_DAY, LINEAR, QUESTIONABLE, RAW, VALIDATED = 0, 7, 8, 9, 10, 14, 17
"""ESPI QualityOfReading."""
WORST_LAST = (VALID, VALIDATED, LINEAR, REFERENCE_DAY, EDITED, RAW, QUESTIONABLE)


@dataclass(frozen=True, slots=True)
class Vertex:
    """Energy counted up to a moment; ``quality`` is that of the stretch that leads to it."""

    utc_s: int
    import_j: int
    export_j: int
    quality: int = VALID


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy of ``(end - interval_s, end]``."""

    end_utc_s: int
    interval_s: int
    import_j: int
    export_j: int
    quality: int


def energy_at(vertices: Sequence[Vertex], utc_s: int) -> tuple[int, int]:
    """Both energies at a moment between the first vertex and the last."""
    assert vertices[0].utc_s <= utc_s <= vertices[-1].utc_s
    after = bisect_left(vertices, utc_s, key=_utc_s)
    here = vertices[after]
    if here.utc_s == utc_s:
        return here.import_j, here.export_j
    before = vertices[after - 1]
    passed_s, length_s = utc_s - before.utc_s, here.utc_s - before.utc_s
    return (
        before.import_j + (here.import_j - before.import_j) * passed_s // length_s,
        before.export_j + (here.export_j - before.export_j) * passed_s // length_s,
    )


def quality_between(vertices: Sequence[Vertex], from_utc_s: int, to_utc_s: int) -> int:
    """The worst quality of the stretches between two moments.

    Where a boundary cuts a stretch of more than a slot the value there is interpolated.
    """
    first = bisect_right(vertices, from_utc_s, key=_utc_s)
    last = bisect_left(vertices, to_utc_s, key=_utc_s)
    found = VALID
    for index in range(max(first, 1), last + 1):
        before, here = vertices[index - 1], vertices[index]
        cut = before.utc_s < from_utc_s or here.utc_s > to_utc_s
        long = here.utc_s - before.utc_s > SLOT_S
        for quality in (here.quality, LINEAR if cut and long else VALID):
            found = max(found, quality, key=WORST_LAST.index)
    return found


def intervals(vertices: Sequence[Vertex], *, begins: bool, ends: bool) -> list[Interval]:
    """The slots of 15 minutes that the vertices cover.

    A slot in which nothing leads to the first vertex is whole if energy ``begins`` there, and
    the last one if it ``ends`` there; else they are left out.
    """
    if len(vertices) < 2:
        return []
    first_s, last_s = vertices[0].utc_s, vertices[-1].utc_s
    found = []
    for end_s in range(first_s // SLOT_S * SLOT_S + SLOT_S, last_s + SLOT_S, SLOT_S):
        from_s, to_s = max(end_s - SLOT_S, first_s), min(end_s, last_s)
        cut = (from_s > end_s - SLOT_S and not begins) or (to_s < end_s and not ends)
        if cut or to_s <= from_s:
            continue
        import0_j, export0_j = energy_at(vertices, from_s)
        import1_j, export1_j = energy_at(vertices, to_s)
        quality = quality_between(vertices, from_s, to_s)
        found.append(
            Interval(end_s, to_s - from_s, import1_j - import0_j, export1_j - export0_j, quality)
        )
    return found


def shaped(
    before: Vertex, after: Vertex, reference: Sequence[tuple[int, int, int]]
) -> list[Vertex]:
    """The stretch between two vertices in the shape of another day.

    ``reference`` has the end of each slot, moved to this stretch, with both energies of the
    other day. A register whose other day is zero rises in a straight line.
    """
    inside = [row for row in reference if before.utc_s < row[0] < after.utc_s]
    rises = (after.import_j - before.import_j, after.export_j - before.export_j)
    totals = [sum(row[column] for row in reference) for column in (1, 2)]
    sums = [0, 0]
    vertices = []
    for row in inside:
        values = []
        for column in (0, 1):
            sums[column] += row[column + 1]
            if totals[column] > 0:
                part = rises[column] * sums[column] // totals[column]
            else:
                passed_s, length_s = row[0] - before.utc_s, after.utc_s - before.utc_s
                part = rises[column] * passed_s // length_s
            values.append(part)
        vertices.append(
            Vertex(row[0], before.import_j + values[0], before.export_j + values[1], REFERENCE_DAY)
        )
    last = Vertex(after.utc_s, after.import_j, after.export_j, REFERENCE_DAY)
    return [*vertices, last]


def _utc_s(vertex: Vertex) -> int:
    return vertex.utc_s
