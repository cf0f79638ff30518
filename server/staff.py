"""The utility's own users and the tokens of its programs: made, disabled, found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from server import audit, registry
from server.audit import Actor, Change
from server.errors import AlreadyExistsError, NotFoundError, SettingError
from server.hashing import new_secret, quick_hash
from server.roles import STAFF, Role
from server.schema import ACCOUNT_LOGIN, API_TOKEN, STAFF_SESSION, STAFF_USER

DAY_S = 24 * 3600
TOKEN_DAYS_MAX = 400
TOKENS_MAX = 200
USERS_MAX = 1000
SCOPE = str(Role.UTILITY_SYNC)


@dataclass(frozen=True, slots=True)
class NewUser:
    """What a user of the utility is made of."""

    user_name: str
    name: str
    role: Role
    password_hash: str


def create_user(connection: Connection, new: NewUser, actor: Actor, now_utc_s: int) -> int:
    """A user who can log in; the user's id.

    Raises:
        SettingError: a name or role that cannot be one, or too many users.
        AlreadyExistsError: the user name is taken, by a customer perhaps.
    """
    _require_user(new)
    for table in (STAFF_USER, ACCOUNT_LOGIN):
        if connection.scalar(select(table.c.id).where(table.c.user_name == new.user_name)):
            raise AlreadyExistsError(f"there is a user {new.user_name!r} already")
    if (connection.scalar(select(func.count()).select_from(STAFF_USER)) or 0) >= USERS_MAX:
        raise SettingError(f"there are {USERS_MAX} users already")
    values = {
        "user_name": new.user_name,
        "name": new.name,
        "role": str(new.role),
        "password_hash": new.password_hash,
        "created_utc_s": now_utc_s,
    }
    key = connection.execute(insert(STAFF_USER).values(values)).inserted_primary_key
    after = {"name": new.name, "role": str(new.role)}
    change = Change("create_user", "user", new.user_name, None, after)
    audit.note(connection, actor, change, now_utc_s)
    assert isinstance(key, Sequence)
    return int(key[0])


def disable_user(connection: Connection, user_name: str, actor: Actor, now_utc_s: int) -> None:
    """End the user's sessions and let nobody in by that name; the name stays taken.

    Raises:
        NotFoundError: no such user, or disabled already.
        SettingError: the last administrator, without whom nobody could undo it.
    """
    row = connection.execute(
        select(STAFF_USER).where(
            STAFF_USER.c.user_name == user_name, STAFF_USER.c.disabled_utc_s.is_(None)
        )
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no user {user_name!r} who may log in")
    if row.role == Role.ADMIN and _admins(connection) == 1:
        raise SettingError("the last administrator cannot be disabled")
    connection.execute(
        update(STAFF_USER).where(STAFF_USER.c.id == row.id).values(disabled_utc_s=now_utc_s)
    )
    connection.execute(delete(STAFF_SESSION).where(STAFF_SESSION.c.staff_user_id == row.id))
    change = Change("disable_user", "user", user_name, {"disabled": False}, {"disabled": True})
    audit.note(connection, actor, change, now_utc_s)


def create_token(
    connection: Connection, name: str, days: int, actor: Actor, now_utc_s: int
) -> tuple[str, int]:
    """A token for a program of the utility, and until when it is good; it is kept nowhere.

    Raises:
        SettingError: a name or a number of days that cannot be one, or too many tokens.
    """
    registry.require_text("the token's name", name)
    if not 1 <= days <= TOKEN_DAYS_MAX:
        raise SettingError(f"a token is good for 1 to {TOKEN_DAYS_MAX} days, not {days}")
    good = (API_TOKEN.c.revoked_utc_s.is_(None)) & (API_TOKEN.c.expires_utc_s > now_utc_s)
    held = connection.scalar(select(func.count()).select_from(API_TOKEN).where(good)) or 0
    if held >= TOKENS_MAX:
        raise SettingError(f"{TOKENS_MAX} tokens are good already: revoke one first")
    token, expires_utc_s = new_secret(), now_utc_s + days * DAY_S
    values = {
        "name": name,
        "token_hash": quick_hash(token),
        "scope": SCOPE,
        "created_utc_s": now_utc_s,
        "expires_utc_s": expires_utc_s,
    }
    key = connection.execute(insert(API_TOKEN).values(values)).inserted_primary_key
    assert isinstance(key, Sequence)
    after = {"name": name, "scope": SCOPE, "expires_utc_s": expires_utc_s}
    change = Change("create_token", "token", str(key[0]), None, after)
    audit.note(connection, actor, change, now_utc_s)
    return token, expires_utc_s


def revoke_token(connection: Connection, token_id: int, actor: Actor, now_utc_s: int) -> None:
    """The token is worth nothing from now on.

    Raises:
        NotFoundError: no such token, or revoked already.
    """
    revoked = connection.execute(
        update(API_TOKEN)
        .where(API_TOKEN.c.id == token_id, API_TOKEN.c.revoked_utc_s.is_(None))
        .values(revoked_utc_s=now_utc_s)
    )
    if revoked.rowcount != 1:
        raise NotFoundError(f"there is no token {token_id} that is good")
    change = Change("revoke_token", "token", str(token_id), {"revoked": False}, {"revoked": True})
    audit.note(connection, actor, change, now_utc_s)


def token_name(connection: Connection, token: str, now_utc_s: int) -> str | None:
    """Which program a token belongs to; None for one that is unknown, revoked or too old."""
    query = select(API_TOKEN.c.name).where(
        API_TOKEN.c.token_hash == quick_hash(token),
        API_TOKEN.c.revoked_utc_s.is_(None),
        API_TOKEN.c.expires_utc_s > now_utc_s,
    )
    return connection.scalar(query)


def _require_user(new: NewUser) -> None:
    if new.role not in STAFF:
        raise SettingError(f"a user's role is {', '.join(STAFF)}, not {new.role}")
    if re.fullmatch(registry.USER_NAME_PATTERN, new.user_name) is None:
        raise SettingError(
            f"{new.user_name!r} cannot be a user name: 1 to 64 of a-z 0-9 . _ @ + -, lower case"
        )
    registry.require_text("the user's name", new.name)


def _admins(connection: Connection) -> int:
    admins = (STAFF_USER.c.role == str(Role.ADMIN)) & STAFF_USER.c.disabled_utc_s.is_(None)
    return connection.scalar(select(func.count()).select_from(STAFF_USER).where(admins)) or 0
