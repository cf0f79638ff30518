"""Cells of CSV files that a spreadsheet would run as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may run the cell instead of showing it."""
    return cell.startswith(FORMULA_BEGINS)


def text_of(rows: Iterable[Sequence[object]]) -> str:
    """A CSV file in which text that looks like a formula stands behind an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    for row in rows:
        writer.writerow([_shown(cell) for cell in row])
    return file.getvalue()


def _shown(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and is_formula(cell) else cell
