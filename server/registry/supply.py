"""Usage points and the agreements under which they are supplied."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select, update

from server.errors import AlreadyExistsError, NotFoundError
from server.registry import areas
from server.registry.values import Terms, UsagePoint, new_id, require_place, require_terms
from server.schema import ACCOUNT, METER_INSTALL, SERVICE_AGREEMENT, USAGE_POINT


def point_named(connection: Connection, service_number: str) -> int:
    """The id of the usage point of that service number.

    Raises:
        NotFoundError: there is none.
    """
    point_id = _point(connection, service_number)
    if point_id is None:
        raise NotFoundError(f"there is no service number {service_number!r}: see how it is written")
    return point_id


def put_point(connection: Connection, place: UsagePoint) -> int:
    """The usage point of that service number, new or brought up to what ``place`` says.

    An area that is not known becomes a zone.

    Raises:
        SettingError: a place, time zone or nominal value that cannot be one.
    """
    require_place(place)
    values = {
        "area_id": areas.named_or_new(connection, place.area),
        "address": place.address,
        "time_zone": place.time_zone,
        "nominal_v": place.nominal_v,
        "nominal_hz": place.nominal_hz,
        "max_power_w": place.max_power_w,
        "max_current_a": place.max_current_a,
    }
    point_id = _point(connection, place.service_number)
    if point_id is not None:
        connection.execute(update(USAGE_POINT).where(USAGE_POINT.c.id == point_id).values(values))
        return point_id
    created = insert(USAGE_POINT).values(service_number=place.service_number, **values)
    return new_id(connection.execute(created).inserted_primary_key)


def customer_at(connection: Connection, point_id: int) -> int | None:
    """Whose agreement is in force there; None if nobody's is."""
    query = (
        select(ACCOUNT.c.customer_id)
        .join(SERVICE_AGREEMENT, SERVICE_AGREEMENT.c.account_id == ACCOUNT.c.id)
        .where(
            SERVICE_AGREEMENT.c.usage_point_id == point_id, SERVICE_AGREEMENT.c.to_utc_s.is_(None)
        )
    )
    customer_id: int | None = connection.scalar(query)
    return customer_id


def agree(
    connection: Connection, *, account_id: int, point_id: int, terms: Terms, from_utc_s: int
) -> int:
    """An agreement that is in force from now on; returns its id.

    Raises:
        SettingError: terms that cannot be billed as they say.
        AlreadyExistsError: an agreement is in force there.
    """
    require_terms(terms)
    if customer_at(connection, point_id) is not None:
        raise AlreadyExistsError("an agreement is in force there already: end it with `baja` first")
    anchor = terms.anchor_date or _local(connection, point_id, from_utc_s).date()
    created = insert(SERVICE_AGREEMENT).values(
        account_id=account_id,
        usage_point_id=point_id,
        tariff_code=terms.tariff_code,
        regime=terms.regime,
        cycle=terms.cycle,
        cycle_days=terms.cycle_days,
        anchor_date=anchor.isoformat(),
        summer_start_month=terms.summer_start_month,
        iva_bp=terms.iva_bp,
        dap_bp=terms.dap_bp,
        dap_centavos=terms.dap_centavos,
        from_utc_s=from_utc_s,
    )
    return new_id(connection.execute(created).inserted_primary_key)


def end_agreement(connection: Connection, point_id: int, to_utc_s: int) -> int | None:
    """End what is in force there; returns the agreement's id, None if there was none."""
    in_force = (SERVICE_AGREEMENT.c.usage_point_id == point_id) & SERVICE_AGREEMENT.c.to_utc_s.is_(
        None
    )
    agreement_id: int | None = connection.scalar(select(SERVICE_AGREEMENT.c.id).where(in_force))
    if agreement_id is not None:
        connection.execute(update(SERVICE_AGREEMENT).where(in_force).values(to_utc_s=to_utc_s))
    return agreement_id


def set_connection_state(connection: Connection, point_id: int, state: str) -> None:
    """Whether the supply is connected, as a meter's answer or a person says."""
    assert state in ("connected", "disconnected")
    connection.execute(
        update(USAGE_POINT).where(USAGE_POINT.c.id == point_id).values(connection_state=state)
    )


def require_vacant(connection: Connection, point_id: int, service_number: str) -> None:
    """Refuse a usage point where a meter hangs.

    Raises:
        AlreadyExistsError: one does.
    """
    occupied = select(METER_INSTALL.c.id).where(
        METER_INSTALL.c.usage_point_id == point_id, METER_INSTALL.c.to_utc_s.is_(None)
    )
    if connection.scalar(occupied) is not None:
        raise AlreadyExistsError(f"a meter hangs at service number {service_number!r} already")


def _point(connection: Connection, service_number: str) -> int | None:
    query = select(USAGE_POINT.c.id).where(USAGE_POINT.c.service_number == service_number)
    point_id: int | None = connection.scalar(query)
    return point_id


def _local(connection: Connection, point_id: int, utc_s: int) -> datetime:
    zone = connection.scalar(select(USAGE_POINT.c.time_zone).where(USAGE_POINT.c.id == point_id))
    assert zone is not None
    return datetime.fromtimestamp(utc_s, UTC).astimezone(ZoneInfo(zone))
