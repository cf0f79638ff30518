"""What the server has told: written by meterd-sync alone, read by meterd for its display.

The server's high-water mark is the only truth about what is unsent; here it is only remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meterd.database.connection import (
    Writer,
    close_writer,
    open_read_only,
    open_writer,
    told,
    transaction,
)
from meterd.database.downlink import SignedSettings, Told, put_down, read_settings
from meterd.errors import StoreError

SCHEMA_VERSION = 1
TEXT_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The writing side, meterd-sync's."""

    path: Path
    writer: Writer


@dataclass(frozen=True, slots=True)
class Rejection:
    """A reading that the server holds but could not take as one."""

    seq: int
    result: str  # conflict or invalid
    reason: str


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """How the synchronisation is doing."""

    stream: str | None  # None: the server has never answered for any
    hwm: int  # readings of ``stream`` up to this one are on the server
    last_success_utc_s: int | None
    last_error: str | None  # None: the last try succeeded
    last_error_utc_s: int | None
    refused: bool  # the last error needs a person
    failures: int  # tries since the last success
    rejected: int  # readings of all streams that were answered conflict or invalid


def open_acknowledged(path: Path) -> Acknowledged:
    """The record at ``path``, made where there is none.

    Raises:
        StoreError: see :func:`meterd.database.connection.open_writer`.
    """
    return Acknowledged(path, open_writer(path, "sync", SCHEMA_VERSION))


def close_acknowledged(acknowledged: Acknowledged) -> None:
    """Let the database go."""
    close_writer(acknowledged.writer)


def known_hwm(acknowledged: Acknowledged, stream: str) -> tuple[int, str | None]:
    """The server's last high-water mark of ``stream`` and its epoch; 0 and None if unheard of."""
    with told(acknowledged.path, "read"):
        row = acknowledged.writer.connection.execute(
            "SELECT hwm, epoch FROM acknowledged WHERE stream = ?", (stream,)
        ).fetchone()
    return (int(row[0]), row[1]) if row else (0, None)


def acknowledge(
    acknowledged: Acknowledged,
    stream: str,
    hwm: int,
    epoch: str,
    rejections: Sequence[Rejection],
    *,
    now_utc_s: int,
    success: bool = True,
    said: Told | None = None,
) -> list[Rejection]:
    """Remember one answer of the server, all of it or nothing.

    ``hwm`` may be lower than the last one. ``success`` forgets the failures before. ``said`` is
    what the answer brings for the meter itself. The rejections that are new come back, so that
    each is told once.

    Raises:
        StoreError: nothing was stored; the same answer comes again when the rows are sent again.
    """
    fresh: list[Rejection] = []
    with transaction(acknowledged.writer) as connection:
        connection.execute(
            "INSERT INTO acknowledged VALUES (?, ?, ?) "
            "ON CONFLICT (stream) DO UPDATE SET hwm = excluded.hwm, epoch = excluded.epoch",
            (stream, hwm, epoch),
        )
        for rejection in rejections:
            cursor = connection.execute(
                "INSERT INTO rejected VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    stream,
                    rejection.seq,
                    rejection.result,
                    rejection.reason[:TEXT_CHARACTERS_MAX],
                    now_utc_s,
                ),
            )
            fresh += [rejection] * cursor.rowcount
        if success:
            connection.execute(
                "UPDATE contact SET last_success_utc_s = ?, last_error = NULL, "
                "last_error_utc_s = NULL, refused = 0, failures = 0",
                (now_utc_s,),
            )
        if said is not None:
            put_down(connection, stream, said)
    _checkpoint(acknowledged)
    return fresh


def known_settings(acknowledged: Acknowledged) -> SignedSettings | None:
    """The newest settings that the server has told, believed or not."""
    with told(acknowledged.path, "read"):
        return read_settings(acknowledged.writer.connection)


def record_failure(
    acknowledged: Acknowledged, message: str, *, refused: bool, now_utc_s: int
) -> int:
    """Remember that a try failed; return how many have, one after the other.

    Raises:
        StoreError: nothing was stored.
    """
    with transaction(acknowledged.writer) as connection:
        (failures,) = connection.execute(
            "UPDATE contact SET last_error = ?, last_error_utc_s = ?, refused = ?, "
            "failures = failures + 1 RETURNING failures",
            (message[:TEXT_CHARACTERS_MAX], now_utc_s, int(refused)),
        ).fetchone()
    _checkpoint(acknowledged)
    return int(failures)


def read_sync_status(path: Path, stream: str | None = None) -> SyncStatus | None:
    """How the synchronisation with the database ``path`` is doing, for ``stream``.

    None where it has never run. Without ``stream``, the stream answered for last.

    Raises:
        StoreError: the database is there but cannot be read.
    """
    if not path.exists():
        return None
    try:
        connection = open_read_only(path, SCHEMA_VERSION)
    except StoreError:
        if path.exists() and path.stat().st_size > 0:
            raise
        return None  # being made at this moment
    try:
        with told(path, "read"):
            contact = connection.execute(
                "SELECT last_success_utc_s, last_error, last_error_utc_s, refused, failures, "
                "(SELECT count(*) FROM rejected) FROM contact"
            ).fetchone()
            answered = connection.execute(
                "SELECT stream, hwm FROM acknowledged WHERE stream = coalesce(?, stream) "
                "ORDER BY rowid DESC LIMIT 1",
                (stream,),
            ).fetchone()
    finally:
        connection.close()
    name, hwm = answered or (None, 0)
    success, error, error_utc_s, refused, failures, rejected = contact
    return SyncStatus(name, hwm, success, error, error_utc_s, bool(refused), failures, rejected)


def _checkpoint(acknowledged: Acknowledged) -> None:
    with told(acknowledged.path, "checkpoint"):
        acknowledged.writer.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
