"""What an answer of the server brings for the meter itself, by its shape; meterd judges it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from meterd.control import signed
from meterd.database.downlink import (
    AcknowledgedRegisters,
    ServerTime,
    SignedCommand,
    SignedReceipt,
    SignedSettings,
    SignedText,
    Told,
    read_boot_id,
)
from meterd.errors import NotSignedError
from meterd.uplink.protocol import SignedAnswer, StreamAnswer

_log = logging.getLogger(__name__)


def boottime_ns() -> int:
    """Time since the start of this machine's kernel, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """The clock that round trips are timed by, and the kernel's start that it counts from."""

    boottime_ns: Callable[[], int] = boottime_ns
    boot_id: Callable[[], str] = read_boot_id


class _Counted(Struct, frozen=True):
    """The registers in a row, whatever its kind."""

    import_j: int | None = None
    export_j: int | None = None


def told(
    state: StreamAnswer,
    last: int,
    rows: Sequence[tuple[int, bytes]],
    *,
    asked_ns: int,
    watch: Stopwatch,
    now_utc_s: int,
) -> Told:
    """The part of ``state`` that is kept; ``rows`` were sent, ``last`` is our last row.

    A text without the shape of its kind is left out and logged: it cannot be acted on anyway.
    """
    answered_ns = watch.boottime_ns()
    held = min(state.hwm, last)
    return Told(
        receipt=_receipt(state, held),
        settings_version=state.settings_version,
        settings=_settings(state),
        commands=_commands(state, now_utc_s),
        time=ServerTime(
            state.server_utc_s, answered_ns, max(0, answered_ns - asked_ns), watch.boot_id()
        ),
        registers=_registers(rows, held),
    )


def _receipt(state: StreamAnswer, held: int) -> SignedReceipt | None:
    if state.receipt is None:
        return None
    try:
        said = signed.decode(state.receipt.text, signed.Receipt)
    except NotSignedError as error:
        _log.error("ALARM: a receipt is not kept: %s", error)
        return None
    if said.stream != state.stream or said.hwm > held:
        _log.error("ALARM: a receipt is not kept: it is for other rows than these")
        return None
    return SignedReceipt(said.hwm, _text(state.receipt))


def _settings(state: StreamAnswer) -> SignedSettings | None:
    if state.settings is None:
        return None
    try:
        said = signed.decode(state.settings.text, signed.Settings)
    except NotSignedError as error:
        _log.error("ALARM: settings are not kept: %s", error)
        return None
    if said.version != state.settings_version:
        _log.error("ALARM: settings are not kept: the answer names another version")
        return None
    return SignedSettings(said.version, _text(state.settings))


def _commands(state: StreamAnswer, now_utc_s: int) -> tuple[SignedCommand, ...]:
    kept = []
    for command in state.commands:
        try:
            said = signed.decode(command.text, signed.Command)
        except NotSignedError as error:
            _log.error("ALARM: a command is not kept: %s", error)
            continue
        kept.append(SignedCommand(said.id, said.expires_utc_s, now_utc_s, _text(command)))
    return tuple(kept)


def _registers(rows: Sequence[tuple[int, bytes]], held: int) -> AcknowledgedRegisters | None:
    """Of the newest row that was sent, is held now, and has registers."""
    for seq, line in reversed(rows):
        if seq > held:
            continue
        try:
            row = msgspec.json.decode(line, type=_Counted)
        except msgspec.MsgspecError:  # a row that the server put into quarantine, too
            continue
        if row.import_j is not None and row.export_j is not None:
            return AcknowledgedRegisters(seq, row.import_j, row.export_j)
    return None


def _text(answer: SignedAnswer) -> SignedText:
    return SignedText(answer.text, answer.key, answer.signature)
