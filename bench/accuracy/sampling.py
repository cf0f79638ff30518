"""Two ways from a signal to samples, and from samples to the meter's windows.

*Direct*: sample blocks are written down at chosen instants, through the front end and a model of
ten bits. *Bus*: the simulated MCP3008 is read by the meter's own acquisition, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from meterd import acquire, calc
from meterd.analyze import nominal_calibration
from meterd.model import ADC_CODES, Quality, Quantities, SampleBlock, Waveform
from meterd.simulate.adc import SimulatedAdc, SimulatedClock
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import Mains
from meterd.simulate.mcp3008 import Mcp3008

RATE_HZ = 10_000
"""Of each channel; voltage and current are converted in turn, half an interval apart."""
NOISE_CODES = 0.5
BLOCK_S = 0.2
"""As much as the meter reads at a time."""
CHANNELS = (0, 1)
FRONT_END = FrontEnd()
CALIBRATION = nominal_calibration(FRONT_END, (1.0, 1.0))
MAINS_MIN_V = 6.0
RANGE_A = CALIBRATION.current_a_per_code * ADC_CODES / 2
"""The peak current at the end of the ADC's range: 62.5 A."""

LATE_NS = 25_000
"""With the call's own 25 µs this makes gaps of 50 µs between batches."""
JITTER_NS = 10_000
STALL_NS = 5_000_000
STALL_EVERY_S = 3.0
BLOCK_CONVERSIONS = 2048


def direct(
    mains: Mains, seconds: float, rng: np.random.Generator, *, rate_hz: int = RATE_HZ
) -> Iterator[SampleBlock]:
    """Evenly spaced conversions, at instants that are exactly known."""
    step_ns = 1e9 / rate_hz / 2
    pairs = round(BLOCK_S * rate_hz)
    valid = np.ones(pairs, np.bool_)
    pins = np.empty((pairs, 2))
    places = np.arange(2 * pairs, dtype=np.int64).reshape(pairs, 2)
    for number in range(round(seconds / BLOCK_S)):
        t_ns = np.rint((places + number * 2 * pairs) * step_ns).astype(np.int64)
        pins[:, 0] = FRONT_END.voltage_pin_v(mains(t_ns[:, 0] / 1e9)[0])
        pins[:, 1] = FRONT_END.current_pin_v(mains(t_ns[:, 1] / 1e9)[1])
        yield SampleBlock(CHANNELS, codes_of(pins, rng), t_ns, valid)


def codes_of(pins: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Volts at the pins, any shape, to codes with half a code of noise.

    Equation 4-2 of Microchip's DS21295: 1024 · Vin / Vref, cut off to ten bits.
    """
    noisy = pins * (ADC_CODES / FRONT_END.vref_v) + NOISE_CODES * rng.standard_normal(pins.shape)
    return np.floor(noisy).clip(0, ADC_CODES - 1).astype(np.uint16)


def bus(
    mains: Mains, seconds: float, rng: np.random.Generator, *, batch: int
) -> Iterator[SampleBlock]:
    """What acquisition reads: batches with jittered gaps of 50 µs, and stalls of 5 ms.

    ``batch`` is what one message takes; an odd one is asked for less one conversion, as the meter
    does, so that each channel has its place. Every three seconds the program is late by 5 ms, in
    turn between two batches (the gap shows in the instants) and inside one (its instants are
    lost, acquisition marks it).
    """
    clock = SimulatedClock(paced=False)
    chip = Mcp3008(
        Wiring(mains, FRONT_END, CHANNELS),
        vref_v=FRONT_END.vref_v,
        noise_codes=NOISE_CODES,
        rng=rng,
    )
    stalled = [False]  # asked for once by the next call

    def late_ns() -> int:
        stall_ns, stalled[0] = (STALL_NS if stalled[0] else 0), False
        return max(0, round(LATE_NS + JITTER_NS * rng.standard_normal())) + stall_ns

    batch = acquire.whole_batch(CHANNELS, batch)
    adc = SimulatedAdc(chip, clock, late_ns=late_ns)
    timing = acquire.measure_timing(adc, CHANNELS, batch, clock.now_ns)
    batches = max(1, BLOCK_CONVERSIONS // batch)
    read = partial(acquire.read_block, adc, CHANNELS, batches=batches, batch=batch, timing=timing)
    begun_ns, stalls = clock.now_ns(), 0
    while clock.now_ns() < begun_ns + round(seconds * 1e9):
        yield read(clock_ns=clock.now_ns)
        if clock.now_ns() - begun_ns > (stalls + 1) * STALL_EVERY_S * 1e9:
            stalls += 1
            stalled[0] = stalls % 2 == 0
            if not stalled[0]:
                clock.advance(STALL_NS)


def waveforms(blocks: Iterable[SampleBlock]) -> Iterator[Waveform]:
    """The blocks as volts and amperes, with a perfect calibration."""
    return (calc.align(block, CHANNELS, CALIBRATION) for block in blocks)


def windows(waves: Iterable[Waveform], nominal_hz: float = 60.0) -> Iterator[Quantities]:
    """The meter's whole windows of 10 or 12 cycles."""
    for found in calc.stream(waves, nominal_hz, mains_min_v=MAINS_MIN_V):
        if isinstance(found, Quantities) and not found.flags & Quality.SHORT:
            yield found


def analog(mains: Mains, seconds: float, *, rate_hz: float = 14_000.0) -> Waveform:
    """The signal itself, without a converter: samples as exact as floating point is."""
    t_s = np.arange(round(seconds * rate_hz)) / rate_hz
    current_t_s = t_s + 0.5 / rate_hz
    return Waveform(
        start_ns=0,
        t_s=t_s,
        voltage_v=mains(t_s)[0],
        current_t_s=current_t_s,
        current_a=mains(current_t_s)[1],
        quality=np.zeros(len(t_s), np.uint16),
        noise_max=(0.0, 0.0),
    )
