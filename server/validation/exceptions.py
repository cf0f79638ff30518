"""Exceptions: what did not pass a rule, and what a person or a later rule decided about it.

Both are append-only. An exception that is found no longer, because the readings that were missing
came late, is withdrawn; one that comes back is a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, or_, select, update

from server.schema import EXCEPTION_RESOLUTION, METER, USAGE_POINT, VALIDATION_EXCEPTION
from server.validation.rules import Finding

Identity = tuple[str, str, int, int, int]
Decision = Literal["accepted", "estimated", "edited", "withdrawn"]
BY_RULE = "rule"
GAP_RULE_MAX_S = 24 * 3600
"""A gap up to a day between two good registers is estimated in a straight line by rule: its energy
is known, only the shape is not."""
WITHDRAWN = "found no longer: what was missing came late"


class Verdict(NamedTuple):
    """What is known of an exception; ``decision`` None: open."""

    ordinal: int
    decision: Decision | None
    method: str | None
    import_j: int | None
    export_j: int | None


@dataclass(frozen=True, slots=True)
class OpenException:
    """One exception that keeps a time out of billing."""

    meter_id: int
    ordinal: int
    usage_point_id: int
    serial: str
    service_number: str
    rule: str
    from_utc_s: int
    to_utc_s: int
    import_j: int
    export_j: int
    reason: str
    found_utc_s: int


def open_exceptions(
    connection: Connection, usage_point_id: int, from_utc_s: int, to_utc_s: int
) -> list[OpenException]:
    """What is open of ``(from, to]`` at a usage point, over all its meters, oldest first."""
    table = VALIDATION_EXCEPTION.c
    overlaps = or_(
        and_(table.from_utc_s < to_utc_s, table.to_utc_s > from_utc_s),
        and_(
            table.from_utc_s == table.to_utc_s,
            table.to_utc_s > from_utc_s,
            table.to_utc_s <= to_utc_s,
        ),
    )
    return _open(connection, and_(table.usage_point_id == usage_point_id, overlaps), 10_000)


def all_open(connection: Connection, limit: int) -> list[OpenException]:
    """The exceptions of all usage points that are open, by usage point and time."""
    return _open(connection, VALIDATION_EXCEPTION.c.ordinal > 0, limit)


def _open(connection: Connection, where: ColumnElement[bool], limit: int) -> list[OpenException]:
    table = VALIDATION_EXCEPTION.c
    query = (
        select(
            table.meter_id,
            table.ordinal,
            table.usage_point_id,
            METER.c.serial,
            USAGE_POINT.c.service_number,
            table.rule,
            table.from_utc_s,
            table.to_utc_s,
            table.import_j,
            table.export_j,
            table.reason,
            table.found_utc_s,
        )
        .join(METER, METER.c.id == table.meter_id)
        .join(USAGE_POINT, USAGE_POINT.c.id == table.usage_point_id)
        .where(where, table.resolved_utc_s.is_(None))
        .order_by(table.usage_point_id, table.from_utc_s, table.ordinal)
        .limit(limit)
    )
    return [OpenException(**row._mapping) for row in connection.execute(query)]


def verdicts(
    connection: Connection, meter_id: int, from_utc_s: int, to_utc_s: int
) -> dict[Identity, Verdict]:
    """What is known of the exceptions that end in ``[from, to]``, the newest of each kind."""
    exception, resolution = VALIDATION_EXCEPTION.c, EXCEPTION_RESOLUTION.c
    query = (
        select(
            VALIDATION_EXCEPTION,
            resolution.decision,
            resolution.method,
            resolution.import_j.label("edited_import_j"),
            resolution.export_j.label("edited_export_j"),
        )
        .outerjoin(
            EXCEPTION_RESOLUTION,
            and_(
                resolution.meter_id == exception.meter_id, resolution.ordinal == exception.ordinal
            ),
        )
        .where(exception.meter_id == meter_id, exception.to_utc_s.between(from_utc_s, to_utc_s))
        .order_by(exception.ordinal)
    )
    return {_identity(row): _verdict(row) for row in connection.execute(query)}


def _identity(row: Row[Any]) -> Identity:
    return (row.rule, row.stream, row.seq, row.from_utc_s, row.to_utc_s)


def _verdict(row: Row[Any]) -> Verdict:
    return Verdict(row.ordinal, row.decision, row.method, row.edited_import_j, row.edited_export_j)


def sync(
    connection: Connection,
    place: tuple[int, int],
    found: Iterable[Finding],
    known: dict[Identity, Verdict],
    judged: Collection[tuple[str, int]],
    now_utc_s: int,
) -> dict[Identity, Verdict]:
    """Store what was found anew, withdraw what is found no longer; what is known then.

    ``place`` is the meter and the usage point, ``judged`` the readings that were looked at.
    """
    meter_id, _ = place
    after = dict(known)
    present = {finding.identity: finding for finding in found}
    for identity, verdict in known.items():
        looked_at = (identity[1], identity[2]) in judged
        if looked_at and identity not in present and verdict.decision is None:
            decide(connection, meter_id, verdict.ordinal, "withdrawn", WITHDRAWN, now_utc_s)
            after[identity] = verdict._replace(decision="withdrawn")
    for identity, finding in present.items():
        verdict_then = after.get(identity)
        looked_at = (finding.stream, finding.seq) in judged
        if looked_at and (verdict_then is None or verdict_then.decision == "withdrawn"):
            alone = sum((f.stream, f.seq) == (finding.stream, finding.seq) for f in found) == 1
            after[identity] = _add(connection, place, finding, alone, now_utc_s)
    return after


def _add(
    connection: Connection, place: tuple[int, int], finding: Finding, alone: bool, now_utc_s: int
) -> Verdict:
    meter_id, usage_point_id = place
    of_meter = VALIDATION_EXCEPTION.c.meter_id == meter_id
    ordinal = (
        connection.scalar(select(func.max(VALIDATION_EXCEPTION.c.ordinal)).where(of_meter)) or 0
    ) + 1
    connection.execute(
        insert(VALIDATION_EXCEPTION).values(
            meter_id=meter_id,
            ordinal=ordinal,
            usage_point_id=usage_point_id,
            rule=finding.rule,
            stream=finding.stream,
            seq=finding.seq,
            from_utc_s=finding.from_utc_s,
            to_utc_s=finding.to_utc_s,
            import_j=finding.import_j,
            export_j=finding.export_j,
            reason=finding.reason,
            found_utc_s=now_utc_s,
        )
    )
    length_s = finding.to_utc_s - finding.from_utc_s
    if finding.rule == "gap" and alone and length_s <= GAP_RULE_MAX_S:
        reason = "both registers are known and a day or less is missing"
        decide(connection, meter_id, ordinal, "estimated", reason, now_utc_s, method="linear")
        return Verdict(ordinal, "estimated", "linear", None, None)
    return Verdict(ordinal, None, None, None, None)


def decide(
    connection: Connection,
    meter_id: int,
    ordinal: int,
    decision: Decision,
    reason: str,
    now_utc_s: int,
    *,
    who: str = BY_RULE,
    method: str | None = None,
    import_j: int | None = None,
    export_j: int | None = None,
) -> None:
    """Store a decision; the exception is open no longer."""
    connection.execute(
        insert(EXCEPTION_RESOLUTION).values(
            meter_id=meter_id,
            ordinal=ordinal,
            decision=decision,
            method=method,
            import_j=import_j,
            export_j=export_j,
            reason=reason,
            who=who,
            resolved_utc_s=now_utc_s,
        )
    )
    connection.execute(
        update(VALIDATION_EXCEPTION)
        .where(VALIDATION_EXCEPTION.c.meter_id == meter_id)
        .where(VALIDATION_EXCEPTION.c.ordinal == ordinal)
        .values(resolved_utc_s=now_utc_s)
    )
