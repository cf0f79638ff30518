"""Lists of customers and meters: searched, in a stable order, a page at a time.

The order is by a key that does not change; the cursor says behind which key the next page begins,
so that rows added or ended meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, String, func, or_, select, tuple_

from server.errors import SettingError
from server.registry import areas
from server.registry.values import NO_AREA
from server.schema import (
    ACCOUNT,
    AREA,
    CUSTOMER,
    METER,
    METER_INSTALL,
    SERVICE_AGREEMENT,
    USAGE_POINT,
)

PAGE_MAX = 500
PAGE_DEFAULT = 50
SEARCH_CHARACTERS_MAX = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a list is wanted. ``text`` is looked for anywhere in names and numbers."""

    text: str = ""
    area: str | None = None
    limit: int = PAGE_DEFAULT
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page and the cursor of the next; None: it was the last."""

    rows: list[T]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer with one of the supplies that are in force; without any, these are None."""

    customer_id: int
    name: str
    account: str
    service_number: str | None
    area: str
    tariff_code: str | None
    regime: str | None
    serial: str | None
    connection_state: str | None


@dataclass(frozen=True, slots=True)
class MeterRow:
    """A meter, where it hangs or hung last, and whose supply that is now."""

    meter_id: int
    serial: str
    status: str
    last_seen_utc_s: int | None
    service_number: str
    area: str
    from_utc_s: int
    to_utc_s: int | None
    customer: str | None


def customers(connection: Connection, asked: Asked) -> Page[CustomerRow]:
    """Customers by name, account, service number or serial; in the order of name and id.

    Raises:
        SettingError: a page too long, a text too long, or a cursor that is none of ours.
        NotFoundError: no such area.
    """
    agreement, point = SERVICE_AGREEMENT.c, USAGE_POINT.c
    service_number = func.coalesce(point.service_number, "")
    query = (
        select(
            CUSTOMER.c.id.label("customer_id"),
            CUSTOMER.c.name,
            ACCOUNT.c.number.label("account"),
            point.service_number,
            func.coalesce(AREA.c.name, NO_AREA).label("area"),
            agreement.tariff_code,
            agreement.regime,
            METER.c.serial,
            point.connection_state,
        )
        .join(ACCOUNT, ACCOUNT.c.customer_id == CUSTOMER.c.id)
        .outerjoin(
            SERVICE_AGREEMENT,
            (agreement.account_id == ACCOUNT.c.id) & agreement.to_utc_s.is_(None),
        )
        .outerjoin(USAGE_POINT, point.id == agreement.usage_point_id)
        .outerjoin(AREA, AREA.c.id == point.area_id)
        .outerjoin(
            METER_INSTALL,
            (METER_INSTALL.c.usage_point_id == point.id) & METER_INSTALL.c.to_utc_s.is_(None),
        )
        .outerjoin(METER, METER.c.id == METER_INSTALL.c.meter_id)
    )
    names = [CUSTOMER.c.name, ACCOUNT.c.number, point.service_number, METER.c.serial]
    key = [CUSTOMER.c.name, CUSTOMER.c.id, ACCOUNT.c.number, service_number]
    rows, cursor = _page(connection, query, asked, names, key)
    return Page([CustomerRow(**row) for row in rows], cursor)


def meters(connection: Connection, asked: Asked) -> Page[MeterRow]:
    """Meters by serial, service number or customer's name; in the order of serials.

    Raises:
        SettingError: a page too long, a text too long, or a cursor that is none of ours.
        NotFoundError: no such area.
    """
    install, point = METER_INSTALL.c, USAGE_POINT.c
    each = METER_INSTALL.alias().c
    newest = select(func.max(each.id)).where(each.meter_id == METER.c.id).scalar_subquery()
    query = (
        select(
            METER.c.id.label("meter_id"),
            METER.c.serial,
            METER.c.status,
            METER.c.last_seen_utc_s,
            point.service_number,
            func.coalesce(AREA.c.name, NO_AREA).label("area"),
            install.from_utc_s,
            install.to_utc_s,
            CUSTOMER.c.name.label("customer"),
        )
        .select_from(METER)
        .join(METER_INSTALL, install.id == newest)
        .join(USAGE_POINT, point.id == install.usage_point_id)
        .outerjoin(AREA, AREA.c.id == point.area_id)
        .outerjoin(
            SERVICE_AGREEMENT,
            (SERVICE_AGREEMENT.c.usage_point_id == point.id)
            & SERVICE_AGREEMENT.c.to_utc_s.is_(None),
        )
        .outerjoin(ACCOUNT, ACCOUNT.c.id == SERVICE_AGREEMENT.c.account_id)
        .outerjoin(CUSTOMER, CUSTOMER.c.id == ACCOUNT.c.customer_id)
    )
    names = [METER.c.serial, point.service_number, CUSTOMER.c.name]
    rows, cursor = _page(connection, query, asked, names, [METER.c.serial])
    return Page([MeterRow(**row) for row in rows], cursor)


def _page(
    connection: Connection,
    query: Select[Any],
    asked: Asked,
    names: list[Any],
    key: list[Any],
) -> tuple[list[dict[str, Any]], str | None]:
    if not 1 <= asked.limit <= PAGE_MAX:
        raise SettingError(f"a page has 1 to {PAGE_MAX} rows, not {asked.limit}")
    if asked.text.strip():
        query = query.where(_contains(names, asked.text.strip()))
    if asked.area is not None:
        tree = areas.below(areas.named(connection, asked.area))
        query = query.where(USAGE_POINT.c.area_id.in_(select(tree.c.id)))
    if asked.cursor is not None:
        query = query.where(tuple_(*key) > tuple_(*_read_cursor(asked.cursor, len(key))))
    marks = [column.label(f"key_{place}") for place, column in enumerate(key)]
    query = query.add_columns(*marks).order_by(*key).limit(asked.limit + 1)
    found = [dict(row) for row in connection.execute(query).mappings()]
    keys = [[row.pop(f"key_{place}") for place in range(len(key))] for row in found]
    if len(found) <= asked.limit:
        return found, None
    return found[: asked.limit], _write_cursor(keys[asked.limit - 1])


def _contains(names: list[Any], text: str) -> ColumnElement[bool]:
    if len(text) > SEARCH_CHARACTERS_MAX:
        raise SettingError(f"search for at most {SEARCH_CHARACTERS_MAX} characters")
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return or_(*(name.cast(String).ilike(f"%{escaped}%", escape="\\") for name in names))


def _write_cursor(key: list[Any]) -> str:
    written = json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(written).decode()


def _read_cursor(cursor: str, length: int) -> list[str | int]:
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise SettingError("this cursor is none of ours: begin with the first page") from error
    kinds = isinstance(key, list) and all(type(each) in (str, int) for each in key)
    if not kinds or len(key) != length:
        raise SettingError("this cursor is none of ours: begin with the first page")
    return list(key)
