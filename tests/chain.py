"""A synthetic socket through front end, MCP3008, bus and acquisition, as fast as it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from meterd import acquire, calc
from meterd.analyze import nominal_calibration
from meterd.model import Calibration, Missed, Quantities, SampleBlock, Waveform
from meterd.simulate.adc import SimulatedAdc, SimulatedClock
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import Mains, Socket, synthetic
from meterd.simulate.mcp3008 import Mcp3008

CHANNELS = (0, 1)
NOMINAL = nominal_calibration(FrontEnd(), (1.0, 1.0))


def blocks(
    mains: Mains,
    seconds: float,
    *,
    batch: int = 510,
    noise_codes: float = 0.5,
    seed: int = 1,
    front_end: FrontEnd | None = None,
    late_ns: Callable[[], int] = lambda: 0,
) -> Iterator[SampleBlock]:
    """What acquisition reads in ``seconds`` of simulated time."""
    clock = SimulatedClock(paced=False)
    chip = Mcp3008(
        Wiring(mains, front_end or FrontEnd(), CHANNELS),
        vref_v=3.3,
        noise_codes=noise_codes,
        rng=np.random.default_rng(seed),
    )
    adc = SimulatedAdc(chip, clock, late_ns=late_ns)
    timing = acquire.measure_timing(adc, CHANNELS, batch, clock.now_ns)
    read = partial(
        acquire.read_block,
        adc,
        CHANNELS,
        batches=2,
        batch=batch,
        timing=timing,
        clock_ns=clock.now_ns,
    )
    end_ns = clock.now_ns() + round(seconds * 1e9)
    while clock.now_ns() < end_ns:
        yield read()


def waveforms(raw: Iterator[SampleBlock], calibration: Calibration = NOMINAL) -> Iterator[Waveform]:
    """The blocks as volts and amperes."""
    return (calc.align(block, CHANNELS, calibration) for block in raw)


def measured(
    socket: Socket, seconds: float, calibration: Calibration = NOMINAL, **how: object
) -> Quantities:
    """All windows of ``seconds`` of a socket, as one."""
    raw = blocks(synthetic(socket), seconds, **how)  # type: ignore[arg-type]  # passed on
    windows = calc.stream(waveforms(raw, calibration), 60.0, mains_min_v=6.0)
    return calc.aggregate([window for window in windows if not isinstance(window, Missed)])
