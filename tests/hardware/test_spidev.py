"""The unmodified spidev, and our acquisition on it, against an emulated /dev/spidev0.0."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from meterd.simulate.mcp3008 import Mcp3008

from .board import VREF_V, Board, steady
from .kernel import PublishedClock

OPEN = """
import ctypes, json, sys
import numpy as np
from meterd import acquire
from meterd.errors import HardwareError
adc = acquire.open_spidev(0, 0, 1_350_000)
"""
READ = OPEN + "codes = acquire.codes(adc.transfer(acquire.frames(range(8), {conversions})))\n"
REPORT = "print(json.dumps([adc.batch_size, codes.tolist()]))\nadc.close()\n"
STEADY = [100 * channel + 23 for channel in range(8)]


def read(board: Board, conversions: int) -> tuple[int, list[int]]:
    child = board.run(READ.format(conversions=conversions) + REPORT)
    assert child.returncode == 0, child.stderr
    batch_size, codes = json.loads(child.stdout)
    return batch_size, codes


def test_batched_and_plain_reads_return_the_same_codes(board: Board) -> None:
    child = board.run(
        READ.format(conversions=64)
        + "plain = [adc._spi.xfer2([1, (8 | c % 8) << 4, 0]) for c in range(64)]\n"
        + "print(json.dumps([codes.tolist(), [(h & 3) << 8 | l for _, h, l in plain]]))\n"
        + "adc.close()"
    )
    batched, plain = json.loads(child.stdout)
    assert batched == plain == STEADY * 8
    assert board.spi.message_sizes == [32, 32] + [1] * 64


def test_the_default_buffer_limits_a_batch_to_32_conversions(board: Board) -> None:
    assert read(board, 70) == (32, (STEADY * 9)[:70])
    assert board.spi.message_sizes == [32, 32, 6]
    assert not board.spi.selected


def test_a_large_buffer_takes_511_conversions_in_one_call(board: Board) -> None:
    board.spi.bufsiz = 65536
    assert read(board, 511) == (511, (STEADY * 64)[:511])
    assert board.spi.message_sizes == [511]


def test_a_batch_that_the_kernel_refuses_is_halved_until_it_fits(board: Board) -> None:
    board.spi.dma_alignment = 256  # a kernel whose cache lines are longer than any known
    child = board.run(
        "import logging\nlogging.basicConfig()\n"
        + READ.format(conversions=40)
        + "again = acquire.codes(adc.transfer(acquire.frames(range(8), 40)))\n"
        + "assert (codes == again).all()\n"
        + REPORT
    )
    assert json.loads(child.stdout) == [16, STEADY * 5]
    assert board.spi.message_sizes == [16, 16, 8] * 2
    assert child.stderr.count("takes no batch of 32 conversions (Message too long)") == 1


def test_a_kernel_that_takes_no_batch_at_all_is_read_one_by_one(board: Board) -> None:
    board.spi.dma_alignment = 4096
    assert read(board, 8) == (1, STEADY)
    assert board.spi.message_sizes == [1] * 8


def test_32_conversions_fit_and_33_do_not(board: Board) -> None:
    child = board.run(
        READ.format(conversions=32)
        + """
from meterd.errors import BatchRefusedError
larger = acquire.SpidevAdc(adc._spi, "/dev/spidev0.0", 1_350_000, 33)
try:
    larger._exchange(acquire.frames([0], 33))
except BatchRefusedError as refusal:
    print(refusal)
adc.close()
"""
    )
    assert board.spi.message_sizes == [32]
    assert "takes no batch of 33 conversions (Message too long)" in child.stdout


# What the acquisition must never do, shown on the same devices: the next conversion is spoiled.
LAST_CS_CHANGE = (
    OPEN
    + """
tx = acquire.frames([3], 1)
adc._exchange(tx)
adc._message["cs_change"][0] = {cs_change}
adc._tx[:1] = tx
message = ctypes.c_void_p(adc._message.ctypes.data)
adc._libc.ioctl(adc._spi.fileno(), ctypes.c_ulong(0x40206B00), message)
after = adc._spi.xfer2([1, 0xB0, 0])
print(json.dumps((after[1] & 3) << 8 | after[2]))
adc.close()
"""
)


@pytest.mark.parametrize(("cs_change", "spoiled"), [(0, False), (1, True)])
def test_chip_select_left_low_after_a_message_spoils_the_next_conversion(
    board: Board, cs_change: int, spoiled: bool
) -> None:
    child = board.run(LAST_CS_CHANGE.format(cs_change=cs_change))
    assert (json.loads(child.stdout) != STEADY[3]) == spoiled


def test_a_message_of_512_transfers_does_nothing_and_says_zero(board: Board) -> None:
    child = board.run(
        OPEN
        + """
request = 0x40006B00 | (512 * 32 & 0x3FFF) << 16
print(adc._libc.ioctl(adc._spi.fileno(), ctypes.c_ulong(request), ctypes.c_void_p(0)))
adc.close()
"""
    )
    assert child.stdout.strip() == "0"
    assert board.spi.message_sizes == []


@pytest.mark.parametrize("batch_size", [1, 32])
def test_an_input_output_error_reaches_the_caller_as_a_clear_sentence(
    board: Board, batch_size: int
) -> None:
    board.spi.faults.append(errno.EIO)
    child = board.run(
        OPEN
        + f"adc.batch_size = {batch_size}\n"
        + """
try:
    adc.transfer(acquire.frames(range(8), 16))
except HardwareError as error:
    print(error)
print(acquire.codes(adc.transfer(acquire.frames([5], 1)))[0])
adc.close()
"""
    )
    sentence, after = child.stdout.splitlines()
    assert sentence.startswith("/dev/spidev0.0: Input/output error; check the wiring")
    assert int(after) == STEADY[5]


def test_an_absent_device_is_named_with_what_to_do(board: Board) -> None:
    board.missing.add("/dev/spidev0.0")
    child = board.run(OPEN)
    assert child.returncode != 0
    assert "HardwareError: cannot open /dev/spidev0.0: No such file" in child.stderr
    assert "raspi-config" in child.stderr


def test_the_driver_is_set_to_mode_zero_and_the_speed_asked_for(board: Board) -> None:
    board.spi.mode = 3
    board.run(OPEN + "adc.close()")
    assert (board.spi.mode & 3, board.spi.speed_hz) == (0, 1_350_000)


BLOCK = (
    OPEN
    + """
import mmap
with open(sys.argv[1], "rb") as file:
    published = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
clock_ns = lambda: int.from_bytes(published[:], sys.byteorder)
timing = acquire.measure_timing(adc, [0, 1], 32, clock_ns)
block = acquire.read_block(adc, [0, 1], batches=4, batch=32, timing=timing, clock_ns=clock_ns)
print(json.dumps([block.channels, block.codes.tolist(), block.t_ns.ravel().tolist()]))
adc.close()
"""
)


def test_a_block_has_the_code_the_channel_and_the_instant_of_each_sample(
    board: Board, tmp_path: Path
) -> None:
    held_s: list[float] = []

    def noted(channels: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        held_s.extend(t_s.tolist())
        return steady(channels, t_s)

    board.spi.chip = Mcp3008(noted, vref_v=VREF_V, rng=None)
    board.spi.clock = clock = PublishedClock(tmp_path / "clock", 1_000_000_000)
    child = board.run([board.python, "-c", BLOCK, str(tmp_path / "clock")])
    clock.close()
    channels, codes, t_ns = json.loads(child.stdout)
    assert channels == [0, 1]
    assert codes == [[23, 123]] * 64
    late_ns = np.array(t_ns) - np.array(held_s[-128:]) * 1e9
    # What is the same for all samples cancels between the channels; 0.1 µs is 0.002° at 60 Hz.
    assert np.ptp(late_ns) < 100
    # Half the call's own 25 µs, and where in its 27 clocks a conversion holds, are left in all.
    assert abs(np.mean(late_ns)) < 20_000


def test_a_batch_holds_its_samples_at_the_instants_of_single_conversions(board: Board) -> None:
    """Each conversion of a batch is 27 clocks and 10 µs after the last, the last one as well."""
    held_s: list[float] = []

    def ramp(channels: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        held_s.extend(t_s.tolist())
        return np.zeros(len(t_s))

    board.spi.chip = Mcp3008(ramp, vref_v=3.3, rng=None)
    read(board, 32)
    # 250 MHz over 186, the next even divisor of 1.35 MHz, is 1.344 MHz.
    assert np.diff(held_s) == pytest.approx(27 * 186 / 250e6 + 10e-6, abs=1e-9)
