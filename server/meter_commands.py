"""What meters are told to do, once each: signed, with an expiry, and with what came of it.

A command is sent again until the meter's own record says what became of it. The meter refuses an
id that it knows, so sending again, from a backup too, does not do a thing twice.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from server import signing, wire
from server.errors import NotFoundError, SettingError, TooManyError
from server.schema import METER_COMMAND
from server.signing import ServerKey, Signed

LOG = logging.getLogger(__name__)
OPEN_MAX = 16
EXPIRES_MIN_DEFAULT = 60
EXPIRES_MIN_MAX = 7 * 24 * 60
MESSAGE_CHARACTERS_MAX = 64
MESSAGE_MINUTES_MAX = 24 * 60
COMMANDS = ("message", "self_test", "disconnect", "reconnect")
UNANSWERED = ("open", "accepted")
FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "accepted": ("open", "cancelled"),
    "done": ("open", "accepted", "cancelled"),
    "failed": ("open", "accepted", "cancelled"),
    "interrupted": ("open", "accepted", "cancelled"),
    "refused": ("open", "cancelled"),
    "expired": ("open", "cancelled"),
}
"""What the meter says may follow on which state. It may also have got what was cancelled later."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command and what came of it."""

    id: str
    command: str
    arguments: dict[str, object]
    issued_utc_s: int
    expires_utc_s: int
    who: str
    state: str
    result: object
    answered_utc_s: int | None


def require_arguments(command: str, arguments: Mapping[str, object]) -> None:
    """Do nothing if docs/protocol.md's table allows the arguments.

    Raises:
        SettingError: it does not, or there is no such command.
    """
    if command not in COMMANDS:
        raise SettingError(f"there is no command {command!r}; there are {', '.join(COMMANDS)}")
    if command != "message":
        if arguments:
            raise SettingError(f"{command} takes no arguments")
        return
    text, minutes = arguments.get("text"), arguments.get("minutes")
    if not isinstance(text, str) or not 1 <= len(text) <= MESSAGE_CHARACTERS_MAX:
        raise SettingError(f"a message's text is 1 to {MESSAGE_CHARACTERS_MAX} characters")
    if not text.isprintable():
        raise SettingError("a message's text is one line of printable characters")
    if type(minutes) is not int or not 1 <= minutes <= MESSAGE_MINUTES_MAX:
        raise SettingError(f"a message is shown for 1 to {MESSAGE_MINUTES_MAX} whole minutes")


def issue(
    connection: Connection,
    meter: tuple[int, str],
    command: str,
    arguments: Mapping[str, object],
    *,
    key: ServerKey,
    who: str,
    now_utc_s: int,
    expires_min: int = EXPIRES_MIN_DEFAULT,
) -> str:
    """Sign a command and keep it for the meter to fetch; its id.

    Raises:
        SettingError: arguments or an expiry that it cannot have.
        TooManyError: sixteen have no answer yet.
    """
    meter_id, serial = meter
    require_arguments(command, arguments)
    if not 1 <= expires_min <= EXPIRES_MIN_MAX:
        raise SettingError(f"a command expires after 1 to {EXPIRES_MIN_MAX} minutes")
    ordinal = _next_ordinal(connection, meter_id, serial)
    content = {
        "type": "command",
        "meter": serial,
        "id": secrets.token_hex(16),
        "command": command,
        "arguments": dict(arguments),
        "issued_utc_s": now_utc_s,
        "expires_utc_s": now_utc_s + expires_min * 60,
    }
    signed = signing.signed(key, content)
    values = {name: content[name] for name in ("id", "command", "issued_utc_s", "expires_utc_s")}
    values |= {
        "meter_id": meter_id,
        "ordinal": ordinal,
        "arguments": json.dumps(content["arguments"], ensure_ascii=False),
        "who": who,
        "text": signed.text,
        "key": signed.key,
        "signature": signed.signature,
        "state": "open",
    }
    connection.execute(insert(METER_COMMAND).values(values))
    return str(content["id"])


def unanswered(connection: Connection, meter_id: int) -> list[Signed]:
    """What the meter has yet to answer, oldest first."""
    query = (
        select(METER_COMMAND.c.text, METER_COMMAND.c.key, METER_COMMAND.c.signature)
        .where(METER_COMMAND.c.meter_id == meter_id, METER_COMMAND.c.state.in_(UNANSWERED))
        .order_by(METER_COMMAND.c.ordinal)
        .limit(OPEN_MAX)
    )
    return [Signed(row.text, row.key, row.signature) for row in connection.execute(query)]


def answered(
    connection: Connection, meter_id: int, events: Sequence[wire.Event], now_utc_s: int
) -> None:
    """Note what the meter's record says of its commands."""
    for event in events:
        if event.event != "command":
            continue
        answer = wire.detail_of(event, wire.CommandAnswer)
        if isinstance(answer, str):
            LOG.warning("meter %s row %d answers no command: %s", event.meter, event.seq, answer)
            continue
        _note(connection, meter_id, event, answer, now_utc_s)


def cancel(connection: Connection, meter_id: int, command_id: str, now_utc_s: int) -> None:
    """Send it no more. A meter that has fetched it already still acts on it, and says so.

    Raises:
        NotFoundError: the meter has no such command that is open.
    """
    cancelled = connection.execute(
        update(METER_COMMAND)
        .where(
            METER_COMMAND.c.meter_id == meter_id,
            METER_COMMAND.c.id == command_id,
            METER_COMMAND.c.state == "open",
        )
        .values(state="cancelled", answered_utc_s=now_utc_s)
    )
    if cancelled.rowcount != 1:
        raise NotFoundError(
            f"this meter has no open command {command_id!r}: see `meterd-server commands`"
        )


def of_meter(connection: Connection, meter_id: int, limit: int) -> list[Command]:
    """The newest commands, newest first."""
    query = (
        select(METER_COMMAND)
        .where(METER_COMMAND.c.meter_id == meter_id)
        .order_by(METER_COMMAND.c.ordinal.desc())
        .limit(limit)
    )
    return [
        Command(
            row.id,
            row.command,
            json.loads(row.arguments),
            row.issued_utc_s,
            row.expires_utc_s,
            row.who,
            row.state,
            None if row.result is None else json.loads(row.result),
            row.answered_utc_s,
        )
        for row in connection.execute(query)
    ]


def last_switching(connection: Connection, meter_id: int) -> tuple[str, int] | None:
    """What last moved the relay, ``disconnect`` or ``reconnect``, and when its answer came."""
    query = (
        select(METER_COMMAND.c.command, METER_COMMAND.c.answered_utc_s)
        .where(
            METER_COMMAND.c.meter_id == meter_id,
            METER_COMMAND.c.state == "done",
            METER_COMMAND.c.command.in_(("disconnect", "reconnect")),
        )
        .order_by(METER_COMMAND.c.ordinal.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.command, row.answered_utc_s)


def _next_ordinal(connection: Connection, meter_id: int, serial: str) -> int:
    of_meter = METER_COMMAND.c.meter_id == meter_id
    waiting = connection.scalar(
        select(func.count()).where(of_meter, METER_COMMAND.c.state.in_(UNANSWERED))
    )
    if (waiting or 0) >= OPEN_MAX:
        raise TooManyError(
            f"{OPEN_MAX} commands of {serial} have no answer yet: wait, or use "
            "`meterd-server cancel-command`"
        )
    return (connection.scalar(select(func.max(METER_COMMAND.c.ordinal)).where(of_meter)) or 0) + 1


def _note(
    connection: Connection,
    meter_id: int,
    event: wire.Event,
    answer: wire.CommandAnswer,
    now_utc_s: int,
) -> None:
    changes = {
        "state": answer.state,
        "result": json.dumps(answer.result, ensure_ascii=False),
        "answered_utc_s": now_utc_s,
    }
    noted = connection.execute(
        update(METER_COMMAND)
        .where(
            METER_COMMAND.c.meter_id == meter_id,
            METER_COMMAND.c.id == answer.id,
            METER_COMMAND.c.state.in_(FOLLOWS[answer.state]),
        )
        .values(changes)
    )
    if noted.rowcount != 1:
        LOG.warning(
            "meter %s says that command %s is %s, which does not follow on what is known here",
            *(event.meter, answer.id, answer.state),
        )
