"""Error of power against current with the class limits: one picture a power factor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.accuracy.beside import OURS
from bench.accuracy.load_points import CURRENTS_A, LoadPoint
from bench.accuracy.standards import CLASSES

INK = "#818b98"
"""Grey that can be read on white and on black alike; the ground stays transparent."""
COLOURS = {
    OURS: "#1f883d",
    "pqopen-lib": "#bf5700",
    "rpi-power-monitor's method": "#8250df",
    "EmonLib's method": "#0969da",
    "FFT peak bin": "#cf222e",
}
WIDTHS = {OURS: 2.2, "pqopen-lib": 6.0, "rpi-power-monitor's method": 3.0}
"""Methods with the same error lie over each other: the lower ones are wider."""
LIMIT_STYLE = ("--", ":")
INCHES = (7.2, 4.0)
LINEAR_PCT = 0.1
"""Below this the scale of errors is linear, above it logarithmic."""
RANGE_PCT = 10.0
UNLABELLED_A = (0.25, 30.0)
"""Too near to their neighbours."""


def draw(points: Sequence[LoadPoint], folder: Path) -> list[Path]:
    """Write accuracy-….svg into the folder, one for each power factor; needs matplotlib."""
    groups: dict[str, list[LoadPoint]] = {}
    for point in points:
        if len(point.method_pct) > 1:
            groups.setdefault(point.name, []).append(point)
    return [_draw_one(group, folder) for group in groups.values()]


def _draw_one(group: Sequence[LoadPoint], folder: Path) -> Path:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib.figure import Figure

    first = group[0]
    with mpl.rc_context():
        _set_style(mpl)
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.add_subplot()
        currents = [point.current_a for point in group]
        for name in first.method_pct:
            axes.plot(
                currents,
                [point.method_pct[name] for point in group],
                color=COLOURS[name],
                label=name,
                linewidth=WIDTHS.get(name, 1.2),
                zorder=4 if name == OURS else 2,
            )
        axes.errorbar(
            currents,
            [point.power_pct.mean for point in group],
            yerr=[2 * point.power_pct.standard_error for point in group],
            fmt="o",
            color=COLOURS[OURS],
            markersize=4,
            capsize=3,
            zorder=4,
        )
        _limits(axes, first.power_factor)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=LINEAR_PCT)
        axes.set_ylim(-RANGE_PCT, RANGE_PCT)
        labelled = [amperes for amperes in CURRENTS_A if amperes not in UNLABELLED_A]
        axes.set_xticks(labelled, [f"{amperes:g}" for amperes in labelled])
        axes.minorticks_off()
        ticks = (-10, -3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3, 10)
        axes.set_yticks(ticks, [f"{tick:+g}" if tick else "0" for tick in ticks])
        axes.set_xlabel("current, A")
        axes.set_ylabel("error of power, %")
        axes.set_title(f"{first.name}: error against current")
        axes.grid(color=INK, alpha=0.2, linewidth=0.5)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        kind = "" if first.power_factor == 1.0 else "-leading" if first.leading else "-lagging"
        path = folder / f"accuracy-pf{first.power_factor * 100:03.0f}{kind}.svg"
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    path.write_text(_tidied(path.read_text()))
    return path


def _set_style(mpl: Any) -> None:
    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    mpl.rcParams.update(dict.fromkeys(ink, INK))
    mpl.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "accuracy"})


def _limits(axes: Any, power_factor: float) -> None:
    """The limits as steps over the whole range of currents, above and below."""
    finer = [CURRENTS_A[0] * (CURRENTS_A[-1] / CURRENTS_A[0]) ** (k / 400) for k in range(401)]
    for accuracy_class, style in zip(CLASSES, LIMIT_STYLE, strict=True):
        inside = [(a, accuracy_class.limit_pct(a, power_factor)) for a in finer]
        places = [a for a, limit in inside if limit is not None]
        limits = [limit for _, limit in inside if limit is not None]
        for sign in (1, -1):
            axes.plot(
                places,
                [sign * limit for limit in limits],
                color=INK,
                linestyle=style,
                linewidth=1,
                label=f"limit of {accuracy_class.name.split(' (')[0]}" if sign > 0 else None,
            )


def _tidied(svg: str) -> str:
    """Without spaces at line ends and with shorter numbers: smaller, and quiet in a diff."""
    shorter = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    return "\n".join(line.rstrip() for line in shorter.splitlines()) + "\n"
