"""Rows as a file that can be checked anywhere: a line that says what it is, then the rows' bytes.

The first line is written in one way only, so that no bit of it can be another. It names the key
that signed, the hash before the first row, how many rows there are, and what the server signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from meterd.errors import KeyUnusableError, NotAReadingError
from meterd.record.receipt import Countersigned, Signed
from meterd.record.rows import ROW_BYTES_MAX
from meterd.record.signing import PublicKey, load_public
from meterd.record.verify import Claimed, Problem, Report, verify

HEADER_BYTES_MAX = 16 * 1024
HASH_DIGITS = 64


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of an exported file."""

    export: Literal["meterd/1"]
    meter: str
    stream: str
    first_seq: int
    rows: int
    before: str
    key: str
    server_key: str | None
    receipt: Signed | None


def header(
    claimed: Claimed,
    rows: int,
) -> bytes:
    """The first line of a file with these rows, without its newline."""
    assert claimed.key is not None
    signed = claimed.countersigned
    return msgspec.json.encode(
        Header(
            "meterd/1",
            claimed.meter,
            claimed.stream,
            claimed.first_seq,
            rows,
            claimed.before.hex(),
            claimed.key.text,
            None if signed is None else signed.server_key.text,
            None if signed is None else signed.signed,
        )
    )


def verify_file(pieces: Iterable[bytes], trusted: PublicKey | None = None) -> Report:
    """Check an exported file, given as lines with their newlines.

    ``trusted`` is the meter's key from elsewhere; without it the file's own is used, and its
    fingerprint is to be compared with the one that the meter's display shows.
    """
    lines = iter(pieces)
    first = next(lines, b"")
    report = Report("", "", 0)
    try:
        claimed = _claimed(first)
    except (NotAReadingError, KeyUnusableError) as error:
        report.problems.append(Problem("tampered", None, str(error)))
        return report
    if trusted is not None and claimed.key != trusted:
        report.problems.append(
            Problem("tampered", None, "the file names another key than the one that is trusted")
        )
        return report
    ends = _Ends()
    report = verify(ends.cut(lines), claimed)
    if ends.torn:
        report.problems.append(Problem("incomplete", None, "the last line has no end"))
    return report


class _Ends:
    """Takes newlines off, and notices where the last one is missing."""

    def __init__(self) -> None:
        self.torn = False

    def cut(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.torn = not line.endswith(b"\n")
            yield line.removesuffix(b"\n")[: ROW_BYTES_MAX + 1]


def _claimed(first: bytes) -> Claimed:
    line = first.removesuffix(b"\n")
    if len(line) > HEADER_BYTES_MAX:
        raise NotAReadingError("the first line is far too long for an exported record")
    try:
        found = msgspec.json.decode(line, type=Header, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAReadingError(f"the first line is not that of an exported record: {error}") from (
            error
        )
    if msgspec.json.encode(found) != line or first == line:
        raise NotAReadingError("the first line is not written as an exported record's")
    try:
        before = bytes.fromhex(found.before)
    except ValueError as error:
        raise NotAReadingError("the hash before the first row is none") from error
    if len(found.before) != HASH_DIGITS or found.before != before.hex():
        raise NotAReadingError("the hash before the first row is none")
    return Claimed(
        meter=found.meter,
        stream=found.stream,
        first_seq=found.first_seq,
        before=before,
        key=_key(found.key, "the key in the first line"),
        whole=True,
        rows=found.rows,
        countersigned=_countersigned(found),
    )


def _countersigned(found: Header) -> Countersigned | None:
    if (found.receipt is None) != (found.server_key is None):
        raise NotAReadingError("a receipt and the server's key go together")
    if found.receipt is None or found.server_key is None:
        return None
    return Countersigned(found.receipt, _key(found.server_key, "the server's key"))


def _key(text: str, where: str) -> PublicKey:
    key = load_public(text, where)
    if key.text != text:
        raise NotAReadingError(f"{where} is not written as keys are")
    return key
