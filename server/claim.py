"""``POST /api/v1/claim``: a claim code becomes a meter's credential."""

from __future__ import annotations

import msgspec
from werkzeug.wrappers import Request, Response

from server import registry
from server.bodies import read_body
from server.db import reading, writing
from server.responses import RefusedError, json_answer
from server.site import Site
from server.throttle import admit, network_of
from server.wire import CLAIM_DECODER, Claim

BODY_BYTES_MAX = 1024
REFUSAL = "this code is wrong, used or expired, or was made for another meter"


def post_claim(site: Site, request: Request) -> Response:
    """Answer docs/protocol.md's "Claiming a meter".

    Raises:
        RefusedError: 400 not a claim, 403 the code does not fit, 415 not JSON, 429 too many tries.
    """
    now_utc_s = site.clock_utc_s()
    wait_s = admit(site.claims_by_address, network_of(request.remote_addr), now_utc_s)
    if wait_s is not None:
        raise RefusedError(
            429, f"too many tries; try again in {wait_s} s", {"Retry-After": str(wait_s)}
        )
    claim = _decode(site, request)
    with reading(site.database) as connection:
        found = registry.open_claim(connection, claim.meter, now_utc_s)
    if not registry.fits(site.hashing, found, site.decoy_hash, claim.code) or found is None:
        raise RefusedError(403, REFUSAL)
    with writing(site.database) as connection:
        credential = registry.redeem(connection, found, now_utc_s)
    if credential is None:
        raise RefusedError(403, REFUSAL)
    return json_answer({"meter": claim.meter, "credential": credential})


def _decode(site: Site, request: Request) -> Claim:
    if request.mimetype != "application/json":
        raise RefusedError(415, "send Content-Type: application/json")
    body = read_body(site.bodies_of_anyone, request, BODY_BYTES_MAX)
    try:
        return CLAIM_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, f"this is not a claim: {error}") from error
