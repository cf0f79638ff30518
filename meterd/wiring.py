"""The parts put together as the configuration says: real buses, or simulated ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from meterd import acquire, calc, recording
from meterd.acquire import Adc
from meterd.config import Config
from meterd.errors import HardwareError, RecordingError
from meterd.lcd import Display, open_display
from meterd.metrology.interpolation import cubic
from meterd.model import Quantities, SampleBlock, Screen
from meterd.recording import Recording
from meterd.simulate.adc import CALL_NS, CONVERSION_NS, SimulatedAdc, SimulatedClock
from meterd.simulate.frontend import FrontEnd, Wiring, Wirings
from meterd.simulate.hd44780 import Hd44780, Pcf8574, SimulatedI2cBus
from meterd.simulate.mains import Mains, parse, recorded, synthetic
from meterd.simulate.mcp3008 import Mcp3008

log = logging.getLogger(__name__)

BLOCK_S = 0.2
LOOP_POINTS_PER_CYCLE = 1024
MAINS_MIN_SHARE = 0.05
"""Below this share of the nominal voltage there are no mains to follow."""
ANALYSIS_MAINS_MIN_V = 10.0
NOMINAL_HZ = 60.0
FIT_V, FIT_A = 127.0, 40.0
FIT_PEAK_V, FIT_PEAK_A = 240.0, 60.0
"""The front end's ends of range are 250 V and 62.5 A."""
SIMULATED_BATCH = acquire.BATCH_MAX


@dataclass(frozen=True, slots=True)
class Converter:
    """An ADC with the clocks that its samples are dated by."""

    adc: Adc
    clock_ns: Callable[[], int]
    utc_s: Callable[[], float]
    boottime_s: Callable[[], float]
    batch: int
    close: Callable[[], None]


def open_converter(config: Config, *, paced: bool = True) -> Converter:
    """The ADC of the configuration.

    Raises:
        HardwareError: the SPI device is not there.
        ConfigError, RecordingError: what is to be simulated cannot be.
    """
    channels = config.channels
    if config.simulation is None:
        adc = acquire.open_spidev(config.adc.bus, config.adc.chip_select, config.adc.speed_hz)
        # A kernel with longer cache lines than this program's (32-bit programs on a 64-bit
        # kernel) refuses the batch: let it do so now, before anything is timed.
        try:
            adc.transfer(acquire.frames(channels, acquire.whole_batch(channels, adc.batch_size)))
        except HardwareError:
            adc.close()
            raise
        batch = min(config.adc.batch or adc.batch_size, adc.batch_size)
        return Converter(adc, time.monotonic_ns, time.time, _boottime_s, batch, adc.close)
    clock = SimulatedClock(paced=paced, start_ns=time.monotonic_ns(), start_utc_s=time.time())
    chip = Mcp3008(
        Wirings(_wirings(config)),
        vref_v=config.adc.vref_v,
        noise_codes=config.simulation.noise_codes,
        rng=np.random.default_rng(config.simulation.seed),
    )
    batch = config.adc.batch or SIMULATED_BATCH
    simulated = SimulatedAdc(chip, clock)
    if paced:  # the date is the machine's, as with a real converter
        return Converter(simulated, clock.now_ns, time.time, _boottime_s, batch, lambda: None)
    return Converter(
        simulated, clock.now_ns, clock.utc_s, lambda: clock.now_ns() / 1e9, batch, lambda: None
    )


def _boottime_s() -> float:
    """Since the kernel's start, the time of sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _wirings(config: Config) -> tuple[Wiring, ...]:
    """Every circuit behind a front end of its own, the grid last, whose voltage others share."""
    assert config.simulation is not None
    words = msgspec.structs.asdict(config.simulation)
    front_end = FrontEnd(vref_v=config.adc.vref_v)
    return tuple(
        Wiring(
            _mains(config) if circuit.role == "grid" else synthetic(parse(words[circuit.role])),
            front_end,
            (circuit.voltage_channel, circuit.current_channel),
        )
        for circuit in reversed(config.in_order)
    )


def _mains(config: Config) -> Mains:
    assert config.simulation is not None
    if config.simulation.waveform is not None:
        return looped(recording.load(config.simulation.waveform))
    return synthetic(parse(config.simulation.mains))


def looped(recorded_waveform: Recording) -> Mains:
    """A recording's whole cycles, repeated for ever.

    Raises:
        RecordingError: there are not two whole cycles of mains voltage in it.
    """
    waveform = recorded_waveform.waveform()
    start = calc.find_lock(waveform, NOMINAL_HZ, mains_min_v=ANALYSIS_MAINS_MIN_V)
    windows = [
        window
        for window in calc.stream([waveform], NOMINAL_HZ, mains_min_v=ANALYSIS_MAINS_MIN_V)
        if isinstance(window, Quantities)
    ]
    if not start.mains or not windows:
        raise RecordingError(
            "the recording holds no two whole cycles of a mains voltage between 40 and 70 Hz"
        )
    duration_s = windows[-1].end_ns / 1e9 - start.start_s
    points = round(LOOP_POINTS_PER_CYCLE * sum(window.cycles for window in windows))
    at_s = start.start_s + np.arange(points, dtype=np.float64) * (duration_s / points)
    z = cubic(waveform.t_s, waveform.voltage_v + 1j * waveform.current_a, at_s)
    scales = fitting_scales(recorded_waveform)
    if scales != (1.0, 1.0):
        log.warning(
            "the recording is put on the socket at 1/%.6g of its voltage and 1/%.6g of its "
            "current, because the front end ends at 250 V and 62.5 A",
            *scales,
        )
    return recorded(z.real / scales[0], z.imag / scales[1], duration_s)


def fitting_scales(recorded_waveform: Recording) -> tuple[float, float]:
    """What to divide voltage and current by so that they fit the front end; (1, 1) if they do.

    One that does not fit goes on the socket at 127 V and at most 40 A, as another ratio of
    transformer and sensor would put it there.
    """
    return (
        _fitting_scale(recorded_waveform.voltage_v, FIT_PEAK_V, FIT_V),
        _fitting_scale(recorded_waveform.current_a, FIT_PEAK_A, FIT_A),
    )


def _fitting_scale(values: NDArray[np.float64], peak_max: float, rms: float) -> float:
    peak = float(np.max(np.abs(values)))
    if peak <= peak_max:
        return 1.0
    return max(float(np.sqrt(np.mean(values**2))) / rms, peak / peak_max)


def block_reader(converter: Converter, config: Config) -> Callable[[], SampleBlock]:
    """A function that reads the next block of all configured circuits, about 0.2 s of it.

    The bus is timed first, because its period decides the skew between the channels.

    Raises:
        HardwareError: the ADC does not answer.
    """
    channels = config.channels
    batch = acquire.whole_batch(channels, converter.batch)
    timing = acquire.measure_timing(converter.adc, channels, batch, converter.clock_ns)
    return partial(
        acquire.read_block,
        converter.adc,
        channels,
        batches=max(1, round(BLOCK_S * 1e9 / timing.batch_ns)),
        batch=batch,
        timing=timing,
        clock_ns=converter.clock_ns,
    )


def through_the_chain(
    recorded_waveform: Recording, *, front_end: FrontEnd, noise_codes: float, seed: int
) -> Iterator[SampleBlock]:
    """The blocks that acquisition would have read had the recording been on the socket.

    The whole way: front end, MCP3008, bus, ``acquire``, on a clock that does not wait and is 0 at
    the recording's first sample. The last block reaches over the recording's end, where the
    socket holds its last value.
    """
    channels = (0, 1)
    begin_s, end_s = float(recorded_waveform.t_s[0]), float(recorded_waveform.t_s[-1])
    z = recorded_waveform.voltage_v + 1j * recorded_waveform.current_a

    def mains(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        at = cubic(recorded_waveform.t_s, z, begin_s + t_s)
        return at.real, at.imag

    clock = SimulatedClock(paced=False)
    chip = Mcp3008(
        Wiring(mains, front_end, channels),
        vref_v=front_end.vref_v,
        noise_codes=noise_codes,
        rng=np.random.default_rng(seed),
    )
    batch = acquire.whole_batch(channels, SIMULATED_BATCH)
    # Known here, so that timing the bus does not use up the recording's first tenths of a second.
    timing = acquire.BusTiming(CONVERSION_NS, CALL_NS + batch * CONVERSION_NS)
    read = partial(
        acquire.read_block,
        SimulatedAdc(chip, clock),
        channels,
        batches=1,
        batch=batch,
        timing=timing,
        clock_ns=clock.now_ns,
    )
    while clock.now_ns() < (end_s - begin_s) * 1e9:
        yield read()


def simulated_display(
    address: int, clock_ns: Callable[[], int], on_screen: Callable[[Screen], None] | None
) -> Callable[[], Display]:
    """A display that is not there: RPLCD drives the models of its chips, ``on_screen`` reads them.

    ``on_screen`` is called after each write with what the controller then shows.
    """
    panel = Hd44780()
    bus = SimulatedI2cBus({address: Pcf8574(panel)}, clock_ns)

    def open_it() -> Display:
        display = open_display(0, address, bus)
        return display if on_screen is None else Watched(display, panel, on_screen)

    return open_it


@dataclass(frozen=True, slots=True)
class Watched:
    """A display whose controller is read back after each write."""

    display: Display
    panel: Hd44780
    on_screen: Callable[[Screen], None]

    def write(self, row: int, column: int, text: str) -> None:
        """Write, then tell what is shown."""
        self.display.write(row, column, text)
        self.on_screen(Screen(self.panel.text()))

    def close(self) -> None:
        """Let go of the display."""
        self.display.close()
