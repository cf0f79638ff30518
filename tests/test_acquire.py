"""Reading blocks: instants, preempted batches, a bounded queue and a thread that tells its end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from meterd import acquire
from meterd.acquire import Acquisition, BusTiming
from meterd.errors import HardwareError
from meterd.model import Quality, SampleBlock
from meterd.simulate.adc import CALL_NS, CONVERSION_NS, SimulatedAdc, SimulatedClock
from meterd.simulate.mcp3008 import Mcp3008


def ramp(channels: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """A pin whose code is its channel times 100."""
    return channels.astype(np.float64) * (100.5 / 1024.0 * 3.3)


def simulated(late: Iterator[int] | None = None) -> tuple[SimulatedAdc, SimulatedClock]:
    clock = SimulatedClock(paced=False, start_ns=1_000_000)
    chip = Mcp3008(ramp, vref_v=3.3, rng=None)
    delays = late or iter(lambda: 0, 1)
    return SimulatedAdc(chip, clock, late_ns=lambda: next(delays)), clock


def test_a_frame_asks_for_a_channel_as_the_datasheet_draws_it() -> None:
    assert acquire.frames((0, 7), 3).tolist() == [
        [1, 0b1000_0000, 0],
        [1, 0b1111_0000, 0],
        [1, 0b1000_0000, 0],
    ]


def test_the_floating_bits_above_the_ten_are_masked() -> None:
    received = np.array([[0xFF, 0b11111011, 0b10000001]], np.uint8)
    assert acquire.codes(received).tolist() == [0b11_1000_0001]


@pytest.mark.parametrize(
    ("bufsiz", "bits", "conversions"),
    [(4096, 64, 32), (4096, 32, 64), (65536, 64, 511), (65536, 32, 511), (64, 64, 1)],
)
def test_a_message_fits_the_drivers_buffer(bufsiz: int, bits: int, conversions: int) -> None:
    assert acquire.batch_limit(bufsiz, bits=bits) == conversions


def test_every_channel_is_asked_equally_often() -> None:
    assert acquire.whole_batch((0, 1), 511) == 510
    assert acquire.whole_batch((0, 1), 1) == 2
    assert acquire.whole_batch((0, 1, 2), 32) == 30


def test_the_bus_is_timed_without_the_cost_of_the_call() -> None:
    adc, clock = simulated()
    timing = acquire.measure_timing(adc, (0, 1), 32, clock.now_ns)
    assert timing.period_ns == CONVERSION_NS
    assert timing.batch_ns == 32 * CONVERSION_NS + CALL_NS


def test_conversions_carry_their_channel_code_and_instant() -> None:
    adc, clock = simulated()
    timing = BusTiming(CONVERSION_NS, 4 * CONVERSION_NS + CALL_NS)
    block = acquire.read_block(
        adc, (2, 5), batches=2, batch=4, timing=timing, clock_ns=clock.now_ns
    )
    assert block.channels == (2, 5)
    assert block.codes.tolist() == [[201, 502]] * 4
    t_ns = block.t_ns.ravel()
    assert np.diff(t_ns[:4]).tolist() == [CONVERSION_NS] * 3
    assert t_ns[4] - t_ns[3] == CONVERSION_NS + CALL_NS
    assert block.valid.all()
    assert block.flags == Quality.GOOD


def test_a_batch_that_took_much_too_long_is_marked_and_its_samples_are_not_used() -> None:
    late = iter([0, 3_000_000, 0])
    adc, clock = simulated(late)
    timing = BusTiming(CONVERSION_NS, 32 * CONVERSION_NS + CALL_NS)
    block = acquire.read_block(
        adc, (0, 1), batches=3, batch=32, timing=timing, clock_ns=clock.now_ns
    )
    assert block.flags == Quality.PREEMPTED
    assert block.valid.reshape(3, 16).all(axis=1).tolist() == [True, False, True]


def block_at(number: int) -> SampleBlock:
    return SampleBlock(
        channels=(0,),
        codes=np.full((1, 1), number, np.uint16),
        t_ns=np.full((1, 1), number, np.int64),
        valid=np.ones(1, np.bool_),
    )


class Reader:
    """Reads numbered blocks; what is an error in the script is raised."""

    def __init__(self, script: list[Exception | None]) -> None:
        self.script, self.count = script, 0
        self.acquisition: Acquisition | None = None

    def __call__(self) -> SampleBlock:
        step = self.script[self.count] if self.count < len(self.script) else None
        self.count += 1
        if self.count >= len(self.script) and self.acquisition is not None:
            self.acquisition.request_stop()
        if step is not None:
            raise step
        return block_at(self.count)


def run(script: list[Exception | None], capacity: int = 64) -> tuple[Acquisition, list[int]]:
    reader = Reader(script)
    acquisition = Acquisition(reader, capacity=capacity, wait=lambda _: None)
    reader.acquisition = acquisition
    acquisition.start()
    acquisition.join(5.0)
    return acquisition, [int(block.codes[0, 0]) for block in acquisition]


def test_blocks_come_in_the_order_they_were_read() -> None:
    assert run([None] * 5)[1] == [1, 2, 3, 4, 5]


def test_a_reader_too_slow_loses_the_newest_blocks_and_they_are_counted() -> None:
    acquisition, codes = run([None] * 10, capacity=4)
    assert codes == [1, 2, 3, 4]
    assert acquisition.lost_blocks == 6


def test_a_bus_that_fails_for_a_moment_is_tried_again() -> None:
    fault = HardwareError("EIO")
    assert run([None, fault, fault, None])[1] == [1, 4]


def test_a_bus_that_goes_on_failing_reaches_whoever_measures() -> None:
    with pytest.raises(HardwareError, match="EIO"):
        run([None, *[HardwareError("EIO")] * acquire.RETRY_MAX, None])


def test_a_bug_in_the_thread_is_not_mistaken_for_the_end() -> None:
    with pytest.raises(ZeroDivisionError):
        run([None, ZeroDivisionError(), None])
