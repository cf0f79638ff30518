"""The registers of a usage point at a moment: what bills are made of.

They go on over streams and meters. Those of the first meter are as its display shows them, plus
what was decided; a later meter adds what it counted since it was hung up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import Connection, func, or_, select

from server.schema import REGISTER_OFFSET, STREAM_HEAD
from server.validation import chain, due, exceptions, knots, rules
from server.validation.chain import Install
from server.validation.curve import (
    EDITED,
    LINEAR,
    QUESTIONABLE,
    RAW,
    VALID,
    WORST_LAST,
    Vertex,
    energy_at,
)
from server.validation.knots import Knot, Stream
from server.validation.rules import SLOT_S


@dataclass(frozen=True, slots=True)
class RegisterValue:
    """Both registers of a usage point at a moment, and the reading that they rest on.

    ``quality`` is ESPI's: 0 a reading stands there, 9 and 8 estimated between two readings, 7
    edited, 10 a rule was not passed and nobody decided, 14 not validated yet, or no later reading.
    """

    import_j: int
    export_j: int
    stream: str | None  # None: read by hand at an install's beginning or end
    seq: int | None
    quality: int
    meter_id: int
    reading_utc_s: int


def registers_at(connection: Connection, usage_point_id: int, utc_s: int) -> RegisterValue | None:
    """What was counted at a usage point up to a moment; None before its first reading."""
    found: RegisterValue | None = None
    for install in chain.installs_at(connection, usage_point_id):
        if install.from_utc_s > utc_s:
            break
        here = _of_install(connection, install, utc_s)
        if here is None:
            continue
        if found is not None:
            began = _began(connection, install)
            here = _raised(
                here, found.import_j - began[0], found.export_j - began[1], found.quality
            )
        found = here
    return found


def _raised(value: RegisterValue, import_j: int, export_j: int, quality: int) -> RegisterValue:
    doubt = quality if quality in (QUESTIONABLE, RAW) else VALID
    return RegisterValue(
        value.import_j + import_j,
        value.export_j + export_j,
        value.stream,
        value.seq,
        max(value.quality, doubt, key=WORST_LAST.index),
        value.meter_id,
        value.reading_utc_s,
    )


def _began(connection: Connection, install: Install) -> tuple[int, int]:
    """The registers that the meter was hung up with, or those of its first reading there."""
    if install.start is not None:
        return install.start
    for stream in knots.streams(connection, install.meter_id):
        for knot in knots.between(connection, install.meter_id, stream, 1, 2**62, 1):
            return knot.import_j, knot.export_j
    return 0, 0


def _of_install(connection: Connection, install: Install, utc_s: int) -> RegisterValue | None:
    """By the meter's own registers plus what was decided."""
    meter_id = install.meter_id
    until_s = utc_s if install.to_utc_s is None else min(utc_s, install.to_utc_s)
    known = knots.streams(connection, meter_id)
    last = knots.last_until(connection, meter_id, known, until_s)
    if last is not None and last.utc_s < install.from_utc_s:
        last = None
    quality = RAW if last is not None and _is_due(connection, meter_id, last) else VALID
    if install.to_utc_s is not None and utc_s >= install.to_utc_s and install.final is not None:
        final = _offset(connection, meter_id, None)
        registers = (install.final[0] + final[0], install.final[1] + final[1])
        return _value(registers, last, quality, meter_id, install.to_utc_s)
    if last is None:
        if install.start is None:
            return None
        return _value(install.start, None, VALID, meter_id, install.from_utc_s)
    registers, found = _between(connection, install, known, last, until_s)
    quality = max(quality, found, key=WORST_LAST.index)
    return _value(registers, last, quality, meter_id, last.utc_s)


def _value(
    registers: tuple[int, int], knot: Knot | None, quality: int, meter_id: int, utc_s: int
) -> RegisterValue:
    stream, seq = (None, None) if knot is None else (knot.stream, knot.seq)
    return RegisterValue(*registers, stream, seq, quality, meter_id, utc_s)


def _between(
    connection: Connection, install: Install, known: list[Stream], last: Knot, utc_s: int
) -> tuple[tuple[int, int], int]:
    """In the line from the reading at or before a moment to the one after it."""
    stretch = chain.beside(connection, install, known, last).knots
    found = rules.findings(stretch, install.max_w)
    verdicts = exceptions.verdicts(
        connection, install.meter_id, stretch[0].utc_s, max(knot.utc_s for knot in stretch)
    )
    vertices, _ = chain.curve(connection, install.meter_id, stretch, found, verdicts)
    base = _offset(connection, install.meter_id, stretch[0])
    if utc_s > vertices[-1].utc_s:
        near = utc_s - vertices[-1].utc_s <= SLOT_S
        values = (vertices[-1].import_j, vertices[-1].export_j)
        quality = _at_reading(vertices[-1]) if near else RAW
    else:
        values = energy_at(vertices, utc_s)
        quality = _quality_at(vertices, utc_s)
    return (values[0] + base[0], values[1] + base[1]), quality


def _quality_at(vertices: list[Vertex], utc_s: int) -> int:
    for before, here in pairwise(vertices):
        if here.utc_s == utc_s:
            return _at_reading(here)
        if before.utc_s < utc_s < here.utc_s:
            long = LINEAR if here.utc_s - before.utc_s > SLOT_S else VALID
            return max(here.quality, long, key=WORST_LAST.index)
    return VALID


def _at_reading(vertex: Vertex) -> int:
    """A reading that ends an estimated stretch is itself as good as any."""
    return vertex.quality if vertex.quality in (QUESTIONABLE, EDITED) else VALID


def _offset(connection: Connection, meter_id: int, knot: Knot | None) -> tuple[int, int]:
    """What was decided up to a reading; None: all that was."""
    table = REGISTER_OFFSET.c
    query = select(
        func.coalesce(func.sum(table.import_j), 0), func.coalesce(func.sum(table.export_j), 0)
    ).where(table.meter_id == meter_id)
    if knot is not None:
        query = query.join(
            STREAM_HEAD,
            (STREAM_HEAD.c.meter_id == table.meter_id) & (STREAM_HEAD.c.stream == table.stream),
        ).where(
            or_(
                STREAM_HEAD.c.ordinal < knot.ordinal,
                (STREAM_HEAD.c.ordinal == knot.ordinal) & (table.seq <= knot.seq),
            )
        )
    row = connection.execute(query).one()
    return row[0], row[1]


def _is_due(connection: Connection, meter_id: int, knot: Knot) -> bool:
    """Whether something at or before the reading, or right behind it, is not validated."""
    return any(
        each.stream != knot.stream or each.from_seq <= knot.seq + 1
        for each in due.of_meter(connection, meter_id)
    )
