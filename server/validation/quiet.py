"""Weeks in which a connected supply counted nothing: the rule ``zero``.

A dead meter and an empty house look alike; a person tells them apart. Weeks are of UTC, counted
from 1970-01-01, so that each is found once however the readings came.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from server.schema import INTERVAL_HOUR, USAGE_POINT
from server.validation import exceptions
from server.validation.rules import Finding

WEEK_S = 7 * 24 * 3600
COVERED_MIN = 0.9


def look(
    connection: Connection,
    place: tuple[int, int],
    period: tuple[int, int],
    known_until_s: int,
    now_utc_s: int,
) -> None:
    """Judge the weeks that the period reaches into and that are over."""
    first = period[0] // WEEK_S
    last = min((period[1] - 1) // WEEK_S, known_until_s // WEEK_S - 1)
    for week in range(first, last + 1):
        _judge(connection, place, week * WEEK_S, now_utc_s)


def _judge(connection: Connection, place: tuple[int, int], from_utc_s: int, now_utc_s: int) -> None:
    meter_id, usage_point_id = place
    to_utc_s = from_utc_s + WEEK_S
    table = INTERVAL_HOUR.c
    energy_j, covered_s = connection.execute(
        select(
            func.coalesce(func.sum(table.import_j + table.export_j), 0),
            func.coalesce(func.sum(table.covered_s), 0),
        ).where(
            table.meter_id == meter_id,
            table.start_utc_s >= from_utc_s,
            table.start_utc_s < to_utc_s,
        )
    ).one()
    state = connection.scalar(
        select(USAGE_POINT.c.connection_state).where(USAGE_POINT.c.id == usage_point_id)
    )
    quiet = energy_j == 0 and covered_s >= COVERED_MIN * WEEK_S and state == "connected"
    reason = "nothing was counted in a week, and the supply is connected"
    finding = Finding("zero", "", week_number(from_utc_s), from_utc_s, to_utc_s, 0, 0, reason)
    known = exceptions.verdicts(connection, meter_id, to_utc_s, to_utc_s)
    known = {identity: verdict for identity, verdict in known.items() if identity[0] == "zero"}
    found = [finding] if quiet else []
    judged = {("", week_number(from_utc_s))}
    exceptions.sync(connection, place, found, known, judged, now_utc_s)


def week_number(from_utc_s: int) -> int:
    """Stands for the reading that failed: there is no single one."""
    return from_utc_s // WEEK_S
