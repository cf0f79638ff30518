"""``meterd-server``: the operator's commands."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from server import registry
from server.app import utc_s
from server.commands import administration, meter, validation
from server.commands import registry as registry_commands
from server.commands.common import (
    database_option,
    json_option,
    opened_database,
    password_from,
    password_option,
    sentences,
    show,
)
from server.db import writing
from server.hashing import SlowHashing, slow_hash
from server.migrate import upgrade
from server.serve import serve
from server.settings import Scheme, Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="meterd")
def main() -> None:
    """The server that electricity meters report to.

    \b
    First time:
      meterd-server init
      meterd-server create-customer --name "Ana López" --user ana
      meterd-server create-meter --serial MX-000001 --user ana --service-number 123456789012
      meterd-server run
    On the meter, with the claim code that create-meter printed:
      meterctl claim K7QM-2XWD
    """


@main.command()
@database_option
@click.option(
    "--restored",
    is_flag=True,
    help="The file comes from a backup: tell the meters that what is held may have gone back.",
)
@json_option
def init(database: str, restored: bool, as_json: bool) -> None:
    """Create the database, or bring it to this program's version.

    Safe to repeat: what is current stays as it is. Stop the server and make a backup before
    bringing an older database up to date.
    """
    with sentences(), opened_database(database, create=True) as opened:
        version = upgrade(opened, restored=restored)
        show(
            as_json,
            {"database": str(opened.path), "version": version},
            f"{opened.path} is ready (version {version}).",
        )


@main.command()
@database_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen at; 0 takes a free one.",
)
@click.option(
    "--url-scheme",
    envvar="METERD_SERVER_URL_SCHEME",
    type=click.Choice(["http", "https"]),
    default="http",
    show_default=True,
    show_envvar=True,
    help="What customers' browsers speak; https when a proxy in front ends TLS.",
)
@click.option(
    "--proxies",
    envvar="METERD_SERVER_PROXIES",
    type=click.IntRange(0, 10),
    default=0,
    show_default=True,
    show_envvar=True,
    help="How many proxies of yours stand in front; their X-Forwarded-For is then believed.",
)
@json_option
def run(
    database: str, host: str, port: int, url_scheme: Scheme, proxies: int, as_json: bool
) -> None:
    """Serve meters and customers until Ctrl-C or SIGTERM.

    Customers' passwords and meters' credentials cross the network: anywhere but on your own
    machine put a proxy with TLS in front and say --url-scheme https --proxies 1.
    """
    with sentences():
        serve(
            database,
            Settings(url_scheme=url_scheme, proxies=proxies),
            host=host,
            port=port,
            on_listening=partial(_listening, as_json),
        )


@main.command("create-customer")
@database_option
@click.option("--name", required=True, help="As on the bill.")
@click.option("--user", required=True, help="What the customer logs in with; lower case.")
@password_option
@json_option
def create_customer(
    database: str, name: str, user: str, password_stdin: bool, as_json: bool
) -> None:
    """Create a customer and the login to the customer's page.

    A password is never an argument: other users of the machine could read it there.
    """
    with sentences(), opened_database(database) as opened:
        password = password_from(password_stdin)
        password_hash = slow_hash(SlowHashing(), password)
        with writing(opened) as connection:
            customer_id = registry.create_customer(
                connection,
                name=name,
                user_name=user,
                password_hash=password_hash,
                now_utc_s=utc_s(),
            )
        answer: dict[str, Any] = {"customer_id": customer_id, "user": user}
        sentence = f"Customer {customer_id} logs in as {user}."
        if not password_stdin:
            answer["password"] = password
            sentence += f"\nPassword (shown only now): {password}"
        show(as_json, answer, sentence)


@main.command("create-meter")
@database_option
@click.option("--serial", required=True, help="The meter's serial number.")
@click.option("--user", required=True, help="User name of the customer whose place it measures.")
@click.option("--service-number", help="Number of the supply; default: the serial.")
@click.option(
    "--area", default="-", show_default=True, help="Zone or feeder; a new name is a zone."
)
@click.option(
    "--time-zone",
    default=registry.TIME_ZONE_DEFAULT,
    show_default=True,
    help="IANA name; the customer's days begin and end there.",
)
@click.option("--nominal-v", default=127, show_default=True, help="Nominal voltage.")
@click.option("--nominal-hz", default=60, show_default=True, help="Nominal frequency: 50 or 60.")
@json_option
def create_meter(
    database: str,
    serial: str,
    user: str,
    service_number: str | None,
    area: str,
    time_zone: str,
    nominal_v: int,
    nominal_hz: int,
    as_json: bool,
) -> None:
    """Register a meter at a customer's supply and print its claim code.

    The code is good once and for seven days; the installer types it into `meterctl claim` on the
    meter.
    """
    place = registry.UsagePoint(service_number or serial, area, time_zone, nominal_v, nominal_hz)
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        registry.create_meter(
            connection, serial=serial, user_name=user, place=place, now_utc_s=utc_s()
        )
        code, expires_utc_s = registry.create_claim_code(
            connection, SlowHashing(), serial=serial, now_utc_s=utc_s()
        )
    _show_code(as_json, serial, code, expires_utc_s)


@main.command("create-claim-code")
@database_option
@click.option("--serial", required=True, help="The meter's serial number.")
@json_option
def create_claim_code(database: str, serial: str, as_json: bool) -> None:
    """Print a new claim code for a meter that is registered already.

    For a code that expired or whose answer was lost, and for a meter whose memory was replaced.
    Earlier codes lose their use; the meter's present credential works until the code is used.
    """
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        code, expires_utc_s = registry.create_claim_code(
            connection, SlowHashing(), serial=serial, now_utc_s=utc_s()
        )
    _show_code(as_json, serial, code, expires_utc_s)


for each in (
    *meter.COMMANDS,
    *administration.COMMANDS,
    *registry_commands.COMMANDS,
    *validation.COMMANDS,
):
    main.add_command(each)


def _listening(as_json: bool, address: str) -> None:
    show(as_json, {"address": address}, f"Serving at {address} (Ctrl-C ends it)")
    sys.stdout.flush()


def _show_code(as_json: bool, serial: str, code: str, expires_utc_s: int) -> None:
    until = datetime.fromtimestamp(expires_utc_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    show(
        as_json,
        {"meter": serial, "claim_code": code, "expires_utc_s": expires_utc_s},
        f"Claim code for {serial}: {code}\nGood once, until {until}. "
        f"On the meter: meterctl claim {code}",
    )
