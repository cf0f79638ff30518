"""What a meter proves itself by: a claim code, good once, and the credential it becomes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from server import meter_keys
from server.errors import NotFoundError
from server.hashing import (
    SlowHashing,
    new_claim_code,
    new_secret,
    quick_hash,
    slow_hash,
    slow_verify,
)
from server.schema import CLAIM_CODE, METER, METER_CREDENTIAL
from server.signing import VerifyingKey

CLAIM_CODE_GOOD_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """A claim code that may still be used, as its hash."""

    claim_id: int
    meter_id: int
    code_hash: str


def create_claim_code(
    connection: Connection, hashing: SlowHashing, *, serial: str, now_utc_s: int
) -> tuple[str, int]:
    """A code to be given to the meter's installer, and until when it is good (UTC seconds).

    Earlier codes of the meter lose their use. The code itself is kept nowhere.

    Raises:
        NotFoundError: no such meter, or one that is retired.
    """
    query = select(METER.c.id).where(METER.c.serial == serial, METER.c.status != "retired")
    meter_id = connection.scalar(query)
    if meter_id is None:
        raise NotFoundError(f"there is no meter {serial!r} in service: see how it is written")
    connection.execute(
        update(CLAIM_CODE)
        .where(CLAIM_CODE.c.meter_id == meter_id, CLAIM_CODE.c.used_utc_s.is_(None))
        .values(expires_utc_s=now_utc_s)
    )
    code = new_claim_code()
    expires_utc_s = now_utc_s + CLAIM_CODE_GOOD_S
    connection.execute(
        insert(CLAIM_CODE).values(
            meter_id=meter_id,
            code_hash=slow_hash(hashing, canonical_code(code)),
            expires_utc_s=expires_utc_s,
        )
    )
    return code, expires_utc_s


def canonical_code(code: str) -> str:
    """A claim code as it is hashed: the case, spaces and dash of who types it do not matter."""
    return code.replace("-", "").replace(" ", "").upper()


def open_claim(connection: Connection, serial: str, now_utc_s: int) -> OpenClaim | None:
    """The one code of a meter that is neither used nor expired."""
    query = (
        select(CLAIM_CODE.c.id, CLAIM_CODE.c.meter_id, CLAIM_CODE.c.code_hash)
        .join(METER, METER.c.id == CLAIM_CODE.c.meter_id)
        .where(
            METER.c.serial == serial,
            CLAIM_CODE.c.used_utc_s.is_(None),
            CLAIM_CODE.c.expires_utc_s > now_utc_s,
        )
        .order_by(CLAIM_CODE.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else OpenClaim(row.id, row.meter_id, row.code_hash)


def fits(hashing: SlowHashing, claim: OpenClaim | None, decoy_hash: str, code: str) -> bool:
    """Whether the code is the claim's; a meter without one takes the same time."""
    stored = decoy_hash if claim is None else claim.code_hash
    return slow_verify(hashing, stored, canonical_code(code)) and claim is not None


def redeem(
    connection: Connection, claim: OpenClaim, key: VerifyingKey | None, now_utc_s: int
) -> str | None:
    """Use the code up and give the meter its credential; None if somebody else just did.

    The meter's earlier credentials are revoked and its earlier keys retired: the code was made for
    the device that has it now, which signs with ``key``.
    """
    used = connection.execute(
        update(CLAIM_CODE)
        .where(CLAIM_CODE.c.id == claim.claim_id, CLAIM_CODE.c.used_utc_s.is_(None))
        .values(used_utc_s=now_utc_s)
    )
    if used.rowcount != 1:
        return None
    of_meter = METER_CREDENTIAL.c.meter_id == claim.meter_id
    connection.execute(
        update(METER_CREDENTIAL)
        .where(of_meter, METER_CREDENTIAL.c.revoked_utc_s.is_(None))
        .values(revoked_utc_s=now_utc_s)
    )
    meter_keys.claim(connection, claim.meter_id, key, now_utc_s)
    credential = new_secret()
    connection.execute(
        insert(METER_CREDENTIAL).values(
            credential_hash=quick_hash(credential),
            meter_id=claim.meter_id,
            created_utc_s=now_utc_s,
        )
    )
    connection.execute(
        update(METER)
        .where(METER.c.id == claim.meter_id)
        .values(status="active", last_seen_utc_s=now_utc_s)
    )
    return credential


def withdraw_codes(connection: Connection, meter_id: int, now_utc_s: int) -> None:
    """No code of the meter may be used any more."""
    connection.execute(
        update(CLAIM_CODE)
        .where(
            CLAIM_CODE.c.meter_id == meter_id,
            CLAIM_CODE.c.used_utc_s.is_(None),
            CLAIM_CODE.c.expires_utc_s > now_utc_s,
        )
        .values(expires_utc_s=now_utc_s)
    )


def revoke_credentials(connection: Connection, meter_id: int, now_utc_s: int) -> int:
    """The meter's credentials open nothing any more; returns how many did.

    Its key stays: rows that it sends after a new claim go on in the same chain.
    """
    revoked = connection.execute(
        update(METER_CREDENTIAL)
        .where(METER_CREDENTIAL.c.meter_id == meter_id, METER_CREDENTIAL.c.revoked_utc_s.is_(None))
        .values(revoked_utc_s=now_utc_s)
    )
    return revoked.rowcount
