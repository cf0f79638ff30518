"""ECDSA on P-256 with SHA-256 (FIPS 186-5), as docs/protocol.md writes keys and signatures.

The only module of the server that imports ``cryptography``. The meters have their own: the two
programs share the protocol and no code.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from server.errors import BadKeyError

ALGORITHM = "ecdsa-p256-sha256"
GROUPS_SHOWN = 4
GROUP_DIGITS = 4


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and how it travels."""

    text: str  # base64 of its DER (SubjectPublicKeyInfo)
    fingerprint: str  # SHA-256 of the DER, 64 hexadecimal digits
    curve_point: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class ServerKey:
    """What this server signs with."""

    verifying: VerifyingKey
    secret: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Signed:
    """A JSON text and the server's signature of it, byte for byte."""

    text: str
    key: str
    signature: str


def new_server_key() -> ServerKey:
    """A key that nobody had before."""
    return _server_key(ec.generate_private_key(ec.SECP256R1()))


def to_pem(key: ServerKey) -> str:
    """PKCS #8 without a passphrase: it is as secret as what holds it."""
    return key.secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def from_pem(pem: str) -> ServerKey:
    """The key of :func:`to_pem`; it comes from our own database, so it is one.

    Raises:
        ValueError: the database was tampered with.
    """
    secret = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(secret, ec.EllipticCurvePrivateKey):
        raise ValueError("the server's key is not on an elliptic curve")
    return _server_key(secret)


def read_key(text: str) -> VerifyingKey:
    """The public key that ``text`` writes: base64 of DER, in the one way to write it.

    Raises:
        BadKeyError: it is none, not on P-256, or written in another way.
    """
    try:
        der = b64decode(text, validate=True)
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKeyError(f"this is no public key in base64 of DER: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKeyError("this public key is not on the curve P-256")
    found = _verifying(key)
    if found.text != text:
        raise BadKeyError("this public key is not written as SubjectPublicKeyInfo in plain base64")
    return found


def is_signature(key: VerifyingKey, message: bytes, signature: str) -> bool:
    """Whether ``signature`` (base64 of DER) is the key's of exactly ``message``."""
    try:
        der = b64decode(signature, validate=True)
        if b64encode(der).decode() != signature:  # unused bits make other texts of the same bytes
            return False
        key.curve_point.verify(der, message, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def signed(key: ServerKey, content: Mapping[str, object]) -> Signed:
    """``content`` as one line of JSON, with the signature of that text; ``type`` stands first."""
    assert next(iter(content)) == "type"
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    signature = key.secret.sign(text.encode(), ec.ECDSA(SHA256()))
    return Signed(text, key.verifying.fingerprint, b64encode(signature).decode())


def digits(fingerprint: str) -> str:
    """What people compare with the meter's display, such as ``3F2A 91C0 77DE 0B14``."""
    starts = range(0, GROUPS_SHOWN * GROUP_DIGITS, GROUP_DIGITS)
    return " ".join(fingerprint[at : at + GROUP_DIGITS].upper() for at in starts)


def _server_key(secret: ec.EllipticCurvePrivateKey) -> ServerKey:
    return ServerKey(_verifying(secret.public_key()), secret)


def _verifying(key: ec.EllipticCurvePublicKey) -> VerifyingKey:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return VerifyingKey(b64encode(der).decode(), hashlib.sha256(der).hexdigest(), key)
