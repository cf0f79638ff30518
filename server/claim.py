"""``POST /api/v1/claim``: a claim code becomes a meter's credential."""

from __future__ import annotations

import msgspec
from werkzeug.wrappers import Request, Response

from server import registry
from server.bodies import read_body
from server.db import reading, writing
from server.errors import BadKeyError
from server.responses import RefusedError, json_answer
from server.signing import VerifyingKey, is_signature, read_key
from server.site import Site
from server.throttle import admit, network_of
from server.wire import CLAIM_DECODER, Claim

BODY_BYTES_MAX = 1024
REFUSAL = "this code is wrong, used or expired, or was made for another meter"


def post_claim(site: Site, request: Request) -> Response:
    """Answer docs/protocol.md's "Claiming a meter".

    Raises:
        RefusedError: 400 not a claim or no key, 403 the code or the proof does not fit, 415 not
            JSON, 429 too many tries.
    """
    now_utc_s = site.clock_utc_s()
    wait_s = admit(site.claims_by_address, network_of(request.remote_addr), now_utc_s)
    if wait_s is not None:
        raise RefusedError(
            429, f"too many tries; try again in {wait_s} s", {"Retry-After": str(wait_s)}
        )
    claim = _decode(site, request)
    key = _key(claim)
    with reading(site.database) as connection:
        found = registry.open_claim(connection, claim.meter, now_utc_s)
    if not registry.fits(site.hashing, found, site.decoy_hash, claim.code) or found is None:
        raise RefusedError(403, REFUSAL)
    if key is not None and not _proves(claim, key):
        raise RefusedError(403, REFUSAL)
    with writing(site.database) as connection:
        credential = registry.redeem(connection, found, key, now_utc_s)
    if credential is None:
        raise RefusedError(403, REFUSAL)
    server_key = site.signing_key.verifying.text
    return json_answer({"meter": claim.meter, "credential": credential, "server_key": server_key})


def _key(claim: Claim) -> VerifyingKey | None:
    """The key that the meter shows, whose proof is still to be looked at; None of schema 1.0."""
    if (claim.public_key is None) != (claim.proof is None):
        raise RefusedError(400, "public_key and proof come together or not at all")
    if claim.public_key is None:
        return None
    try:
        return read_key(claim.public_key)
    except BadKeyError as error:
        raise RefusedError(400, str(error)) from error


def _proves(claim: Claim, key: VerifyingKey) -> bool:
    code = registry.canonical_code(claim.code)
    message = f"meterd claim {code} {claim.meter} {key.fingerprint}".encode()
    return is_signature(key, message, claim.proof or "")


def _decode(site: Site, request: Request) -> Claim:
    if request.mimetype != "application/json":
        raise RefusedError(415, "send Content-Type: application/json")
    body = read_body(site.bodies_of_anyone, request, BODY_BYTES_MAX)
    try:
        return CLAIM_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, f"this is not a claim: {error}") from error
