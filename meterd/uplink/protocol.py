"""docs/protocol.md from the meter's side: what is asked, and what an answer means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from meterd.errors import ServerRefusedError, ServerUnavailableError
from meterd.uplink.exchange import Answer, Exchange

SCHEMA_MAJOR = "1"
LINES_MAX = 1000
BODY_BYTES_MAX = 1024 * 1024
TEXT_CHARACTERS_MAX = 300
SIGNED_CHARACTERS_MAX = 4096
COMMANDS_MAX = 16
MISSING_MAX = 16

TOO_LARGE = 413
LATER = frozenset({408, 425, 429})
"""With 5xx: the same request may be right later (RFC 9110, RFC 8470, RFC 6585)."""

Fingerprint = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_T = TypeVar("_T")
Prover = Callable[[str], tuple[str, str]]
"""From a claim code without its dash: the meter's public key, and the proof that it has the key."""


class RowAnswer(Struct, frozen=True):
    """What became of one line."""

    seq: Annotated[int, Meta(ge=1)]
    result: Literal["stored", "duplicate", "conflict", "invalid"]
    reason: str = ""


class SignedAnswer(Struct, frozen=True):
    """A text of the server with its signature, neither of them believed yet."""

    text: Annotated[str, Meta(min_length=2, max_length=SIGNED_CHARACTERS_MAX)]
    key: Fingerprint
    signature: Annotated[str, Meta(min_length=1, max_length=200)]


class StreamAnswer(Struct, frozen=True):
    """How far the server is with a stream; a server of schema 1.0 says nothing after ``rows``."""

    schema: str
    stream: str
    epoch: Annotated[str, Meta(min_length=1, max_length=100)]
    hwm: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    server_utc_s: int
    rows: Annotated[tuple[RowAnswer, ...], Meta(max_length=LINES_MAX)] = ()
    head: Fingerprint | None = None
    missing: Annotated[tuple[tuple[_Seq, _Seq], ...], Meta(max_length=MISSING_MAX)] = ()
    receipt: SignedAnswer | None = None
    settings_version: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    settings: SignedAnswer | None = None
    commands: Annotated[tuple[SignedAnswer, ...], Meta(max_length=COMMANDS_MAX)] = ()


class ClaimAnswer(Struct, frozen=True):
    """Who the meter is from now on."""

    meter: str
    credential: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,200}\Z")]
    server_key: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/=]{1,1000}\Z")] | None = None


class _Error(Struct, frozen=True):
    code: str = ""
    message: str = ""


class _ErrorAnswer(Struct, frozen=True):
    error: _Error


def post_claim(
    exchange: Exchange, code: str, serial: str, prover: Prover | None = None
) -> ClaimAnswer:
    """Ask for a credential with a claim code; ``prover`` is None for a meter without a key.

    Raises:
        ServerRefusedError: the code is wrong, used, expired or another meter's.
        ServerUnavailableError: no usable answer; the code may have been used up.
    """
    code = code.strip().upper()
    asked = {"code": code, "meter": serial}
    if prover is not None:
        asked["public_key"], asked["proof"] = prover(code.replace("-", ""))
    answer = exchange("POST", "/api/v1/claim", msgspec.json.encode(asked), "application/json")
    claimed = decode(answer, ClaimAnswer)
    if claimed.meter != serial:
        raise ServerRefusedError(
            f"the server answered for meter {printable(claimed.meter)} and this one is {serial}"
        )
    return claimed


def post_lines(
    exchange: Exchange, stream: str, rows: Sequence[tuple[int, bytes]], settings_version: int
) -> Answer:
    """Send stored lines as they are; the answer is still to be decoded, for it may be a 413."""
    body = b"".join(line + b"\n" for _, line in rows)
    assert 1 <= len(rows) <= LINES_MAX
    assert len(body) <= BODY_BYTES_MAX
    path = f"/api/v1/readings/{stream}?first_seq={rows[0][0]}&settings={settings_version}"
    return exchange("POST", path, body, "application/x-ndjson")


def get_stream(exchange: Exchange, stream: str, settings_version: int) -> Answer:
    """Ask how far the server is."""
    return exchange("GET", f"/api/v1/readings/{stream}?settings={settings_version}")


def decode_stream(answer: Answer, stream: str) -> StreamAnswer:
    """What the server says of ``stream``.

    Raises:
        ServerRefusedError: it said no, or speaks another major version.
        ServerUnavailableError: it cannot now, or this is no answer of a meter server.
    """
    state = decode(answer, StreamAnswer)
    if state.schema.partition(".")[0] != SCHEMA_MAJOR:
        raise ServerRefusedError(
            f"the server speaks version {printable(state.schema)} of the protocol and this meter "
            f"{SCHEMA_MAJOR}: update the meter"
        )
    if state.stream != stream:
        raise ServerUnavailableError(
            f"the server answered for stream {printable(state.stream)} instead of {stream}"
        )
    return state


def decode(answer: Answer, into: type[_T]) -> _T:
    """The body of a 200; any other status is an error of ours with the server's own words."""
    if answer.status != 200:
        raise _refusal(answer)
    try:
        return msgspec.json.decode(answer.body, type=into, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServerUnavailableError(
            f"what answers is not a meter server, or something stands between: {error}"
        ) from error


def _refusal(answer: Answer) -> ServerRefusedError | ServerUnavailableError:
    try:
        said = msgspec.json.decode(answer.body, type=_ErrorAnswer).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = _Error(message="no reason given")
    message = f"{answer.status} {printable(said.code)}: {printable(said.message)}"
    if answer.status >= 500 or answer.status in LATER:
        return ServerUnavailableError(f"the server says later: {message}", answer.retry_after_s)
    if answer.status == 401:
        message += ": claim this meter again with meterctl claim CODE"
    if 300 <= answer.status < 400:
        message += ": write the address that it redirects to into [sync] server"
    return ServerRefusedError(f"the server refuses: {message}")


def printable(text: str) -> str:
    """Words of others for a log or a display: one line, bounded."""
    return "".join(c if c.isprintable() else " " for c in text[:TEXT_CHARACTERS_MAX])
