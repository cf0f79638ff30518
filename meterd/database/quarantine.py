"""A record that is damaged is put aside, never deleted, and its registers are looked for.

The next record is a new stream. Its registers begin with the highest that anything still tells,
for a register may not fall.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from meterd.database.connection import told
from meterd.database.record import Saved, Store, registers_of
from meterd.errors import StoreDamagedError, StoreError
from meterd.model import Registers
from meterd.record.chain import genesis, link

COPY_NAME = "registers.json"
SUSPECT_NAME = "readings.db.suspect"
CHECKED_BYTES_MAX = 16 * 1024 * 1024
"""A larger record is checked page by page only on suspicion: start-up must not take minutes."""
CHECKED_ROWS = 200
READ_TIMEOUT_S = 1.0
PUT_ASIDE_MAX = 20
"""A card that damages more records than this needs a person, not another attempt."""


@dataclass(frozen=True, slots=True)
class LastKnown:
    """What is still known of a record that was put aside."""

    registers: Registers
    utc_s: int
    source: str  # record or copy
    stream: str | None = None
    last_seq: int | None = None


class _Copy(msgspec.Struct, frozen=True):
    registers: Registers
    utc_s: int


def require_sound(store: Store, *, suspected: bool) -> None:
    """Look at a record before it is written to.

    The last rows must hang together. All pages are looked at in a small record, and in one that
    is ``suspected``, however long that takes.

    Raises:
        StoreDamagedError: it is damaged; nothing was written.
    """
    connection = store.writer.connection
    with told(store.path, "check"):
        if suspected or store.path.stat().st_size <= CHECKED_BYTES_MAX:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise StoreDamagedError(f"{store.path} is damaged: {verdict}")
        rows = connection.execute(
            "SELECT seq, hash, line FROM record ORDER BY seq DESC LIMIT ?", (CHECKED_ROWS,)
        ).fetchall()
    rows.reverse()
    before = genesis(store.meter, store.stream) if rows and rows[0][0] == 1 else None
    for seq, chained, line in rows:
        if before is not None and link(before, line) != chained:
            raise StoreDamagedError(f"{store.path} is damaged: row {seq} does not fit its hash")
        before = chained


def suspect(path: Path) -> Path:
    """The file whose presence asks for a whole check at the next start."""
    return path.with_name(SUSPECT_NAME)


def copy_registers(path: Path, saved: Saved) -> None:
    """Keep a copy of the registers beside the record, for the day when it cannot be read.

    Raises:
        StoreError: the disk refused; the last copy stays.
    """
    place = path.with_name(COPY_NAME)
    beside = place.with_suffix(".new")
    content = msgspec.json.encode(_Copy(saved.registers, saved.utc_s))
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    except OSError as error:
        raise StoreError(f"cannot write {place}: {error.strerror}") from error


def last_known(aside: Path, folder: Path) -> LastKnown | None:
    """The highest registers that the record put ``aside``, or the copy in ``folder``, still tells.

    None where nothing can be read any more.
    """
    found = [known for known in (_from_record(aside), _from_copy(folder)) if known is not None]
    return max(
        found, key=lambda known: known.registers.import_j + known.registers.export_j, default=None
    )


def put_aside(path: Path, *, now_utc_s: int) -> Path:
    """Rename a damaged record with its log, and return its new name; nothing is deleted.

    Raises:
        StoreError: the disk refused, or there are too many already.
    """
    known = list(path.parent.glob(f"{path.name}.damaged-*"))
    if len(known) >= PUT_ASIDE_MAX:
        raise StoreError(
            f"{len(known)} damaged records lie in {path.parent}: the card fails; replace it, and "
            "keep them"
        )
    name = f"{path.name}.damaged-{now_utc_s}"
    aside = path.with_name(name)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{name}-{number}")
    try:
        for suffix in ("-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
        suspect(path).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot put {path} aside: {error.strerror}") from error
    return aside


def _from_record(aside: Path) -> LastKnown | None:
    """Read what can be read; a damaged file may fail at any question."""
    try:
        connection = sqlite3.connect(
            f"{aside.absolute().as_uri()}?mode=ro", uri=True, timeout=READ_TIMEOUT_S
        )
    except sqlite3.Error:
        return None  # told by the caller: nothing can be read of it
    with closing(connection):
        try:
            registers = registers_of(connection)
            utc_s = _ask(connection, "SELECT saved_utc_s FROM register_save")
        except sqlite3.Error:
            return None
        if not isinstance(utc_s, int):
            return None
        stream = _ask(connection, "SELECT id FROM stream")
        seq = _ask(connection, "SELECT max(seq) FROM record")
    return LastKnown(
        registers,
        utc_s,
        "record",
        stream if isinstance(stream, str) else None,
        seq if isinstance(seq, int) else None,
    )


def _ask(connection: sqlite3.Connection, question: str) -> object:
    """One value; None where the damage is in its way."""
    try:
        row = connection.execute(question).fetchone()
    except sqlite3.Error:
        return None
    return row[0] if row else None


def _from_copy(folder: Path) -> LastKnown | None:
    try:
        copy = msgspec.json.decode((folder / COPY_NAME).read_bytes(), type=_Copy)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return LastKnown(copy.registers, copy.utc_s, "copy")


def as_detail(known: LastKnown | None) -> dict[str, object]:
    """The last known state as an event tells it."""
    if known is None:
        return {"registers": None}
    return {
        "registers": asdict(known.registers),
        "utc_s": known.utc_s,
        "source": known.source,
        "stream": known.stream,
        "last_seq": known.last_seq,
    }
