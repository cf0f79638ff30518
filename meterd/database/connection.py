"""How a database of the meter is opened: one writer, durable at every commit, versions by number.

Some SQLite versions can damage a WAL database when two connections write or checkpoint at once
(https://www.sqlite.org/wal.html#walresetbug), so a lock file keeps the writer the only one.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from meterd.errors import DiskFullError, StoreDamagedError, StoreError

BUSY_TIMEOUT_S = 5.0
WAL_BYTES_MAX = 4 * 1024 * 1024
"""The log is cut back to this after a checkpoint."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The one writing connection of a database, and the lock that keeps it the only one."""

    path: Path
    connection: sqlite3.Connection
    lock: int  # descriptor of the lock file


def open_writer(path: Path, schema: str, version: int) -> Writer:
    """Open ``path`` for writing, made or brought to ``version`` where needed.

    The steps are the files ``meterd/schema/<schema>_v<number>.sql``, one transaction each.

    Raises:
        StoreError: another process writes it, a newer program made it, the file is not a database
            of ours, or the disk refuses.
    """
    lock = _lock(path)
    try:
        with told(path, "open"):
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(connection, path, schema, version)
            except BaseException:
                connection.close()
                raise
    except BaseException:
        os.close(lock)
        raise
    return Writer(path, connection, lock)


def close_writer(writer: Writer) -> None:
    """Move the log into the database, close it and let another process write."""
    try:
        with told(writer.path, "close"):
            try:
                writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                writer.connection.close()
    finally:
        os.close(writer.lock)


def open_read_only(path: Path, schema_version: int) -> sqlite3.Connection:
    """Open ``path`` for reading while another process may be writing it.

    Raises:
        StoreError: it does not exist yet, is still being made, or cannot be read.
    """
    if not path.exists():
        raise StoreError(f"there is no {path} yet: the program that writes it has not started")
    with told(path, "read"):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            found = _version(connection)
        except BaseException:
            connection.close()
            raise
    if found == schema_version:
        return connection
    connection.close()
    if found == 0:
        raise StoreError(f"{path} is still being made by the program that writes it: wait for it")
    raise StoreError(
        f"{path} has schema version {found} and this program reads {schema_version}: restart the "
        "programs of the meter after an update, all of the same version"
    )


@contextmanager
def transaction(writer: Writer) -> Iterator[sqlite3.Connection]:
    """All of it or nothing, and on the disk when it ends.

    Raises:
        StoreError: nothing of it was stored.
    """
    with told(writer.path, "write"):
        writer.connection.execute("BEGIN IMMEDIATE")
        try:
            yield writer.connection
            writer.connection.execute("COMMIT")
        except BaseException:
            if writer.connection.in_transaction:
                writer.connection.execute("ROLLBACK")
            raise


_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space; nothing was stored",
    sqlite3.SQLITE_BUSY: "another process holds it: only one program may write it",
    sqlite3.SQLITE_READONLY: "it may not be written: check the owner of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the owner of the file and its folder",
    sqlite3.SQLITE_CORRUPT: "it is damaged: keep it and its -wal file, move both away, start again",
    sqlite3.SQLITE_NOTADB: "it is not a database: move it away and start again",
    sqlite3.SQLITE_IOERR: "the disk fails: check the card and the kernel's messages",
}

_KINDS: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: DiskFullError,
    sqlite3.SQLITE_CORRUPT: StoreDamagedError,
    sqlite3.SQLITE_NOTADB: StoreDamagedError,
}


@contextmanager
def told(path: Path, doing: str) -> Iterator[None]:
    """SQLite's errors as a sentence with the path and what to do next."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        advice = _ADVICE.get(code, "nothing was stored")
        kind = _KINDS.get(code, StoreError)
        raise kind(f"cannot {doing} {path}: {error}: {advice}") from error


def _lock(path: Path) -> int:
    beside = path.with_name(path.name + ".lock")
    try:
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreError(
            f"cannot write in {path.parent}: {error.strerror}: make the folder and give it to "
            "the user that this program runs as"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreError(
            f"another process writes {path}: stop it first; only one program may write it"
        ) from error
    return lock


def _prepare(connection: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    found = _version(connection)
    if found > version:
        raise StoreError(
            f"{path} has schema version {found}, made by a newer program; this one knows up to "
            f"{version}: install the newer one again, the file is untouched"
        )
    if found == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise StoreError(f"{path} belongs to another program: move it away and start again")
    if found == 0:  # only before the first page is written, and before WAL
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path} is on a disk without shared memory: use a local file system")
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA recursive_triggers = ON")  # else INSERT OR REPLACE deletes unseen
    connection.execute("PRAGMA trusted_schema = OFF")
    for number in range(found + 1, version + 1):
        _migrate(connection, schema, number)
    if found < version:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        _flush_folder(path.parent)
    connection.execute("PRAGMA synchronous = FULL")


def _migrate(connection: sqlite3.Connection, schema: str, number: int) -> None:
    step = resources.files("meterd").joinpath("schema", f"{schema}_v{number}.sql")
    try:
        script = step.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"cannot read {step}: {error.strerror}: the program is not installed whole"
        ) from error
    try:
        connection.executescript("BEGIN IMMEDIATE;" + script)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def _flush_folder(folder: Path) -> None:
    """The file's name must reach the disk as well as its content."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"cannot flush {folder}: {error.strerror}: check the disk and the kernel's messages"
        ) from error
