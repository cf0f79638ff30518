"""Meters, and where they hang."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from server.errors import AlreadyExistsError, NotFoundError
from server.hashing import quick_hash
from server.registry import supply
from server.registry.customers import customer_of_user, open_account
from server.registry.values import (
    NO_AREA,
    Registers,
    Terms,
    UsagePoint,
    new_id,
    require_place,
    require_registers,
    require_serial,
)
from server.schema import (
    ACCOUNT,
    AREA,
    METER,
    METER_CREDENTIAL,
    METER_INSTALL,
    SERVICE_AGREEMENT,
    USAGE_POINT,
)


def create_meter(
    connection: Connection, *, serial: str, user_name: str, place: UsagePoint, now_utc_s: int
) -> int:
    """Register a meter and hang it at a usage point, new or without a meter; returns its id.

    A usage point without an agreement gets one of the customer's, without a tariff.

    Raises:
        SettingError: a serial number, place, time zone or nominal value that cannot be one.
        NotFoundError: no such user.
        AlreadyExistsError: the serial is taken, or a meter hangs at that usage point.
    """
    require_serial(serial)
    _require_new(connection, serial)
    customer_id = customer_of_user(connection, user_name)
    require_place(place)
    point_id = supply.put_point(connection, place)
    there = supply.customer_at(connection, point_id)
    if there is None:
        supply.agree(
            connection,
            account_id=open_account(connection, customer_id, now_utc_s),
            point_id=point_id,
            terms=Terms(),
            from_utc_s=now_utc_s,
        )
    elif there != customer_id:
        number = place.service_number
        raise AlreadyExistsError(f"service number {number!r} belongs to another customer")
    supply.require_vacant(connection, point_id, place.service_number)
    return hang(connection, serial=serial, point_id=point_id, start=None, now_utc_s=now_utc_s)


def hang(
    connection: Connection, *, serial: str, point_id: int, start: Registers | None, now_utc_s: int
) -> int:
    """Register a new meter at a usage point without one; returns its id.

    ``start`` is what its registers show; None: what its first reading says.

    Raises:
        SettingError: a serial or registers that cannot be ones.
        AlreadyExistsError: the serial is taken.
    """
    require_serial(serial)
    _require_new(connection, serial)
    if start is not None:
        require_registers(start)
    values = {"serial": serial, "status": "registered", "created_utc_s": now_utc_s}
    meter_id = new_id(connection.execute(insert(METER).values(values)).inserted_primary_key)
    connection.execute(
        insert(METER_INSTALL).values(
            usage_point_id=point_id,
            meter_id=meter_id,
            from_utc_s=now_utc_s,
            start_import_j=None if start is None else start.import_j,
            start_export_j=None if start is None else start.export_j,
        )
    )
    return meter_id


def _require_new(connection: Connection, serial: str) -> None:
    status = connection.scalar(select(METER.c.status).where(METER.c.serial == serial))
    if status == "retired":
        raise AlreadyExistsError(f"meter {serial!r} is retired: its serial stays with its history")
    if status is not None:
        raise AlreadyExistsError(
            f"there is a meter {serial!r} already: `meterd-server create-claim-code` makes it a "
            "new claim code"
        )


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


@dataclass(frozen=True, slots=True)
class InstalledMeter:
    """A meter and the usage point that it hangs at now."""

    meter_id: int
    serial: str
    status: str
    last_seen_utc_s: int | None
    place: UsagePoint


def meters_of(connection: Connection, customer_id: int) -> list[InstalledMeter]:
    """What hangs where the customer's agreements are in force, by service number."""
    query = (
        select(METER, USAGE_POINT, func.coalesce(AREA.c.name, NO_AREA).label("area"))
        .join(METER_INSTALL, METER_INSTALL.c.meter_id == METER.c.id)
        .join(USAGE_POINT, USAGE_POINT.c.id == METER_INSTALL.c.usage_point_id)
        .join(SERVICE_AGREEMENT, SERVICE_AGREEMENT.c.usage_point_id == USAGE_POINT.c.id)
        .join(ACCOUNT, ACCOUNT.c.id == SERVICE_AGREEMENT.c.account_id)
        .outerjoin(AREA, AREA.c.id == USAGE_POINT.c.area_id)
        .where(
            ACCOUNT.c.customer_id == customer_id,
            SERVICE_AGREEMENT.c.to_utc_s.is_(None),
            METER_INSTALL.c.to_utc_s.is_(None),
        )
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
                row["area"],
                row[USAGE_POINT.c.time_zone],
                row[USAGE_POINT.c.nominal_v],
                row[USAGE_POINT.c.nominal_hz],
                row[USAGE_POINT.c.address],
                row[USAGE_POINT.c.max_power_w],
                row[USAGE_POINT.c.max_current_a],
            ),
        )
        for row in connection.execute(query).mappings()
    ]
