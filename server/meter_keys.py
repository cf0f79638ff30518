"""The keys that meters sign with: enrolled by a claim, changed by their own events."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from server.chain import Enrolled
from server.schema import METER_KEY
from server.signing import VerifyingKey, read_key


def enrolled(connection: Connection, meter_id: int) -> list[Enrolled]:
    """Every key the meter ever had, oldest first."""
    query = select(METER_KEY).where(METER_KEY.c.meter_id == meter_id).order_by(METER_KEY.c.ordinal)
    return [
        Enrolled(read_key(row.public_key), row.source, row.enrolled_utc_s, row.retired_utc_s)
        for row in connection.execute(query)
    ]


def current(connection: Connection, meter_id: int) -> str | None:
    """The fingerprint of the key that signs for the meter now."""
    query = select(METER_KEY.c.fingerprint).where(
        METER_KEY.c.meter_id == meter_id, METER_KEY.c.retired_utc_s.is_(None)
    )
    return connection.scalar(query)


def claim(connection: Connection, meter_id: int, key: VerifyingKey | None, now_utc_s: int) -> None:
    """The device that was claimed signs with ``key`` from now on, and no earlier key does.

    With the key it has already nothing changes; None retires what there is.
    """
    keys = enrolled(connection, meter_id)
    held = current(connection, meter_id)
    if key is not None and key.fingerprint == held:
        return
    for ordinal, old in enumerate(keys, 1):
        if old.retired_utc_s is None:
            _retire(connection, meter_id, ordinal, now_utc_s)
    if key is not None:
        _insert(connection, meter_id, len(keys) + 1, Enrolled(key, "claim", now_utc_s, None))


def keep(
    connection: Connection, meter_id: int, before: Sequence[Enrolled], after: Sequence[Enrolled]
) -> None:
    """Store what events changed: retired keys, and those that ``after`` has behind ``before``."""
    for ordinal, (old, new) in enumerate(zip(before, after, strict=False), 1):
        if new != old:
            _retire(connection, meter_id, ordinal, new.retired_utc_s)
    for ordinal, key in enumerate(after[len(before) :], len(before) + 1):
        _insert(connection, meter_id, ordinal, key)


def _retire(connection: Connection, meter_id: int, ordinal: int, retired_utc_s: int | None) -> None:
    where = (METER_KEY.c.meter_id == meter_id) & (METER_KEY.c.ordinal == ordinal)
    connection.execute(update(METER_KEY).where(where).values(retired_utc_s=retired_utc_s))


def _insert(connection: Connection, meter_id: int, ordinal: int, key: Enrolled) -> None:
    values = {
        "meter_id": meter_id,
        "ordinal": ordinal,
        "fingerprint": key.key.fingerprint,
        "public_key": key.key.text,
        "source": key.source,
        "enrolled_utc_s": key.enrolled_utc_s,
        "retired_utc_s": key.retired_utc_s,
    }
    connection.execute(insert(METER_KEY).values(values))
