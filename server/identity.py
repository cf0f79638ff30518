"""What makes this server itself to the meters: the epoch of its data, and the key it signs with."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, delete, insert, select

from server.schema import SERVER_KEY, SERVER_SETTING
from server.signing import ServerKey, from_pem, new_server_key, to_pem

RESTORES = "restores"


def establish(connection: Connection, now_utc_s: int, *, restored: bool) -> None:
    """Give a new database its epoch and key; one from a backup another epoch, and the same key."""
    epochs = SERVER_SETTING.c.name == "epoch"
    if restored:
        connection.execute(delete(SERVER_SETTING).where(epochs))
        _note_restore(connection)
    if connection.scalar(select(SERVER_SETTING.c.value).where(epochs)) is None:
        connection.execute(insert(SERVER_SETTING).values(name="epoch", value=uuid.uuid4().hex))
    if connection.scalar(select(SERVER_KEY.c.id)) is None:
        values = {"id": 1, "private_pem": to_pem(new_server_key()), "created_utc_s": now_utc_s}
        connection.execute(insert(SERVER_KEY).values(values))


def epoch(connection: Connection) -> str:
    """Another one tells the meters that what the server holds may have gone back."""
    query = select(SERVER_SETTING.c.value).where(SERVER_SETTING.c.name == "epoch")
    found: str = connection.execute(query).scalar_one()
    return found


def restores(connection: Connection) -> int:
    """How often the data came from a backup."""
    query = select(SERVER_SETTING.c.value).where(SERVER_SETTING.c.name == RESTORES)
    return int(connection.scalar(query) or 0)


def signing_key(connection: Connection) -> ServerKey:
    """What receipts, settings and commands are signed with."""
    return from_pem(connection.execute(select(SERVER_KEY.c.private_pem)).scalar_one())


def _note_restore(connection: Connection) -> None:
    times = restores(connection) + 1
    connection.execute(delete(SERVER_SETTING).where(SERVER_SETTING.c.name == RESTORES))
    connection.execute(insert(SERVER_SETTING).values(name=RESTORES, value=str(times)))
