"""Keys and signatures: ECDSA on the curve P-256 with SHA-256 (FIPS 186-5), the one that OCMF knows.

The only module that imports ``cryptography``. A public key travels as DER (SubjectPublicKeyInfo,
RFC 5480) in base64; its fingerprint is the SHA-256 of the DER, and people compare its first
sixteen digits.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meterd.errors import KeyUnusableError

ALGORITHM = "ecdsa-p256-sha256"
SHOWN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a signature is checked with."""

    der: bytes
    fingerprint: str  # 64 hexadecimal digits
    verifier: ec.EllipticCurvePublicKey

    @property
    def text(self) -> str:
        """The key as it travels: base64 of its DER."""
        return base64.b64encode(self.der).decode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What only its owner has."""

    public: PublicKey
    signer: ec.EllipticCurvePrivateKey


def new_key() -> SigningKey:
    """A key that nobody had before, from the kernel's random numbers."""
    return _with_public(ec.generate_private_key(ec.SECP256R1()))


def private_pem(key: SigningKey) -> bytes:
    """The key as PKCS #8 without a passphrase: for a file that only its owner can read."""
    return key.signer.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_private(pem: bytes, where: str) -> SigningKey:
    """The key in ``pem``, which came from ``where``.

    Raises:
        KeyUnusableError: it holds no private key on P-256.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusableError(
            f"{where} holds no private key: {error}: put its backup back"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyUnusableError(f"{where} holds a key that is not on the curve P-256")
    return _with_public(key)


def load_public(text: str, where: str) -> PublicKey:
    """The public key in ``text``: base64 of DER, or PEM.

    Raises:
        KeyUnusableError: it is none on P-256, or is written in another way than keys travel.
    """
    try:
        if text.startswith("-----BEGIN"):
            key = serialization.load_pem_public_key(text.encode())
        else:
            der = base64.b64decode(text, validate=True)
            key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm) as error:
        raise KeyUnusableError(f"{where} is no public key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyUnusableError(f"{where} is a key that is not on the curve P-256")
    return _public(key)


def sign(key: SigningKey, message: bytes) -> str:
    """The signature of ``message``: base64 of DER (ECDSA-Sig-Value, RFC 5480)."""
    signature = key.signer.sign(message, ec.ECDSA(hashes.SHA256()))
    return base64.b64encode(signature).decode()


def verifies(key: PublicKey, message: bytes, signature: str) -> bool:
    """Whether ``signature`` is ``key``'s of exactly ``message``."""
    try:
        der = base64.b64decode(signature, validate=True)
        if base64.b64encode(der).decode() != signature:  # unused bits: another text, same bytes
            return False
        key.verifier.verify(der, message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def shown(fingerprint: str) -> str:
    """A fingerprint as people compare it: ``3F2A 91C0 77DE 0B14``."""
    digits = fingerprint[:SHOWN_DIGITS].upper()
    return " ".join(digits[at : at + 4] for at in range(0, SHOWN_DIGITS, 4))


def _with_public(key: ec.EllipticCurvePrivateKey) -> SigningKey:
    return SigningKey(_public(key.public_key()), key)


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PublicKey(der, hashlib.sha256(der).hexdigest(), key)
