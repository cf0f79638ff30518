"""``meterd-server``: validation, exceptions and the energy of areas."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from server import csv_cells
from server.app import utc_s
from server.area_energy import AreaEnergy, consumption
from server.commands.common import database_option, json_option, opened_database, sentences, show
from server.db import reading, writing
from server.errors import SettingError
from server.validation import decisions, due, exceptions, work

KWH_J = 3_600_000
SHOWN_MAX = 1000


@click.command()
@database_option
@json_option
def validate(database: str, as_json: bool) -> None:
    """Validate now what is due. A running server does so by itself."""
    after, steps = None, 0
    with sentences(), opened_database(database) as opened:
        while True:
            with writing(opened) as connection:
                if not due.count(connection):
                    break
                after = work.step(connection, utc_s(), after=after)
                steps += 1
        with reading(opened) as connection:
            left = len(exceptions.all_open(connection, SHOWN_MAX))
    show(as_json, {"steps": steps, "open": left}, f"All is validated; {left} exceptions are open.")


@click.group("exceptions")
def exceptions_group() -> None:
    """What did not pass validation, and what is decided about it."""


@exceptions_group.command("list")
@database_option
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, SHOWN_MAX), help="Rows."
)
@json_option
def list_exceptions(database: str, limit: int, as_json: bool) -> None:
    """List the exceptions that are open."""
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        found = exceptions.all_open(connection, limit)
    lines = [
        f"{each.serial} {each.ordinal}  {each.rule}  {each.service_number}  "
        f"{_when(each.from_utc_s)} to {_when(each.to_utc_s)}: {each.reason}"
        for each in found
    ]
    answer = {"exceptions": [asdict(each) for each in found]}
    show(as_json, answer, "\n".join(lines) or "None is open.")


@exceptions_group.command()
@database_option
@click.option("--serial", required=True, help="The meter's serial number.")
@click.option("--number", required=True, type=int, help="The exception's, as the list shows it.")
@click.option("--accept", is_flag=True, help="The readings are good as they are.")
@click.option(
    "--estimate", type=click.Choice(["linear", "reference_day"]), help="Estimate that time so."
)
@click.option("--import-kwh", type=float, help="Edit: what that time took.")
@click.option("--export-kwh", type=float, help="Edit: what that time gave.")
@click.option("--reason", required=True, help="Why; kept for ever.")
@click.option("--by", "who", default=getpass.getuser, help="Who decides it; default: your name.")
@json_option
def resolve(database: str, serial: str, number: int, as_json: bool, **given: Any) -> None:
    """Accept an exception, estimate its time, or edit its energy."""
    told: dict[str, Any] = {"reason": given["reason"], "who": given["who"], "now_utc_s": utc_s()}
    with sentences(), opened_database(database) as opened:
        what = _decision(given)
        with writing(opened) as connection:
            if what == "accepted":
                decisions.accept(connection, serial, number, **told)
            elif what == "estimated":
                decisions.estimate(connection, serial, number, method=given["estimate"], **told)
            else:
                told |= {
                    "import_j": _joules(given["import_kwh"]),
                    "export_j": _joules(given["export_kwh"]),
                }
                decisions.edit(connection, serial, number, **told)
    show(
        as_json,
        {"meter": serial, "number": number, "decision": what},
        f"Exception {number} of {serial} is {what}.",
    )


def _decision(given: dict[str, Any]) -> str:
    edits = given["import_kwh"] is not None or given["export_kwh"] is not None
    if edits and None in (given["import_kwh"], given["export_kwh"]):
        raise SettingError("an edit gives both: --import-kwh and --export-kwh")
    chosen = {
        "accepted": given["accept"],
        "estimated": given["estimate"] is not None,
        "edited": edits,
    }
    found = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(found) != 1:
        raise SettingError("decide one thing: --accept, --estimate, or --import-kwh with export")
    return found[0]


def _joules(kwh: float) -> int:
    if not 0 <= kwh < 1e9:
        raise SettingError("energy is 0 to 999 999 999 kWh")
    return round(kwh * KWH_J)


@click.command("area-consumption")
@database_option
@click.option("--area", required=True, help="With all areas below it.")
@click.option("--from", "begin", required=True, help="UTC, such as 2026-07-01T06:00.")
@click.option("--to", "end", required=True, help="UTC; the end of the last hour.")
@click.option("--top", default=10, show_default=True, help="Usage points in the list.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the load curve as CSV.")
@json_option
def area_consumption(
    database: str, area: str, begin: str, end: str, top: int, as_csv: bool, as_json: bool
) -> None:
    """Import, export and net of an area, its load curve, and who took the most."""
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        found = consumption(connection, area, _moment(begin), _moment(end), top=top)
    if as_csv:
        click.echo(_curve_csv(found), nl=False)
        return
    answer = asdict(found) | {"net_j": found.net_j, "coverage_pct": found.coverage_pct}
    show(as_json, answer, _sentences(found))


def _sentences(found: AreaEnergy) -> str:
    lines = [
        f"{found.area}: {found.import_j / KWH_J:.3f} kWh import, "
        f"{found.export_j / KWH_J:.3f} kWh export, {found.net_j / KWH_J:.3f} kWh net",
        f"{found.meters_reporting} of {found.meters_expected} meters reported, "
        f"{found.coverage_pct:.1f} % of their time is covered",
    ]
    lines += [
        f"{_when(hour.start_utc_s)}  {hour.import_j / KWH_J:.3f}  {hour.export_j / KWH_J:.3f}"
        for hour in found.hours
    ]
    lines += [
        f"{row.service_number}  {row.serial}  {row.import_j / KWH_J:.3f} kWh" for row in found.top
    ]
    return "\n".join(lines)


def _curve_csv(found: AreaEnergy) -> str:
    head = ("area", "start_utc", "import_kwh", "export_kwh", "net_kwh", "meters")
    rows = [
        (
            found.area,
            datetime.fromtimestamp(hour.start_utc_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            *(f"{value / KWH_J:.6f}" for value in (hour.import_j, hour.export_j)),
            hour.net_j / KWH_J,
            hour.meters,
        )
        for hour in found.hours
    ]
    return csv_cells.text_of([head, *rows])


def _moment(given: str) -> int:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise SettingError(f"{given!r} is no date: write 2026-07-01T06:00") from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp())


def _when(moment_utc_s: int) -> str:
    return datetime.fromtimestamp(moment_utc_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


COMMANDS: tuple[click.Command, ...] = (validate, exceptions_group, area_consumption)
