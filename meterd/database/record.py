"""The meter's record in SQLite: rows in their order, chained, and the registers beside them."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from meterd.database.connection import (
    Writer,
    close_writer,
    open_read_only,
    open_writer,
    told,
    transaction,
)
from meterd.errors import NotAReadingError, StoreError
from meterd.model import NO_DEMAND, Demand, Reading, Registers
from meterd.record.chain import genesis, link
from meterd.record.rows import Row, said

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
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Store:
    """The writing side; ``stream`` names this database for ever (32 hexadecimal digits)."""

    path: Path
    stream: str
    meter: str
    writer: Writer


@dataclass(frozen=True, slots=True)
class Saved:
    """What is saved with rows, and between them."""

    registers: Registers
    utc_s: int
    demand: Demand = NO_DEMAND


def open_store(
    path: Path,
    *,
    meter: str,
    now_utc_s: int,
    new_stream: Callable[[], str] = lambda: secrets.token_hex(16),
) -> Store:
    """The record of ``meter`` at ``path``, made where there is none.

    A new database is a new stream: the server must never take its first row for one that it
    already has from the database before.

    Raises:
        StoreError: it is another meter's, or see
            :func:`meterd.database.connection.open_writer`.
    """
    writer = open_writer(path, "readings", SCHEMA_VERSION)
    try:
        with transaction(writer) as connection:
            connection.execute(
                "INSERT INTO stream SELECT 1, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM stream)",
                (new_stream(), meter, now_utc_s),
            )
            stream, owner = connection.execute("SELECT id, meter FROM stream").fetchone()
        if owner != meter:
            raise StoreError(
                f"{path} is the record of meter {owner} and this one is {meter}: put the serial "
                "number back, or move the record away and keep it"
            )
    except BaseException:
        close_writer(writer)
        raise
    return Store(path, stream, meter, writer)


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
    """The number that the next row must carry; the first is 1."""
    with told(store.path, "read"):
        return last_seq_of(store.writer.connection) + 1


def head(store: Store) -> bytes:
    """The chain's hash behind the last row."""
    with told(store.path, "read"):
        return _head(store)


def append(
    store: Store,
    rows: Sequence[Row],
    saved: Saved | None = None,
    remember: Mapping[str, str] = NOTHING,
) -> None:
    """Store rows, the registers at their end and what is to be remembered: all of it or nothing.

    Raises:
        StoreError: nothing was stored: wrong stream or number, a register fell, a line says
            something else than its row, or the disk refused.
    """
    for row in rows:
        _check(store, row, saved)
    with transaction(store.writer) as connection:
        chained = _head(store)
        for row in rows:
            chained = link(chained, row.line)
            connection.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.seq,
                    row.kind,
                    row.event,
                    row.utc_s,
                    row.import_j,
                    row.export_j,
                    chained,
                    row.line,
                ),
            )
        if saved is not None:
            _save(connection, saved)
        for name, value in remember.items():
            connection.execute(
                "INSERT INTO remembered VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )


def save(store: Store, saved: Saved) -> None:
    """Remember the registers between two readings, so that a power cut costs little energy.

    Raises:
        StoreError: a register fell, or the disk refused; the last save stays.
    """
    with transaction(store.writer) as connection:
        _save(connection, saved)


def load_registers(store: Store) -> Registers:
    """The highest registers that were ever stored; all zero in a new database."""
    with told(store.path, "read"):
        saved = registers_of(store.writer.connection)
    # A row is stored with its registers, so it cannot be ahead of them; but ask.
    last = registers_of_rows(store)
    assert last.import_j <= saved.import_j
    assert last.export_j <= saved.export_j
    return saved


def registers_of(connection: sqlite3.Connection) -> Registers:
    """The saved registers in a database; all zero where none were."""
    saved = connection.execute(
        f"SELECT {', '.join(REGISTER_COLUMNS)} FROM register_save"
    ).fetchone()
    if saved is None:
        return Registers()
    import_j, export_j, import_carry_j, export_carry_j, *reactive = saved
    q1, q2, q3, q4, c1, c2, c3, c4 = reactive
    return Registers(
        import_j, export_j, import_carry_j, export_carry_j, (q1, q2, q3, q4), (c1, c2, c3, c4)
    )


def registers_of_rows(store: Store) -> Registers:
    """The energy that the last row with registers tells; what is saved may be ahead of it."""
    with told(store.path, "read"):
        last = store.writer.connection.execute(
            "SELECT import_j, export_j FROM record WHERE import_j IS NOT NULL "
            "ORDER BY seq DESC LIMIT 1"
        ).fetchone()
    return Registers(*last) if last else Registers()


def reading_row(line: bytes, reading: Reading) -> Row:
    """The row of a reading's line."""
    return Row(
        reading.seq,
        "reading",
        None,
        reading.end_utc_s,
        reading.import_j,
        reading.export_j,
        line,
    )


def last_saved_utc_s(store: Store) -> int | None:
    """When the registers were last saved: the meter was alive then; None in a new database."""
    with told(store.path, "read"):
        row = store.writer.connection.execute("SELECT saved_utc_s FROM register_save").fetchone()
    return None if row is None else int(row[0])


def load_demand(store: Store) -> Demand:
    """The demand as it was last saved."""
    with told(store.path, "read"):
        saved = store.writer.connection.execute(
            f"SELECT {', '.join(DEMAND_COLUMNS)} FROM register_save"
        ).fetchone()
    return Demand(*saved) if saved else NO_DEMAND


def recall(store: Store, name: str) -> str | None:
    """What was last remembered under ``name``; None: nothing ever."""
    with told(store.path, "read"):
        row = store.writer.connection.execute(
            "SELECT value FROM remembered WHERE name = ?", (name,)
        ).fetchone()
    return None if row is None else str(row[0])


def events(store: Store, event: str, limit: int) -> list[bytes]:
    """The lines of the last ``limit`` events of a name, oldest first."""
    with told(store.path, "read"):
        rows = store.writer.connection.execute(
            "SELECT line FROM record WHERE event = ? ORDER BY seq DESC LIMIT ?", (event, limit)
        ).fetchall()
    return [bytes(line) for (line,) in reversed(rows)]


def last_lines(store: Store, limit: int) -> list[bytes]:
    """The lines of the last ``limit`` rows of all kinds, oldest first."""
    with told(store.path, "read"):
        rows = store.writer.connection.execute(
            "SELECT line FROM record ORDER BY seq DESC LIMIT ?", (limit,)
        ).fetchall()
    return [bytes(line) for (line,) in reversed(rows)]


def unsigned_rows(store: Store) -> int:
    """How many rows stand behind the last checkpoint."""
    with told(store.path, "read"):
        (count,) = store.writer.connection.execute(
            "SELECT count(*) FROM record WHERE seq > "
            "(SELECT coalesce(max(seq), 0) FROM record WHERE kind = 'checkpoint')"
        ).fetchone()
    return int(count)


def _check(store: Store, row: Row, saved: Saved | None) -> None:
    """The line, the row and the registers are made apart: let them agree before they stay."""
    try:
        line = said(row.line)
    except NotAReadingError as error:
        raise StoreError(f"row {row.seq} is not a line to store: {error}") from error
    wanted = {
        "meter": (line.meter, store.meter),
        "stream": (line.stream, store.stream),
        "seq": (line.seq, row.seq),
        "kind": (line.kind, row.kind),
        "event": (line.event, row.event),
        "utc_s": (line.end_utc_s if row.kind == "reading" else line.utc_s, row.utc_s),
        "import_j": (line.import_j, row.import_j),
        "export_j": (line.export_j, row.export_j),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise StoreError(
                f"row {row.seq} was not stored in {store.path}: its line says {name} {found} and "
                f"the meter says {expected}"
            )
    registers = saved.registers if saved is not None else None
    ahead = registers is not None and (
        (row.import_j or 0) > registers.import_j or (row.export_j or 0) > registers.export_j
    )
    if ahead:
        raise StoreError(
            f"row {row.seq} was not stored in {store.path}: its import_j and export_j are ahead "
            "of the registers that would be saved with it"
        )


def _head(store: Store) -> bytes:
    row = store.writer.connection.execute(
        "SELECT hash FROM record ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return genesis(store.meter, store.stream) if row is None else bytes(row[0])


def last_seq_of(connection: sqlite3.Connection) -> int:
    """The number of the last row; 0 before the first."""
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()
    return int(seq)


def _save(connection: sqlite3.Connection, saved: Saved) -> None:
    registers = saved.registers
    counted = (
        registers.import_j,
        registers.export_j,
        registers.import_carry_j,
        registers.export_carry_j,
        *registers.reactive_vars,
        *registers.reactive_carry_vars,
    )
    demand = tuple(getattr(saved.demand, name) for name in DEMAND_COLUMNS)
    columns = (*REGISTER_COLUMNS, "saved_utc_s", *DEMAND_COLUMNS)
    places = ", ".join("?" * len(columns))
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
    # An UPDATE of the only row, so that its triggers see what it replaces.
    connection.execute(
        f"INSERT INTO register_save (only, {', '.join(columns)}) VALUES (1, {places}) "
        f"ON CONFLICT (only) DO UPDATE SET {changes}",
        (*counted, saved.utc_s, *demand),
    )


@dataclass(frozen=True, slots=True)
class Reader:
    """The reading side, for any process."""

    path: Path
    stream: str
    meter: str
    connection: sqlite3.Connection


def open_reader(path: Path) -> Reader:
    """The record at ``path``, read-only.

    Raises:
        StoreError: meterd has not made it yet, or it cannot be read; trying later is right.
    """
    connection = open_read_only(path, SCHEMA_VERSION)
    try:
        with told(path, "read"):
            row = connection.execute("SELECT id, meter FROM stream").fetchone()
        if row is None:
            raise StoreError(f"{path} is still being made by meterd: wait for it")
    except BaseException:
        connection.close()
        raise
    return Reader(path, row[0], row[1], connection)


def close_reader(reader: Reader) -> None:
    """Let the database go."""
    reader.connection.close()
