"""The chips behave as their datasheets say: MCP3008 (DS21295), PCF8574, HD44780U (ADE-207-272)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

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
