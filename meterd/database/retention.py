"""How long rows stay on the meter, and how room is made on a full disk.

Rows are kept for the retention time whether the server has them or not; after it, and when the
record or the disk is full, the oldest that the server holds go first. What it does not hold stays.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from meterd.database.connection import told, transaction
from meterd.database.record import Store

PRUNE_ROWS = 2000
"""At most so many a call, so that the meter is not kept from its work."""
VACUUM_PAGES = 4000
BALLAST_NAME = "ballast"
FREE_FACTOR = 3
"""The ballast is laid only where so many times its size is free."""
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Limits:
    """What the record may take."""

    retention_s: int = 400 * DAY_S
    size_max_bytes: int = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows that were deleted here; the server has them."""

    first_seq: int
    last_seq: int
    because: str  # age, size or full disk


class Ballast:
    """Room that is held in order to be given up when the disk is full.

    A full disk takes no deletion either: SQLite's log needs room to say what is deleted.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self._path, self._size_bytes = folder / BALLAST_NAME, size_bytes

    def lay(self) -> bool:
        """Hold the room if there is plenty; whether it is held now."""
        if self._size_bytes == 0:
            return False
        try:
            if self._path.exists() and self._path.stat().st_size == self._size_bytes:
                return True
            free = os.statvfs(self._path.parent)
            if free.f_bavail * free.f_frsize < FREE_FACTOR * self._size_bytes:
                return False
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size_bytes)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> bool:
        """Give the room up; False where none was held."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def size_bytes(store: Store) -> int:
    """What the record's pages in use take, without those that wait to be used again."""
    with told(store.path, "read"):
        connection = store.writer.connection
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def allow_deletion(store: Store, acknowledged_seq: int) -> None:
    """Rows up to this one are on the server and may go when they must.

    Raises:
        StoreError: the disk refused.
    """
    with transaction(store.writer) as connection:
        connection.execute(
            "UPDATE deletable SET seq = ? WHERE seq <> ?", (acknowledged_seq, acknowledged_seq)
        )


def prune(store: Store, limits: Limits, *, now_utc_s: int) -> Pruned | None:
    """Delete what is older than the retention time, or too much; None where nothing was.

    Raises:
        StoreError: nothing was deleted.
    """
    if size_bytes(store) > limits.size_max_bytes:
        return forget_oldest(store, PRUNE_ROWS, "size")
    with told(store.path, "read"):
        (count,) = store.writer.connection.execute(
            "SELECT count(*) FROM (SELECT utc_s FROM record ORDER BY seq LIMIT ?) WHERE utc_s < ?",
            (PRUNE_ROWS, now_utc_s - limits.retention_s),
        ).fetchone()
    return forget_oldest(store, int(count), "age") if count else None


def forget_oldest(store: Store, count: int, because: str) -> Pruned | None:
    """Delete at most ``count`` of the oldest rows that may be deleted; None: there is none.

    Raises:
        StoreError: nothing was deleted.
    """
    with transaction(store.writer) as connection:
        first, last = connection.execute("SELECT min(seq), max(seq) FROM record").fetchone()
        (deletable,) = connection.execute("SELECT seq FROM deletable").fetchone()
        if first is None:
            return None
        end = min(first + count - 1, deletable, last - 1)
        if end < first:
            return None
        (chained,) = connection.execute("SELECT hash FROM record WHERE seq = ?", (end,)).fetchone()
        connection.execute("DELETE FROM record WHERE seq <= ?", (end,))
        connection.execute(
            "INSERT INTO remembered VALUES ('pruned_hash', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (bytes(chained).hex(),),
        )
    with told(store.path, "shrink"):
        store.writer.connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
    return Pruned(first, end, because)
