"""The lines of docs/protocol.md, decoded strictly and never encoded again."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

SCHEMA_MAJOR = "1"
SCHEMA_MINOR = 1
SCHEMA = f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}"
LINES_MAX = 1000
BODY_BYTES_MAX = 1 << 20
REASON_CHARACTERS_MAX = 300
SEQ_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

SERIAL_PATTERN = r"^[A-Za-z0-9._-]{1,32}\Z"
STREAM_PATTERN = r"^[0-9a-f]{32}\Z"
SCHEMA_PATTERN = r"^[0-9]{1,4}\.[0-9]{1,4}\Z"
HASH_PATTERN = r"^[0-9a-f]{64}\Z"
NAME_PATTERN = r"^[a-z0-9_]{1,64}\Z"
KEY_CHARACTERS_MAX = 200

Utc = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]  # to the end of the year 9999
Joule = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Flag = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]{1,32}\Z")]
Schema = Annotated[str, msgspec.Meta(pattern=SCHEMA_PATTERN)]
Serial = Annotated[str, msgspec.Meta(pattern=SERIAL_PATTERN)]
Stream = Annotated[str, msgspec.Meta(pattern=STREAM_PATTERN)]
Seq = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
Boot = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
BoottimeMs = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
Clock = Literal["synced", "relative", "informative", "unknown", "unsynced"]
Hash = Annotated[str, msgspec.Meta(pattern=HASH_PATTERN)]
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
KeyText = Annotated[str, msgspec.Meta(max_length=KEY_CHARACTERS_MAX)]


class Reading(msgspec.Struct, frozen=True):
    """One interval; fields, units and meanings as docs/protocol.md lists them."""

    schema: Schema
    meter: Serial
    stream: Stream
    seq: Seq
    end_utc_s: Utc
    interval_s: Annotated[int, msgspec.Meta(ge=1, le=3600)]
    measured_s: NotNegative
    coverage_pct: Annotated[float, msgspec.Meta(ge=0, le=100)]
    clock: Clock
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
    kind: Literal["reading"] = "reading"
    boot: Boot | None = None
    boottime_ms: BoottimeMs | None = None


class Event(msgspec.Struct, frozen=True):
    """Something that happened to the meter, or that it did."""

    schema: Schema
    kind: Literal["event"]
    meter: Serial
    stream: Stream
    seq: Seq
    boot: Boot
    boottime_ms: BoottimeMs
    clock: Clock
    utc_s: Utc
    event: Name
    detail: dict[str, Any]


class Checkpoint(msgspec.Struct, frozen=True):
    """The meter's signature of all rows before it."""

    schema: Schema
    kind: Literal["checkpoint"]
    meter: Serial
    stream: Stream
    seq: Seq
    boot: Boot
    boottime_ms: BoottimeMs
    clock: Clock
    utc_s: Utc
    import_j: Joule
    export_j: Joule
    head: Hash
    algorithm: Annotated[str, msgspec.Meta(max_length=64)]
    key: Hash
    signature: KeyText


class Other(msgspec.Struct, frozen=True):
    """A row of a kind that is newer than this server: kept, not understood."""

    schema: Schema
    kind: Name
    meter: Serial
    stream: Stream
    seq: Seq
    boot: Boot | None = None
    boottime_ms: BoottimeMs | None = None


class Anchor(msgspec.Struct, frozen=True):
    """Of an ``anchor`` event's detail: what ties a boot's own time to UTC."""

    utc_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    boottime_ms: BoottimeMs


class CommandAnswer(msgspec.Struct, frozen=True):
    """Of a ``command`` event's detail: how far the meter is with it."""

    id: Annotated[str, msgspec.Meta(pattern=STREAM_PATTERN)]
    state: Literal["accepted", "done", "failed", "refused", "expired", "interrupted"]
    result: Any = None


class KeyChange(msgspec.Struct, frozen=True):
    """A ``key`` event's detail: another key signs from now on."""

    old_key: Hash
    new_key: Hash
    public_key: KeyText
    old_signature: KeyText
    new_signature: KeyText


Row = Reading | Event | Checkpoint | Other
Detail = TypeVar("Detail", Anchor, CommandAnswer, KeyChange)


class Invalid(msgspec.Struct, frozen=True):
    """Why a line is not a reading."""

    reason: str


class UnknownMajor(msgspec.Struct, frozen=True):
    """A line of a major schema version that this server does not know."""

    schema: str


class _Versioned(msgspec.Struct, frozen=True):
    schema: str
    kind: str = "reading"


class Claim(msgspec.Struct, frozen=True):
    """What ``POST /api/v1/claim`` carries."""

    code: Annotated[str, msgspec.Meta(max_length=64)]
    meter: Annotated[str, msgspec.Meta(max_length=64)]
    public_key: KeyText | None = None
    proof: KeyText | None = None


READING_DECODER = msgspec.json.Decoder(Reading)
EVENT_DECODER = msgspec.json.Decoder(Event)
CHECKPOINT_DECODER = msgspec.json.Decoder(Checkpoint)
OTHER_DECODER = msgspec.json.Decoder(Other)
VERSIONED_DECODER = msgspec.json.Decoder(_Versioned)
CLAIM_DECODER = msgspec.json.Decoder(Claim)


def split_lines(body: bytes) -> list[bytes] | None:
    """The lines of a body without their ends; None if it is empty or the last has no end."""
    if not body.endswith(b"\n"):
        return None
    return body[:-1].split(b"\n")


def decode(line: bytes, *, meter: str, stream: str, seq: int) -> Row | Invalid | UnknownMajor:
    """One line, and whether it is what the request says it is.

    ``meter``, ``stream`` and ``seq`` are the credential's, the address's and the position's.
    """
    decoded = _decoded(line)
    if isinstance(decoded, Invalid | UnknownMajor):
        return decoded
    if decoded.schema.split(".")[0] != SCHEMA_MAJOR:
        return UnknownMajor(decoded.schema)
    wanted = (("meter", decoded.meter, meter), ("stream", decoded.stream, stream))
    for name, found, expected in wanted:
        if found != expected:
            return Invalid(f"{name} is {found!r}, this request is for {expected!r}")
    if decoded.seq != seq:
        return Invalid(f"seq is {decoded.seq}, this line's place in the request says {seq}")
    return decoded


def detail_of(event: Event, kind: type[Detail]) -> Detail | str:
    """An event's detail as ``kind``, or the sentence that says why it is none."""
    try:
        return msgspec.convert(event.detail, kind)
    except msgspec.ValidationError as error:
        return str(error)[:REASON_CHARACTERS_MAX]


def _decoded(line: bytes) -> Row | Invalid | UnknownMajor:
    """Readings are tried first: they are most of what comes."""
    try:
        return READING_DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        unreadable = Invalid(str(error)[:REASON_CHARACTERS_MAX])
    try:
        versioned = VERSIONED_DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return unreadable
    major, _, minor = versioned.schema.partition(".")
    if major.isdecimal() and major != SCHEMA_MAJOR:
        return UnknownMajor(versioned.schema[:16])
    if versioned.kind == "reading":
        return unreadable
    newer = minor.isdecimal() and int(minor[:4]) > SCHEMA_MINOR
    return _decoded_as(line, versioned.kind, newer=newer)


def _decoded_as(line: bytes, kind: str, *, newer: bool) -> Row | Invalid:
    decoders: dict[str, msgspec.json.Decoder[Any]] = {
        "event": EVENT_DECODER,
        "checkpoint": CHECKPOINT_DECODER,
    }
    if kind not in decoders and not newer:
        return Invalid(f"kind {kind[:64]!r} is none of schema {SCHEMA}")
    try:
        row: Row = decoders.get(kind, OTHER_DECODER).decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Invalid(str(error)[:REASON_CHARACTERS_MAX])
    return row
