"""The chips behave as their datasheets say: MCP3008 (DS21295), PCF8574, HD44780U (ADE-207-272)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from meterd.simulate.hd44780 import Hd44780, Pcf8574, SimulatedI2cBus
from meterd.simulate.mcp3008 import HOLD_BYTE, HOLD_CLOCK, Analog, Mcp3008

VREF_V = 3.3
BIT_S = 1 / 1.35e6


def staircase(channels: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Channel k stands at the middle of code 100·k + 1, at all times."""
    return (100.0 * channels + 1.5) * VREF_V / 1024


def ramp(channels: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every channel climbs one code in a second and starts channel + 0.5 codes up."""
    return (channels + 0.5 + t_s) * VREF_V / 1024


def chip(
    analog: Analog = staircase,
    *,
    noise_codes: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Mcp3008:
    return Mcp3008(analog, vref_v=VREF_V, noise_codes=noise_codes, rng=rng)


def exchange(adc: Mcp3008, *tx: int, t_s: float = 0.0, bit_s: float = BIT_S) -> list[int]:
    return [adc.exchange(byte, t_s + 8 * bit_s * at, bit_s) for at, byte in enumerate(tx)]


def test_a_frame_answers_floating_ones_a_null_bit_and_ten_bits() -> None:
    assert exchange(chip(), 0b1, 0b1011_0000, 0) == [0xFF, 0b1111_1001, 0b0010_1101]  # 301


@pytest.mark.parametrize("channel", range(8))
def test_each_channel_answers_for_itself(channel: int) -> None:
    _, high, low = exchange(chip(), 1, (8 | channel) << 4, 0)
    assert (high & 3) << 8 | low == 100 * channel + 1


def test_the_code_comes_again_lsb_first_and_then_zeros_while_selected() -> None:
    adc = chip()
    exchange(adc, 1, 0xF0, 0)  # 701 = 10 1011 1101: from B1 up that is 0111 1010 1
    assert exchange(adc, 1, 0xF0, 0) == [0b0111_1010, 0b1000_0000, 0]


def test_a_new_start_bit_is_only_seen_after_deselect() -> None:
    adc = chip()
    exchange(adc, 1, 0x80, 0)
    spoiled = exchange(adc, 1, 0xF0, 0)
    adc.deselect()
    assert spoiled != exchange(adc, 1, 0xF0, 0) == [0xFF, 0xF8 | 701 >> 8, 701 & 0xFF]


def test_leading_zeros_delay_the_answer_bit_for_bit() -> None:
    late = exchange(chip(), 0b0, 0b0000_0001, 0b1011_0000, 0)
    assert late == [0xFF, 0xFF, 0b1111_1001, 0b0010_1101]


def test_without_a_start_bit_dout_floats() -> None:
    assert exchange(chip(), 0, 0, 0) == [0xFF, 0xFF, 0xFF]


def test_a_start_bit_one_clock_early_gives_the_bits_one_clock_early() -> None:
    # 0b10 then SGL=0: the command is read one clock earlier, from the byte's last bit on.
    assert exchange(chip(), 0b11, 0b0110_0000, 0) == [0xFF, 0b1111_0010, 0b0101_1010]  # 301 << 1


def test_the_sample_is_held_at_the_end_of_the_fifth_clock_after_the_start_bit() -> None:
    adc = chip(ramp)
    assert (HOLD_BYTE, HOLD_CLOCK) == (1, 5)
    # One second a clock: the hold is at 13 s, the code 13 + 0.5 without rounding.
    assert exchange(adc, 1, 0x80, 0, bit_s=1.0)[2] == 13


@pytest.mark.parametrize(("pair", "code"), [(0b000, 0), (0b001, 100), (0b111, 100), (0b110, 0)])
def test_a_pair_gives_the_difference_and_zero_when_it_is_negative(pair: int, code: int) -> None:
    assert exchange(chip(), 1, pair << 4, 0)[2] == code


@pytest.mark.parametrize(
    ("volts", "code"),
    [(0.0, 0), (1.0, 256), (1.0 - 1e-9, 255), (3.999, 1023), (4.0, 1023), (9.0, 1023), (-1.0, 0)],
)
def test_the_code_is_1024_times_the_input_over_the_reference(volts: float, code: int) -> None:
    adc = Mcp3008(lambda channels, t_s: np.full(len(t_s), volts), vref_v=4.0, rng=None)
    _, high, low = exchange(adc, 1, 0x80, 0)
    assert (high & 3) << 8 | low == code


def test_noise_of_one_code_spreads_the_codes_by_one_code() -> None:
    adc = chip(noise_codes=1.0, rng=np.random.default_rng(1))
    tx = np.tile(np.array([1, 0xC0, 0], np.uint8), (20_000, 1))
    rx = adc.frames(tx, np.zeros(len(tx)))
    codes = (rx[:, 1] & 3).astype(float) * 256 + rx[:, 2]
    assert codes.mean() == pytest.approx(401, abs=0.05)  # 401.5, half a code lost by the floor
    assert codes.std() == pytest.approx(np.sqrt(1 + 1 / 12), abs=0.03)


def test_noise_without_a_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="rng"):
        chip(noise_codes=1.0)


def test_a_reference_of_zero_volts_is_refused() -> None:
    with pytest.raises(ValueError, match="reference"):
        Mcp3008(staircase, vref_v=0.0, rng=None)


well_formed = st.tuples(st.just(1), st.integers(0, 255), st.integers(0, 255))
any_frame = st.tuples(*[st.integers(0, 255)] * 3)


@given(st.lists(st.one_of(well_formed, any_frame), max_size=20), st.booleans())
def test_frames_equal_the_bits_one_by_one(sent: list[tuple[int, int, int]], noisy: bool) -> None:
    noise = 2.0 if noisy else 0.0
    fast, slow = (chip(ramp, noise_codes=noise, rng=np.random.default_rng(7)) for _ in range(2))
    t_s = np.arange(len(sent), dtype=np.float64) * np.float64(3.25)
    expected = []
    for frame, at in zip(sent, t_s, strict=True):
        expected.append(exchange(slow, *frame, t_s=float(at), bit_s=0.0))
        slow.deselect()
    rx = fast.frames(np.array(sent, np.uint8).reshape(-1, 3), t_s)
    assert rx.tolist() == expected


class Bench:
    """A display on a bus, driven by hand as the datasheet's figures do it."""

    def __init__(self, cgram_text: str = "") -> None:
        self.now_ns = 0
        self.lcd = Hd44780(cgram_text)
        self.expander = Pcf8574(self.lcd)
        self.bus = SimulatedI2cBus({0x27: self.expander}, lambda: self.now_ns)

    def nibble(self, rs: int, nibble: int) -> None:
        for pins in (nibble << 4 | 8 | rs, nibble << 4 | 12 | rs, nibble << 4 | 8 | rs):
            self.bus.write_byte(0x27, pins)

    def byte(self, rs: int, value: int, wait_us: int = 40) -> None:
        self.nibble(rs, value >> 4)
        self.nibble(rs, value & 15)
        self.now_ns += wait_us * 1000

    def text(self, text: str) -> None:
        for character in text:
            self.byte(1, ord(character))

    def initialise(self) -> None:
        """Figure 24 of the datasheet: 4-bit interface, then two lines, on, clear, increment."""
        self.now_ns += 40_000_000
        for nibble, wait_us in ((3, 4_100), (3, 100), (3, 40), (2, 40)):
            self.nibble(0, nibble)
            self.now_ns += wait_us * 1000
        for command, wait_us in ((0x28, 40), (0x0C, 40), (0x01, 1_530), (0x06, 40)):
            self.byte(0, command, wait_us)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.initialise()
    return bench


def test_a_display_that_was_never_initialised_shows_nothing() -> None:
    bench = Bench()
    bench.text("HELLO")
    assert bench.lcd.text() == (" " * 16,) * 4


def test_the_four_rows_begin_where_a_16x4_panel_has_them(bench: Bench) -> None:
    for address, text in ((0x80, "one"), (0xC0, "two"), (0x90, "three"), (0xD0, "four")):
        bench.byte(0, address)
        bench.text(text)
    assert [row.rstrip() for row in bench.lcd.text()] == ["one", "two", "three", "four"]
    assert bench.lcd.violations == []


def test_writing_on_past_the_end_of_row_one_appears_in_row_three(bench: Bench) -> None:
    bench.byte(0, 0x80)
    bench.text("x" * 17)
    assert bench.lcd.text()[2].startswith("x ")


def test_cell_0x27_is_followed_by_0x40(bench: Bench) -> None:
    bench.byte(0, 0x80 | 0x27)
    bench.text("AB")
    assert bench.lcd.text()[1].startswith("B")


def test_degree_and_arrows_have_the_codes_of_rom_a00(bench: Bench) -> None:
    for code in (0xDF, 0x7E, 0x7F, 0xEE):
        bench.byte(1, code)
    assert bench.lcd.text()[0].startswith("°→←ñ")


def test_a_character_of_ones_own_is_stored_and_named() -> None:
    bench = Bench(cgram_text="φ")
    bench.initialise()
    bench.byte(0, 0x40)
    for row in (1, 2, 4, 8, 16, 8, 4, 2):
        bench.byte(1, row)
    bench.byte(0, 0x80)
    bench.byte(1, 0)
    bench.byte(1, 1)
    assert bench.lcd.cgram[:8] == bytes((1, 2, 4, 8, 16, 8, 4, 2))
    assert bench.lcd.text()[0].startswith("φ①")


def test_clear_blanks_and_goes_home(bench: Bench) -> None:
    bench.text("old")
    bench.byte(0, 0x01, wait_us=1_530)
    bench.text("new")
    assert bench.lcd.text()[0].rstrip() == "new"


def test_display_off_hides_and_on_shows_the_same(bench: Bench) -> None:
    bench.text("here")
    bench.byte(0, 0x08)
    hidden = bench.lcd.text()[0]
    bench.byte(0, 0x0C)
    assert (hidden.strip(), bench.lcd.text()[0].strip()) == ("", "here")


def test_shifting_the_display_left_moves_the_text_left(bench: Bench) -> None:
    bench.text("abc")
    bench.byte(0, 0x18)
    assert bench.lcd.text()[0].startswith("bc ")


def test_moving_the_cursor_left_overwrites(bench: Bench) -> None:
    bench.text("ab")
    bench.byte(0, 0x10)
    bench.text("X")
    assert bench.lcd.text()[0].startswith("aX ")


def test_a_byte_within_37_microseconds_of_the_last_is_a_violation(bench: Bench) -> None:
    bench.byte(1, 65, wait_us=36)
    bench.byte(1, 66)
    assert [violation.what for violation in bench.lcd.violations] == ["0x42 while busy 1 µs"]


def test_a_byte_within_1520_microseconds_of_clear_is_a_violation(bench: Bench) -> None:
    bench.byte(0, 1, wait_us=1_519)
    bench.byte(1, 65)
    assert len(bench.lcd.violations) == 1


def test_changing_rs_together_with_e_is_a_violation(bench: Bench) -> None:
    bench.bus.write_byte(0x27, 0x48)
    bench.bus.write_byte(0x27, 0x4D)
    assert [violation.what for violation in bench.lcd.violations] == ["RS or R/W changed as E rose"]


def test_a_lost_nibble_garbles_until_the_initialisation_comes_again(bench: Bench) -> None:
    bench.nibble(1, 4)  # a program that died in the middle of a byte
    bench.text("hello")
    garbled = bench.lcd.text()[0].rstrip()
    bench.initialise()
    bench.text("hello")
    assert garbled != "hello"
    assert bench.lcd.text()[0].rstrip() == "hello"


def test_bit_three_is_the_backlight(bench: Bench) -> None:
    bench.bus.write_byte(0x27, 0x00)
    dark = bench.expander.backlight
    bench.bus.write_byte(0x27, 0x08)
    assert (dark, bench.expander.backlight) == (False, True)


def test_the_expander_gives_back_the_pins_it_was_told(bench: Bench) -> None:
    bench.bus.write_byte(0x27, 0xA8)
    assert bench.bus.read_byte(0x27) == 0xA8


def test_an_address_without_a_chip_does_not_acknowledge(bench: Bench) -> None:
    with pytest.raises(OSError, match="Remote I/O") as failure:
        bench.bus.write_byte(0x3F, 0)
    assert failure.value.errno == 121


def test_an_unplugged_display_does_not_answer_and_comes_back_blank(bench: Bench) -> None:
    bench.text("hello")
    bench.bus.unplug()
    with pytest.raises(OSError, match="Remote I/O"):
        bench.bus.write_byte(0x27, 0)
    bench.bus.plug()
    bench.bus.write_byte(0x27, 0)
    assert bench.lcd.text()[0].strip() == ""
