"""All that this harness asks of the two databases; only this file follows their tables."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from meterd.model import Registers

SERIAL = "MX-000042"
SERVER_TABLES = ("reading", "record_row")
"""What meters sent; quarantine is left out, so that a row that is not valid is missing."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A device's record as it lies on the disk."""

    stream: str
    rows: list[tuple[int, bytes]]
    registers: Registers
    hashes: list[bytes]

    @property
    def last(self) -> int:
        return self.rows[-1][0] if self.rows else 0


class LostError(AssertionError):
    """Something that was promised is not there."""


def kept_by(database: Path) -> Kept:
    """The record, recovered as the next start would and looked at as a whole.

    Raises:
        LostError: it is not sound: damaged, a gap, a register that fell, a chain that is broken.
    """
    try:
        with closing(sqlite3.connect(database)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise LostError(f"integrity_check says {verdict}")
            found = connection.execute("SELECT id FROM stream").fetchone()
            rows = connection.execute("SELECT seq, line, hash FROM record ORDER BY seq").fetchall()
            saved = connection.execute("SELECT import_j, export_j FROM register_save").fetchone()
    except sqlite3.Error as error:
        raise LostError(f"{database.name} cannot be read: {error}") from error
    kept = Kept(
        found[0] if found else "",
        [(int(seq), bytes(line)) for seq, line, _ in rows],
        Registers(*saved) if saved else Registers(),
        [bytes(chained) for _, _, chained in rows],
    )
    _require_order(kept)
    return kept


def written(database: Path) -> bool:
    """Whether meterd has begun this record: what is not there yet cannot be lost."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM stream").fetchone() is not None
    except sqlite3.Error:
        return False


def peek(database: Path) -> list[tuple[int, bytes]]:
    """The rows of a record that its meter is writing at this moment; none before it has begun."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT seq, line FROM record ORDER BY seq").fetchall()
    except sqlite3.OperationalError:
        return []
    return [(int(seq), bytes(line)) for seq, line in rows]


def events_in(rows: list[tuple[int, bytes]]) -> list[dict[str, object]]:
    """What the rows tell of events, in order."""
    told = [json.loads(line) for _, line in rows]
    return [row for row in told if row.get("kind") == "event"]


def readings_in(rows: list[tuple[int, bytes]]) -> list[dict[str, object]]:
    """What the rows tell of intervals, in order."""
    told = [json.loads(line) for _, line in rows]
    return [row for row in told if row.get("kind", "reading") == "reading"]


def held_by_server(database: Path, stream: str) -> list[tuple[int, bytes]]:
    """Every valid line that the server holds of a stream; repetitions stay."""
    rows: list[tuple[int, bytes]] = []
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            for table in SERVER_TABLES:
                found = connection.execute(
                    f"SELECT seq, line FROM {table} WHERE stream = ?", (stream,)
                )
                rows += [(int(seq), bytes(line)) for seq, line in found]
    except sqlite3.OperationalError:
        return []  # still being made
    return sorted(rows)


def _require_order(kept: Kept) -> None:
    numbers = [seq for seq, _ in kept.rows]
    first = numbers[0] if numbers else 1
    if numbers != list(range(first, first + len(numbers))):
        raise LostError(f"a gap in the numbers {first} to {numbers[-1]}")
    before = None
    if first == 1:
        before = hashlib.sha256(f"meterd/1 {SERIAL} {kept.stream}".encode()).digest()
    for (seq, line), chained in zip(kept.rows, kept.hashes, strict=True):
        if before is not None and hashlib.sha256(before + line).digest() != chained:
            raise LostError(f"row {seq} does not fit the chain")
        before = chained
        row = json.loads(line)
        if row["seq"] != seq or row["stream"] != kept.stream:
            raise LostError(f"row {seq} says that it is {row['seq']} of {row['stream']}")
    _require_rising(kept)


def _require_rising(kept: Kept) -> None:
    import_j = export_j = 0
    for seq, line in kept.rows:
        row = json.loads(line)
        if row.get("import_j") is None:
            continue
        if row["import_j"] < import_j or row["export_j"] < export_j:
            raise LostError(f"a register fell in row {seq}")
        import_j, export_j = row["import_j"], row["export_j"]
    if import_j > kept.registers.import_j or export_j > kept.registers.export_j:
        raise LostError("the saved registers are behind the last row")
