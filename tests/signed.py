"""A meter that signs, as docs/protocol.md says it: made here of cryptography alone."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.served import NOON_UTC_S, SERIAL, STREAM, Served, add_meter, line


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def der_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def text_of(key: ec.EllipticCurvePrivateKey) -> str:
    """The public key as it travels."""
    return base64.b64encode(der_of(key)).decode()


def fingerprint_of(key: ec.EllipticCurvePrivateKey) -> str:
    """SHA-256 of the DER."""
    return hashlib.sha256(der_of(key)).hexdigest()


def signature_of(key: ec.EllipticCurvePrivateKey, message: bytes) -> str:
    """Base64 of a DER signature."""
    return base64.b64encode(key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()


def is_signed(signed: dict[str, str], server_key: str) -> bool:
    """Whether a receipt, settings or a command is the server's; raises InvalidSignature if not."""
    der = base64.b64decode(server_key)
    key = serialization.load_der_public_key(der)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = base64.b64decode(signed["signature"])
    key.verify(signature, signed["text"].encode(), ec.ECDSA(hashes.SHA256()))
    return signed["key"] == hashlib.sha256(der).hexdigest()


def claim_with(
    served: Served, key: ec.EllipticCurvePrivateKey, serial: str = SERIAL, **changes: Any
) -> Any:
    """Register a meter and claim it with ``key``; the answer."""
    code = changes.pop("code", None) or add_meter(served, serial)
    message = f"meterd claim {code.replace('-', '')} {serial} {fingerprint_of(key)}"
    content = {"code": code, "meter": serial, "public_key": text_of(key)}
    content |= {"proof": signature_of(key, message.encode())} | changes
    return served.client.post("/api/v1/claim", json=content)


@dataclass
class Signer:
    """Writes the rows of one stream."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    serial: str = SERIAL
    stream: str = STREAM
    boot: int = 1
    seq: int = 0
    head: bytes = b""

    def __post_init__(self) -> None:
        self.head = hashlib.sha256(f"meterd/1 {self.serial} {self.stream}".encode()).digest()

    def chained(self, row: bytes) -> bytes:
        """The row itself, now part of the chain."""
        self.seq += 1
        self.head = hashlib.sha256(self.head + row).digest()
        return row

    def reading(self, end_utc_s: int = NOON_UTC_S, **changes: Any) -> bytes:
        """The next row: a reading."""
        content = {
            "schema": "1.1",
            "kind": "reading",
            "meter": self.serial,
            "stream": self.stream,
            "boot": self.boot,
            "boottime_ms": (self.seq + 1) * 1000,
        }
        return self.chained(line(self.seq + 1, end_utc_s, **content | changes))

    def event(self, event: str, detail: Any = None, **changes: Any) -> bytes:
        """The next row: an event."""
        content = self._begin("event") | {"event": event, "detail": detail or {}} | changes
        return self.chained(_encode(content))

    def checkpoint(self, **changes: Any) -> bytes:
        """The next row: a signature of those before it."""
        content = self._begin("checkpoint") | {
            "import_j": 28807,
            "export_j": 0,
            "head": self.head.hex(),
            "algorithm": "ecdsa-p256-sha256",
            "key": fingerprint_of(self.key),
        }
        signed = _encode(content | changes)[:-1]
        signature = signature_of(self.key, signed)
        return self.chained(signed + b',"signature":"' + signature.encode() + b'"}')

    def rotation(self, new: ec.EllipticCurvePrivateKey) -> bytes:
        """The next row: ``new`` signs from now on."""
        old = self.key
        fingerprints = f"{fingerprint_of(old)} {fingerprint_of(new)}"
        message = f"meterd key {self.serial} {fingerprints}".encode()
        detail = {
            "old_key": fingerprint_of(old),
            "new_key": fingerprint_of(new),
            "public_key": text_of(new),
            "old_signature": signature_of(old, message),
            "new_signature": signature_of(new, message),
        }
        self.key = new
        return self.event("key", detail)

    def _begin(self, kind: str) -> dict[str, Any]:
        return {
            "schema": "1.1",
            "kind": kind,
            "meter": self.serial,
            "stream": self.stream,
            "seq": self.seq + 1,
            "boot": self.boot,
            "boottime_ms": (self.seq + 1) * 1000,
            "clock": "synced",
            "utc_s": NOON_UTC_S,
        }


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
