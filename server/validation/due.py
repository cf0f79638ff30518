"""What is still to be validated: of each stream a range of numbers, noted with the rows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, tuple_, update
from sqlalchemy.dialects import sqlite

from server.schema import VALIDATION_DUE


@dataclass(frozen=True, slots=True)
class Due:
    """Readings of a stream that are not validated as they are now."""

    meter_id: int
    stream: str
    from_seq: int
    to_seq: int


def mark(connection: Connection, meter_id: int, stream: str, from_seq: int, to_seq: int) -> None:
    """Note that these readings are new, dated anew or decided upon."""
    insert = sqlite.insert(VALIDATION_DUE)
    values = {"meter_id": meter_id, "stream": stream, "from_seq": from_seq, "to_seq": to_seq}
    connection.execute(
        insert.values(values).on_conflict_do_update(
            index_elements=["meter_id", "stream"],
            set_={
                "from_seq": func.min(VALIDATION_DUE.c.from_seq, insert.excluded.from_seq),
                "to_seq": func.max(VALIDATION_DUE.c.to_seq, insert.excluded.to_seq),
            },
        )
    )


def behind(connection: Connection, after: Due | None) -> Due | None:
    """What is due of the stream behind another, in the order of the key; None if nothing is."""
    key = tuple_(VALIDATION_DUE.c.meter_id, VALIDATION_DUE.c.stream)
    query = select(VALIDATION_DUE).order_by(*VALIDATION_DUE.primary_key).limit(1)
    if after is not None:
        query = query.where(key > (after.meter_id, after.stream))
    row = connection.execute(query).one_or_none()
    return None if row is None else Due(*row)


def of_meter(connection: Connection, meter_id: int) -> list[Due]:
    """All that is due of one meter."""
    query = select(VALIDATION_DUE).where(VALIDATION_DUE.c.meter_id == meter_id)
    return [Due(*row) for row in connection.execute(query)]


def count(connection: Connection) -> int:
    """How many streams have something due."""
    return connection.scalar(select(func.count()).select_from(VALIDATION_DUE)) or 0


def done(connection: Connection, due: Due, next_seq: int | None) -> None:
    """Validated up to before ``next_seq``; None: all of it."""
    where = (VALIDATION_DUE.c.meter_id == due.meter_id) & (VALIDATION_DUE.c.stream == due.stream)
    if next_seq is None:
        connection.execute(delete(VALIDATION_DUE).where(where))
    else:
        connection.execute(update(VALIDATION_DUE).where(where).values(from_seq=next_seq))
