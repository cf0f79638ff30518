"""One picture of a measured recording: waveform, Urms(1/2), spectrum and phasors.

matplotlib is an optional extra and is imported where it draws; no window is opened and none of
matplotlib's global state is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import cos, radians, sin
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from meterd.errors import ConfigError
from meterd.metrology.events import DIP, INTERRUPTION, SWELL, EventKind, Events
from meterd.model import HalfCycles, Quantities, Waveform

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg")
SHOWN_CYCLES = 4
BEFORE_EVENT_CYCLES = 1
SHOWN_S = 0.08
POINTS_MAX = 20_000
"""More values than this of Urms(1/2) are drawn as the lowest and highest of each stretch."""
LINES_MAX = 63
LINE_PCT_MIN = 0.01
DPI = 120
VOLTAGE, CURRENT = "#1f5fa8", "#c8501e"
EVENT_COLOURS = {
    EventKind.DIP: "#e8b020",
    EventKind.SWELL: "#8040a0",
    EventKind.INTERRUPTION: "#c02020",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn."""

    name: str
    waveform: Waveform
    quantities: Quantities
    half_cycles: HalfCycles
    nominal_v: float | None
    events: Events


def check(path: Path) -> None:
    """Say before anything is measured whether a picture can be drawn into ``path``.

    Raises:
        ConfigError: matplotlib is not installed, the ending is unknown or there is no folder.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{path}: a picture ends in {' or '.join(ENDINGS)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.absolute().parent}")
    if not installed():
        raise ConfigError(
            "drawing needs matplotlib, which is not installed: pip install 'meterd[plot]'"
        )


def installed() -> bool:
    """Whether matplotlib can be imported."""
    try:
        return find_spec("matplotlib") is not None
    except ValueError:  # somebody put None in its place
        return False


def draw(path: Path, picture: Picture) -> None:
    """Draw the picture into a .png or .svg file.

    Raises:
        ConfigError: as :func:`check`, or the file cannot be written.
    """
    check(path)
    from matplotlib.figure import Figure
    from matplotlib.style import context

    # Letters stay letters in an SVG, and its names do not change from run to run.
    with context({"svg.fonttype": "none", "svg.hashsalt": "meterd"}):
        _draw(Figure(figsize=(11, 10.5), layout="constrained"), path, picture)


def _draw(figure: Figure, path: Path, picture: Picture) -> None:
    grid = figure.add_gridspec(3, 2, height_ratios=(1.1, 0.8, 1.2), width_ratios=(2, 1))
    _draw_waveform(figure.add_subplot(grid[0, :]), picture)
    _draw_half_cycles(figure.add_subplot(grid[1, :]), picture)
    _draw_spectrum(figure.add_subplot(grid[2, 0]), picture.quantities)
    _draw_phasors(figure.add_subplot(grid[2, 1]), picture.quantities)
    figure.suptitle(title(picture), fontsize=11)
    try:
        # No date in the file: the same picture is the same file.
        dateless = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=DPI, metadata=dateless)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error}") from error


def title(picture: Picture) -> str:
    """The name and the figures, in two lines."""
    from matplotlib.ticker import EngFormatter

    q = picture.quantities
    figures = "   ".join(
        EngFormatter(unit=unit, places=3)(value)
        for value, unit in (
            (q.voltage_v, "V"),
            (q.current_a, "A"),
            (q.power_w, "W"),
            (q.apparent_va, "VA"),
            (q.reactive_var, "var"),
        )
    )
    factor = "" if q.power_factor is None else f"   PF {q.power_factor:.4f}"
    hertz = "no mains" if q.frequency_hz is None else f"{q.frequency_hz:.3f} Hz"
    return f"{picture.name}   {q.duration_s:.3f} s   {hertz}\n{figures}{factor}"


def _shown(picture: Picture) -> tuple[float, float]:
    """The seconds of waveform to show: some cycles, around the first event where there is one."""
    waveform, frequency_hz = picture.waveform, picture.quantities.frequency_hz
    length_s = SHOWN_CYCLES / frequency_hz if frequency_hz else SHOWN_S
    from_s = float(waveform.t_s[0])
    if picture.events:
        cycle_s = length_s / SHOWN_CYCLES
        start_s = (picture.events[0].start_ns - waveform.start_ns) / 1e9
        # A cycle is over when its rms value is known: what it fell from lies before that.
        from_s = max(from_s, start_s - (BEFORE_EVENT_CYCLES + 1) * cycle_s)
    return from_s, from_s + length_s


def _draw_waveform(axes: Axes, picture: Picture) -> None:
    waveform = picture.waveform
    from_s, to_s = _shown(picture)
    volts = slice(*np.searchsorted(waveform.t_s, (from_s, to_s)))
    amps = slice(*np.searchsorted(waveform.current_t_s, (from_s, to_s)))
    origin_s = waveform.start_ns / 1e9
    axes.plot(origin_s + waveform.t_s[volts], waveform.voltage_v[volts], color=VOLTAGE)
    axes.set_ylabel("voltage, V", color=VOLTAGE)
    _shade(axes, picture.events)
    right = axes.twinx()
    right.plot(origin_s + waveform.current_t_s[amps], waveform.current_a[amps], color=CURRENT)
    right.set_ylabel("current, A", color=CURRENT)
    for side, values in ((axes, waveform.voltage_v[volts]), (right, waveform.current_a[amps])):
        peak = 1.1 * float(np.abs(values).max(initial=0.0)) or 1.0
        side.set_ylim(-peak, peak)  # both zeros at one height
    axes.set_xlim(origin_s + from_s, origin_s + to_s)
    axes.set_xlabel("time, s")
    axes.set_title("Waveform", fontsize=10)
    axes.grid(alpha=0.3)


def _draw_half_cycles(axes: Axes, picture: Picture) -> None:
    halves, nominal_v = picture.half_cycles, picture.nominal_v
    at_s, urms_v = _outline(halves.end_ns / 1e9, halves.urms_v)
    axes.plot(at_s, urms_v, color=VOLTAGE, linewidth=1)
    _shade(axes, picture.events)
    said = "events unknown" if nominal_v is None else "no events"
    if picture.events:
        first = picture.events[0]
        said = (
            f"{len(picture.events)} event(s), the first a {first.kind} to {first.extreme_v:.5g} V "
            f"from {first.start_ns / 1e9:.4f} s for {first.duration_s:.4f} s"
        )
    if nominal_v is not None:
        kinds = {event.kind for event in picture.events}
        shares = (DIP, SWELL, *((INTERRUPTION,) if EventKind.INTERRUPTION in kinds else ()))
        for share in shares:
            axes.axhline(share * nominal_v, color="grey", linewidth=0.8, linestyle="--")
        said += f"   (nominal {nominal_v:g} V; dashed: {', '.join(f'{s:.0%}' for s in shares)})"
    axes.margins(x=0)
    axes.set_xlabel("time, s")
    axes.set_ylabel("V", color=VOLTAGE)
    axes.set_title(f"Urms(1/2): {said}", fontsize=10)
    axes.grid(alpha=0.3)


def _shade(axes: Axes, events: Events) -> None:
    for event in events:
        start_s, colour = event.start_ns / 1e9, EVENT_COLOURS[event.kind]
        axes.axvspan(start_s, start_s + event.duration_s, color=colour, alpha=0.3, linewidth=0)


def _outline(
    at_s: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values, or the lowest and highest of each stretch: no dip is lost by drawing less."""
    stretch = -(-2 * len(values) // POINTS_MAX)
    if len(values) <= POINTS_MAX:
        return at_s, values
    begins = np.arange(0, len(values), stretch)
    both = np.column_stack(
        (np.minimum.reduceat(values, begins), np.maximum.reduceat(values, begins))
    )
    return np.repeat(at_s[begins], 2), both.ravel()


def _draw_spectrum(axes: Axes, quantities: Quantities) -> None:
    for lines, unit, colour, shift in (
        (quantities.harmonic_voltage_v, "V", VOLTAGE, -0.2),
        (quantities.harmonic_current_a, "A", CURRENT, 0.2),
    ):
        shown = lines[:LINES_MAX]
        if not len(shown) or shown[0] <= 0:
            continue
        axes.bar(
            np.arange(1, len(shown) + 1) + shift,
            np.maximum(100 * shown / shown[0], LINE_PCT_MIN),
            width=0.4,
            color=colour,
            label=f"{unit}   100 % = {shown[0]:.4g} {unit}",
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(LINE_PCT_MIN, 200)
    axes.set_xlabel("harmonic")
    axes.set_ylabel("% of the fundamental")
    shown_thd = ", ".join(
        f"{name} {value:.2f} %"
        for name, value in (("V", quantities.thd_voltage_pct), ("I", quantities.thd_current_pct))
        if value is not None
    )
    axes.set_title("Spectrum" + (f"   THD {shown_thd}" if shown_thd else ""), fontsize=10)
    axes.grid(alpha=0.3, axis="y")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="upper right")


def _draw_phasors(axes: Axes, quantities: Quantities) -> None:
    """V1 lies at 0°; a current that lags points downward."""
    phase_deg = quantities.phase_deg
    arrows = [("V1", 0.0, 1.0, VOLTAGE, quantities.harmonic_voltage_v, "V")]
    if phase_deg is not None:
        arrows.append(("I1", -phase_deg, 0.75, CURRENT, quantities.harmonic_current_a, "A"))
    for name, angle_deg, length, colour, lines, unit in arrows:
        x, y = length * cos(radians(angle_deg)), length * sin(radians(angle_deg))
        axes.annotate(
            "", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2}
        )
        if len(lines):
            axes.plot([], [], color=colour, label=f"{name} {lines[0]:.4g} {unit} ∠{angle_deg:.2f}°")
    circle = np.radians(np.arange(361))
    axes.plot(np.cos(circle), np.sin(circle), color="grey", linewidth=0.5)
    axes.axhline(0, color="grey", linewidth=0.5)
    axes.axvline(0, color="grey", linewidth=0.5)
    axes.set_xlim(-1.2, 1.2)
    axes.set_ylim(-1.2, 1.2)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    angle = "unknown" if phase_deg is None else f"{phase_deg:.2f}°"
    axes.set_title(f"Phasors   φ1 {angle}", fontsize=10)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.02))
