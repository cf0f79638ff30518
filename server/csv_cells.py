"""Tables for spreadsheets, in which no cell is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may run the cell instead of showing it."""
    return cell.startswith(FORMULA_BEGINS)


def safe(cell: object) -> str:
    """A number stays a number, None is empty, and text that a spreadsheet would run gets a ``'``.

    See OWASP, "CSV Injection".
    """
    if cell is None:
        return ""
    if isinstance(cell, int | float):
        return repr(cell)
    text = str(cell)
    return f"'{text}" if is_formula(text) else text


def text_of(rows: Iterable[Sequence[object]]) -> str:
    """A CSV file in which text that looks like a formula stands behind an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    for row in rows:
        writer.writerow([safe(cell) for cell in row])
    return file.getvalue()


def lines(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """RFC 4180, one line at a time, the heads first."""
    yield text_of([heads])
    for row in rows:
        yield text_of([row])
