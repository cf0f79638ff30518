"""What the server countersigned: that it holds a stream up to a row, and with which hash."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from meterd.errors import NotAReadingError
from meterd.record.signing import PublicKey, verifies


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text and the server's signature of it; docs/protocol.md, "What the server signs"."""

    text: str
    key: str
    signature: str


class Receipt(msgspec.Struct, frozen=True, tag="receipt", tag_field="type"):
    """The server's word for what it holds."""

    meter: str
    stream: str
    epoch: str
    hwm: int
    head: str
    server_utc_s: int


@dataclass(frozen=True, slots=True)
class Countersigned:
    """A receipt as it came, with the key that the meter was given when it was claimed."""

    signed: Signed
    server_key: PublicKey


def read_receipt(countersigned: Countersigned) -> Receipt:
    """The receipt, once its signature was checked.

    Raises:
        NotAReadingError: it is none, or not the server's.
    """
    signed, key = countersigned.signed, countersigned.server_key
    if signed.key != key.fingerprint or not verifies(key, signed.text.encode(), signed.signature):
        raise NotAReadingError("the receipt is not signed by the server's key")
    try:
        return msgspec.json.decode(signed.text, type=Receipt, strict=True)
    except msgspec.MsgspecError as error:
        raise NotAReadingError(f"the signed text is no receipt: {error}") from error
