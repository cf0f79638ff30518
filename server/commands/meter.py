"""``meterd-server``: what an operator asks of a meter that is claimed, and sees of its keys."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy import Connection

from server import evidence, identity, meter_commands, meter_keys, meter_settings, registry
from server.app import utc_s
from server.commands.common import database_option, json_option, opened_database, sentences, show
from server.db import reading, writing
from server.errors import SettingError
from server.meter_commands import EXPIRES_MIN_DEFAULT, Command
from server.signing import digits

LISTED_MAX = 100

serial_option = click.option("--serial", required=True, help="The meter's serial number.")
by_option = click.option(
    "--by", "who", default=getpass.getuser, help="Who decides it; default: your user name."
)
expires_option = click.option(
    "--expires-min",
    default=EXPIRES_MIN_DEFAULT,
    show_default=True,
    help="After so many minutes the meter refuses it.",
)


@click.command("show-key")
@database_option
@json_option
def show_key(database: str, as_json: bool) -> None:
    """Show the public key that this server signs with, and its fingerprint.

    Receipts, settings and commands carry its signature. Meters learn it when they are claimed and
    believe no other, so this database must not be lost: back it up.
    """
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        key = identity.signing_key(connection).verifying
    show(
        as_json,
        {"public_key": key.text, "fingerprint": key.fingerprint},
        f"Public key:  {key.text}\nFingerprint: {key.fingerprint}",
    )


@click.command()
@database_option
@serial_option
@json_option
def fingerprint(database: str, serial: str, as_json: bool) -> None:
    """Show the key that a meter signs with, to compare with the meter's display.

    If the sixteen digits differ, somebody else's device was claimed: make a new claim code.
    """
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        meter_id, _ = registry.meter_named(connection, serial)
        found = meter_keys.current(connection, meter_id)
        standing = evidence.standing(connection, meter_id)
    answer = {
        "meter": serial,
        "fingerprint": found,
        "digits": None if found is None else digits(found),
        "record": standing.state,
        "reason": standing.reason,
        "broken_seq": standing.broken_seq,
    }
    key = "no key: claim it again" if found is None else f"key {digits(found)}"
    why = f" at row {standing.broken_seq}: {standing.reason}" if standing.reason else ""
    show(as_json, answer, f"{serial}: {key}\nIts record is {standing.state}{why}.")


@click.command("set")
@database_option
@serial_option
@click.argument("changes", nargs=-1)
@by_option
@json_option
def set_settings(
    database: str, serial: str, changes: tuple[str, ...], who: str, as_json: bool
) -> None:
    """Change what a meter is set to, and show all that it is set to from here.

    CHANGES are written key=value; key= alone gives the setting back to the meter's own file.
    Without any, nothing is changed. The meter takes them over when it next sends.

    \b
    interval_s=900  sync_every_s=300  demand_block_min=15  demand_limit_w=5000 (or none)
    display_language=es  display_pages=power,meter  display_page_s=4
    tariff_text="DAC 6.13 MXN/kWh"
    """
    with sentences(), opened_database(database) as opened:
        changed, removed = _read_changes(changes)
        if changes:
            with writing(opened) as connection:
                meter_settings.change(
                    connection,
                    registry.meter_named(connection, serial),
                    changed,
                    removed,
                    key=identity.signing_key(connection),
                    who=who,
                    now_utc_s=utc_s(),
                )
        with reading(opened) as connection:
            meter_id, _ = registry.meter_named(connection, serial)
            version, settings, _ = meter_settings.newest(connection, meter_id)
    lines = [f"{name} = {json.dumps(settings[name], ensure_ascii=False)}" for name in settings]
    show(
        as_json,
        {"meter": serial, "version": version, "settings": settings},
        "\n".join([f"Settings of {serial}, version {version}:", *(lines or ["(none)"])]),
    )


@click.group()
def command() -> None:
    """Tell a meter to do something, once.

    The meter fetches it when it next sends, acts on it once, and puts what came of it into its
    record; `meterd-server commands` shows that.

    \b
    meterd-server command message --serial MX-000001 --text "Pague su recibo" --minutes 60
    meterd-server command disconnect --serial MX-000001 --expires-min 15
    """


@command.command()
@database_option
@serial_option
@click.option("--text", required=True, help="1 to 64 printable characters.")
@click.option("--minutes", default=60, show_default=True, help="How long it is shown.")
@expires_option
@by_option
@json_option
def message(
    database: str,
    serial: str,
    text: str,
    minutes: int,
    expires_min: int,
    who: str,
    as_json: bool,
) -> None:
    """Show a text on the meter's display."""
    arguments = {"text": text, "minutes": minutes}
    with _issuing(database, serial, as_json) as (connection, meter):
        _issue(connection, meter, "message", arguments, expires_min, who, as_json)


def _without_arguments(name: str, help_text: str) -> click.Command:
    """A command that takes nothing but its expiry."""

    @click.command(name.replace("_", "-"), help=help_text)
    @database_option
    @serial_option
    @expires_option
    @by_option
    @json_option
    def issue(database: str, serial: str, expires_min: int, who: str, as_json: bool) -> None:
        with _issuing(database, serial, as_json) as (connection, meter):
            _issue(connection, meter, name, {}, expires_min, who, as_json)

    return issue


command.add_command(
    _without_arguments("self_test", "Let the meter look at its parts and say what it found.")
)
command.add_command(
    _without_arguments(
        "disconnect",
        "Open the meter's relay. A meter without one, or whose owner has not allowed it, refuses.",
    )
)
command.add_command(
    _without_arguments(
        "reconnect",
        "Close the meter's relay, when the voltages on both sides allow it and after its delay.",
    )
)


@click.command()
@database_option
@serial_option
@json_option
def commands(database: str, serial: str, as_json: bool) -> None:
    """List a meter's commands, newest first, with what came of them.

    \b
    open         the meter has not said anything yet
    accepted     it has it and acts on it
    done, failed, refused, expired, interrupted
    cancelled    it was taken back here
    """
    with sentences(), opened_database(database) as opened, reading(opened) as connection:
        meter_id, _ = registry.meter_named(connection, serial)
        found = meter_commands.of_meter(connection, meter_id, LISTED_MAX)
    listed = "\n".join(_command_line(each) for each in found)
    answer = {"meter": serial, "commands": [asdict(each) for each in found]}
    show(as_json, answer, listed or f"{serial} was never told to do anything.")


@click.command("cancel-command")
@database_option
@serial_option
@click.argument("command_id")
@json_option
def cancel_command(database: str, serial: str, command_id: str, as_json: bool) -> None:
    """Take back a command that the meter has not accepted.

    It is sent no more. If the meter has fetched it already it still acts on it, and its record
    will say so.
    """
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        meter_id, _ = registry.meter_named(connection, serial)
        meter_commands.cancel(connection, meter_id, command_id, utc_s())
    show(as_json, {"meter": serial, "id": command_id}, f"{command_id} is cancelled.")


COMMANDS: Sequence[click.Command] = (
    show_key,
    fingerprint,
    set_settings,
    command,
    commands,
    cancel_command,
)


@contextmanager
def _issuing(
    database: str, serial: str, as_json: bool
) -> Iterator[tuple[Connection, tuple[int, str]]]:
    with sentences(), opened_database(database) as opened, writing(opened) as connection:
        yield connection, registry.meter_named(connection, serial)


def _issue(
    connection: Connection,
    meter: tuple[int, str],
    name: str,
    arguments: dict[str, object],
    expires_min: int,
    who: str,
    as_json: bool,
) -> None:
    command_id = meter_commands.issue(
        connection,
        meter,
        name,
        arguments,
        key=identity.signing_key(connection),
        who=who,
        now_utc_s=utc_s(),
        expires_min=expires_min,
    )
    answer: dict[str, Any] = {"meter": meter[1], "id": command_id, "command": name}
    show(as_json, answer, f"{name} for {meter[1]} waits to be fetched: {command_id}")


def _read_changes(changes: Sequence[str]) -> tuple[dict[str, object], frozenset[str]]:
    """What is set and what is removed.

    Raises:
        SettingError: not key=value, no such setting, or not a value of it.
    """
    changed: dict[str, object] = {}
    removed = set()
    for change in changes:
        name, equals, written = change.partition("=")
        if not equals:
            raise SettingError(f"{change!r} is not key=value")
        if name not in meter_settings.ALLOWED or written:
            changed[name] = meter_settings.read(name, written)
        else:
            removed.add(name)
    return changed, frozenset(removed)


def _command_line(found: Command) -> str:
    issued = datetime.fromtimestamp(found.issued_utc_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    result = "" if found.result is None else " " + json.dumps(found.result, ensure_ascii=False)
    return f"{found.id}  {issued}  {found.command}  {found.state}{result}  ({found.who})"
