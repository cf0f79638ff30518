"""The lines of the report: a figure, its target, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill

from bench.accuracy.errors import Spread

COLUMNS = 110
"""Of the page's running text."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its target."""

    what: str
    figure: str
    target: str
    met: bool
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, how its figures were made, and the lines."""

    title: str
    method: str
    rows: tuple[Row, ...]


def at_most(what: str, value: float, limit: float, unit: str, remark: str = "") -> Row:
    """A figure whose size may be ``limit`` at most."""
    return Row(what, f"{value:+.2g} {unit}", f"≤ {limit:g} {unit}", abs(value) <= limit, remark)


def mean_within(what: str, found: Spread, limit: float, unit: str, remark: str = "") -> Row:
    """A mean error, with twice its standard error; met when the mean is within the limit."""
    figure = f"{found.mean:+.4f} ± {2 * found.standard_error:.4f} {unit}"
    return Row(what, figure, f"≤ {limit:g} {unit}", abs(found.mean) <= limit, remark)


def sigma_within(what: str, found: Spread, limit: float, unit: str, physical: float) -> Row:
    """The scatter of one window; ``physical`` is what these ten bits allow at best."""
    remark = f"ten bits allow {physical:.4f} {unit}"
    return Row(
        what, f"{found.sigma:.4f} {unit}", f"≤ {limit:g} {unit}", found.sigma <= limit, remark
    )


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def table_markdown(table: Table) -> str:
    """A table of figures and targets under its heading."""
    lines = [
        (row.what, row.figure, row.target, "met" if row.met else "**missed**", row.remark)
        for row in table.rows
    ]
    header = ("what", "figure", "target", "verdict", "remark")
    method = fill(table.method, COLUMNS)
    return f"### {table.title}\n\n{method}\n\n{markdown(header, lines)}"
