"""The database's version: brought up to date by ``init``, demanded by ``run``."""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from server import identity
from server.db import Database, reading, writing
from server.errors import DatabaseNotReadyError

FOLDER = Path(__file__).parent / "migrations"


def upgrade(database: Database, *, restored: bool = False) -> str:
    """Bring the tables to this program's version in one transaction; return that version.

    ``restored`` says that the file came from a backup: a new epoch tells each meter that what the
    server holds may have gone back.
    """
    config = configuration()
    with writing(database) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        identity.establish(connection, int(time.time()), restored=restored)
    return _newest()


def require_current(database: Database) -> None:
    """Do nothing if the tables are of this program's version.

    Raises:
        DatabaseNotReadyError: they are older, newer, or none of ours.
    """
    with reading(database) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    wanted = _newest()
    if found == wanted:
        return
    if found is None:
        state = "has no tables of this program"
    elif found in {script.revision for script in _scripts().walk_revisions()}:
        state = f"is of the older version {found}"
    else:
        raise DatabaseNotReadyError(
            f"{database.path} is of version {found}, which this program does not know: "
            "install the newer meterd-server that made it"
        )
    raise DatabaseNotReadyError(
        f"{database.path} {state}, this program needs {wanted}: run `meterd-server init`"
    )


def configuration() -> Config:
    """Where alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration())


def _newest() -> str:
    head = _scripts().get_current_head()
    assert head is not None
    return head
