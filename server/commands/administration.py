"""``meterd-server``: the utility's own users, its programs' tokens, and what they fetch."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from server import staff
from server.app import utc_s
from server.audit import SHELL, Actor
from server.commands.common import (
    database_option,
    json_option,
    opened_database,
    password_from,
    password_option,
    sentences,
    show,
)
from server.db import writing
from server.hashing import SlowHashing, slow_hash
from server.roles import STAFF, Role

TOKEN_DAYS_DEFAULT = 90


@click.command("create-user")
@database_option
@click.option("--user", required=True, help="What the user logs in with; lower case.")
@click.option("--name", required=True, help="As the audit log's readers know the user.")
@click.option(
    "--role",
    required=True,
    type=click.Choice([str(role) for role in STAFF]),
    help="What the user may do.",
)
@password_option
@json_option
def create_user(
    database: str, user: str, name: str, role: str, password_stdin: bool, as_json: bool
) -> None:
    """Create a user of the utility: operator, billing or admin.

    An operator looks after meters, billing after customers and bills; an admin may do both, and
    manages users, tokens and the audit log.
    """
    with sentences(), opened_database(database) as opened:
        password = password_from(password_stdin)
        new = staff.NewUser(user, name, Role(role), slow_hash(SlowHashing(), password))
        with writing(opened) as connection:
            staff.create_user(connection, new, shell_actor(), utc_s())
    answer: dict[str, object] = {"user": user, "role": role}
    sentence = f"{name} logs in as {user} and is {role}."
    if not password_stdin:
        answer["password"] = password
        sentence += f"\nPassword (shown only now): {password}"
    show(as_json, answer, sentence)


@click.command("create-token")
@database_option
@click.option("--name", required=True, help="Which program will have it.")
@click.option(
    "--days", default=TOKEN_DAYS_DEFAULT, show_default=True, help="For how long it is good."
)
@json_option
def create_token(database: str, name: str, days: int, as_json: bool) -> None:
    """Create a token with which a program of the utility fetches data (scope utility_sync)."""
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        token, expires_utc_s = staff.create_token(connection, name, days, shell_actor(), utc_s())
    until = datetime.fromtimestamp(expires_utc_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    show(
        as_json,
        {"name": name, "token": token, "expires_utc_s": expires_utc_s},
        f"Token of {name} (shown only now): {token}\nGood until {until}.",
    )


COMMANDS: Sequence[click.Command] = (create_user, create_token)


def shell_actor() -> Actor:
    """Whoever has a shell and the database file may do what an administrator may."""
    return Actor(getpass.getuser(), Role.ADMIN, SHELL)
