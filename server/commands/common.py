"""What the operator's commands share: options, the database, and how they answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from server import registry
from server.db import Database, close, open_database
from server.errors import ServerError
from server.hashing import new_secret
from server.migrate import require_current

GENERATED_PASSWORD_CHARACTERS = 16
DATABASE_DEFAULT = "sqlite:///meterd-server.db"

database_option = click.option(
    "--database",
    envvar="METERD_SERVER_DATABASE",
    default=DATABASE_DEFAULT,
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="Where the data is: sqlite:///relative.db or sqlite:////absolute/path.db.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, for programs."
)

password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; without this one is made up and printed once.",
)


def password_from(stdin: bool) -> str:
    """The first line of standard input, or one that is made up.

    Raises:
        SettingError: it is too short or too long.
    """
    if not stdin:
        return new_secret()[:GENERATED_PASSWORD_CHARACTERS]
    password = sys.stdin.readline(registry.PASSWORD_CHARACTERS_MAX + 2).rstrip("\r\n")
    registry.require_password(password)
    return password


def show(as_json: bool, answer: dict[str, Any], sentence: str) -> None:
    """One JSON object for programs, or sentences for people."""
    click.echo(json.dumps(answer) if as_json else sentence)


@contextmanager
def opened_database(url: str, *, create: bool = False) -> Iterator[Database]:
    """The database that the operator named, closed at the end.

    Raises:
        SettingError: it cannot be opened so.
        DatabaseNotReadyError: ``init`` must be run.
    """
    database = open_database(url, create=create)
    try:
        if not create:
            require_current(database)
        yield database
    finally:
        close(database)


@contextmanager
def sentences() -> Iterator[None]:
    """What a user can mend is one sentence and exit status 1, never a traceback."""
    try:
        yield
    except ServerError as error:
        raise click.ClickException(str(error)) from error
