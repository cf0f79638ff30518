"""Only changed cells are written, and a display that fails never disturbs the meter."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterd import lcd
from meterd.errors import HardwareError
from meterd.model import Screen
from meterd.simulate.hd44780 import Hd44780, Pcf8574, SimulatedI2cBus

ADDRESS = 0x27

lines = st.text("01 ", min_size=16, max_size=16)
screens = st.builds(Screen, st.tuples(lines, lines, lines, lines))


@given(st.one_of(st.none(), screens), screens)
def test_writing_the_changed_cells_gives_the_wanted_screen(
    shown: Screen | None, wanted: Screen
) -> None:
    cells = [list(line) for line in (shown.lines if shown else ["?" * 16] * 4)]
    for row, column, text in lcd.changed_cells(shown, wanted):
        cells[row][column : column + len(text)] = text
    assert tuple("".join(row) for row in cells) == wanted.lines


@given(screens)
def test_an_unchanged_screen_has_no_changed_cells(screen: Screen) -> None:
    assert lcd.changed_cells(screen, screen) == []


def test_runs_are_joined_over_one_cell_and_not_over_two() -> None:
    blank = Screen((" " * 16,) * 4)
    wanted = Screen(("a b  c".ljust(16), *blank.lines[1:]))
    assert lcd.changed_cells(blank, wanted) == [(0, 0, "a b"), (0, 5, "c")]


class Panel:
    """A simulated display and the real driver's opener on it."""

    def __init__(self) -> None:
        self.chip = Hd44780("".join(lcd.GLYPHS))
        self.bus = SimulatedI2cBus({ADDRESS: Pcf8574(self.chip)}, time.monotonic_ns)
        self.opened = 0

    def open(self) -> lcd.Display:
        self.opened += 1
        return lcd.open_display(1, ADDRESS, self.bus)

    def cost(self, shown: lcd.Shown, wanted: Screen) -> tuple[lcd.Shown, int]:
        before = self.bus.transactions
        after = lcd.step(shown, wanted, self.open, now_ns=0)
        return after, self.bus.transactions - before


FIRST = Screen(("Casa → red      ", "P        480.3 W", "Ent 342935.5 kWh", "Sal     0.99 kWh"))
SECOND = Screen(("127.0 V   4.20 A", "FP-0.900  φ-154°", "THD V 1.2 I12.3%", "60.01 Hz  534 VA"))
THIRD = Screen(("Sin tensión     ", "ñ°←→ {|} φóφó   ", "Reloj    en hora", "Servidor   tarde"))
SECOND_NS = 1_000_000_000


def test_each_screen_reads_back_from_the_glass_as_it_was_wanted() -> None:
    panel = Panel()
    shown = lcd.Shown()
    for screen in (FIRST, SECOND, THIRD):
        shown = lcd.step(shown, screen, panel.open, now_ns=0)
        assert panel.chip.text() == screen.lines
    assert panel.chip.violations == []
    assert panel.opened == 1


def test_the_characters_of_our_own_are_loaded() -> None:
    panel = Panel()
    panel.open().close()
    assert bytes(panel.chip.cgram[:16]) == bytes(sum(lcd.GLYPHS.values(), ()))


def test_an_unchanged_screen_costs_nothing_and_one_cell_two_bytes_of_eight_transactions() -> None:
    panel = Panel()
    shown, _ = panel.cost(lcd.Shown(), FIRST)
    shown, unchanged = panel.cost(shown, FIRST)
    one_cell = replace(FIRST, lines=(*FIRST.lines[:3], "Sal     1.99 kWh"))
    shown, one = panel.cost(shown, one_cell)
    assert (unchanged, one) == (0, 16)
    assert panel.chip.text() == one_cell.lines


def test_an_absent_display_is_named_with_its_bus_and_address() -> None:
    bus = SimulatedI2cBus({}, time.monotonic_ns)
    with pytest.raises(HardwareError, match=r"0x3f on /dev/i2c-1 does not answer.*121.*wires"):
        lcd.open_display(1, 0x3F, bus)


def test_a_bus_that_does_not_exist_is_named_with_what_to_do() -> None:
    with pytest.raises(HardwareError, match=r"/dev/i2c-97.*No such file.*raspi-config"):
        lcd.open_display(97, ADDRESS)


def test_an_absent_display_is_logged_once_and_tried_only_when_due(
    caplog: pytest.LogCaptureFixture,
) -> None:
    panel = Panel()
    panel.bus.unplug()
    shown = lcd.Shown()
    for tenth in range(250):  # 25 s with a try every 10 s: at 0, 10 and 20 s
        now_ns = tenth * SECOND_NS // 10
        shown = lcd.step(shown, FIRST, panel.open, now_ns=now_ns, retry_s=10)
    assert panel.opened == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_display_pulled_out_and_put_back_is_written_anew_within_the_retry_time() -> None:
    panel = Panel()
    shown = lcd.step(lcd.Shown(), FIRST, panel.open, now_ns=0, retry_s=10)
    panel.bus.unplug()
    shown = lcd.step(shown, SECOND, panel.open, now_ns=SECOND_NS, retry_s=10)
    panel.bus.plug()
    shown = lcd.step(shown, SECOND, panel.open, now_ns=11 * SECOND_NS - 1, retry_s=10)
    blank = panel.chip.text()
    shown = lcd.step(shown, SECOND, panel.open, now_ns=11 * SECOND_NS, retry_s=10)
    assert "".join(blank).strip() == ""
    assert panel.chip.text() == SECOND.lines


def test_a_display_that_has_just_got_its_supply_is_given_the_time_to_start() -> None:
    panel = Panel()
    panel.bus.plug()  # the controller is busy for its first 10 ms
    lcd.step(lcd.Shown(), FIRST, panel.open, now_ns=0)
    assert panel.chip.text() == FIRST.lines
    assert panel.chip.violations == []


class Refusing:
    """A display that was opened and then answers no more."""

    def __init__(self) -> None:
        self.closed = 0

    def write(self, row: int, column: int, text: str) -> None:
        raise HardwareError("gone")

    def close(self) -> None:
        self.closed += 1


def test_a_display_that_is_given_up_is_closed() -> None:
    display = Refusing()
    shown = lcd.step(lcd.Shown(), FIRST, lambda: display, now_ns=0)
    assert (shown.display, display.closed) == (None, 1)


# An instruction and a character of eight transactions each: before a nibble is latched, with E
# high over it, after it, and with E high over the second.
@pytest.mark.parametrize("lost_after", range(1, 17, 2))
def test_a_program_that_dies_in_the_middle_of_a_byte_leaves_a_display_that_recovers(
    lost_after: int,
) -> None:
    panel = Panel()
    shown = lcd.step(lcd.Shown(), FIRST, panel.open, now_ns=0)
    assert shown.display is not None
    write = panel.bus.write_byte
    left = iter(range(lost_after))

    def dying(address: int, value: int, /) -> None:
        if next(left, None) is None:
            raise OSError(121, "Remote I/O error")
        write(address, value)

    panel.bus.write_byte = dying  # type: ignore[method-assign]  # the fault is injected here
    shown = lcd.step(shown, SECOND, panel.open, now_ns=0, retry_s=0)
    assert shown.failing
    panel.bus.write_byte = write  # type: ignore[method-assign]  # and ends here
    lcd.step(shown, SECOND, panel.open, now_ns=0, retry_s=0)
    assert panel.chip.text() == SECOND.lines


def test_a_display_garbled_by_a_disturbance_is_right_again_after_the_refresh_time() -> None:
    panel = Panel()
    shown = lcd.step(lcd.Shown(), FIRST, panel.open, now_ns=0, refresh_s=60)
    panel.chip.power_on(time.monotonic_ns())  # the supply dipped, every byte is acknowledged
    shown = lcd.step(shown, FIRST, panel.open, now_ns=59 * SECOND_NS, refresh_s=60)
    garbled = panel.chip.text()
    lcd.step(shown, FIRST, panel.open, now_ns=60 * SECOND_NS, refresh_s=60)
    assert garbled != FIRST.lines
    assert panel.chip.text() == FIRST.lines


def test_before_the_first_screen_nothing_is_opened() -> None:
    panel = Panel()
    assert lcd.step(lcd.Shown(), None, panel.open, now_ns=0) == lcd.Shown()
    assert panel.opened == 0


def test_the_thread_writes_the_last_screen_when_it_is_stopped_and_ends() -> None:
    panel, wanted, stop = Panel(), lcd.LatestScreen(), threading.Event()
    thread = lcd.start_display(panel.open, wanted, stop, period_s=60)
    wanted.put(FIRST)
    wanted.put(SECOND)
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert panel.chip.text() == SECOND.lines


def test_the_thread_outlives_a_display_that_never_answers() -> None:
    panel, wanted, stop = Panel(), lcd.LatestScreen(), threading.Event()
    panel.bus.unplug()
    tried = threading.Event()

    def open_display() -> lcd.Display:
        tried.set()
        return panel.open()

    wanted.put(FIRST)
    thread = lcd.start_display(open_display, wanted, stop, period_s=0.001, retry_s=0.001)
    assert tried.wait(5)
    assert thread.is_alive()
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()
