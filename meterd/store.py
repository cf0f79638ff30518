"""Readings, registers and events of this meter.

One process writes (meterd, :class:`Store`), any number read (:class:`Reader`). A reading is one
transaction with its registers, and is on the disk when :func:`append` returns. The bytes of its
line are stored as they are given and never change: they are what is sent.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from meterd.database.acknowledged import (
    Acknowledged,
    Rejection,
    SyncStatus,
    acknowledge,
    close_acknowledged,
    known_hwm,
    open_acknowledged,
    read_sync_status,
    record_failure,
)
from meterd.database.connection import (
    Writer,
    close_writer,
    open_read_only,
    open_writer,
    told,
    transaction,
)
from meterd.errors import StoreError
from meterd.metrology.demand import NO_DEMAND, Demand
from meterd.model import Reading, Registers

__all__ = [
    "Acknowledged",
    "Reader",
    "Rejection",
    "Store",
    "SyncStatus",
    "acknowledge",
    "append",
    "checkpoint",
    "close",
    "close_acknowledged",
    "close_reader",
    "known_hwm",
    "last_end_utc_s",
    "last_event",
    "last_saved_utc_s",
    "last_seq",
    "load_demand",
    "load_registers",
    "next_seq",
    "open_acknowledged",
    "open_reader",
    "open_store",
    "read_sync_status",
    "recent",
    "record_event",
    "record_failure",
    "rows_after",
    "save_registers",
]

SCHEMA_VERSION = 1
REGISTER_COLUMNS = (
    "import_j",
    "export_j",
    "import_carry_j",
    "export_carry_j",
    *(f"q{number}_vars" for number in (1, 2, 3, 4)),
    *(f"q{number}_carry_vars" for number in (1, 2, 3, 4)),
)
DEMAND_COLUMNS = ("block_end_utc_s", "energy_j", "elapsed_s", "last_w", "max_w", "max_end_utc_s")


@dataclass(frozen=True, slots=True)
class Store:
    """The writing side; ``stream`` names this database for ever (32 hexadecimal digits)."""

    path: Path
    stream: str
    writer: Writer


@dataclass(frozen=True, slots=True)
class Reader:
    """The reading side, for any process."""

    path: Path
    stream: str
    connection: sqlite3.Connection


def open_store(
    path: Path, *, now_utc_s: int, new_stream: Callable[[], str] = lambda: secrets.token_hex(16)
) -> Store:
    """The meter's record at ``path``, made where there is none.

    A new database is a new stream: the server must never take its first reading for one that it
    already has from the database before.

    Raises:
        StoreError: see :func:`meterd.database.connection.open_writer`.
    """
    writer = open_writer(path, "readings", SCHEMA_VERSION)
    try:
        with transaction(writer) as connection:
            connection.execute(
                "INSERT INTO stream SELECT 1, ?, ? WHERE NOT EXISTS (SELECT 1 FROM stream)",
                (new_stream(), now_utc_s),
            )
            (stream,) = connection.execute("SELECT id FROM stream").fetchone()
    except BaseException:
        close_writer(writer)
        raise
    return Store(path, stream, writer)


def close(store: Store) -> None:
    """Move the log into the database and let it go."""
    close_writer(store.writer)


def checkpoint(store: Store) -> None:
    """Move the log into the database; nothing else ever does, so call it every few minutes.

    It waits for nobody: what a reader still needs stays in the log until the next call.

    Raises:
        StoreError: the disk refused; nothing that was stored is lost.
    """
    with told(store.path, "checkpoint"):
        store.writer.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def next_seq(store: Store) -> int:
    """The number that the next reading must carry; the first is 1."""
    with told(store.path, "read"):
        return _last_seq(store.writer.connection) + 1


def append(
    store: Store, line: bytes, reading: Reading, registers: Registers, demand: Demand = NO_DEMAND
) -> int:
    """Store ``line``, which says ``reading``, with the registers at its end; return its number.

    Raises:
        StoreError: nothing was stored: wrong stream or number, a register fell, the line says
            something else, or the disk refused.
    """
    _check(store, line, reading, registers)
    with transaction(store.writer) as connection:
        connection.execute(
            "INSERT INTO reading (seq, line, import_j, export_j, end_utc_s) VALUES (?, ?, ?, ?, ?)",
            (reading.seq, line, reading.import_j, reading.export_j, reading.end_utc_s),
        )
        _save(connection, registers, demand, reading.end_utc_s)
    return reading.seq


def save_registers(
    store: Store, registers: Registers, *, now_utc_s: int, demand: Demand = NO_DEMAND
) -> None:
    """Remember the registers between two readings, so that a power cut costs little energy.

    Raises:
        StoreError: a register fell, or the disk refused; the last save stays.
    """
    with transaction(store.writer) as connection:
        _save(connection, registers, demand, now_utc_s)


def load_registers(store: Store) -> Registers:
    """The highest registers that were ever stored; all zero in a new database."""
    with told(store.path, "read"):
        saved = store.writer.connection.execute(
            f"SELECT {', '.join(REGISTER_COLUMNS)} FROM register_save"
        ).fetchone()
        last = store.writer.connection.execute(
            "SELECT import_j, export_j FROM reading ORDER BY seq DESC LIMIT 1"
        ).fetchone()
    if saved is None:
        return Registers()
    import_j, export_j, import_carry_j, export_carry_j, *reactive = saved
    q1, q2, q3, q4, c1, c2, c3, c4 = reactive
    registers = Registers(
        import_j, export_j, import_carry_j, export_carry_j, (q1, q2, q3, q4), (c1, c2, c3, c4)
    )
    # A reading is stored with its registers, so it cannot be ahead of them; but ask.
    assert not last or (last[0] <= registers.import_j and last[1] <= registers.export_j)
    return registers


def last_saved_utc_s(store: Store) -> int | None:
    """When the registers were last saved: the meter was alive then; None in a new database."""
    with told(store.path, "read"):
        row = store.writer.connection.execute("SELECT saved_utc_s FROM register_save").fetchone()
    return None if row is None else int(row[0])


def load_demand(store: Store) -> Demand:
    """The demand as it was last saved."""
    with told(store.path, "read"):
        saved = store.writer.connection.execute(
            f"SELECT {', '.join(DEMAND_COLUMNS)} FROM demand_save"
        ).fetchone()
    return Demand(*saved) if saved else NO_DEMAND


def last_end_utc_s(store: Store) -> int | None:
    """The end of the last reading's interval, UTC seconds; None before the first."""
    with told(store.path, "read"):
        row = store.writer.connection.execute(
            "SELECT end_utc_s FROM reading ORDER BY seq DESC LIMIT 1"
        ).fetchone()
    return None if row is None else int(row[0])


def record_event(store: Store, kind: str, detail: Mapping[str, object], *, now_utc_s: int) -> int:
    """Append what happened to the meter itself (boot, calibration, ...) and return its number.

    ``detail`` becomes JSON, at most 8192 characters; events are never changed or deleted.

    Raises:
        StoreError: nothing was stored.
    """
    with transaction(store.writer) as connection:
        cursor = connection.execute(
            "INSERT INTO event (utc_s, kind, detail) VALUES (?, ?, ?) RETURNING id",
            (now_utc_s, kind, msgspec.json.encode(dict(detail)).decode()),
        )
        return int(cursor.fetchone()[0])


def last_event(store: Store, kind: str) -> dict[str, object] | None:
    """The detail of the latest event of ``kind``; None where there never was one."""
    with told(store.path, "read"):
        row = store.writer.connection.execute(
            "SELECT detail FROM event WHERE kind = ? ORDER BY id DESC LIMIT 1", (kind,)
        ).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=dict[str, object])


def open_reader(path: Path) -> Reader:
    """The record at ``path``, read-only.

    Raises:
        StoreError: meterd has not made it yet, or it cannot be read; trying later is right.
    """
    connection = open_read_only(path, SCHEMA_VERSION)
    try:
        with told(path, "read"):
            row = connection.execute("SELECT id FROM stream").fetchone()
        if row is None:
            raise StoreError(f"{path} is still being made by meterd: wait for it")
    except BaseException:
        connection.close()
        raise
    return Reader(path, row[0], connection)


def close_reader(reader: Reader) -> None:
    """Let the database go."""
    reader.connection.close()


def last_seq(reader: Reader) -> int:
    """The number of the last reading; 0 before the first."""
    with told(reader.path, "read"):
        return _last_seq(reader.connection)


def rows_after(reader: Reader, seq: int, limit: int, max_bytes: int) -> list[tuple[int, bytes]]:
    """The readings that follow ``seq``, in order: at most ``limit`` and, with a newline each,
    at most ``max_bytes`` together; but always one where there is one.

    Raises:
        StoreError: the database cannot be read.
    """
    rows: list[tuple[int, bytes]] = []
    size = 0
    with told(reader.path, "read"):
        cursor = reader.connection.execute(
            "SELECT seq, line FROM reading WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        )
        for number, line in cursor:
            size += len(line) + 1
            if rows and size > max_bytes:
                break
            rows.append((int(number), bytes(line)))
        cursor.close()
    return rows


def recent(reader: Reader, count: int) -> list[tuple[int, bytes]]:
    """The last ``count`` readings, oldest first.

    Raises:
        StoreError: the database cannot be read.
    """
    with told(reader.path, "read"):
        rows = reader.connection.execute(
            "SELECT seq, line FROM reading ORDER BY seq DESC LIMIT ?", (count,)
        ).fetchall()
    return [(int(number), bytes(line)) for number, line in reversed(rows)]


class _Key(msgspec.Struct, frozen=True):
    """What a line says about its place in the record."""

    stream: str
    seq: int
    end_utc_s: int
    import_j: int
    export_j: int


def _check(store: Store, line: bytes, reading: Reading, registers: Registers) -> None:
    """The line, the reading and the registers are made apart: let them agree before they stay."""
    try:
        said = msgspec.json.decode(line, type=_Key)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"reading {reading.seq} is not a line to store: {error}") from error
    row = _Key(store.stream, reading.seq, reading.end_utc_s, registers.import_j, registers.export_j)
    for name in _Key.__struct_fields__:
        for what, found in (("line", getattr(said, name)), ("reading", getattr(reading, name))):
            if found != getattr(row, name):
                raise StoreError(
                    f"reading {reading.seq} was not stored in {store.path}: its {what} says "
                    f"{name} {found} and the meter says {getattr(row, name)}"
                )


def _last_seq(connection: sqlite3.Connection) -> int:
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM reading").fetchone()
    return int(seq)


def _save(connection: sqlite3.Connection, registers: Registers, demand: Demand, utc_s: int) -> None:
    counted = (
        registers.import_j,
        registers.export_j,
        registers.import_carry_j,
        registers.export_carry_j,
        *registers.reactive_vars,
        *registers.reactive_carry_vars,
    )
    _replace_only(
        connection, "register_save", (*REGISTER_COLUMNS, "saved_utc_s"), (*counted, utc_s)
    )
    values = tuple(getattr(demand, name) for name in DEMAND_COLUMNS)
    _replace_only(connection, "demand_save", DEMAND_COLUMNS, values)


def _replace_only(
    connection: sqlite3.Connection,
    table: str,
    columns: tuple[str, ...],
    values: tuple[int | float | None, ...],
) -> None:
    """Write the only row of a table; an UPDATE, so that its triggers see what it replaces."""
    places = ", ".join("?" * len(columns))
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
    connection.execute(
        f"INSERT INTO {table} (only, {', '.join(columns)}) VALUES (1, {places}) "
        f"ON CONFLICT (only) DO UPDATE SET {changes}",
        values,
    )
