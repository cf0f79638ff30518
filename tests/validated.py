"""Readings put straight into the tables, and what validation makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import insert
from sqlalchemy.dialects import sqlite

from server import registry
from server.db import writing
from server.registry import Person, Registers, Terms, UsagePoint
from server.schema import READING, STREAM_HEAD
from server.validation import due, work
from tests.served import QUICK, STREAM, Served

FAR_UTC_S = 4_000_000_000
"""When they came: no date of a test lies after it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a reading says, as far as validation cares."""

    seq: int
    end_utc_s: int
    import_j: int
    export_j: int = 0
    stream: str = STREAM
    interval_s: int = 900
    power_w: float | None = None
    clock: str = "synced"
    measured_s: float | None = None


def supply(
    served: Served, number: int = 1, *, from_utc_s: int = 0, start: Registers | None = None
) -> registry.Alta:
    """A usage point with a meter; the service carries 10 kW."""
    with writing(served.database) as connection:
        return registry.alta(
            connection,
            QUICK,
            customer=Person("Ana"),
            place=UsagePoint(f"S{number}", max_power_w=10_000),
            terms=Terms("1"),
            serial=f"MX-{number}",
            now_utc_s=from_utc_s,
            start=start,
        )


def arrive(served: Served, meter_id: int, told: Iterable[Told]) -> None:
    """Store readings as if they had come by the network."""
    rows = list(told)
    with writing(served.database) as connection:
        for row in rows:
            values = {
                "meter_id": meter_id,
                "stream": row.stream,
                "seq": row.seq,
                "end_utc_s": row.end_utc_s,
                "interval_s": row.interval_s,
                "measured_s": row.interval_s if row.measured_s is None else row.measured_s,
                "coverage_pct": 100.0,
                "clock": row.clock,
                "flags": "",
                "power_w": row.power_w,
                "import_j": row.import_j,
                "export_j": row.export_j,
                "received_utc_s": FAR_UTC_S,
                "line": b"",
            }
            connection.execute(insert(READING).values(values))
            _head(connection, meter_id, row)
            due.mark(connection, meter_id, row.stream, row.seq, row.seq)


def _head(connection: object, meter_id: int, row: Told) -> None:
    statement = sqlite.insert(STREAM_HEAD).values(
        meter_id=meter_id,
        stream=row.stream,
        hwm=0,
        last_seq=row.seq,
        first_seen_utc_s=0,
        ordinal=1 if row.stream == STREAM else 2,
    )
    connection.execute(  # type: ignore[attr-defined]
        statement.on_conflict_do_update(
            index_elements=["meter_id", "stream"],
            set_={"last_seq": sqlite.insert(STREAM_HEAD).excluded.last_seq},
            where=STREAM_HEAD.c.last_seq < row.seq,
        )
    )


def validate(served: Served, readings_max: int = 1000) -> None:
    """Validate all that is due in steps."""
    after = None
    while served.rows("SELECT 1 FROM validation_due"):
        with writing(served.database) as connection:
            after = work.step(connection, served.clock(), readings_max, after)


def intervals(served: Served, meter_id: int) -> list[tuple[int, int, int, int, int]]:
    """The intervals that hold: end, length, both energies, quality."""
    return [
        (row[0], row[1], row[2], row[3], row[4])
        for row in served.rows(
            "SELECT end_utc_s, interval_s, import_j, export_j, quality FROM interval_reading "
            "WHERE meter_id = ? AND superseded_utc_s IS NULL ORDER BY end_utc_s",
            meter_id,
        )
    ]


def exceptions(served: Served, meter_id: int) -> list[tuple[str, int, int, str | None]]:
    """Rule, from, to and decision of each exception that was not withdrawn."""
    return [
        (row[0], row[1], row[2], row[3])
        for row in served.rows(
            "SELECT rule, from_utc_s, to_utc_s, decision FROM validation_exception e "
            "LEFT JOIN exception_resolution r USING (meter_id, ordinal) "
            "WHERE meter_id = ? AND decision IS NOT 'withdrawn' ORDER BY 2, 3, 1",
            meter_id,
        )
    ]
