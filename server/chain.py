"""The chain of a stream's rows and the meter's signatures of it, followed row by row.

Pure: what is known goes in with the next row, what is known then comes out. A stream begins
unsigned, is sound from its first verified checkpoint on, and stays broken once it is broken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, NamedTuple

from server import wire
from server.errors import BadKeyError
from server.signing import ALGORITHM, VerifyingKey, is_signature, read_key

UNSIGNED_TAIL_ROWS_MAX = 15
"""Rows behind the newest checkpoint for which the meter may still owe the next."""
SIGNATURE_BEGINS = b',"signature":"'
SIGNATURE_ENDS = b'"}'

State = Literal["unsigned", "sound", "broken"]
Source = Literal["claim", "rotation"]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A key that signs, or once signed, for a meter."""

    key: VerifyingKey
    source: Source
    enrolled_utc_s: int
    retired_utc_s: int | None  # None: it is the one that signs now


class Link(NamedTuple):
    """One row of a stream, as the chain sees it."""

    seq: int
    line: bytes
    registers: tuple[int, int] | None = None  # import_j, export_j
    row: wire.Event | wire.Checkpoint | None = None  # what has more to say than its bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """What is known after the row ``seq``."""

    seq: int
    hash: bytes
    state: State = "unsigned"
    reason: str | None = None
    broken_seq: int | None = None
    checkpoint_seq: int | None = None
    key: str | None = None  # fingerprint of the key that signs the stream
    registers: tuple[int, int] | None = None


def genesis(meter: str, stream: str) -> bytes:
    """The hash before a stream's first row."""
    return sha256(f"meterd/1 {meter} {stream}".encode()).digest()


def fully_signed(chain: Chain, hwm: int) -> bool:
    """Whether the rows up to ``hwm`` are verified, but for those the meter has yet to sign."""
    if chain.state != "sound" or chain.seq != hwm or chain.checkpoint_seq is None:
        return False
    return hwm - chain.checkpoint_seq <= UNSIGNED_TAIL_ROWS_MAX


def follow(
    chain: Chain, links: Iterable[Link], enrolled: Sequence[Enrolled], *, meter: str, now_utc_s: int
) -> tuple[Chain, list[Enrolled]]:
    """The chain behind ``links``, which follow on it without a gap, and the keys known then."""
    keys = list(enrolled)
    ahead = deque(links)
    while ahead:
        chain = _over_plain(chain, ahead)
        if not ahead:
            break
        link = ahead.popleft()
        assert link.seq == chain.seq + 1
        said = replace(chain, seq=link.seq)
        if link.registers is not None:
            said = _with_registers(said, link.registers)
        if isinstance(link.row, wire.Checkpoint):
            said = _with_checkpoint(said, link.row, link.line, keys)
        elif isinstance(link.row, wire.Event) and link.row.event == "key":
            said, keys = _with_key(said, link.row, keys, meter, now_utc_s)
        chain = replace(said, hash=sha256(chain.hash + link.line).digest())
    return chain, keys


def _over_plain(chain: Chain, ahead: deque[Link]) -> Chain:
    """Take readings whose registers do not fall off ``ahead``: nearly all rows, so in one go."""
    seq, digest = chain.seq, chain.hash
    import_j, export_j = chain.registers or (0, 0)
    while ahead and (after := ahead[0].registers) is not None and ahead[0].row is None:
        link = ahead[0]
        if after[0] < import_j or after[1] < export_j:
            break
        import_j, export_j = after
        assert link.seq == seq + 1
        seq, digest = link.seq, sha256(digest + link.line).digest()
        ahead.popleft()
    if seq == chain.seq:
        return chain
    return replace(chain, seq=seq, hash=digest, registers=(import_j, export_j))


def _broken(chain: Chain, reason: str) -> Chain:
    """The first reason stays: what follows it follows from it."""
    if chain.state == "broken":
        return chain
    return replace(chain, state="broken", reason=reason, broken_seq=chain.seq)


def _with_registers(chain: Chain, registers: tuple[int, int]) -> Chain:
    before = chain.registers or registers
    fell = any(after < held for held, after in zip(before, registers, strict=True))
    highest = (max(before[0], registers[0]), max(before[1], registers[1]))
    chain = replace(chain, registers=highest)
    return _broken(chain, "register fell") if fell else chain


def _with_checkpoint(
    chain: Chain, row: wire.Checkpoint, line: bytes, enrolled: Sequence[Enrolled]
) -> Chain:
    if row.head != chain.hash.hex():
        return _broken(chain, "head is not the hash of the rows held before it")
    if not enrolled:
        return chain  # claimed without a key: nothing to verify with
    reason = _refusal(chain, row, line, enrolled)
    if reason is not None:
        return _broken(chain, reason)
    signed = replace(chain, key=row.key, checkpoint_seq=row.seq)
    return signed if chain.state == "broken" else replace(signed, state="sound")


def _refusal(
    chain: Chain, row: wire.Checkpoint, line: bytes, enrolled: Sequence[Enrolled]
) -> str | None:
    if row.algorithm != ALGORITHM:
        return f"algorithm {row.algorithm!r} is not known"
    key = _entitled(chain, row.key, row.utc_s, enrolled)
    if key is None:
        return f"key {row.key[:16]} may not sign here"
    signed, begins, rest = line.partition(SIGNATURE_BEGINS)
    if not begins or rest != row.signature.encode() + SIGNATURE_ENDS:
        return "signature does not stand last"
    if not is_signature(key.key, signed, row.signature):
        return "signature is not the key's of this row"
    return None


def _entitled(
    chain: Chain, fingerprint: str, utc_s: int, enrolled: Sequence[Enrolled]
) -> Enrolled | None:
    """The key, if it was the meter's at that date and no other has taken its place in the stream.

    In a stream another key follows only by a ``key`` event or as the one that was claimed with.
    """
    for key in reversed(enrolled):
        if key.key.fingerprint != fingerprint:
            continue
        current = key.retired_utc_s is None
        in_time = key.retired_utc_s is None or utc_s <= key.retired_utc_s
        if in_time and (current or chain.key in (None, fingerprint)):
            return key
    return None


def _with_key(
    chain: Chain, event: wire.Event, enrolled: Sequence[Enrolled], meter: str, now_utc_s: int
) -> tuple[Chain, list[Enrolled]]:
    """Enrol the new key if the old one, which is the meter's, and the new one both say so."""
    keys = list(enrolled)
    if not keys:
        return chain, keys  # claimed without a key: there is none to change
    detail = wire.detail_of(event, wire.KeyChange)
    if isinstance(detail, str):
        return _broken(chain, f"change of key: {detail}"), keys
    old = _entitled(chain, detail.old_key, event.utc_s, keys)
    new = _signed_by_both(detail, old, meter)
    if old is None or new is None:
        return _broken(chain, "change of key: not signed by the meter's key and the new one"), keys
    if all(key.key.fingerprint != new.fingerprint for key in keys):
        keys = _succeeded(keys, old, new, now_utc_s)
    return replace(chain, key=new.fingerprint), keys


def _succeeded(
    enrolled: Sequence[Enrolled], old: Enrolled, new: VerifyingKey, now_utc_s: int
) -> list[Enrolled]:
    """``new`` takes the place of ``old``; if a claim retired that one, it retired both."""
    retired = replace(old, retired_utc_s=old.retired_utc_s or now_utc_s)
    keys = [retired if key is old else key for key in enrolled]
    return [*keys, Enrolled(new, "rotation", now_utc_s, old.retired_utc_s)]


def _signed_by_both(
    detail: wire.KeyChange, old: Enrolled | None, meter: str
) -> VerifyingKey | None:
    """The new key, if all of the event is as docs/protocol.md says."""
    try:
        new = read_key(detail.public_key)
    except BadKeyError:
        return None
    message = f"meterd key {meter} {detail.old_key} {detail.new_key}".encode()
    good = (
        old is not None
        and new.fingerprint == detail.new_key
        and is_signature(old.key, message, detail.old_signature)
        and is_signature(new, message, detail.new_signature)
    )
    return new if good else None
