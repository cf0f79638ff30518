"""Secrets: made, and kept only as hashes.

A secret of 256 random bits needs no slow hash (SHA-256); what people choose or type does: argon2id
with 19 MiB, two passes and one lane, the parameters of the OWASP Password Storage Cheat Sheet.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass, field

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from server.errors import BusyError

AT_ONCE_MAX = 2
WAIT_S = 5.0
CLAIM_ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
CLAIM_GROUPS = 2
CLAIM_GROUP_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class SlowHashing:
    """argon2id, of which two at most run at a time: each takes 19 MiB and a core."""

    hasher: PasswordHasher = field(
        default_factory=lambda: PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
    )
    turns: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(AT_ONCE_MAX)
    )


def slow_hash(hashing: SlowHashing, secret: str) -> str:
    """The hash with its salt and parameters, to be stored.

    Raises:
        BusyError: no turn within five seconds.
    """
    with _Turn(hashing):
        return hashing.hasher.hash(secret)


def slow_verify(hashing: SlowHashing, stored: str, secret: str) -> bool:
    """Whether ``secret`` is the one whose hash was stored.

    Raises:
        BusyError: no turn within five seconds.
    """
    with _Turn(hashing):
        try:
            return hashing.hasher.verify(stored, secret)
        except (VerificationError, InvalidHashError):
            return False


def new_secret() -> str:
    """256 random bits in 43 characters of ``A–Z a–z 0–9 _ -``."""
    return secrets.token_urlsafe(32)


def quick_hash(secret: str) -> bytes:
    """SHA-256, for secrets of :func:`new_secret` only."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_claim_code() -> str:
    """Such as ``K7QM-2XWD``: 39 bits, in characters that are not taken for one another."""
    groups = (
        "".join(secrets.choice(CLAIM_ALPHABET) for _ in range(CLAIM_GROUP_CHARACTERS))
        for _ in range(CLAIM_GROUPS)
    )
    return "-".join(groups)


class _Turn:
    """One of the two places at the hash, for the length of a ``with`` block."""

    def __init__(self, hashing: SlowHashing) -> None:
        self._turns = hashing.turns

    def __enter__(self) -> None:
        if not self._turns.acquire(timeout=WAIT_S):
            raise BusyError("too many people are logging in at once; try again in a moment")

    def __exit__(self, *_: object) -> None:
        self._turns.release()
