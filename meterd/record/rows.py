"""Rows of the record that are no readings: events and the checkpoints that sign; docs/protocol.md.

A line is made once. What is stored, hashed, signed, sent and checked starts from these bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from meterd.errors import NotAReadingError
from meterd.model import Stamp
from meterd.record.signing import ALGORITHM, PublicKey, SigningKey, sign, verifies

SCHEMA = "1.1"
ROW_BYTES_MAX = 8192
SIGNATURE = b',"signature":"'
CHECKPOINT_ROWS = 15
"""A signature covers at most so many rows that no signature covered before."""
_T = TypeVar("_T")
_EVENT = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands."""

    meter: str
    stream: str
    seq: int


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is stored: its line, and what is asked of it without decoding."""

    seq: int
    kind: str  # reading, event or checkpoint
    event: str | None
    utc_s: int
    import_j: int | None
    export_j: int | None
    line: bytes


class Said(msgspec.Struct, frozen=True):
    """What any row says of itself; the rest of its line is its kind's."""

    schema: str
    meter: str
    stream: str
    seq: int
    kind: str = "reading"
    boot: int = 0
    boottime_ms: int = 0
    clock: str = "unsynced"
    utc_s: int | None = None
    end_utc_s: int | None = None
    import_j: int | None = None
    export_j: int | None = None
    event: str | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """What a checkpoint says beside that."""

    seq: int
    head: str
    algorithm: str
    key: str
    signature: str
    import_j: int
    export_j: int


class _Event(msgspec.Struct, frozen=True):
    detail: dict[str, object]


def said(line: bytes) -> Said:
    """What the row says of itself.

    Raises:
        NotAReadingError: it is none of any kind.
    """
    return _decoded(line, Said)


def detail(line: bytes) -> dict[str, object]:
    """What an event says.

    Raises:
        NotAReadingError: it is no event.
    """
    return _decoded(line, _Event).detail


def event_row(place: Place, stamp: Stamp, event: str, what: Mapping[str, object]) -> Row:
    """The row that says that ``event`` happened.

    Raises:
        NotAReadingError: a name or a detail that cannot be written, or is too long.
    """
    if _EVENT.fullmatch(event) is None:
        raise NotAReadingError(f"{event!r} is no event's name: 1 to 64 of a-z 0-9 _")
    said_of_it = {"event": event, "detail": dict(what)}
    try:
        line = msgspec.json.encode(_head("event", place, stamp) | said_of_it)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise NotAReadingError(f"the event {event} cannot be written: {error}") from error
    if len(line) > ROW_BYTES_MAX:
        raise NotAReadingError(
            f"the event {event} takes {len(line)} bytes; at most {ROW_BYTES_MAX} are stored"
        )
    return Row(place.seq, "event", event, int(stamp.utc_s), None, None, line)


def checkpoint_row(
    place: Place, stamp: Stamp, head: bytes, registers_j: tuple[int, int], key: SigningKey
) -> Row:
    """The row that signs all rows before it, whose chain ends in ``head``.

    ``registers_j`` are the imported and exported energy at this moment.
    """
    import_j, export_j = registers_j
    fields = _head("checkpoint", place, stamp) | {
        "import_j": import_j,
        "export_j": export_j,
        "head": head.hex(),
        "algorithm": ALGORITHM,
        "key": key.public.fingerprint,
    }
    signed = msgspec.json.encode(fields)[:-1]
    line = signed + SIGNATURE + sign(key, signed).encode() + b'"}'
    return Row(place.seq, "checkpoint", None, int(stamp.utc_s), import_j, export_j, line)


def checkpoint(line: bytes) -> Checkpoint:
    """What a checkpoint says.

    Raises:
        NotAReadingError: it is none, or says something behind its signature.
    """
    found = _decoded(line, Checkpoint)
    if not line.endswith(SIGNATURE + found.signature.encode() + b'"}'):
        raise NotAReadingError(f"checkpoint {found.seq} does not end with its signature")
    return found


def signed_by(line: bytes, found: Checkpoint, key: PublicKey) -> bool:
    """Whether ``key`` signed the checkpoint ``line``, of which ``found`` is what it says."""
    if found.algorithm != ALGORITHM or found.key != key.fingerprint:
        return False
    signed = line[: len(line) - len(SIGNATURE) - len(found.signature) - len(b'"}')]
    return verifies(key, signed, found.signature)


def _head(kind: str, place: Place, stamp: Stamp) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "kind": kind,
        "meter": place.meter,
        "stream": place.stream,
        "seq": place.seq,
        "boot": stamp.boot,
        "boottime_ms": stamp.boottime_ms,
        "clock": stamp.clock,
        "utc_s": int(stamp.utc_s),
    }


def _decoded(line: bytes, into: type[_T]) -> _T:
    try:
        return msgspec.json.decode(line, type=into, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAReadingError(f"the line is not a {into.__name__.lower()}: {error}") from error
