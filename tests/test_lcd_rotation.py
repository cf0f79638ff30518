"""What the display shows when: the pages in turn, and what goes before them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meterd.display.rotation import Shown, all_pages, screen
from meterd.model import Message, Registers, Screen, Status

STATUS = Status("MX-0042", 0, "synced", "ok")
PAGES = ("power", "supply", "meter")
S = 1_000_000_000


def at(second: float, status: Status = STATUS, message: Message | None = None) -> Screen:
    shown = Shown(None, Registers(), status, message)
    return screen(
        shown, PAGES, page_s=4.0, began_ns=7 * S, now_ns=7 * S + int(second * S), language="en"
    )


def test_each_page_stands_for_its_seconds_and_they_come_round_again() -> None:
    firsts = [at(second).lines[0].strip() for second in (0, 3.9, 4, 8, 12)]
    assert firsts == [
        "No reading",
        "No reading",
        "-- V        -- A",
        "Meter    MX-0042",
        "No reading",
    ]


def test_the_key_is_among_the_pages_for_a_minute_and_until_the_meter_is_claimed() -> None:
    keyed = replace(STATUS, key="ab" * 32)
    assert all_pages(keyed, PAGES, 59.9) == ("key", *PAGES)
    assert all_pages(keyed, PAGES, 60.0) == PAGES
    assert all_pages(replace(keyed, claimed=False), PAGES, 1e6) == ("key", *PAGES)
    assert all_pages(STATUS, PAGES, 0.0) == PAGES


def test_what_is_wrong_comes_before_the_other_pages() -> None:
    assert all_pages(replace(STATUS, alarms=("disk",)), PAGES, 100.0) == ("alarms", *PAGES)


@pytest.mark.parametrize("second", [100, 104, 129.9])
def test_a_new_message_stands_alone(second: float) -> None:
    message = Message("Hola", 107 * S, 10_000 * S)
    assert at(second, message=message).lines[0] == "Hola            "


def test_a_message_that_stays_leaves_the_registers_readable() -> None:
    message = Message("Hola", 0, 10_000 * S)
    firsts = [at(second, message=message).lines[0][:5] for second in range(200, 224, 4)]
    assert firsts.count("Hola ") == 3
    assert {"No re", "-- V ", "Meter"} <= set(firsts)
