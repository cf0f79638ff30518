"""Customers, their usage points, the meters that hang there, and what a meter proves itself by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from zoneinfo import available_timezones

from sqlalchemy import Connection, insert, select, update

from server import meter_keys
from server.errors import AlreadyExistsError, NotFoundError, SettingError
from server.hashing import (
    SlowHashing,
    new_claim_code,
    new_secret,
    quick_hash,
    slow_hash,
    slow_verify,
)
from server.schema import (
    ACCOUNT_LOGIN,
    CLAIM_CODE,
    CUSTOMER,
    METER,
    METER_CREDENTIAL,
    METER_INSTALL,
    USAGE_POINT,
)
from server.schema_administration import STAFF_USER
from server.signing import VerifyingKey
from server.wire import SERIAL_PATTERN

TIME_ZONE_DEFAULT = "America/Hermosillo"
CLAIM_CODE_GOOD_S = 7 * 24 * 3600
PASSWORD_CHARACTERS_MIN = 10
PASSWORD_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 200
USER_NAME_PATTERN = r"[a-z0-9._@+-]{1,64}"


@dataclass(frozen=True, slots=True)
class UsagePoint:
    """The place where energy is delivered (CIM UsagePoint)."""

    service_number: str
    area: str
    time_zone: str = TIME_ZONE_DEFAULT
    nominal_v: int = 127
    nominal_hz: int = 60


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """A claim code that may still be used, as its hash."""

    claim_id: int
    meter_id: int
    code_hash: str


def create_customer(
    connection: Connection, *, name: str, user_name: str, password_hash: str, now_utc_s: int
) -> int:
    """A customer who can log in; returns the customer's id.

    Raises:
        SettingError: a name that cannot be one.
        AlreadyExistsError: the user name is taken.
    """
    require_text("the customer's name", name)
    if re.fullmatch(USER_NAME_PATTERN, user_name) is None:
        raise SettingError(
            f"{user_name!r} cannot be a user name: 1 to 64 of a-z 0-9 . _ @ + -, lower case"
        )
    for table in (ACCOUNT_LOGIN, STAFF_USER):
        taken = select(table.c.id).where(table.c.user_name == user_name)
        if connection.scalar(taken) is not None:
            raise AlreadyExistsError(f"there is a user {user_name!r} already: choose another name")
    created = insert(CUSTOMER).values(name=name, created_utc_s=now_utc_s)
    customer_id = _new_id(connection.execute(created).inserted_primary_key)
    connection.execute(
        insert(ACCOUNT_LOGIN).values(
            customer_id=customer_id,
            user_name=user_name,
            password_hash=password_hash,
            created_utc_s=now_utc_s,
        )
    )
    return customer_id


def require_password(password: str) -> None:
    """Refuse what is too short to protect or too long to be typed.

    Raises:
        SettingError: fewer than 10 or more than 200 characters.
    """
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise SettingError(
            f"a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters, "
            f"this one has {len(password)}"
        )


def create_meter(
    connection: Connection, *, serial: str, user_name: str, place: UsagePoint, now_utc_s: int
) -> int:
    """Register a meter and hang it at a usage point, new or without a meter; returns its id.

    Raises:
        SettingError: a serial number, place, time zone or nominal value that cannot be one.
        NotFoundError: no such user.
        AlreadyExistsError: the serial is taken, or a meter hangs at that usage point.
    """
    if re.match(SERIAL_PATTERN, serial) is None:
        raise SettingError(f"{serial!r} cannot be a serial: 1 to 32 of A-Z a-z 0-9 . _ -")
    if connection.scalar(select(METER.c.id).where(METER.c.serial == serial)) is not None:
        raise AlreadyExistsError(
            f"there is a meter {serial!r} already: `meterd-server create-claim-code` makes it a "
            "new claim code"
        )
    by_name = select(ACCOUNT_LOGIN.c.customer_id).where(ACCOUNT_LOGIN.c.user_name == user_name)
    customer_id = connection.scalar(by_name)
    if customer_id is None:
        raise NotFoundError(f"there is no user {user_name!r}: create the customer first")
    usage_point_id = _usage_point(connection, customer_id, place)
    values = {"serial": serial, "status": "registered", "created_utc_s": now_utc_s}
    meter_id = _new_id(connection.execute(insert(METER).values(values)).inserted_primary_key)
    connection.execute(
        insert(METER_INSTALL).values(
            usage_point_id=usage_point_id, meter_id=meter_id, from_utc_s=now_utc_s
        )
    )
    return meter_id


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


def meter_of(connection: Connection, credential: str) -> tuple[int, str] | None:
    """The id and serial of the meter that a credential belongs to.

    Looked up by the hash of 256 random bits, so that the time it takes says nothing of use.
    """
    query = (
        select(METER.c.id, METER.c.serial)
        .join(METER_CREDENTIAL, METER_CREDENTIAL.c.meter_id == METER.c.id)
        .where(
            METER_CREDENTIAL.c.credential_hash == quick_hash(credential),
            METER_CREDENTIAL.c.revoked_utc_s.is_(None),
            METER.c.status == "active",
        )
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.id, row.serial)


def meter_named(connection: Connection, serial: str) -> tuple[int, str]:
    """The id and serial of a meter.

    Raises:
        NotFoundError: there is none of that serial.
    """
    meter_id = connection.scalar(select(METER.c.id).where(METER.c.serial == serial))
    if meter_id is None:
        raise NotFoundError(f"there is no meter {serial!r}: see how it is written")
    return meter_id, serial


def seen(connection: Connection, meter_id: int, now_utc_s: int) -> None:
    """Note that the meter was in touch."""
    connection.execute(
        update(METER).where(METER.c.id == meter_id).values(last_seen_utc_s=now_utc_s)
    )


def _usage_point(connection: Connection, customer_id: int, place: UsagePoint) -> int:
    _require_place(place)
    query = select(USAGE_POINT.c.id, USAGE_POINT.c.customer_id).where(
        USAGE_POINT.c.service_number == place.service_number
    )
    known = connection.execute(query).one_or_none()
    if known is None:
        created = insert(USAGE_POINT).values(
            customer_id=customer_id,
            service_number=place.service_number,
            area=place.area,
            time_zone=place.time_zone,
            nominal_v=place.nominal_v,
            nominal_hz=place.nominal_hz,
        )
        return _new_id(connection.execute(created).inserted_primary_key)
    number = place.service_number
    if known.customer_id != customer_id:
        raise AlreadyExistsError(f"service number {number!r} belongs to another customer")
    occupied = select(METER_INSTALL.c.id).where(
        METER_INSTALL.c.usage_point_id == known.id, METER_INSTALL.c.to_utc_s.is_(None)
    )
    if connection.scalar(occupied) is not None:
        raise AlreadyExistsError(f"a meter hangs at service number {number!r} already")
    usage_point_id: int = known.id
    return usage_point_id


def _require_place(place: UsagePoint) -> None:
    require_text("the service number", place.service_number)
    require_text("the area", place.area)
    if place.time_zone not in _time_zones():
        raise SettingError(f"{place.time_zone!r} is no IANA time zone, as America/Hermosillo is")
    if place.nominal_hz not in (50, 60):
        raise SettingError(f"the nominal frequency is 50 or 60 Hz, not {place.nominal_hz}")
    if not 100 <= place.nominal_v <= 480:
        raise SettingError(f"the nominal voltage is 100 to 480 V, not {place.nominal_v}")


def require_text(what: str, text: str) -> None:
    """Refuse what cannot stand on one line of a page.

    Raises:
        SettingError: nothing, more than 200 characters, or some that cannot be printed.
    """
    if not text.strip() or len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
        raise SettingError(f"{what} is 1 to {TEXT_CHARACTERS_MAX} printable characters: {text!r}")


def _new_id(primary_key: object) -> int:
    assert isinstance(primary_key, Sequence)
    identity = primary_key[0]
    assert isinstance(identity, int)
    return identity


@cache
def _time_zones() -> set[str]:
    return available_timezones()


@dataclass(frozen=True, slots=True)
class InstalledMeter:
    """A meter and the usage point that it hangs at now."""

    meter_id: int
    serial: str
    status: str
    last_seen_utc_s: int | None
    place: UsagePoint


def meters_of(connection: Connection, customer_id: int) -> list[InstalledMeter]:
    """What hangs at the customer's usage points now, in the order of their service numbers."""
    query = (
        select(METER, USAGE_POINT)
        .join(METER_INSTALL, METER_INSTALL.c.meter_id == METER.c.id)
        .join(USAGE_POINT, USAGE_POINT.c.id == METER_INSTALL.c.usage_point_id)
        .where(USAGE_POINT.c.customer_id == customer_id, METER_INSTALL.c.to_utc_s.is_(None))
        .order_by(USAGE_POINT.c.service_number)
    )
    return [
        InstalledMeter(
            row[METER.c.id],
            row[METER.c.serial],
            row[METER.c.status],
            row[METER.c.last_seen_utc_s],
            UsagePoint(
                row[USAGE_POINT.c.service_number],
                row[USAGE_POINT.c.area],
                row[USAGE_POINT.c.time_zone],
                row[USAGE_POINT.c.nominal_v],
                row[USAGE_POINT.c.nominal_hz],
            ),
        )
        for row in connection.execute(query).mappings()
    ]
