"""The live view in the terminal: one frame of text from values, and where the values come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from meterd import calc, store, wire, wiring
from meterd.config import Config
from meterd.errors import BadWindowError, NotAReadingError, StoreError
from meterd.model import (
    Calibration,
    CircuitRecord,
    Missed,
    Quantities,
    Reading,
    SampleBlock,
    Waveform,
)

FRAME_S = 0.5
ORDERS = 15
WIDTH_MIN = 60
EIGHTHS = " ▁▂▃▄▅▆▇█"
BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Unicode's bits of the eight dots, from the top row down, left and right."""
CURVE_ROWS = 4
LABEL = 8
JOULES_PER_KWH = 3_600_000


class Values(Protocol):
    """What a frame shows of a measurement; a Quantities or a Reading has it."""

    @property
    def frequency_hz(self) -> float | None: ...
    @property
    def voltage_v(self) -> float | None: ...
    @property
    def current_a(self) -> float | None: ...
    @property
    def power_w(self) -> float | None: ...
    @property
    def apparent_va(self) -> float | None: ...
    @property
    def reactive_var(self) -> float | None: ...
    @property
    def power_factor(self) -> float | None: ...
    @property
    def phase_deg(self) -> float | None: ...
    @property
    def thd_voltage_pct(self) -> float | None: ...
    @property
    def thd_current_pct(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle from a rising zero crossing of the voltage; evenly spaced, (n,) each."""

    voltage_v: NDArray[np.float64]
    current_a: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Energy:
    """The registers as they were last stored."""

    import_j: int
    export_j: int


def frame(
    values: Values | None,
    cycle: Cycle | None,
    energy: Energy | None,
    width: int,
    *,
    title: str,
    limit_w: float,
    roles: Sequence[str] = (),
) -> Text:
    """One picture of the meter, ``width`` characters wide (at least 60).

    The bar ends at ``limit_w`` on both sides. Unknown values are a dash; what is not there
    (no waveform, no registers, no harmonics) is left out. ``roles`` are those of the further
    circuits that were measured. At most 24 lines, and one for each further circuit.
    """
    width = max(WIDTH_MIN, width)
    lines = [Text(title[:width], style="bold")]
    if values is None:
        lines.append(Text("nothing is measured yet"))
    else:
        lines += _value_lines(values)
        lines += _circuit_lines(values, roles)
        lines.append(Text())
        lines += _power_lines(values.power_w, limit_w, width)
        if isinstance(values, Quantities) and values.frequency_hz is not None:
            lines += _harmonic_lines(values, width)
    if cycle is not None:
        lines += _cycle_lines(cycle, width)
    if energy is not None:
        lines.append(
            Text(f"registers  import {_kwh(energy.import_j)}   export {_kwh(energy.export_j)} kWh")
        )
    return Text("\n").join(lines)


def _kwh(energy_j: int) -> str:
    """Cut off after the last digit, as a register is read."""
    return f"{energy_j // (JOULES_PER_KWH // 1000) / 1000:.3f}"


def _value_lines(values: Values) -> Iterator[Text]:
    rows = (
        (("U", values.voltage_v, 2, "V"), ("THD U", values.thd_voltage_pct, 1, "%")),
        (("I", values.current_a, 3, "A"), ("THD I", values.thd_current_pct, 1, "%")),
        (("P", values.power_w, 1, "W"), ("PF", values.power_factor, 3, "")),
        (("Q", values.reactive_var, 1, "var"), ("φ", values.phase_deg, 2, "°")),
        (("S", values.apparent_va, 1, "VA"), ("f", values.frequency_hz, 3, "Hz")),
    )
    for left, right in rows:
        yield Text((_cell(*left) + "   " + _cell(*right)).rstrip())


def _circuit_lines(values: Values, roles: Sequence[str]) -> Iterator[Text]:
    """A line for each further circuit; a stored reading knows the roles itself."""
    if isinstance(values, Reading):
        circuits: list[tuple[str, CircuitRecord | Quantities]] = [
            (circuit.role, circuit) for circuit in values.circuits
        ]
    elif isinstance(values, Quantities):
        circuits = list(zip(roles, values.others, strict=True)) if values.others else []
    else:
        circuits = []
    for role, circuit in circuits:
        volts, amps, watts, factor = (
            "—" if value is None else f"{value:.{decimals}f}"
            for value, decimals in (
                (circuit.voltage_v, 2),
                (circuit.current_a, 3),
                (circuit.power_w, 1),
                (circuit.power_factor, 3),
            )
        )
        yield Text(f"{role:<6}{volts:>12} V   {amps:>9} A   {watts:>9} W   PF {factor:>6}")


def _cell(name: str, value: float | None, decimals: int, unit: str) -> str:
    shown = "—" if value is None else f"{value:.{decimals}f}"
    return f"{name:<6}{shown:>12} {unit:<4}"


def _power_lines(power_w: float | None, limit_w: float, width: int) -> Iterator[Text]:
    """Export to the left of the middle, import to the right."""
    half = (width - 3) // 2
    power = power_w or 0.0
    filled = min(float(half), abs(power) / limit_w * half)
    bar = ("█" * round(filled)).ljust(half)
    side = "importing" if power > 0 else "exporting" if power < 0 else "idle"
    beyond = "  beyond the bar" if abs(power) > limit_w else ""
    word = "unknown" if power_w is None else side
    yield Text(f"power {word}{beyond}", style="red" if power > 0 else "green")
    left, right = (" " * half, bar) if power >= 0 else (bar[::-1], " " * half)
    line = Text("▕")
    line.append(left, style="green")
    line.append("│")
    line.append(right, style="red")
    line.append("▏")
    yield line
    ends = f"{-limit_w:g} W export", "0", f"import {limit_w:g} W"
    yield Text(ends[0].ljust(half + 1) + ends[1] + ends[2].rjust(half + 1))


def _harmonic_lines(values: Quantities, width: int) -> Iterator[Text]:
    """Percent of the fundamental; the tallest bar of a channel is its strongest harmonic."""
    cell = (width - LABEL) // (ORDERS - 1)
    yield Text("order".ljust(LABEL) + "".join(f"{n:>{cell}}" for n in range(2, ORDERS + 1)))
    channels = (("U", values.harmonic_voltage_v), ("I", values.harmonic_current_a))
    for name, lines in channels:
        if len(lines) < ORDERS or lines[0] <= 0:
            continue
        percents = 100 * lines[1:ORDERS] / lines[0]
        highest = max(1.0, float(percents.max()))
        bars = (EIGHTHS[ceil(8 * share / highest - 0.5)] for share in percents)
        yield Text(f"{name} %".ljust(LABEL) + "".join(f"{p:>{cell}.1f}" for p in percents))
        yield Text((" " * LABEL + "".join(f"{bar * (cell - 1):>{cell}}" for bar in bars)).rstrip())


def _cycle_lines(cycle: Cycle, width: int) -> Iterator[Text]:
    for name, unit, values, style in (
        ("u", "V", cycle.voltage_v, "yellow"),
        ("i", "A", cycle.current_a, "cyan"),
    ):
        peak = float(np.max(np.abs(values)))
        rows = curve(values, width - LABEL)
        labels = (f"{peak:.4g} {unit}", f"{name}(t)", "", f"{-peak:.4g}")
        for label, row in zip(labels, rows, strict=True):
            yield Text(f"{label:<{LABEL}}{row}", style=style)


def curve(values: NDArray[np.float64], columns: int) -> list[str]:
    """A curve in Braille dots: two points a column, four rows of four dots, 0 in the middle."""
    points = np.interp(np.linspace(0, len(values) - 1, 2 * columns), np.arange(len(values)), values)
    height = 4 * CURVE_ROWS
    peak = float(np.max(np.abs(points)))
    scaled = points / peak if peak else points
    dots = np.rint((1 - scaled) / 2 * (height - 1)).astype(np.int64)
    cells = np.full((CURVE_ROWS, columns), BRAILLE)
    for place, dot in enumerate(dots):
        cells[dot // 4, place // 2] |= DOTS[dot % 4][place % 2]
    return ["".join(map(chr, row)) for row in cells]


def one_cycle(waveform: Waveform, nominal_hz: float, *, mains_min_v: float) -> Cycle | None:
    """The first whole cycle of a waveform; None without mains or without a whole cycle."""
    try:
        lock = calc.find_lock(waveform, nominal_hz, mains_min_v=mains_min_v)
    except BadWindowError:
        return None
    end_s = lock.start_s + 1 / lock.frequency_hz
    if not lock.mains or end_s > float(waveform.t_s[-1]):
        return None
    at_s = np.linspace(lock.start_s, end_s, 200)
    return Cycle(
        np.interp(at_s, waveform.t_s, waveform.voltage_v),
        np.interp(at_s, waveform.current_t_s, waveform.current_a),
    )


def measured(
    blocks: Iterator[SampleBlock], config: Config, calibrations: Sequence[Calibration]
) -> Iterator[tuple[Quantities, Cycle | None]]:
    """About every half second the windows since the last time as one, and a cycle of them."""
    mains_min_v = wiring.MAINS_MIN_SHARE * config.meter.nominal_v
    circuits = [
        ((circuit.voltage_channel, circuit.current_channel), calibration)
        for circuit, calibration in zip(config.in_order, calibrations, strict=True)
    ]
    latest: list[Waveform] = []

    def waveforms() -> Iterator[Waveform]:
        for block in blocks:
            latest[:] = [calc.align_circuits(block, circuits)]
            yield latest[0]

    windows: list[Quantities] = []
    for window in calc.stream(
        waveforms(), config.meter.nominal_hz, mains_min_v=mains_min_v, at_once=1
    ):
        if isinstance(window, Missed):
            continue
        windows.append(window)
        if sum(one.duration_s for one in windows) >= FRAME_S:
            cycle = one_cycle(latest[0], config.meter.nominal_hz, mains_min_v=mains_min_v)
            yield calc.aggregate(windows), cycle
            windows = []


def stored(config: Config) -> tuple[Reading | None, Energy | None]:
    """The last stored reading and its registers; None where there is none yet.

    Raises:
        StoreError: the record cannot be read.
        NotAReadingError: its last line is no reading.
    """
    if not config.meter.readings_path.exists():
        return None, None
    reader = store.open_reader(config.meter.readings_path)
    try:
        rows = store.recent(reader, 1)
    finally:
        store.close_reader(reader)
    if not rows:
        return None, None
    reading = wire.decode(rows[0][1])
    return reading, Energy(reading.import_j, reading.export_j)


def energy_if_any(config: Config) -> Energy | None:
    """The registers for a view that does without them when the record cannot be read."""
    try:
        return stored(config)[1]
    except (StoreError, NotAReadingError):
        return None


def limit_of(limit_w: float | None, nominal_v: float) -> float:
    """Where the bar ends: as given, or at 20 A of nominal voltage rounded to two digits."""
    if limit_w is not None:
        return limit_w
    return float(f"{20.0 * nominal_v:.1e}")
