"""Writes tests/wire/chain.ndjson and chain.json: a short signed stream, and others like it.

    python tools/golden_chain.py

Run it when the protocol changes, and commit what it makes: ECDSA is random, so each run's
signatures differ, while lines without signatures stay. It shares no code with either program.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

WIRE = Path(__file__).parents[1] / "tests" / "wire"
METER = "MX-000001"
STREAM = "8c5a0a5e4a5b4f0c9f6f0d8a4d1b2c3e"
BOOT = 7
BEGIN_UTC_S = 1_763_846_338
BEGIN_MS = 20_114
EXAMPLE = json.loads((WIRE / "readings.ndjson").read_bytes().splitlines()[0])

Fields = dict[str, Any]
Alter = Callable[[int, Fields], Fields]


def test_key(name: str) -> ec.EllipticCurvePrivateKey:
    """A key that everybody knows: made of its name, for tests alone."""
    secret = hashlib.sha256(f"meterd TEST KEY {name}, never use it".encode()).digest()
    return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())


OLD, NEW, STRANGER = (test_key(name) for name in ("old", "new", "stranger"))


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def fingerprint(key: ec.EllipticCurvePrivateKey) -> str:
    return hashlib.sha256(der(key)).hexdigest()


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> str:
    return base64.b64encode(key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()


def encode(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass
class Chain:
    """Lines as the meter writes them, with the hash behind each."""

    alter: Alter = lambda seq, fields: fields
    signer: Callable[[int, ec.EllipticCurvePrivateKey], ec.EllipticCurvePrivateKey] = (
        lambda seq, key: key
    )
    rotation_signer: ec.EllipticCurvePrivateKey = OLD
    prefix: list[bytes] = field(default_factory=list)  # rows that are written already
    lines: list[bytes] = field(default_factory=list)
    heads: list[str] = field(
        default_factory=lambda: [hashlib.sha256(f"meterd/1 {METER} {STREAM}".encode()).hexdigest()]
    )

    def begin(self, kind: str, after_s: int, clock: str) -> Fields:
        return {
            "schema": "1.1",
            "kind": kind,
            "meter": METER,
            "stream": STREAM,
            "seq": len(self.lines) + 1,
            "boot": BOOT,
            "boottime_ms": BEGIN_MS + after_s * 1000,
            "clock": clock,
        }

    def append(self, line: bytes) -> None:
        line = (self.prefix[len(self.lines) :] or [line])[0]
        self.lines.append(line)
        before = bytes.fromhex(self.heads[-1])
        self.heads.append(hashlib.sha256(before + line).hexdigest())

    def event(self, after_s: int, event: str, detail: Fields, clock: str = "synced") -> None:
        fields = self.begin("event", after_s, clock)
        fields |= {"utc_s": BEGIN_UTC_S + after_s, "event": event, "detail": detail}
        self.append(encode(self.alter(len(self.lines) + 1, fields)))

    def reading(self, after_s: int, import_j: int) -> None:
        rest = {
            name: EXAMPLE[name]
            for name in EXAMPLE
            if name not in ("schema", "meter", "stream", "seq", "clock", "end_utc_s")
        }
        fields = self.begin("reading", after_s, "synced")
        fields |= {"end_utc_s": BEGIN_UTC_S + after_s} | rest | {"import_j": import_j}
        self.append(encode(self.alter(len(self.lines) + 1, fields)))

    def checkpoint(
        self, after_s: int, import_j: int, key: ec.EllipticCurvePrivateKey, clock: str = "synced"
    ) -> None:
        seq = len(self.lines) + 1
        fields = self.begin("checkpoint", after_s, clock)
        fields |= {"utc_s": BEGIN_UTC_S + after_s, "import_j": import_j, "export_j": 0}
        fields |= {"head": self.heads[-1], "algorithm": "ecdsa-p256-sha256"}
        signer = self.signer(seq, key)
        fields = self.alter(seq, fields | {"key": fingerprint(signer)})
        signed = encode(fields)[:-1]
        signature = sign(signer, signed)
        self.append(signed + b',"signature":"' + signature.encode() + b'"}')

    def rotation(self, after_s: int) -> None:
        old, new = fingerprint(OLD), fingerprint(NEW)
        message = f"meterd key {METER} {old} {new}".encode()
        detail = {
            "old_key": old,
            "new_key": new,
            "public_key": base64.b64encode(der(NEW)).decode(),
            "old_signature": sign(self.rotation_signer, message),
            "new_signature": sign(NEW, message),
        }
        self.event(after_s, "key", detail)


def written(chain: Chain) -> Chain:
    """Fourteen rows: start, clock set, readings, calibration, change of the key, stop."""
    registers = {"import_j": 28_001, "export_j": 0}
    boot = {"version": "0.1.0", "serial": METER, "registers": registers, "left": "stopped"}
    chain.event(0, "boot", boot, "informative")
    chain.checkpoint(0, 28_001, OLD, "informative")
    utc_ms = (BEGIN_UTC_S + 2) * 1000 + 250
    anchor = {"utc_ms": utc_ms, "boottime_ms": BEGIN_MS + 2000, "uncertainty_ms": 12}
    chain.event(2, "anchor", anchor | {"source": "kernel", "stepped_ms": 250})
    chain.checkpoint(2, 28_010, OLD)
    chain.reading(62, 28_807)
    chain.reading(122, 57_614)
    calibration = {"counter": 1, "old": {"voltage_gain": 511.87}, "new": {"voltage_gain": 511.9}}
    chain.event(130, "calibration", calibration | {"by": "María"})
    chain.checkpoint(130, 61_455, OLD)
    chain.reading(182, 86_421)
    chain.rotation(190)
    chain.checkpoint(190, 90_262, NEW)
    chain.reading(242, 115_228)
    chain.event(250, "stop", {"registers": {"import_j": 119_069, "export_j": 0}})
    chain.checkpoint(250, 119_069, NEW)
    return chain


def at(seq: int, **changes: Any) -> Alter:
    return lambda found, fields: fields | changes if found == seq else fields


def variants(sound: Chain) -> list[Fields]:
    """Streams that are not as the meter wrote them; ``seq`` is where that shows."""

    def tampered(name: str, seq: int, lines: dict[int, bytes]) -> Fields:
        texts = {str(number): line.decode() for number, line in lines.items()}
        return {"name": name, "verdict": "tampered", "seq": seq, "lines": texts}

    def resigned(name: str, seq: int, chain: Chain) -> Fields:
        chain.prefix = sound.lines[: seq - 1]
        lines = dict(enumerate(written(chain).lines, 1))
        return tampered(name, seq, {n: lines[n] for n in lines if n >= seq})

    def edited(name: str, seq: int, row: int, old: bytes, new: bytes) -> Fields:
        assert sound.lines[row - 1].count(old) == 1, name
        return tampered(name, seq, {row: sound.lines[row - 1].replace(old, new)})

    def signed_by(seq: int, signer: ec.EllipticCurvePrivateKey) -> Chain:
        return Chain(signer=lambda found, key: signer if found == seq else key)

    return [
        edited("a register raised", 8, 5, b'"import_j":28807', b'"import_j":28808'),
        edited("a calibration hidden", 8, 7, b'"new":{"voltage_gain":511.9}', b'"new":{}'),
        edited("a first event altered", 2, 1, b'"left":"stopped"', b'"left":"running"'),
        edited("a date altered", 8, 6, b'"boottime_ms":142114', b'"boottime_ms":142115'),
        edited("a checkpoint's register raised", 4, 4, b'"import_j":28010', b'"import_j":28011'),
        edited("a field behind the signature", 2, 2, b'"}', b'","more":0}'),
        resigned("a stranger's signature", 4, signed_by(4, STRANGER)),
        resigned("the old key after the change", 14, signed_by(14, OLD)),
        resigned("the new key before the change", 8, signed_by(8, NEW)),
        resigned("a change of key that a stranger signed", 10, Chain(rotation_signer=STRANGER)),
        resigned("an unknown algorithm", 2, Chain(alter=at(2, algorithm="none"))),
        resigned("another head, signed well", 8, Chain(alter=at(8, head="0" * 64))),
        resigned("a register that fell, signed well", 9, Chain(alter=at(9, import_j=57_613))),
        {
            "name": "a row left out",
            "verdict": "tampered",
            "at_server": "incomplete",
            "seq": 6,
            "without": [6],
        },
        {
            "name": "the end cut off behind a signature",
            "verdict": "sound",
            "without": [12, 13, 14],
        },
    ]


def exchanges(sound: Chain) -> list[Fields]:
    """Requests in this order on one stream of a new server, and what it answers."""

    def answer(name: str, first: int, last: int, hwm: int, **more: Any) -> Fields:
        lines = list(range(first, last + 1))
        head = sound.heads[hwm]
        return {"name": name, "lines": lines, "hwm": hwm, "head": head, "missing": []} | more

    return [
        answer("a start without a checkpoint", 1, 1, 1, receipt=False),
        answer("signed", 2, 4, 4, receipt=True),
        answer("a hole", 9, 11, 4, receipt=True, missing=[[5, 8]]),
        answer("again", 1, 4, 4, receipt=True, missing=[[5, 8]]),
        answer("the hole filled, a key changed", 5, 8, 11, receipt=True),
        answer("the end", 12, 14, 14, receipt=True),
    ]


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def described(key: ec.EllipticCurvePrivateKey) -> Fields:
    return {
        "TEST_private_key": pem(key),
        "public_key": base64.b64encode(der(key)).decode(),
        "fingerprint": fingerprint(key),
    }


def main() -> None:
    sound = written(Chain())
    content = {
        "_": "chain.ndjson as tools/golden_chain.py wrote it. TEST KEYS: everybody knows them. "
        "old is enrolled by the claim. A variant is the stream with these lines in place of its "
        "own, or without some; seq is the row where it shows; verdict is of a whole file, "
        "at_server, where it differs, of a stream of which more may come.",
        "meter": METER,
        "stream": STREAM,
        "keys": {"old": described(OLD), "new": described(NEW), "stranger": described(STRANGER)},
        "claim": {
            "code": "K7QM-2XWD",
            "public_key": base64.b64encode(der(OLD)).decode(),
            "proof": sign(OLD, f"meterd claim K7QM2XWD {METER} {fingerprint(OLD)}".encode()),
        },
        "genesis": sound.heads[0],
        "heads": sound.heads[1:],
        "exchanges": exchanges(sound),
        "variants": variants(sound),
    }
    (WIRE / "chain.ndjson").write_bytes(b"".join(line + b"\n" for line in sound.lines))
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (WIRE / "chain.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
