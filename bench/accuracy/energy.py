"""Energy over a day of import and export, a day without load, and the current it starts at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import cos, pi, radians

import numpy as np
from numpy.typing import NDArray

from bench.accuracy import signals
from bench.accuracy.rows import Row, Table
from bench.accuracy.sampling import (
    BLOCK_S,
    CALIBRATION,
    CHANNELS,
    FRONT_END,
    MAINS_MIN_V,
    RATE_HZ,
    codes_of,
    direct,
    waveforms,
    windows,
)
from bench.accuracy.signals import Lines
from meterd import calc
from meterd.metrology import starting
from meterd.metrology.starting import NO_LOAD
from meterd.model import Quantities, Registers, SampleBlock

DAY_S = 86_400.0
CELLS = 1440  # a minute each, when the day takes a day
FREQUENCY_HZ = 60.1
"""Whole cycles in ``TABLE_S``, so that the sines are computed once; not in a block or a window."""
TABLE_S = 10.0

LOAD_LAG_DEG = 25.0
VOLTS: Lines = {1: (127.0, 0.0), 3: (1.9, 0.0)}
LOAD: Lines = {1: (1.0, -LOAD_LAG_DEG), 3: (0.08, -30.0), 5: (0.05, 10.0)}  # of one ampere
SUN: Lines = {1: (1.0, 0.0)}
STARTING_A = 0.020
STARTING_MINUTES = 10


@dataclass(frozen=True, slots=True)
class Day:
    """Amperes in each cell of a day: the load is constant in it, the sun goes straight."""

    load_a: NDArray[np.float64]  # (CELLS,)
    sun_begin_a: NDArray[np.float64]  # (CELLS,)
    sun_end_a: NDArray[np.float64]  # (CELLS,)


def make_day(rng: np.random.Generator) -> Day:
    """A house with appliances that switch, and 2.5 kW of panels under clouds."""
    load_a = 1.5 + 0.5 * rng.random(CELLS).round(1)
    for begin, minutes, amperes in zip(
        rng.integers(360, 1380, 36), rng.integers(2, 40, 36), rng.uniform(1, 9, 36), strict=True
    ):
        load_a[begin : begin + minutes] += amperes
    hour = np.linspace(0.0, 24.0, CELLS + 1)
    clear = np.maximum(0.0, np.sin(pi * (hour - 6.5) / 12))
    clouds = 0.6 + 0.4 * np.interp(hour, np.linspace(0, 24, 97), rng.random(97))
    sun_a = 20.0 * clear * clouds
    return Day(load_a, sun_a[:-1], sun_a[1:])


def exact_registers(day: Day, cell_s: float) -> tuple[float, float]:
    """Imported and exported joules: the integral of the power's positive and negative part.

    The power of a cycle is straight within a cell; where it crosses zero, each side counts by
    itself. Both are closed forms, no quadrature.
    """
    begin_w = day.load_a * _watts(LOAD) - day.sun_begin_a * _watts(SUN)
    end_w = day.load_a * _watts(LOAD) - day.sun_end_a * _watts(SUN)
    return _positive(begin_w, end_w) * cell_s, _positive(-begin_w, -end_w) * cell_s


def _watts(amps: Lines) -> float:
    return sum(
        VOLTS[h][0] * rms * cos(radians(VOLTS[h][1] - angle_deg))
        for h, (rms, angle_deg) in amps.items()
        if h in VOLTS
    )


def _positive(begin_w: NDArray[np.float64], end_w: NDArray[np.float64]) -> float:
    """Sum over cells of the mean of the positive part of a straight line."""
    high, low = np.maximum(begin_w, end_w), np.minimum(begin_w, end_w)
    above = np.maximum(high, 0.0) ** 2 / np.where(high > low, 2 * (high - low), 1.0)
    return float(np.sum(np.where(low >= 0, (high + low) / 2, above)))


def day_blocks(day: Day, cell_s: float, rng: np.random.Generator) -> Iterator[SampleBlock]:
    """The day as sample blocks (direct), ten bits and noise included."""
    pairs = round(BLOCK_S * RATE_HZ)
    place_s = (np.arange(round(TABLE_S * RATE_HZ)) / RATE_HZ).reshape(-1, pairs)
    volts = FRONT_END.voltage_pin_v(_sines(VOLTS, place_s))
    skewed_s = place_s + 0.5 / RATE_HZ
    load, sun = _sines(LOAD, skewed_s), _sines(SUN, skewed_s)
    valid = np.ones(pairs, np.bool_)
    step_ns = 10**9 // RATE_HZ // 2
    t_ns = (np.arange(2 * pairs, dtype=np.int64) * step_ns).reshape(pairs, 2)
    pins = np.empty((pairs, 2))
    cell_edges_s = np.arange(CELLS + 1, dtype=np.float64) * cell_s
    for number in range(round(CELLS * cell_s / BLOCK_S)):
        row = number % len(place_s)
        at_s = number * BLOCK_S + (np.arange(pairs, dtype=np.float64) + 0.5) / RATE_HZ
        load_a, sun_a = _amperes(day, cell_edges_s, at_s, cell_s)
        pins[:, 0] = volts[row]
        pins[:, 1] = FRONT_END.current_pin_v(load_a * load[row] - sun_a * sun[row])
        yield SampleBlock(CHANNELS, codes_of(pins, rng), t_ns + number * 2 * pairs * step_ns, valid)


def _amperes(
    day: Day, edges_s: NDArray[np.float64], at_s: NDArray[np.float64], cell_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, last = (min(CELLS - 1, int(t / cell_s)) for t in (at_s[0], at_s[-1]))
    cell: NDArray[np.intp] | int = first
    if first != last:
        cell = np.minimum(CELLS - 1, np.searchsorted(edges_s, at_s, side="right") - 1)
    place = (at_s - edges_s[cell]) / cell_s
    begin, end = day.sun_begin_a[cell], day.sun_end_a[cell]
    return np.broadcast_to(day.load_a[cell], at_s.shape), begin + (end - begin) * place


def _sines(lines: Lines, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return signals.sum_of_lines(lines, 2 * pi * FREQUENCY_HZ * t_s)


def counted(blocks: Iterable[SampleBlock]) -> Registers:
    """The registers after these samples, counted as the meter counts them."""
    return count(calc.stream(waveforms(blocks), FREQUENCY_HZ, mains_min_v=MAINS_MIN_V))


def count(found: Iterable[object]) -> Registers:
    """The registers after what a stream tells: the starting current's step, then addition."""
    registers = Registers()
    for seen in as_counted(window for window in found if isinstance(window, Quantities)):
        registers = calc.accumulate(registers, seen.power_w, seen.duration_s)
    return registers


def as_counted(found: Iterable[Quantities]) -> Iterator[Quantities]:
    """The windows as they are shown and counted: without current where there is no load."""
    load = NO_LOAD
    for window in found:
        load, seen = starting.step(load, window)
        yield seen


def day_table(simulated_s: float, rng: np.random.Generator) -> Table:
    """A day, in ``simulated_s`` of signal; 86 400 is the whole of it."""
    day, cell_s = make_day(rng), simulated_s / CELLS
    imported_j, exported_j = exact_registers(day, cell_s)
    registers = counted(day_blocks(day, cell_s, rng))
    rows = (
        _register_row("import", registers.import_j, imported_j),
        _register_row("export", registers.export_j, exported_j),
    )
    whole = simulated_s == DAY_S
    how = (
        "The whole day, sample by sample."
        if whole
        else f"The day runs {DAY_S / simulated_s:.0f} times as fast: every switching, cloud and "
        "change of direction is there, with fewer windows in between to average. A window in "
        "which the direction changes is counted as what is left of it, as any meter does within "
        "its integration time, and weighs that much more: the errors are larger than a whole "
        "day's (`--full` runs that)."
    )
    method = (
        f"{simulated_s / 3600:g} h of signal, direct, ten bits, {FREQUENCY_HZ} Hz: 1.5 … 30 A of "
        "load that switches, lagging 25°, and 2.5 kW of panels under clouds. " + how
    )
    return Table("A day of import and export", method, rows)


def _register_row(name: str, counted_j: int, exact_j: float) -> Row:
    error = 100 * (counted_j / exact_j - 1)
    return Row(
        f"{name} register",
        f"{error:+.4f} %",
        "≤ 0.05 %",
        abs(error) <= 0.05,
        f"{counted_j / 3.6e6:.4f} kWh of {exact_j / 3.6e6:.4f} kWh",
    )


def no_load(
    simulated_s: float, rng: np.random.Generator, *, minutes: int = STARTING_MINUTES
) -> Table:
    """Voltage and no current, the sensor's zero off by three codes; and 20 mA."""
    offset_a = 3 * CALIBRATION.current_a_per_code
    idle = signals.idle(offset_a)
    registers, shown_a, powers_w = _counted_idle(
        windows(waveforms(direct(idle.mains, simulated_s, rng)))
    )
    noise_w = float(np.std(powers_w))
    starting = [_starting_error_pct(rng) for _ in range(minutes)]
    worst = max(starting, key=abs)
    scatter = f"one window's power scatters by {noise_w:.2f} W; 20 mA are 2.54 W"
    moved_j = registers.import_j + registers.export_j
    rows = (
        Row("registers, joules counted", f"{moved_j}", "0", moved_j == 0, scatter),
        Row("Irms shown, the largest", f"{shown_a * 1e3:.1f} mA", "0", shown_a == 0.0),
        Row(
            f"20 mA, worst of {minutes} minutes",
            f"{worst:+.2f} %",
            "≤ 5 %",
            abs(worst) <= 5,
        ),
    )
    hours = simulated_s / 3600
    method = (
        f"{hours:g} h of signal, direct, ten bits, the current sensor's zero off by three codes. "
        + ("" if simulated_s == DAY_S else "`--full` runs 24 h.")
    )
    return Table("No load, and the current where counting starts", method, rows)


def _counted_idle(found: Iterable[Quantities]) -> tuple[Registers, float, list[float]]:
    """The registers, the largest current shown, each window's power; a day is too long to keep."""
    powers_w: list[float] = []

    def noted() -> Iterator[Quantities]:
        for window in found:
            powers_w.append(window.power_w)
            yield window

    registers, shown_a = Registers(), 0.0
    for seen in as_counted(noted()):
        registers = calc.accumulate(registers, seen.power_w, seen.duration_s)
        shown_a = max(shown_a, seen.current_a)
    return registers, shown_a, powers_w


def _starting_error_pct(rng: np.random.Generator) -> float:
    signal = signals.circuit(STARTING_A, 1.0)
    found = list(windows(waveforms(direct(signal.mains, 60.0, rng))))
    registers = count(found)
    exact_j = signal.exact.power_w * sum(window.duration_s for window in found)
    return 100 * (registers.import_j / exact_j - 1)
