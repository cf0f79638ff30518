"""The chain of a stream's rows: each hash covers its row and all rows before it.

h₀ = SHA-256("meterd/1 " ‖ meter ‖ " " ‖ stream), hₙ = SHA-256(hₙ₋₁ ‖ row n): the row's bytes as
they are stored, without a newline. Nothing is encoded anew to be hashed: what is verified is what
is kept and sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HASH_BYTES = 32


def genesis(meter: str, stream: str) -> bytes:
    """The hash before a stream's first row."""
    return hashlib.sha256(f"meterd/1 {meter} {stream}".encode()).digest()


def link(before: bytes, line: bytes) -> bytes:
    """The hash behind ``line``, whose predecessors have the hash ``before``."""
    assert len(before) == HASH_BYTES
    assert b"\n" not in line
    return hashlib.sha256(before + line).digest()


def linked(before: bytes, lines: Iterable[bytes]) -> bytes:
    """The hash behind the last of ``lines``."""
    for line in lines:
        before = link(before, line)
    return before
