"""Tables for spreadsheets, in which no cell is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def safe(cell: object) -> str:
    """A number stays a number, None is empty, and text that a spreadsheet would run gets a ``'``.

    See OWASP, "CSV Injection".
    """
    if cell is None:
        return ""
    if isinstance(cell, int | float):
        return repr(cell)
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULA_BEGINS) else text


def lines(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """RFC 4180, one line at a time, the heads first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(heads)
    for row in rows:
        yield _taken(buffer)
        writer.writerow([safe(cell) for cell in row])
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
