"""What becomes of a command: known, accepted, refused, expired, or to be asked again later."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from meterd.control import signed
from meterd.control.signed import Command
from meterd.database.downlink import SignedText
from meterd.record.signing import PublicKey

MESSAGE_CHARACTERS_MAX = 64
MESSAGE_MIN_MAX = 1440
WITHOUT_ARGUMENTS = ("self_test", "disconnect", "reconnect")


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of ``message``."""

    text: Annotated[str, Meta(min_length=1, max_length=MESSAGE_CHARACTERS_MAX)]
    minutes: Annotated[int, Meta(ge=1, le=MESSAGE_MIN_MAX)]


class Fate(Enum):
    """What is to be done with a command."""

    KNOWN = "known"  # nothing: the record has it already
    ACCEPT = "accept"
    REFUSE = "refuse"
    EXPIRED = "expired"
    WAIT = "wait"  # no clock says yet whether it has expired


@dataclass(frozen=True, slots=True)
class Decision:
    """A command of the server and what becomes of it; ``because`` says why it is refused."""

    fate: Fate
    command: Command
    because: str = ""


def decide(
    text: SignedText,
    key: PublicKey,
    serial: str,
    known: Container[str],
    *,
    now_utc_s: float | None,
    refusals: Mapping[str, str],
) -> Decision:
    """Judge a signed command; ``known`` are the ids that the record has.

    ``refusals`` says why a command cannot be done here and now, by the command's name.

    Raises:
        NotSignedError: it is no command of the server for this meter, and no row tells of it:
            its id may be another command's.
    """
    command = signed.verified(text, Command, key, serial)
    if command.id in known:
        return Decision(Fate.KNOWN, command)
    if now_utc_s is None:
        return Decision(Fate.WAIT, command)
    if now_utc_s >= command.expires_utc_s:
        return Decision(Fate.EXPIRED, command)
    because = _refusal(command, refusals)
    return Decision(Fate.REFUSE if because else Fate.ACCEPT, command, because or "")


def _refusal(command: Command, refusals: Mapping[str, str]) -> str | None:
    arguments = command.arguments or {}
    if command.command == "message":
        return _message_refusal(arguments)
    if command.command not in WITHOUT_ARGUMENTS:
        return "this meter does not know the command"
    if arguments:
        return f"{command.command} takes no arguments"
    return refusals.get(command.command)


def _message_refusal(arguments: dict[str, Any]) -> str | None:
    try:
        text = message_of(arguments).text
    except msgspec.ValidationError as error:
        return f"the message cannot be shown: {error}"
    return None if text.isprintable() else "the message cannot be shown: it is not printable"


def message_of(arguments: dict[str, Any] | None) -> Message:
    """The arguments of an accepted ``message``.

    Raises:
        msgspec.ValidationError: they are not.
    """
    return msgspec.convert(arguments or {}, Message, strict=True)
