"""The chart tells the truth: its areas are the energies."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chart import BOTTOM, LEFT, RIGHT, TOP, Frame, Words, draw, scale_of, with_zero_crossings
from server.energy import PowerPoint

SVG = "{http://www.w3.org/2000/svg}"
WIDTH, HEIGHT = 760, 340
STEP_S = 300
DAY_S = 86_400
WORDS = Words("Title <&>", "Description", "Import", "Export", "Nothing")


def frame() -> Frame:
    return Frame(
        "c", WIDTH, HEIGHT, 0, DAY_S, STEP_S, [(3600, "01:00")], lambda power: f"{power:.0f} W"
    )


def drawn(powers_w: list[tuple[int, float]]) -> ElementTree.Element:
    points = [PowerPoint(start, power) for start, power in powers_w]
    text = str(draw(points, frame(), WORDS)).replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '
    )
    return ElementTree.fromstring(text)


def paths(svg: ElementTree.Element, kind: str) -> list[list[tuple[float, float]]]:
    found = svg.findall(f"{SVG}path[@class='{kind}']")
    return [
        [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.attrib["d"])]
        for path in found
    ]


def area_wh(svg: ElementTree.Element, kind: str, powers_w: list[float]) -> float:
    """The polygons' area by the shoelace formula, in the units of the axes."""
    scale = scale_of(powers_w)
    hours_per_x = 24 / (WIDTH - LEFT - RIGHT)
    watts_per_y = (scale.high_w - scale.low_w) / (HEIGHT - TOP - BOTTOM)
    total = 0.0
    for polygon in paths(svg, kind):
        closed = [*polygon, polygon[0]]
        total += abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(closed))) / 2
    return total * hours_per_x * watts_per_y


def test_a_kilowatt_for_a_day_has_the_area_of_its_kilowatt_hours() -> None:
    starts = range(0, DAY_S, STEP_S)
    svg = drawn([(start, 1000.0) for start in starts])
    # half a step is missing at each end, for a point stands in the middle of its step
    assert area_wh(svg, "area-import", [1000.0]) == pytest.approx(1000 * (24 - 1 / 12), rel=0.005)
    assert area_wh(svg, "area-export", [1000.0]) == 0


def test_import_is_above_the_zero_line_and_export_below() -> None:
    svg = drawn([(0, 500.0), (300, 500.0), (600, -800.0), (900, -800.0)])
    zero = svg.find(f"{SVG}line[@class='zero']")
    assert zero is not None
    zero_y = float(zero.attrib["y1"])
    assert all(y <= zero_y + 0.1 for path in paths(svg, "area-import") for _, y in path)
    assert all(y >= zero_y - 0.1 for path in paths(svg, "area-export") for _, y in path)


def test_where_import_becomes_export_the_areas_meet_at_zero() -> None:
    assert with_zero_crossings([(0.0, 100.0), (10.0, -300.0)]) == [
        (0.0, 100.0),
        (2.5, 0.0),
        (10.0, -300.0),
    ]


def test_missing_steps_are_a_gap_and_not_a_line() -> None:
    svg = drawn([(0, 100.0), (300, 100.0), (1200, 100.0), (1500, 100.0)])
    assert [len(path) for path in paths(svg, "line")] == [2, 2]


def test_a_single_step_is_a_dot() -> None:
    svg = drawn([(43_200 - 150, 100.0)])
    [dot] = svg.findall(f"{SVG}circle")
    assert float(dot.attrib["cx"]) == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 2, abs=0.1)


def test_a_day_without_readings_says_so() -> None:
    svg = drawn([])
    texts = [text.text for text in svg.findall(f"{SVG}text")]
    assert "Nothing" in texts
    assert paths(svg, "line") == []


def test_those_who_cannot_see_it_are_told_title_and_description() -> None:
    svg = drawn([])
    title, description = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert (title.text, description.text) == ("Title <&>", "Description")
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert not [element for element in svg.iter() if "style" in element.attrib]


@given(st.lists(st.floats(-60_000, 60_000), max_size=50))
def test_the_axis_holds_zero_and_every_power_in_round_steps(powers_w: list[float]) -> None:
    scale = scale_of(powers_w)
    assert scale.low_w <= min([0.0, *powers_w])
    assert scale.high_w >= max([0.0, *powers_w])
    assert f"{scale.step_w:e}"[0] in "125"
    for end in (scale.low_w, scale.high_w):
        assert end / scale.step_w == pytest.approx(round(end / scale.step_w))
    assert 1 <= (scale.high_w - scale.low_w) / scale.step_w <= 7


@given(st.lists(st.floats(-20_000, 20_000), min_size=2, max_size=40))
def test_every_point_lies_in_the_frame(powers_w: list[float]) -> None:
    svg = drawn([(index * STEP_S, power) for index, power in enumerate(powers_w)])
    for kind in ("line", "area-import", "area-export"):
        for path in paths(svg, kind):
            for x, y in path:
                assert LEFT <= x <= WIDTH - RIGHT
                assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1
