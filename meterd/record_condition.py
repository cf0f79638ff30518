"""How the record itself is doing: its signatures, its faults, its room."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meterd import store
from meterd.config import Config
from meterd.errors import NotAReadingError
from meterd.record.rows import detail, said
from meterd.record.signing import shown
from meterd.store import Reader

EVENTS_LOOKED_AT = 200
FREE_MIN_BYTES = 32 * 1024 * 1024
MIB = 1024 * 1024
WAL_BUG_FROM = (3, 7, 0)
WAL_BUG_UNTIL = (3, 51, 2)
WAL_BUG_MENDED = ((3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True)
class RecordCondition:
    """What the meter's database says of itself."""

    stream: str
    first_seq: int
    last_seq: int
    unsigned_rows: int
    fingerprint: str | None
    clock: str | None  # of the last row
    faults: tuple[tuple[str, str], ...]  # part and what was said, still open
    put_aside: tuple[str, ...]  # names of damaged records
    free_bytes: int
    size_bytes: int


def look(config: Config, reader: Reader) -> RecordCondition:
    """Read it; nothing is written.

    Raises:
        StoreError, NotAReadingError: the record cannot be read.
    """
    last_seq = store.last_seq(reader)
    last = store.rows_after(reader, last_seq - 1, 1, 10_000) if last_seq else []
    path = config.meter.readings_path
    disk = os.statvfs(path.parent)
    return RecordCondition(
        stream=reader.stream,
        first_seq=store.first_kept(reader)[0],
        last_seq=last_seq,
        unsigned_rows=last_seq - store.covering_seq(reader, last_seq),
        fingerprint=store.recalled(reader, "signer"),
        clock=said(last[0][1]).clock if last else None,
        faults=tuple(_open_faults(store.recent_events(reader, EVENTS_LOOKED_AT))),
        put_aside=tuple(sorted(_put_aside(path))),
        free_bytes=disk.f_bavail * disk.f_frsize,
        size_bytes=path.stat().st_size,
    )


def problems(found: RecordCondition) -> Iterator[str]:
    """What is wrong and what to do about it."""
    for part, words in found.faults:
        yield f"the {part} failed: {words}"
    for name in found.put_aside:
        yield (
            f"a damaged record was put aside as {name}: keep it for the operator, and think of "
            "a new memory card"
        )
    if found.free_bytes < FREE_MIN_BYTES:
        yield (
            f"only {found.free_bytes // MIB} MiB are free on the disk: make room, or readings "
            "will wait in memory"
        )


def as_plain(found: RecordCondition) -> dict[str, object]:
    """The condition for a program."""
    return {
        "stream": found.stream,
        "first_seq": found.first_seq,
        "last_seq": found.last_seq,
        "unsigned_rows": found.unsigned_rows,
        "fingerprint": found.fingerprint,
        "clock": found.clock,
        "faults": [{"part": part, "said": words} for part, words in found.faults],
        "put_aside": list(found.put_aside),
        "free_bytes": found.free_bytes,
        "size_bytes": found.size_bytes,
        "sqlite": sqlite3.sqlite_version,
        "sqlite_needs_one_writer": has_wal_bug(sqlite3.sqlite_version_info),
    }


def in_words(found: RecordCondition) -> Iterator[str]:
    """The condition for a person."""
    key = shown(found.fingerprint) if found.fingerprint else "none yet"
    yield f"key      {key}"
    yield (
        f"record   rows {found.first_seq} to {found.last_seq}, {found.size_bytes / MIB:.1f} MiB; "
        f"{found.free_bytes // MIB} MiB free"
    )
    yield f"clock    {found.clock or 'unknown'}"


def has_wal_bug(version: Sequence[int]) -> bool:
    """Whether this SQLite can damage a WAL database that two connections write at once.

    https://www.sqlite.org/wal.html#walresetbug. The meter is safe with any: each of its
    databases has one writer, who holds a lock.
    """
    number = tuple(version[:3])
    mended = any(number[:2] == fixed[:2] and number >= fixed for fixed in WAL_BUG_MENDED)
    return WAL_BUG_FROM <= number <= WAL_BUG_UNTIL and not mended


def _put_aside(path: Path) -> Iterator[str]:
    for found in path.parent.glob(f"{path.name}.damaged-*"):
        if not found.name.endswith(("-wal", "-shm")):
            yield found.name


def _open_faults(lines: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    """Faults since the last start that nothing ended."""
    open_faults: dict[str, str] = {}
    for line in lines:
        event = said(line).event
        try:
            what = detail(line)
        except NotAReadingError:
            continue  # meterctl verify tells of it
        if event == "boot":
            open_faults = {}
        elif event == "fault":
            open_faults[str(what.get("part"))] = str(what.get("said"))
        elif event == "fault_over":
            open_faults.pop(str(what.get("part")), None)
    yield from open_faults.items()
