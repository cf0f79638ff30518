"""Who is asking: logins, sessions, and proof that a form was ours.

Sessions follow the OWASP Session Management Cheat Sheet: a token of 256 random bits, stored only
as its hash, new at each login, dead after 30 minutes without use and after 12 hours in any case.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from server.hashing import new_secret, quick_hash
from server.roles import Role
from server.schema import ACCOUNT_LOGIN, CUSTOMER, SESSION, STAFF_SESSION, STAFF_USER

IDLE_S = 30 * 60
ABSOLUTE_S = 12 * 3600
NOTE_USE_EVERY_S = 60


@dataclass(frozen=True, slots=True)
class Login:
    """A user name's entry: a customer's, or one of the utility's own users."""

    login_id: int
    role: Role
    password_hash: str


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in."""

    token_hash: bytes
    role: Role
    holder_id: int
    """The customer's id, or that of the utility's user."""
    name: str
    user_name: str
    csrf_token: str
    used_utc_s: int


def login_of(connection: Connection, user_name: str) -> Login | None:
    """The entry of a user name, written in any case; a user who was disabled has none."""
    wanted = user_name.strip().lower()
    of_customer = select(ACCOUNT_LOGIN.c.id, ACCOUNT_LOGIN.c.password_hash).where(
        ACCOUNT_LOGIN.c.user_name == wanted
    )
    row = connection.execute(of_customer).one_or_none()
    if row is not None:
        return Login(row.id, Role.CUSTOMER, row.password_hash)
    of_staff = select(STAFF_USER.c.id, STAFF_USER.c.role, STAFF_USER.c.password_hash).where(
        STAFF_USER.c.user_name == wanted, STAFF_USER.c.disabled_utc_s.is_(None)
    )
    user = connection.execute(of_staff).one_or_none()
    return None if user is None else Login(user.id, Role(user.role), user.password_hash)


def begin_session(connection: Connection, login: Login, now_utc_s: int) -> str:
    """A new session's token, for the cookie; sessions that have died are removed."""
    token = new_secret()
    for table in (SESSION, STAFF_SESSION):
        died = or_(
            table.c.created_utc_s <= now_utc_s - ABSOLUTE_S,
            table.c.used_utc_s <= now_utc_s - IDLE_S,
        )
        connection.execute(delete(table).where(died))
    table, holder = _kept_in(login.role)
    values = {
        "token_hash": quick_hash(token),
        holder: login.login_id,
        "csrf_token": new_secret(),
        "created_utc_s": now_utc_s,
        "used_utc_s": now_utc_s,
    }
    connection.execute(insert(table).values(values))
    return token


def session_of(connection: Connection, token: str, now_utc_s: int) -> Session | None:
    """The living session of a token."""
    of_customer = (
        select(
            *_session_columns(SESSION),
            ACCOUNT_LOGIN.c.customer_id.label("holder_id"),
            ACCOUNT_LOGIN.c.user_name,
            CUSTOMER.c.name,
            literal(str(Role.CUSTOMER)).label("role"),
        )
        .join(ACCOUNT_LOGIN, ACCOUNT_LOGIN.c.id == SESSION.c.login_id)
        .join(CUSTOMER, CUSTOMER.c.id == ACCOUNT_LOGIN.c.customer_id)
        .where(_lives(SESSION, token, now_utc_s))
    )
    of_staff = (
        select(
            *_session_columns(STAFF_SESSION),
            STAFF_USER.c.id.label("holder_id"),
            STAFF_USER.c.user_name,
            STAFF_USER.c.name,
            STAFF_USER.c.role,
        )
        .join(STAFF_USER, STAFF_USER.c.id == STAFF_SESSION.c.staff_user_id)
        .where(_lives(STAFF_SESSION, token, now_utc_s), STAFF_USER.c.disabled_utc_s.is_(None))
    )
    row = connection.execute(union_all(of_customer, of_staff)).one_or_none()
    if row is None:
        return None
    return Session(
        row.token_hash,
        Role(row.role),
        row.holder_id,
        row.name,
        row.user_name,
        row.csrf_token,
        row.used_utc_s,
    )


def needs_note(session: Session, now_utc_s: int) -> bool:
    """Whether this use is worth a write: at most one a minute."""
    return now_utc_s - session.used_utc_s >= NOTE_USE_EVERY_S


def note_use(connection: Connection, session: Session, now_utc_s: int) -> None:
    """The idle time begins again."""
    table, _ = _kept_in(session.role)
    connection.execute(
        update(table).where(table.c.token_hash == session.token_hash).values(used_utc_s=now_utc_s)
    )


def end_session(connection: Connection, token: str) -> None:
    """The token is worth nothing from now on."""
    for table in (SESSION, STAFF_SESSION):
        connection.execute(delete(table).where(table.c.token_hash == quick_hash(token)))


def same_secret(given: str | None, expected: str | None) -> bool:
    """Whether both are there and equal, in a time that tells nothing."""
    if not given or not expected:
        return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def same_origin(origin: str | None, scheme: str, host: str) -> bool:
    """Whether a form was sent from a page of this server (RFC 6454); every browser says so."""
    return origin == f"{scheme}://{host}"


def _kept_in(role: Role) -> tuple[Table, str]:
    """The table of a role's sessions, and its column for whose they are."""
    if role is Role.CUSTOMER:
        return SESSION, "login_id"
    return STAFF_SESSION, "staff_user_id"


def _session_columns(table: Table) -> list[Column[Any]]:
    return [table.c.token_hash, table.c.csrf_token, table.c.used_utc_s]


def _lives(table: Table, token: str, now_utc_s: int) -> ColumnElement[bool]:
    return and_(
        table.c.token_hash == quick_hash(token),
        table.c.created_utc_s > now_utc_s - ABSOLUTE_S,
        table.c.used_utc_s > now_utc_s - IDLE_S,
    )
