"""The database's connections: many read, one writes.

SQLite 3.7.0 to 3.51.2 can corrupt a database in WAL mode when two connections write or checkpoint
at the same time (mended in 3.51.3, 3.50.7 and 3.44.6), and the SQLite of today's distributions is
older. So a write holds a lock of this process and a lock on a file beside the database, which the
commands share with the running server. Readers are made unable to write.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from server.errors import BusyError, DatabaseNotReadyError, SettingError

WRITE_WAIT_S = 10.0
CONNECTIONS_MAX = 32
PRAGMAS = (
    "PRAGMA busy_timeout=10000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA recursive_triggers=ON",
)


@dataclass(frozen=True, slots=True)
class Database:
    """One database and the right to write to it."""

    engine: Engine
    path: Path
    write_lock: threading.Lock


def database_path(url: str) -> Path:
    """The file that a SQLite URL names.

    Raises:
        SettingError: not a URL, not SQLite, or no file.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingError(
            f"{url!r} is not a database URL; write it like sqlite:///meterd-server.db"
        ) from error
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise SettingError(
            f"{parsed.drivername} is not supported: this version keeps its data in SQLite, "
            "for example sqlite:////var/lib/meterd-server/meterd-server.db"
        )
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise SettingError(f"{url!r} must name a file and nothing else, as in sqlite:///file.db")
    return Path(parsed.database)


def open_database(url: str, *, create: bool = False) -> Database:
    """Connections are opened when first used and kept.

    Raises:
        SettingError: the URL is not one of a SQLite file, or its folder is missing.
        DatabaseNotReadyError: there is no such file and ``create`` is False.
    """
    path = database_path(url)
    if not path.parent.is_dir():
        raise SettingError(f"the folder {path.parent} does not exist: create it first")
    if not create and not path.exists():
        raise DatabaseNotReadyError(f"there is no database {path}: run `meterd-server init` first")
    engine = create_engine(
        url,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=WRITE_WAIT_S,
        connect_args={"timeout": WRITE_WAIT_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return Database(engine, path, threading.Lock())


def close(database: Database) -> None:
    """Close every connection."""
    database.engine.dispose()


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """A transaction that sees one state of the database and cannot change it."""
    with _named_for_the_caller(database.path), database.engine.connect() as connection:
        yield connection


@contextmanager
def writing(database: Database) -> Iterator[Connection]:
    """The one transaction that may write now; on disk when the block ends, or undone.

    Raises:
        BusyError: others kept writing for ten seconds.
    """
    if not database.write_lock.acquire(timeout=WRITE_WAIT_S):
        raise BusyError("the database is busy with other writes; try again later")
    try:
        with (
            _named_for_the_caller(database.path),
            _other_programs_kept_out(database.path),
            database.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            yield connection
    finally:
        database.write_lock.release()


def _prepare(dbapi_connection: Any, record: object) -> None:
    dbapi_connection.isolation_level = None  # BEGIN is ours to say, below
    cursor = dbapi_connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = bool(connection.get_execution_options().get("writes"))
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _other_programs_kept_out(path: Path) -> Iterator[None]:
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock_in_time(lock, path)
        yield
    finally:
        os.close(lock)


def _lock_in_time(lock: int, path: Path) -> None:
    deadline_s = time.monotonic() + WRITE_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline_s:
                raise BusyError(f"another program keeps writing to {path}; try later") from error
            time.sleep(0.002)
        else:
            return


@contextmanager
def _named_for_the_caller(path: Path) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        message = str(error.orig)
        if "no such table" in message:
            raise DatabaseNotReadyError(
                f"{path} has no tables of this program: run `meterd-server init` first"
            ) from error
        raise BusyError(f"{path} did not take the operation ({message}); try later") from error
