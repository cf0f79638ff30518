"""Who is asking: logins, sessions, and proof that a form was ours.

Sessions follow the OWASP Session Management Cheat Sheet: a token of 256 random bits, stored only
as its hash, new at each login, dead after 30 minutes without use and after 12 hours in any case.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, or_, select, update

from server.hashing import new_secret, quick_hash
from server.schema import ACCOUNT_LOGIN, CUSTOMER, SESSION

IDLE_S = 30 * 60
ABSOLUTE_S = 12 * 3600
NOTE_USE_EVERY_S = 60


@dataclass(frozen=True, slots=True)
class Login:
    """A user name's entry."""

    login_id: int
    password_hash: str


@dataclass(frozen=True, slots=True)
class Session:
    """A customer who is logged in."""

    token_hash: bytes
    customer_id: int
    customer_name: str
    csrf_token: str
    used_utc_s: int


def login_of(connection: Connection, user_name: str) -> Login | None:
    """The entry of a user name, written in any case."""
    query = select(ACCOUNT_LOGIN.c.id, ACCOUNT_LOGIN.c.password_hash).where(
        ACCOUNT_LOGIN.c.user_name == user_name.strip().lower()
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Login(row.id, row.password_hash)


def begin_session(connection: Connection, login_id: int, now_utc_s: int) -> str:
    """A new session's token, for the cookie; sessions that have died are removed."""
    token = new_secret()
    connection.execute(
        delete(SESSION).where(
            or_(
                SESSION.c.created_utc_s <= now_utc_s - ABSOLUTE_S,
                SESSION.c.used_utc_s <= now_utc_s - IDLE_S,
            )
        )
    )
    connection.execute(
        insert(SESSION).values(
            token_hash=quick_hash(token),
            login_id=login_id,
            csrf_token=new_secret(),
            created_utc_s=now_utc_s,
            used_utc_s=now_utc_s,
        )
    )
    return token


def session_of(connection: Connection, token: str, now_utc_s: int) -> Session | None:
    """The living session of a token."""
    query = (
        select(
            SESSION.c.token_hash,
            SESSION.c.csrf_token,
            SESSION.c.used_utc_s,
            ACCOUNT_LOGIN.c.customer_id,
            CUSTOMER.c.name,
        )
        .join(ACCOUNT_LOGIN, ACCOUNT_LOGIN.c.id == SESSION.c.login_id)
        .join(CUSTOMER, CUSTOMER.c.id == ACCOUNT_LOGIN.c.customer_id)
        .where(
            SESSION.c.token_hash == quick_hash(token),
            SESSION.c.created_utc_s > now_utc_s - ABSOLUTE_S,
            SESSION.c.used_utc_s > now_utc_s - IDLE_S,
        )
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Session(row.token_hash, row.customer_id, row.name, row.csrf_token, row.used_utc_s)


def needs_note(session: Session, now_utc_s: int) -> bool:
    """Whether this use is worth a write: at most one a minute."""
    return now_utc_s - session.used_utc_s >= NOTE_USE_EVERY_S


def note_use(connection: Connection, session: Session, now_utc_s: int) -> None:
    """The idle time begins again."""
    connection.execute(
        update(SESSION)
        .where(SESSION.c.token_hash == session.token_hash)
        .values(used_utc_s=now_utc_s)
    )


def end_session(connection: Connection, token: str) -> None:
    """The token is worth nothing from now on."""
    connection.execute(delete(SESSION).where(SESSION.c.token_hash == quick_hash(token)))


def same_secret(given: str | None, expected: str | None) -> bool:
    """Whether both are there and equal, in a time that tells nothing."""
    if not given or not expected:
        return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def same_origin(origin: str | None, scheme: str, host: str) -> bool:
    """Whether a form was sent from a page of this server (RFC 6454); every browser says so."""
    return origin == f"{scheme}://{host}"
