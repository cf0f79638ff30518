"""``meterd-server``: customers, supplies, meters and areas."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import click
from sqlalchemy import Connection

from server import registry
from server.app import utc_s
from server.commands.common import database_option, json_option, opened_database, sentences, show
from server.db import reading, writing
from server.errors import SettingError
from server.hashing import SlowHashing, new_secret, slow_hash
from server.registry import Registers, areas, search
from server.registry.search import Asked
from server.registry.values import AreaKind, Cycle, Regime

KWH_J = 3_600_000
GENERATED_PASSWORD_CHARACTERS = 16

number_option = click.option("--service-number", required=True, help="Number of the supply.")


def final_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a person read at the meter that is taken down."""
    for name, what in (("--final-export-kwh", "export"), ("--final-import-kwh", "import")):
        command = click.option(
            name,
            type=float,
            help=f"The {what} register as read on its display; default: its last reading.",
        )(command)
    return command


def start_options(command: Callable[..., None]) -> Callable[..., None]:
    """What the registers of the meter that is hung up show."""
    for name, what in (("--start-export-kwh", "export"), ("--start-import-kwh", "import")):
        command = click.option(
            name, type=float, help=f"Its {what} register as it is hung up; default: first reading."
        )(command)
    return command


def list_options(command: Callable[..., None]) -> Callable[..., None]:
    """What of a list is shown."""
    for option in (
        click.option("--cursor", help="Where the page before ended."),
        click.option("--limit", default=search.PAGE_DEFAULT, show_default=True, help="Rows."),
        click.option("--area", help="Only of this area and those below it."),
        click.option("--search", "text", default="", help="Part of a name, number or serial."),
    ):
        command = option(command)
    return command


@click.command()
@database_option
@click.option("--name", help="The customer's name, as on the bill.")
@click.option("--customer-id", type=int, help="A customer who is known, in place of --name.")
@click.option("--email", help="The customer's e-mail address.")
@click.option("--phone", help="The customer's telephone number.")
@click.option("--user", help="Also create a login; its password is printed once.")
@number_option
@click.option("--area", default=registry.NO_AREA, help="Zone or feeder; a new name is a zone.")
@click.option("--address", help="Where it is.")
@click.option("--time-zone", default=registry.TIME_ZONE_DEFAULT, show_default=True, help="IANA.")
@click.option("--nominal-v", default=127, show_default=True, help="Nominal voltage.")
@click.option("--nominal-hz", default=60, show_default=True, help="Nominal frequency: 50 or 60.")
@click.option("--max-power-w", type=int, help="The most that the service carries.")
@click.option("--max-current-a", type=int, help="Its main fuse; default: 100 A.")
@click.option("--tariff", help="Code of the tariff, such as 1C; without it nothing is billed.")
@click.option("--regime", type=click.Choice(get_args(Regime)), default="none", help="Of export.")
@click.option("--cycle", type=click.Choice(get_args(Cycle)), default="bimonthly", help="Of bills.")
@click.option("--cycle-days", type=int, help="Length of a custom cycle.")
@click.option("--anchor-date", help="The day on which a period begins; default: today.")
@click.option("--summer-start-month", type=int, help="2 to 5.")
@click.option("--iva-pct", type=float, default=16.0, show_default=True, help="Value added tax.")
@click.option("--dap-pct", type=float, help="Lighting fee as a share of the bill.")
@click.option("--dap-mxn", type=float, help="Lighting fee as an amount for each bill.")
@click.option("--serial", required=True, help="The meter that is hung up.")
@start_options
@json_option
def alta(database: str, as_json: bool, **given: Any) -> None:
    """Supply a customer: agreement, usage point, meter and claim code, all or nothing."""
    with sentences(), opened_database(database) as opened:
        if (given["name"] is None) == (given["customer_id"] is None):
            raise SettingError("say who: --name for a new customer, or --customer-id")
        password = None if given["user"] is None else new_secret()[:GENERATED_PASSWORD_CHARACTERS]
        password_hash = None if password is None else slow_hash(SlowHashing(), password)
        with writing(opened) as connection:
            made = _alta(connection, given)
            if password_hash is not None:
                registry.add_login(
                    connection,
                    made.customer_id,
                    user_name=given["user"],
                    password_hash=password_hash,
                    now_utc_s=utc_s(),
                )
    answer = asdict(made) | {"meter": given["serial"]}
    sentence = (
        f"Customer {made.customer_id} is supplied at {given['service_number']} by meter "
        f"{given['serial']}.\n{_code(made.claim_code, made.code_expires_utc_s)}"
    )
    if password is not None:
        answer |= {"user": given["user"], "password": password}
        sentence += f"\nLogin {given['user']}, password (shown only now): {password}"
    show(as_json, answer, sentence)


def _alta(connection: Connection, given: dict[str, Any]) -> registry.Alta:
    person = registry.Person(given["name"] or "", given["email"], given["phone"])
    return registry.alta(
        connection,
        SlowHashing(),
        customer=person if given["customer_id"] is None else given["customer_id"],
        place=_place(given),
        terms=_terms(given),
        serial=given["serial"],
        now_utc_s=utc_s(),
        start=_registers(given["start_import_kwh"], given["start_export_kwh"]),
    )


@click.command()
@database_option
@number_option
@final_options
@json_option
def baja(
    database: str,
    service_number: str,
    final_import_kwh: float | None,
    final_export_kwh: float | None,
    as_json: bool,
) -> None:
    """End a supply with a final reading and retire its meter; its history stays."""
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        ended = registry.baja(
            connection,
            service_number=service_number,
            now_utc_s=utc_s(),
            final=_registers(final_import_kwh, final_export_kwh),
        )
    show(
        as_json,
        asdict(ended),
        f"{service_number} is supplied no more. Meter {ended.serial} is retired at "
        f"{_kwh(ended.final)}.",
    )


@click.command()
@database_option
@number_option
@click.option("--serial", required=True, help="The meter that is hung up.")
@final_options
@start_options
@json_option
def exchange(
    database: str,
    service_number: str,
    serial: str,
    final_import_kwh: float | None,
    final_export_kwh: float | None,
    start_import_kwh: float | None,
    start_export_kwh: float | None,
    as_json: bool,
) -> None:
    """Hang up another meter at a supply; its energy and its agreement go on."""
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        made = registry.exchange(
            connection,
            SlowHashing(),
            service_number=service_number,
            serial=serial,
            now_utc_s=utc_s(),
            final=_registers(final_import_kwh, final_export_kwh),
            start=_registers(start_import_kwh, start_export_kwh),
        )
    show(
        as_json,
        asdict(made) | {"meter": serial},
        f"Meter {made.old_serial} is retired at {_kwh(made.final)}; {serial} hangs there now.\n"
        f"{_code(made.claim_code, made.code_expires_utc_s)}",
    )


@click.command("revoke-credential")
@database_option
@click.option("--serial", required=True, help="The meter's serial number.")
@json_option
def revoke_credential(database: str, serial: str, as_json: bool) -> None:
    """Shut a meter out at once; it comes back with a new claim code."""
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        meter_id, _ = registry.meter_named(connection, serial)
        revoked = registry.revoke_credentials(connection, meter_id, utc_s())
    show(
        as_json,
        {"meter": serial, "revoked": revoked},
        f"{revoked} credential(s) of {serial} open nothing any more.",
    )


@click.command()
@database_option
@list_options
@json_option
def customers(
    database: str, text: str, area: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List customers and what they are supplied with."""
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        page = search.customers(connection, Asked(text, area, limit, cursor))
    lines = [
        f"{row.customer_id:>6}  {row.account}  {row.name}  {row.service_number or '-'}  "
        f"{row.serial or '-'}  {row.tariff_code or '-'}"
        for row in page.rows
    ]
    _show_page(as_json, [asdict(row) for row in page.rows], lines, page.cursor)


@click.command()
@database_option
@list_options
@json_option
def meters(
    database: str, text: str, area: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List meters, where they hang, and when each was last in touch."""
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        page = search.meters(connection, Asked(text, area, limit, cursor))
    lines = [
        f"{row.serial}  {row.status}  {row.service_number}  {row.area}  {row.customer or '-'}  "
        f"{_when(row.last_seen_utc_s)}"
        for row in page.rows
    ]
    _show_page(as_json, [asdict(row) for row in page.rows], lines, page.cursor)


@click.group("areas")
def areas_group() -> None:
    """Zones and the feeders in them."""


@areas_group.command("list")
@database_option
@json_option
def list_areas(database: str, as_json: bool) -> None:
    """Show the tree of areas."""
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        found = areas.listed(connection)
    lines = [f"{'  ' * each.depth}{each.name} ({each.kind}): {each.usage_points}" for each in found]
    show(as_json, {"areas": [asdict(each) for each in found]}, "\n".join(lines) or "No areas yet.")


@areas_group.command("add")
@database_option
@click.option("--name", required=True, help="Of its own among all areas.")
@click.option("--kind", type=click.Choice(get_args(AreaKind)), default="zone", help="What it is.")
@click.option("--parent", help="The area that it is in; default: none.")
@json_option
def add_area(database: str, name: str, kind: AreaKind, parent: str | None, as_json: bool) -> None:
    """Add an area."""
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        area_id = areas.create(connection, name=name, kind=kind, parent=parent)
    show(as_json, {"area_id": area_id, "name": name}, f"Area {name} is there.")


@areas_group.command("move")
@database_option
@click.option("--name", required=True, help="The area that moves, with all below it.")
@click.option("--parent", help="The area that it will be in; default: none.")
@json_option
def move_area(database: str, name: str, parent: str | None, as_json: bool) -> None:
    """Put an area, with all below it, into another."""
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        areas.move(connection, name=name, parent=parent)
    show(as_json, {"name": name, "parent": parent}, f"{name} is in {parent or 'no other area'}.")


@click.command("import-customers")
@database_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what is bad.")
@json_option
def import_customers(database: str, file: Path, dry_run: bool, as_json: bool) -> None:
    """Take customers and meters from a CSV file: every line, or none if one is bad."""
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        report = registry.import_supplies(
            connection, file.read_bytes(), now_utc_s=utc_s(), dry_run=dry_run
        )
    stored = not dry_run and not report.bad
    lines = [f"Line {bad.line}: {bad.reason}" for bad in report.bad]
    lines.append(
        f"{report.created} new, {report.unchanged} as they were, {len(report.bad)} bad; "
        + ("stored." if stored else "nothing was stored.")
    )
    show(as_json, asdict(report) | {"stored": stored}, "\n".join(lines))
    if report.bad:
        sys.exit(1)


def _place(given: dict[str, Any]) -> registry.UsagePoint:
    return registry.UsagePoint(
        given["service_number"],
        given["area"],
        given["time_zone"],
        given["nominal_v"],
        given["nominal_hz"],
        given["address"],
        given["max_power_w"],
        given["max_current_a"],
    )


def _terms(given: dict[str, Any]) -> registry.Terms:
    try:
        anchor = date.fromisoformat(given["anchor_date"]) if given["anchor_date"] else None
    except ValueError as error:
        raise SettingError(f"{given['anchor_date']!r} is no date: write 2026-01-31") from error
    return registry.Terms(
        given["tariff"],
        given["regime"],
        given["cycle"],
        given["cycle_days"],
        anchor,
        given["summer_start_month"],
        _hundredths(given["iva_pct"]),
        None if given["dap_pct"] is None else _hundredths(given["dap_pct"]),
        None if given["dap_mxn"] is None else _hundredths(given["dap_mxn"]),
    )


def _hundredths(value: float) -> int:
    if not 0 <= value < 1e7:
        raise SettingError("a share or an amount is 0 to 10 000 000")
    return round(value * 100)


def _registers(import_kwh: float | None, export_kwh: float | None) -> Registers | None:
    if import_kwh is None and export_kwh is None:
        return None
    if import_kwh is None or export_kwh is None:
        raise SettingError("give both registers: import and export")
    if not (0 <= import_kwh < 1e9 and 0 <= export_kwh < 1e9):
        raise SettingError("a register is 0 to 999 999 999 kWh")
    return Registers(round(import_kwh * KWH_J), round(export_kwh * KWH_J))


def _kwh(final: registry.Final) -> str:
    read = final.registers
    return f"{read.import_j / KWH_J:.3f} kWh import, {read.export_j / KWH_J:.3f} kWh export"


def _when(moment_utc_s: int | None) -> str:
    if moment_utc_s is None:
        return "never"
    return datetime.fromtimestamp(moment_utc_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _code(code: str, expires_utc_s: int) -> str:
    return f"Claim code: {code}, good once until {_when(expires_utc_s)}: meterctl claim {code}"


def _show_page(
    as_json: bool, rows: list[dict[str, Any]], lines: list[str], cursor: str | None
) -> None:
    more = [] if cursor is None else [f"More: --cursor {cursor}"]
    show(as_json, {"rows": rows, "cursor": cursor}, "\n".join([*lines, *more]) or "None.")


COMMANDS: tuple[click.Command, ...] = (
    alta,
    baja,
    exchange,
    revoke_credential,
    customers,
    meters,
    areas_group,
    import_customers,
)
