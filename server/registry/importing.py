"""Customers and their meters from a CSV file: all of its lines or none.

Every line is checked before any is stored, and all that is wrong is listed. A service number whose
supply is as the line says is left as it is, so a file may be sent again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from server.csv_cells import is_formula
from server.errors import ServerError, SettingError
from server.registry import movements
from server.registry.values import (
    NO_AREA,
    TIME_ZONE_DEFAULT,
    Person,
    Terms,
    UsagePoint,
    require_person,
    require_place,
    require_serial,
    require_terms,
)
from server.schema import (
    ACCOUNT,
    CUSTOMER,
    METER,
    METER_INSTALL,
    SERVICE_AGREEMENT,
    USAGE_POINT,
)

LINES_MAX = 100_000
BYTES_MAX = 32 * 1024 * 1024
REQUIRED = ("service_number", "name", "serial")
COLUMNS = (
    *REQUIRED,
    *("customer", "email", "phone", "area", "address", "time_zone", "nominal_v", "nominal_hz"),
    *("max_power_w", "max_current_a", "tariff", "regime", "cycle", "cycle_days", "anchor_date"),
    *("summer_start_month", "iva_pct", "dap_pct", "dap_mxn"),
)
PHONE = re.compile(r"\+[0-9][0-9 ()-]*")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be taken, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Supply:
    """What a line asks for."""

    line: int
    key: str  # lines with the same key are of one customer; empty: a customer of its own
    person: Person
    place: UsagePoint
    terms: Terms
    serial: str


@dataclass(slots=True)
class Report:
    """What an import did, or would do."""

    created: int = 0
    unchanged: int = 0
    bad: list[BadLine] = field(default_factory=list)


def import_supplies(
    connection: Connection, content: bytes, *, now_utc_s: int, dry_run: bool
) -> Report:
    """Store the file's supplies in the caller's transaction, unless a line is bad.

    Raises:
        SettingError: it is no CSV file with the columns that are needed.
    """
    report = Report()
    supplies = list(_read(content, report.bad))
    report.bad += _repeated(supplies)
    fresh = []
    for supply in supplies:
        reason = _against_what_is(connection, supply)
        if reason is None:
            fresh.append(supply)
        elif reason == "":
            report.unchanged += 1
        else:
            report.bad.append(BadLine(supply.line, reason))
    report.bad.sort(key=lambda bad: bad.line)
    report.created = len(fresh)
    if not report.bad and not dry_run:
        _store(connection, fresh, supplies, now_utc_s)
    return report


def _store(
    connection: Connection, fresh: list[Supply], all_of_them: list[Supply], now_utc_s: int
) -> None:
    customers: dict[str, int] = {}
    for supply in all_of_them:
        held = _held(connection, supply.place.service_number)
        if supply.key and held is not None and held["to_utc_s"] is None:
            customers.setdefault(supply.key, held["customer_id"])
    for supply in fresh:
        customer_id, *_ = movements.supplied(
            connection,
            customer=customers.get(supply.key, supply.person) if supply.key else supply.person,
            place=supply.place,
            terms=supply.terms,
            serial=supply.serial,
            now_utc_s=now_utc_s,
        )
        if supply.key:
            customers.setdefault(supply.key, customer_id)


def _read(content: bytes, bad: list[BadLine]) -> Iterable[Supply]:
    if len(content) > BYTES_MAX:
        raise SettingError(f"the file is longer than {BYTES_MAX} bytes: split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingError(f"the file is not UTF-8: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _require_columns(reader.fieldnames or [])
        for row in reader:
            if reader.line_num > LINES_MAX:
                raise SettingError(f"the file has more than {LINES_MAX} lines: split it")
            supply = _supply(reader.line_num, row, bad)
            if supply is not None:
                yield supply
    except csv.Error as error:
        raise SettingError(f"line {reader.line_num} is no CSV: {error}") from error


def _require_columns(names: Iterable[str]) -> None:
    given = list(names)
    missing = [name for name in REQUIRED if name not in given]
    unknown = [name for name in given if name not in COLUMNS]
    if missing or unknown or len(set(given)) < len(given):
        raise SettingError(
            f"the first line names the columns, each once: {', '.join(COLUMNS)}; the first three "
            f"must be there. Missing: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(unknown) or 'none'}"
        )


def _supply(line: int, row: dict[str | Any, str | Any], bad: list[BadLine]) -> Supply | None:
    before = len(bad)
    if None in row or None in row.values():
        bad.append(BadLine(line, "it has more or fewer cells than the first line"))
        return None
    for name, cell in row.items():
        if is_formula(cell) and not (name == "phone" and PHONE.fullmatch(cell)):
            reason = f"{name} begins with {cell[0]!r}: a spreadsheet would run it as a formula"
            bad.append(BadLine(line, reason))
    values = _values(line, {name: cell.strip() for name, cell in row.items()}, bad)
    made = [_checked(line, make, check, values, bad) for make, check in _PARTS]
    return None if len(bad) > before else Supply(line, values["customer"] or "", *made)


def _values(line: int, cells: dict[str, str], bad: list[BadLine]) -> dict[str, Any]:
    """The cells as what they stand for; None for an empty one."""
    values: dict[str, Any] = {}
    for name in COLUMNS:
        cell = cells.get(name, "")
        read = _READ.get(name, str)
        try:
            values[name] = read(cell) if cell else None
        except ValueError:
            values[name] = None
            bad.append(BadLine(line, f"{name} cannot be {cell!r}"))
    return values


def _whole(cell: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", cell, re.ASCII) is None:
        raise ValueError(cell)
    return int(cell)


def _hundredths(cell: str) -> int:
    """Hundredths of a percent, or centavos: two decimals, no more."""
    if re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,2})?", cell, re.ASCII) is None:
        raise ValueError(cell)
    return int(Decimal(cell) * 100)


_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("nominal_v", "nominal_hz", "max_power_w", "max_current_a"), _whole),
    **dict.fromkeys(("cycle_days", "summer_start_month"), _whole),
    **dict.fromkeys(("iva_pct", "dap_pct", "dap_mxn"), _hundredths),
    "anchor_date": date.fromisoformat,
}


def _person(values: dict[str, Any]) -> Person:
    return Person(values["name"] or "", values["email"], values["phone"])


def _place(values: dict[str, Any]) -> UsagePoint:
    return UsagePoint(
        values["service_number"] or "",
        values["area"] or NO_AREA,
        values["time_zone"] or TIME_ZONE_DEFAULT,
        127 if values["nominal_v"] is None else values["nominal_v"],
        60 if values["nominal_hz"] is None else values["nominal_hz"],
        values["address"],
        values["max_power_w"],
        values["max_current_a"],
    )


def _terms(values: dict[str, Any]) -> Terms:
    return Terms(
        values["tariff"],
        values["regime"] or "none",
        values["cycle"] or "bimonthly",
        values["cycle_days"],
        values["anchor_date"],
        values["summer_start_month"],
        Terms().iva_bp if values["iva_pct"] is None else values["iva_pct"],
        values["dap_pct"],
        values["dap_mxn"],
    )


def _serial(values: dict[str, Any]) -> str:
    return values["serial"] or ""


_PARTS: tuple[tuple[Callable[[dict[str, Any]], Any], Callable[[Any], None]], ...] = (
    (_person, require_person),
    (_place, require_place),
    (_terms, require_terms),
    (_serial, require_serial),
)


def _checked(
    line: int,
    make: Callable[[dict[str, Any]], Any],
    check: Callable[[Any], None],
    values: dict[str, Any],
    bad: list[BadLine],
) -> Any:
    made = make(values)
    try:
        check(made)
    except ServerError as error:
        bad.append(BadLine(line, str(error)))
    return made


def _repeated(supplies: list[Supply]) -> Iterable[BadLine]:
    numbers: dict[str, int] = {}
    serials: dict[str, int] = {}
    for supply in supplies:
        number, serial = supply.place.service_number, supply.serial
        for what, key, seen in (
            ("service number", number, numbers),
            ("serial", serial, serials),
        ):
            if key in seen:
                yield BadLine(supply.line, f"{what} {key!r} is on line {seen[key]} already")
            seen.setdefault(key, supply.line)


def _held(connection: Connection, service_number: str) -> dict[str, Any] | None:
    """The newest supply of a service number, with the meter that hangs there."""
    query = (
        select(
            CUSTOMER.c.id.label("customer_id"),
            CUSTOMER.c.name,
            SERVICE_AGREEMENT.c.to_utc_s,
            METER.c.serial,
        )
        .join(ACCOUNT, ACCOUNT.c.customer_id == CUSTOMER.c.id)
        .join(SERVICE_AGREEMENT, SERVICE_AGREEMENT.c.account_id == ACCOUNT.c.id)
        .join(USAGE_POINT, USAGE_POINT.c.id == SERVICE_AGREEMENT.c.usage_point_id)
        .outerjoin(
            METER_INSTALL,
            (METER_INSTALL.c.usage_point_id == USAGE_POINT.c.id)
            & METER_INSTALL.c.to_utc_s.is_(None),
        )
        .outerjoin(METER, METER.c.id == METER_INSTALL.c.meter_id)
        .where(USAGE_POINT.c.service_number == service_number)
        .order_by(SERVICE_AGREEMENT.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def _against_what_is(connection: Connection, supply: Supply) -> str | None:
    """Why a line cannot be taken; "" if it is so already, None if it is new."""
    held = _held(connection, supply.place.service_number)
    if held is not None and held["to_utc_s"] is None:
        if (held["name"], held["serial"]) == (supply.person.name, supply.serial):
            return ""
        return (
            f"service number {supply.place.service_number!r} is supplied to {held['name']!r} by "
            f"meter {held['serial']!r}: an import changes nothing that is there"
        )
    taken = select(METER.c.status).where(METER.c.serial == supply.serial)
    status = connection.scalar(taken)
    return None if status is None else f"meter {supply.serial!r} is {status} already"
