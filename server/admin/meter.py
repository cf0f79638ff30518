"""The utility's page of one meter: what it measures, and what it is set to and told from here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from server import (
    audit,
    fleet,
    identity,
    meter_commands,
    meter_page,
    meter_settings,
    registry,
)
from server.access import actor_of
from server.admin.frame import changed, moment, render_admin
from server.audit import Change
from server.browser import see_other, visitor_of
from server.db import reading
from server.errors import SettingError
from server.fleet import Placed
from server.language import Language
from server.meter_commands import Command
from server.signing import digits
from server.site import Site

COMMANDS_SHOWN = 50
FIELD_CHARACTERS_MAX = 200
Meter = tuple[int, str]


def get_admin_meter(site: Site, request: Request, serial: str) -> Response:
    """The page.

    Raises:
        NotFound: no such meter.
    """
    return _page(site, request, serial)


def post_settings(site: Site, request: Request, serial: str) -> Response:
    """Issue a new version of the settings; an empty field goes back to the meter's own file."""

    def change(connection: Connection, now_utc_s: int) -> None:
        meter = registry.meter_named(connection, serial)
        _, before, _ = meter_settings.newest(connection, meter[0])
        wanted, removed = _settings_of(request, before)
        if wanted == {} and not removed:
            raise SettingError("nothing was changed")
        key = identity.signing_key(connection)
        actor = actor_of(site, request)
        meter_settings.change(
            connection, meter, wanted, removed, key=key, who=actor.who, now_utc_s=now_utc_s
        )
        _, after, _ = meter_settings.newest(connection, meter[0])
        audit.note(
            connection, actor, Change("set_meter", "meter", serial, before, after), now_utc_s
        )

    return _done(site, request, serial, change)


def post_command(site: Site, request: Request, serial: str) -> Response:
    """Tell the meter to do something, once."""

    def change(connection: Connection, now_utc_s: int) -> None:
        command = _field(request, "command")
        arguments = _arguments(request) if command == "message" else {}
        actor = actor_of(site, request)
        command_id = meter_commands.issue(
            connection,
            registry.meter_named(connection, serial),
            command,
            arguments,
            key=identity.signing_key(connection),
            who=actor.who,
            now_utc_s=now_utc_s,
            expires_min=_whole(request, "expires_min"),
        )
        after = {"command": command, "arguments": arguments, "id": command_id}
        audit.note(
            connection, actor, Change("command_meter", "meter", serial, None, after), now_utc_s
        )

    return _done(site, request, serial, change)


def post_cancel(site: Site, request: Request, serial: str, command_id: str) -> Response:
    """Take a command back that the meter has not accepted."""

    def change(connection: Connection, now_utc_s: int) -> None:
        meter_id, _ = registry.meter_named(connection, serial)
        meter_commands.cancel(connection, meter_id, command_id, now_utc_s)
        states = ({"id": command_id, "state": state} for state in ("open", "cancelled"))
        actor = actor_of(site, request)
        audit.note(connection, actor, Change("cancel_command", "meter", serial, *states), now_utc_s)

    return _done(site, request, serial, change)


def post_claim_code(site: Site, request: Request, serial: str) -> Response:
    """A new claim code, shown this once; earlier ones lose their use."""

    def change(connection: Connection, now_utc_s: int) -> tuple[str, int]:
        code, expires_utc_s = registry.create_claim_code(
            connection, site.hashing, serial=serial, now_utc_s=now_utc_s
        )
        after = {"expires_utc_s": expires_utc_s}
        actor = actor_of(site, request)
        audit.note(
            connection, actor, Change("create_claim_code", "meter", serial, None, after), now_utc_s
        )
        return code, expires_utc_s

    made, problem = changed(site, change)
    code, expires_utc_s = made or ("", None)
    language = visitor_of(site, request).language
    until = moment(language, expires_utc_s).text
    return _page(site, request, serial, problem=problem, claim_code=code, claim_until=until)


def _done(
    site: Site, request: Request, serial: str, change: Callable[[Connection, int], Any]
) -> Response:
    _, problem = changed(site, change)
    if problem:
        return _page(site, request, serial, problem=problem)
    return see_other(f"/admin/meters/{serial}")


def _page(
    site: Site,
    request: Request,
    serial: str,
    *,
    problem: str = "",
    claim_code: str = "",
    claim_until: str = "",
) -> Response:
    now_utc_s = site.clock_utc_s()
    language = visitor_of(site, request).language
    with reading(site.database) as connection:
        found = fleet.placed(connection, serial)
        if found is None:
            raise NotFound
        snapshot = meter_page.take(connection, found.meter, [], now_utc_s)
        context = _told(connection, language, found)
    response = render_admin(
        site,
        request,
        "admin/meter.html",
        meter=found.meter,
        placed=found,
        status=meter_page.status_of(snapshot),
        last_connection=meter_page.last_connection(language, snapshot),
        quantities=meter_page.quantities(language, snapshot.latest),
        registers=meter_page.registers(language, snapshot.latest),
        standing=snapshot.record.standing,
        digits="" if snapshot.record.standing.key is None else digits(snapshot.record.standing.key),
        problem=problem,
        claim_code=claim_code,
        claim_until=claim_until,
        **context,
    )
    response.status_code = 422 if problem else 200
    return response


def _told(connection: Connection, language: Language, found: Placed) -> dict[str, object]:
    """Settings and commands as the page shows them."""
    meter_id = found.meter.meter_id
    version, settings, _ = meter_settings.newest(connection, meter_id)
    commands = meter_commands.of_meter(connection, meter_id, COMMANDS_SHOWN)
    return {
        "version": version,
        "settings": [
            (name, _written(settings, name), allowed)
            for name, (_, allowed) in meter_settings.ALLOWED.items()
        ],
        "commands": [_command_row(language, each) for each in commands],
        "command_states": _state_words(language),
        "command_names": _command_words(language),
    }


def _settings_of(
    request: Request, before: dict[str, object]
) -> tuple[dict[str, object], frozenset[str]]:
    wanted: dict[str, object] = {}
    removed = set()
    for name in meter_settings.ALLOWED:
        written = _field(request, name)
        if written and written != _written(before, name):
            wanted[name] = meter_settings.read(name, written)
        elif not written and name in before:
            removed.add(name)
    return wanted, frozenset(removed)


def _written(settings: dict[str, object], name: str) -> str:
    """A setting as an operator writes it; empty: the meter's own file decides."""
    if name not in settings:
        return ""
    found = settings[name]
    if isinstance(found, list):
        return ",".join(str(each) for each in found)
    return "none" if found is None else str(found)


def _arguments(request: Request) -> dict[str, object]:
    return {"text": _field(request, "text"), "minutes": _whole(request, "minutes")}


def _field(request: Request, name: str) -> str:
    return request.form.get(name, "").strip()[:FIELD_CHARACTERS_MAX]


def _whole(request: Request, name: str) -> int:
    written = _field(request, name)
    if not (written.isascii() and written.isdigit()):
        raise SettingError(f"{name} is a whole number, not {written!r}")
    return int(written)


def _command_row(language: Language, found: Command) -> dict[str, object]:
    arguments = found.arguments.get("text", "")
    result = "" if found.result is None else json.dumps(found.result, ensure_ascii=False)
    return {
        "id": found.id,
        "command": found.command,
        "text": arguments,
        "issued": moment(language, found.issued_utc_s).text,
        "state": found.state,
        "result": result,
        "who": found.who,
    }


def _command_words(language: Language) -> dict[str, str]:
    say = language.say
    return {
        "message": say("Message"),
        "self_test": say("Self-test"),
        "disconnect": say("Disconnect"),
        "reconnect": say("Reconnect"),
    }


def _state_words(language: Language) -> dict[str, str]:
    say = language.say
    return {
        "open": say("waits to be fetched"),
        "accepted": say("accepted"),
        "done": say("done"),
        "failed": say("failed"),
        "refused": say("refused"),
        "expired": say("expired"),
        "interrupted": say("interrupted"),
        "cancelled": say("cancelled"),
    }
