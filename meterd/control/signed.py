"""A signed text of the server: its shape, and whether the server said it to this meter.

``type`` stands first in every text, so that none passes for another; docs/protocol.md, "What the
server signs".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from meterd.database.downlink import SignedText
from meterd.errors import KeyUnusableError, NotSignedError
from meterd.record.signing import PublicKey, load_public, verifies

SERVER_KEY_NAME = "server_key.pub"
KEY_BYTES_MAX = 4096
NUMBER_MAX = 2**53 - 1

Serial = Annotated[str, Meta(min_length=1, max_length=32)]
Date = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class Receipt(Struct, frozen=True):
    """What the server holds of a stream."""

    type: Literal["receipt"]
    meter: Serial
    stream: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    epoch: str
    hwm: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    head: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    server_utc_s: Date


class Settings(Struct, frozen=True):
    """Settings as they came; :mod:`meterd.control.settings` says what may be in them."""

    type: Literal["settings"]
    meter: Serial
    version: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    issued_utc_s: Date
    settings: dict[str, Any]


class Command(Struct, frozen=True):
    """A command as it came; :mod:`meterd.control.commands` says what becomes of it."""

    type: Literal["command"]
    meter: Serial
    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    command: Annotated[str, Meta(min_length=1, max_length=32)]
    issued_utc_s: Date
    expires_utc_s: Date
    arguments: dict[str, Any] | None = None


_Text = TypeVar("_Text", Receipt, Settings, Command)


def decode(text: str, into: type[_Text]) -> _Text:
    """What ``text`` says, whoever said it.

    Raises:
        NotSignedError: it is not of the kind ``into``, or not whole.
    """
    kind = into.__name__.lower()
    if not re.match(rf'\{{\s*"type"\s*:\s*"{kind}"\s*,', text):
        raise NotSignedError(f"a text that should be a {kind} does not begin as one")
    try:
        return msgspec.json.decode(text, type=into, strict=True)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise NotSignedError(f"a text of the kind {kind} is not one: {error}") from error


def verified(signed: SignedText, into: type[_Text], key: PublicKey, serial: str) -> _Text:
    """What the server with ``key`` says to the meter ``serial``.

    Raises:
        NotSignedError: another key signed it, the signature is of something else, or it is
            another kind of text or another meter's.
    """
    kind = into.__name__.lower()
    if signed.key != key.fingerprint:
        raise NotSignedError(
            f"a {kind} is signed by the key {signed.key[:16]} and this meter's server has "
            f"{key.fingerprint[:16]}: claim the meter again if the server has a new key"
        )
    try:
        message = signed.text.encode()
    except UnicodeEncodeError as error:
        raise NotSignedError(f"a {kind} is not text") from error
    if not verifies(key, message, signed.signature):
        raise NotSignedError(f"a {kind} does not carry the server's signature: it was changed")
    said = decode(signed.text, into)
    if said.meter != serial:
        raise NotSignedError(f"a {kind} is for another meter than {serial}")
    return said


def load_server_key(state_dir: Path) -> PublicKey | None:
    """The key that the claim pinned; None where the server named none (schema 1.0).

    Raises:
        KeyUnusableError: the file is there and holds no such key.
    """
    path = state_dir / SERVER_KEY_NAME
    try:
        with path.open("rb") as file:
            text = file.read(KEY_BYTES_MAX).decode("ascii", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyUnusableError(f"cannot read {path}: {error.strerror}: check its owner") from error
    return load_public(text.strip(), str(path))
