"""The lines of docs/protocol.md, decoded strictly and never encoded again."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

SCHEMA_MAJOR = "1"
SCHEMA = "1.0"
LINES_MAX = 1000
BODY_BYTES_MAX = 1 << 20
REASON_CHARACTERS_MAX = 300
SEQ_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

SERIAL_PATTERN = r"^[A-Za-z0-9._-]{1,32}\Z"
STREAM_PATTERN = r"^[0-9a-f]{32}\Z"
SCHEMA_PATTERN = r"^[0-9]{1,4}\.[0-9]{1,4}\Z"

Utc = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]  # to the end of the year 9999
Joule = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Flag = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]{1,32}\Z")]


class Reading(msgspec.Struct, frozen=True):
    """One interval; fields, units and meanings as docs/protocol.md lists them."""

    schema: Annotated[str, msgspec.Meta(pattern=SCHEMA_PATTERN)]
    meter: Annotated[str, msgspec.Meta(pattern=SERIAL_PATTERN)]
    stream: Annotated[str, msgspec.Meta(pattern=STREAM_PATTERN)]
    seq: Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
    end_utc_s: Utc
    interval_s: Annotated[int, msgspec.Meta(ge=1, le=3600)]
    measured_s: NotNegative
    coverage_pct: Annotated[float, msgspec.Meta(ge=0, le=100)]
    clock: Literal["synced", "unsynced", "unknown"]
    flags: Annotated[list[Flag], msgspec.Meta(max_length=32)]
    frequency_hz: float | None
    voltage_v: float | None
    current_a: float | None
    power_w: float | None
    apparent_va: float | None
    reactive_var: float | None
    nonactive_var: float | None
    power_factor: float | None
    phase_deg: float | None
    thd_voltage_pct: float | None
    thd_current_pct: float | None
    import_j: Joule
    export_j: Joule


class Invalid(msgspec.Struct, frozen=True):
    """Why a line is not a reading."""

    reason: str


class UnknownMajor(msgspec.Struct, frozen=True):
    """A line of a major schema version that this server does not know."""

    schema: str


class _Versioned(msgspec.Struct, frozen=True):
    schema: str


class Claim(msgspec.Struct, frozen=True):
    """What ``POST /api/v1/claim`` carries."""

    code: Annotated[str, msgspec.Meta(max_length=64)]
    meter: Annotated[str, msgspec.Meta(max_length=64)]


READING_DECODER = msgspec.json.Decoder(Reading)
VERSIONED_DECODER = msgspec.json.Decoder(_Versioned)
CLAIM_DECODER = msgspec.json.Decoder(Claim)


def split_lines(body: bytes) -> list[bytes] | None:
    """The lines of a body without their ends; None if it is empty or the last has no end."""
    if not body.endswith(b"\n"):
        return None
    return body[:-1].split(b"\n")


def decode(line: bytes, *, meter: str, stream: str, seq: int) -> Reading | Invalid | UnknownMajor:
    """One line, and whether it is what the request says it is.

    ``meter``, ``stream`` and ``seq`` are the credential's, the address's and the position's.
    """
    try:
        decoded = READING_DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(line, error)
    if decoded.schema.split(".")[0] != SCHEMA_MAJOR:
        return UnknownMajor(decoded.schema)
    wanted = (("meter", decoded.meter, meter), ("stream", decoded.stream, stream))
    for name, found, expected in wanted:
        if found != expected:
            return Invalid(f"{name} is {found!r}, this request is for {expected!r}")
    if decoded.seq != seq:
        return Invalid(f"seq is {decoded.seq}, this line's place in the request says {seq}")
    return decoded


def _unreadable(line: bytes, error: Exception) -> Invalid | UnknownMajor:
    try:
        schema = VERSIONED_DECODER.decode(line).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Invalid(str(error)[:REASON_CHARACTERS_MAX])
    major = schema.split(".")[0]
    if major.isdecimal() and major != SCHEMA_MAJOR:
        return UnknownMajor(schema[:16])
    return Invalid(str(error)[:REASON_CHARACTERS_MAX])
