"""The power of a day as SVG: import above the zero line, export below it.

Pure: points and words in, markup out. Looks are classes that the style sheet knows, because the
content security policy allows no inline style. Export is hatched, so that it is told from import
without colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from server.energy import PowerPoint

LEFT = 58
RIGHT = 12
TOP = 26
BOTTOM = 30
TICKS_MAX = 5
POWER_W_MIN = 100.0  # the axis reaches at least this far, so that noise does not fill the chart


@dataclass(frozen=True, slots=True)
class Words:
    """What the chart says, in the reader's language."""

    title: str
    description: str
    imported: str
    exported: str
    nothing: str


@dataclass(frozen=True, slots=True)
class Frame:
    """The chart's size, period and reading aids."""

    name: str  # unique on the page: ids are made of it
    width: int
    height: int
    start_utc_s: int
    stop_utc_s: int
    step_s: int
    time_ticks: Sequence[tuple[int, str]]  # UTC seconds and what is written there
    power_text: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Scale:
    """The ends and the step of the power axis, in watt."""

    low_w: float
    high_w: float
    step_w: float


Point = tuple[float, float]


def draw(points: Sequence[PowerPoint], frame: Frame, words: Words) -> Markup:
    """The chart as one ``<svg>`` element; a step without a point is a gap in the line."""
    scale = scale_of([point.power_w for point in points])
    parts = [
        _opening(frame, words),
        _power_axis(frame, scale),
        _time_axis(frame),
        *(_run(frame, scale, run) for run in runs(points, frame.step_s)),
        _labels(frame, scale, words, empty=not points),
        Markup("</svg>"),
    ]
    return Markup("").join(parts)


def scale_of(powers_w: Sequence[float]) -> Scale:
    """Round ends that hold every power and zero, at most six lines apart by 1, 2 or 5 × 10ⁿ."""
    high_w = max([POWER_W_MIN, *powers_w])
    low_w = min([0.0, *powers_w])
    rough_w = (high_w - low_w) / TICKS_MAX
    magnitude = 10.0 ** math.floor(math.log10(rough_w))
    step_w = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough_w * 0.999)
    return Scale(math.floor(low_w / step_w) * step_w, math.ceil(high_w / step_w) * step_w, step_w)


def runs(points: Sequence[PowerPoint], step_s: int) -> list[list[PowerPoint]]:
    """The points, parted where a step is missing."""
    parted: list[list[PowerPoint]] = []
    for point in points:
        if parted and point.start_utc_s - parted[-1][-1].start_utc_s <= step_s:
            parted[-1].append(point)
        else:
            parted.append([point])
    return parted


def with_zero_crossings(line: Sequence[Point]) -> list[Point]:
    """(t, power) with the instants added at which the straight line between two points is zero."""
    crossed = list(line[:1])
    for (t0, p0), (t1, p1) in pairwise(line):
        if p0 * p1 < 0:
            crossed.append((t0 + (t1 - t0) * p0 / (p0 - p1), 0.0))
        crossed.append((t1, p1))
    return crossed


def _x(frame: Frame, utc_s: float) -> float:
    span_s = frame.stop_utc_s - frame.start_utc_s
    return LEFT + (frame.width - LEFT - RIGHT) * (utc_s - frame.start_utc_s) / span_s


def _y(frame: Frame, scale: Scale, power_w: float) -> float:
    span_w = scale.high_w - scale.low_w
    return TOP + (frame.height - TOP - BOTTOM) * (scale.high_w - power_w) / span_w


def _opening(frame: Frame, words: Words) -> Markup:
    return Markup(
        '<svg class="chart {name}" role="img" viewBox="0 0 {width} {height}" '
        'aria-labelledby="{name}-title {name}-desc">'
        '<title id="{name}-title">{title}</title><desc id="{name}-desc">{desc}</desc>'
        '<defs><pattern id="{name}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/>'
        '<rect class="hatch-line" width="2" height="6"/></pattern></defs>'
    ).format(
        name=frame.name,
        width=frame.width,
        height=frame.height,
        title=words.title,
        desc=words.description,
    )


def _power_axis(frame: Frame, scale: Scale) -> Markup:
    parts = []
    for index in range(round((scale.high_w - scale.low_w) / scale.step_w) + 1):
        power_w = scale.low_w + index * scale.step_w
        y = round(_y(frame, scale, power_w), 1)
        kind = "zero" if abs(power_w) < scale.step_w / 2 else "grid"
        parts.append(
            Markup(
                '<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text class="tick" text-anchor="end" x="{}" y="{}">{}</text>'
            ).format(
                kind, LEFT, frame.width - RIGHT, y, y, LEFT - 8, y + 4, frame.power_text(power_w)
            )
        )
    return Markup("").join(parts)


def _time_axis(frame: Frame) -> Markup:
    parts = []
    floor = frame.height - BOTTOM
    for utc_s, text in frame.time_ticks:
        x = round(_x(frame, utc_s), 1)
        parts.append(
            Markup(
                '<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{floor}"/>'
                '<text class="tick" text-anchor="middle" x="{x}" y="{below}">{text}</text>'
            ).format(x=x, top=TOP, floor=floor, below=floor + 20, text=text)
        )
    return Markup("").join(parts)


def _run(frame: Frame, scale: Scale, run: Sequence[PowerPoint]) -> Markup:
    """One stretch without a gap: two areas and a line, or a dot for a single point."""
    line = [(point.start_utc_s + frame.step_s / 2, point.power_w) for point in run]
    if len(line) == 1:
        return Markup('<circle class="now-dot" r="4" cx="{:.1f}" cy="{:.1f}"/>').format(
            _x(frame, line[0][0]), _y(frame, scale, line[0][1])
        )
    crossed = with_zero_crossings(line)
    return Markup(
        '<path class="area-import" d="{}"/><path class="area-export" fill="url(#{}-hatch)" d="{}"/>'
        '<path class="line" d="{}"/>'
    ).format(
        _area(frame, scale, [(t, max(p, 0.0)) for t, p in crossed]),
        frame.name,
        _area(frame, scale, [(t, min(p, 0.0)) for t, p in crossed]),
        _path(frame, scale, line),
    )


def _path(frame: Frame, scale: Scale, line: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_x(frame, t):.1f} {_y(frame, scale, p):.1f}" for t, p in line)


def _area(frame: Frame, scale: Scale, line: Sequence[Point]) -> str:
    return _path(frame, scale, [(line[0][0], 0.0), *line, (line[-1][0], 0.0)]) + "Z"


def _labels(frame: Frame, scale: Scale, words: Words, *, empty: bool) -> Markup:
    if empty:
        return Markup('<text class="nothing" text-anchor="middle" x="{}" y="{}">{}</text>').format(
            (LEFT + frame.width - RIGHT) / 2, frame.height / 2, escape(words.nothing)
        )
    label = Markup('<text class="side" x="{}" y="{:.1f}">{}</text>')
    above = label.format(LEFT + 2, TOP - 10, "▲ " + words.imported)
    if scale.low_w >= 0:
        return above
    return above + label.format(LEFT + 2, frame.height - BOTTOM - 8, "▼ " + words.exported)
