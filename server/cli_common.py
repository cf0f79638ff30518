"""What the operator's commands share: options, the database, and how they answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from server.db import Database, close, open_database
from server.errors import ServerError
from server.migrate import require_current

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
