"""What other processes ask of the meter's record."""

from __future__ import annotations

from collections.abc import Iterator

from meterd.database.connection import told
from meterd.database.record import Reader, last_seq_of
from meterd.errors import StoreError
from meterd.record.chain import genesis

PIECE_ROWS = 500


def last_seq(reader: Reader) -> int:
    """The number of the last row; 0 before the first."""
    with told(reader.path, "read"):
        return last_seq_of(reader.connection)


def rows_after(reader: Reader, seq: int, limit: int, max_bytes: int) -> list[tuple[int, bytes]]:
    """The rows that follow ``seq``, in order: at most ``limit`` and, with a newline each, at most
    ``max_bytes`` together; but always one where there is one.

    Raises:
        StoreError: the database cannot be read.
    """
    rows: list[tuple[int, bytes]] = []
    size = 0
    with told(reader.path, "read"):
        cursor = reader.connection.execute(
            "SELECT seq, line FROM record WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        )
        for number, line in cursor:
            size += len(line) + 1
            if rows and size > max_bytes:
                break
            rows.append((int(number), bytes(line)))
        cursor.close()
    return rows


def every_row(reader: Reader, first_seq: int = 1) -> Iterator[tuple[int, bytes]]:
    """All rows from ``first_seq`` on, in order, some at a time so that nobody waits for them.

    Raises:
        StoreError: the database cannot be read.
    """
    seq = first_seq - 1
    while rows := rows_after(reader, seq, PIECE_ROWS, PIECE_ROWS * 8192):
        yield from rows
        seq = rows[-1][0]


def first_kept(reader: Reader) -> tuple[int, bytes]:
    """The number of the oldest row that is still here (1 in a new record), and the hash before it.

    Raises:
        StoreError: the database cannot be read.
    """
    with told(reader.path, "read"):
        oldest = reader.connection.execute("SELECT min(seq) FROM record").fetchone()[0]
        if oldest is None or oldest == 1:
            return 1, genesis(reader.meter, reader.stream)
        row = reader.connection.execute(
            "SELECT value FROM remembered WHERE name = 'pruned_hash'"
        ).fetchone()
    return int(oldest), bytes.fromhex(row[0]) if row else b""


def recent(reader: Reader, count: int) -> list[tuple[int, bytes]]:
    """The last ``count`` readings, oldest first.

    Raises:
        StoreError: the database cannot be read.
    """
    with told(reader.path, "read"):
        rows = reader.connection.execute(
            "SELECT seq, line FROM record WHERE kind = 'reading' ORDER BY seq DESC LIMIT ?",
            (count,),
        ).fetchall()
    return [(int(number), bytes(line)) for number, line in reversed(rows)]


def recent_events(reader: Reader, count: int) -> list[bytes]:
    """The lines of the last ``count`` events of all names, oldest first.

    Raises:
        StoreError: the database cannot be read.
    """
    with told(reader.path, "read"):
        rows = reader.connection.execute(
            "SELECT line FROM record WHERE event IS NOT NULL ORDER BY seq DESC LIMIT ?", (count,)
        ).fetchall()
    return [bytes(line) for (line,) in reversed(rows)]


def recalled(reader: Reader, name: str) -> str | None:
    """What the meter last remembered under ``name``; None: nothing ever."""
    with told(reader.path, "read"):
        row = reader.connection.execute(
            "SELECT value FROM remembered WHERE name = ?", (name,)
        ).fetchone()
    return None if row is None else str(row[0])


def seq_at(reader: Reader, utc_s: int) -> int:
    """The number of the first row dated ``utc_s`` or later; one behind the last where none is.

    Dates can go back where a clock was set, so this is the first of them in the order of rows.

    Raises:
        StoreError: the database cannot be read.
    """
    with told(reader.path, "read"):
        row = reader.connection.execute(
            "SELECT min(seq) FROM record WHERE utc_s >= ?", (utc_s,)
        ).fetchone()
        return last_seq_of(reader.connection) + 1 if row[0] is None else int(row[0])


def hash_at(reader: Reader, seq: int) -> bytes:
    """The chain's hash behind a row that is here.

    Raises:
        StoreError: the database cannot be read, or the row is not here.
    """
    with told(reader.path, "read"):
        row = reader.connection.execute("SELECT hash FROM record WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise StoreError(f"row {seq} is not in {reader.path}")
    return bytes(row[0])


def covering_seq(reader: Reader, seq: int) -> int:
    """The number of the first checkpoint that covers a row; the last one where none does yet, and
    0 where there is none at all.

    Raises:
        StoreError: the database cannot be read.
    """
    with told(reader.path, "read"):
        (found,) = reader.connection.execute(
            "SELECT coalesce((SELECT min(seq) FROM record WHERE kind = 'checkpoint' AND seq >= ?), "
            "(SELECT max(seq) FROM record WHERE kind = 'checkpoint'), 0)",
            (seq,),
        ).fetchone()
    return int(found)


def checkpoint_from(reader: Reader, first_seq: int) -> bytes | None:
    """The line of the first checkpoint from a row on; None where there is none.

    Raises:
        StoreError: the database cannot be read.
    """
    with told(reader.path, "read"):
        row = reader.connection.execute(
            "SELECT line FROM record WHERE kind = 'checkpoint' AND seq >= ? ORDER BY seq LIMIT 1",
            (first_seq,),
        ).fetchone()
    return None if row is None else bytes(row[0])
