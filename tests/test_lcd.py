"""The display says what was measured, in sixteen columns, and survives being pulled out."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from RPLCD.codecs import A00Codec

from meterd import lcd
from meterd.errors import HardwareError
from meterd.lcd.pages import energy_text, number_text
from meterd.model import Quality, Quantities, Registers, Screen, Status
from meterd.simulate.hd44780 import Hd44780, Pcf8574, SimulatedI2cBus

ADDRESS = 0x27
TABLE = Quantities(
    duration_s=0.2,
    end_ns=0,
    gap_s=0.0,
    cycles=12.0,
    frequency_hz=60.012,
    voltage_v=127.04,
    current_a=4.2,
    power_w=-480.3,
    apparent_va=533.6,
    reactive_var=230.0,
    nonactive_var=232.4,
    power_factor=-0.9,
    phase_deg=-154.2,
    thd_voltage_pct=1.24,
    thd_current_pct=12.3,
    harmonic_voltage_v=np.zeros(40),
    harmonic_current_a=np.zeros(40),
)
REGISTERS = Registers(import_j=1_234_567_890_000, export_j=3_599_999)
STATUS = Status(serial="MX-0042", unsent=12, clock="synced", server="late")


def test_the_first_page_says_direction_power_and_both_registers() -> None:
    assert lcd.render(TABLE, REGISTERS, STATUS, 0).lines == (
        "Casa → red      ",
        "P        480.3 W",
        "Ent 342935.5 kWh",  # 1 234 567.89 MJ / 3.6 = 342 935.525 kWh
        "Sal     0.99 kWh",  # one joule short of 1 kWh is not yet 1 kWh
    )


def test_the_first_page_in_english_says_the_same() -> None:
    imported = replace(TABLE, power_w=12_345.6)
    assert lcd.render(imported, REGISTERS, STATUS, 0, "en").lines == (
        "Grid → home     ",
        "P      12.346 kW",
        "In  342935.5 kWh",
        "Out     0.99 kWh",
    )


def test_the_second_page_says_the_quality_of_supply() -> None:
    assert lcd.render(TABLE, REGISTERS, STATUS, 1).lines == (
        "127.0 V   4.20 A",
        "FP-0.900  φ-154°",
        "THD V 1.2 I12.3%",
        "60.01 Hz  534 VA",
    )


@pytest.mark.parametrize(
    ("apparent_va", "text"), [(9_999.4, "9999 VA"), (9_999.5, "10.0kVA"), (50_000.0, "50.0kVA")]
)
def test_apparent_power_changes_to_kilovoltamperes_where_its_digits_end(
    apparent_va: float, text: str
) -> None:
    busy = replace(TABLE, apparent_va=apparent_va)
    assert lcd.render(busy, REGISTERS, STATUS, 1).lines[3].endswith(" " + text)


def test_the_third_page_says_how_the_meter_is() -> None:
    assert lcd.render(TABLE, REGISTERS, STATUS, 2).lines == (
        "Medidor  MX-0042",
        "Sin enviar    12",
        "Reloj    en hora",
        "Servidor   tarde",
    )


def test_the_pages_come_round_again() -> None:
    first, again = (lcd.render(TABLE, REGISTERS, STATUS, page) for page in (0, lcd.PAGES))
    assert first == again


def test_without_a_reading_everything_measured_is_unknown_and_energy_is_not() -> None:
    assert lcd.render(None, REGISTERS, STATUS, 0, "en").lines[:3] == (
        "No reading      ",
        "P           -- W",
        "In  342935.5 kWh",
    )
    assert lcd.render(None, REGISTERS, STATUS, 1).lines == (
        "-- V        -- A",
        "FP    --    φ--°",
        "THD V  -- I  --%",
        "-- Hz      -- VA",
    )


def test_without_mains_no_direction_is_claimed() -> None:
    dark = replace(TABLE, flags=Quality.MAINS_LOST, power_factor=None, phase_deg=None)
    assert lcd.render(dark, REGISTERS, STATUS, 0).lines[0] == "Sin tensión     "


@pytest.mark.parametrize("power_w", [0.0, -0.0, 0.049, -0.049])
def test_power_that_shows_as_zero_flows_nowhere(power_w: float) -> None:
    still = replace(TABLE, power_w=power_w)
    assert lcd.render(still, REGISTERS, STATUS, 0).lines[:2] == (
        "Sin flujo       ",
        "P          0.0 W",
    )


def test_a_clipped_window_is_marked() -> None:
    clipped = replace(TABLE, flags=Quality.CLIPPED)
    assert lcd.render(clipped, REGISTERS, STATUS, 0).lines[0] == "Casa → red     !"


def test_unsent_that_was_never_told_is_unknown() -> None:
    assert lcd.render(TABLE, REGISTERS, replace(STATUS, unsent=None), 2).lines[1].endswith(" --")


def test_a_long_serial_keeps_its_end_and_foreign_characters_are_marked() -> None:
    status = replace(STATUS, serial="planta-baja-é-000042")
    assert lcd.render(TABLE, REGISTERS, status, 2).lines[0] == "..-baja-?-000042"


measured = st.one_of(st.none(), st.floats(-1e6, 1e6), st.floats())
rms = st.one_of(st.floats(0, 1e6), st.floats())
any_quantities = st.builds(
    Quantities,
    duration_s=st.just(0.2),
    end_ns=st.just(0),
    gap_s=st.just(0.0),
    cycles=st.just(12.0),
    frequency_hz=measured,
    voltage_v=rms,
    current_a=rms,
    power_w=st.one_of(st.floats(-50_000, 50_000), st.floats()),
    apparent_va=rms,
    reactive_var=rms,
    nonactive_var=rms,
    power_factor=st.one_of(st.none(), st.floats(-1, 1)),
    phase_deg=st.one_of(st.none(), st.floats(-180, 180)),
    thd_voltage_pct=measured,
    thd_current_pct=measured,
    harmonic_voltage_v=st.just(np.zeros(40)),
    harmonic_current_a=st.just(np.zeros(40)),
    flags=st.sampled_from([Quality.GOOD, Quality.CLIPPED, Quality.MAINS_LOST, ~Quality.GOOD]),
)
any_registers = st.builds(
    Registers, import_j=st.integers(0, 2**63 - 1), export_j=st.integers(0, 2**63 - 1)
)
any_status = st.builds(
    Status,
    serial=st.text(max_size=30),
    unsent=st.one_of(st.none(), st.integers(0, 10**9)),
    clock=st.sampled_from(["synced", "unsynced", "unknown", "a word that nobody knows"]),
    server=st.sampled_from(["ok", "late", "refused", "unknown", ""]),
)


@given(
    st.one_of(st.none(), any_quantities),
    any_registers,
    any_status,
    st.integers(0, 5),
    st.sampled_from(["es", "en"]),
)
def test_every_line_is_sixteen_characters_that_the_display_has(
    quantities: Quantities | None,
    registers: Registers,
    status: Status,
    page: int,
    language: lcd.Language,
) -> None:
    codec = A00Codec()
    for line in lcd.render(quantities, registers, status, page, language).lines:
        assert len(line) == 16
        for character in line:
            in_rom = character == " " or codec.encode(character) != [0x20]
            assert in_rom or character in lcd.GLYPHS


JOULES_PER_UNIT = {"kWh": 3_600_000, "MWh": 3_600_000_000, "GWh": 3_600_000_000_000}


@given(st.integers(0, 99_999_999 * 3_600_000 + 3_599_999))
@example(99_999_999 * 3_600_000 + 3_599_999)
def test_a_register_never_shows_energy_that_was_not_counted(energy_j: int) -> None:
    text = energy_text(energy_j, 12)
    number, unit = text.split()
    digit = Fraction(1, 10 ** len(number.partition(".")[2]))
    counted = Fraction(energy_j, JOULES_PER_UNIT[unit])
    assert len(text) <= 12
    assert unit == "kWh"
    assert Fraction(number) <= counted < Fraction(number) + digit


@given(st.integers(0, 2**63 - 1))
def test_a_register_beyond_eight_digits_changes_its_unit_and_still_tells_the_truth(
    energy_j: int,
) -> None:
    number, unit = energy_text(energy_j, 12).split()
    digit = Fraction(1, 10 ** len(number.partition(".")[2]))
    assert 0 <= Fraction(energy_j, JOULES_PER_UNIT[unit]) - Fraction(number) < digit


@given(st.floats(-1e7, 1e7), st.integers(3, 8), st.integers(0, 3))
def test_a_number_fits_and_is_rounded_to_its_last_digit_or_is_a_true_bound(
    value: float, width: int, decimals: int
) -> None:
    text = number_text(value, width, decimals)
    assert len(text) <= width
    assert not re.fullmatch(r"-0(\.0*)?", text)
    if text.startswith(">"):
        assert value > float(text[1:])
    elif text.startswith("<"):
        assert value < float(text[1:])
    else:
        places = len(text.partition(".")[2])
        assert places <= decimals
        assert abs(Fraction(text) - Fraction(value)) <= Fraction(1, 2 * 10**places)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_unknown(value: float | None) -> None:
    assert number_text(value, 6, 2) == "--"


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


FIRST = lcd.render(TABLE, REGISTERS, STATUS, 0)
SECOND = lcd.render(TABLE, REGISTERS, STATUS, 1)
SECOND_NS = 1_000_000_000


def test_every_page_reads_back_from_the_glass_as_it_was_rendered() -> None:
    panel = Panel()
    shown = lcd.Shown()
    for page in range(lcd.PAGES):
        screen = lcd.render(TABLE, REGISTERS, STATUS, page)
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
