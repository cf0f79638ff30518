"""Which screen the display shows now: the configured pages in turn, and what goes before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meterd.display.pages import Language, render, render_message
from meterd.model import Message, Quantities, Registers, Screen, Status

KEY_SHOWN_S = 60.0
"""For so long after a start the key's page is among the others, also when it is claimed."""
MESSAGE_ALONE_S = 30.0
"""A new message stands alone for so long, and then takes every second turn: the registers must
stay readable however long the message lasts."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the display could show at one moment."""

    quantities: Quantities | None
    registers: Registers
    status: Status
    message: Message | None = None


def screen(
    shown: Shown,
    pages: Sequence[str],
    *,
    page_s: float,
    began_ns: int,
    now_ns: int,
    language: Language,
) -> Screen:
    """The screen of this moment; ``began_ns`` is when the meter started."""
    elapsed_s = (now_ns - began_ns) / 1e9
    turn = int(elapsed_s / page_s)
    if shown.message is not None:
        alone = now_ns - shown.message.from_ns < MESSAGE_ALONE_S * 1e9
        if alone or turn % 2 == 0:
            return render_message(shown.message.text)
        turn //= 2
    taking_part = all_pages(shown.status, pages, elapsed_s)
    page = taking_part[turn % len(taking_part)]
    return render(shown.quantities, shown.registers, shown.status, page, language)


def all_pages(status: Status, pages: Sequence[str], elapsed_s: float) -> tuple[str, ...]:
    """The configured pages, behind those that the moment asks for."""
    first = []
    if status.alarms:
        first.append("alarms")
    if status.key is not None and (elapsed_s < KEY_SHOWN_S or not status.claimed):
        first.append("key")
    return (*first, *pages)
