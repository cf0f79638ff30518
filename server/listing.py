"""Lists that people sort, search, filter, turn the pages of, and take away as CSV: all bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Subquery, func, or_, select

from server import csv_cells

ROWS_PER_PAGE = 50
PAGES_MAX = 2000
SEARCH_CHARACTERS_MAX = 64
CSV_ROWS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a table: words, where they lead to, and what they stand for."""

    text: str
    href: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """A column: the query's name of it, its title, and how a row's cell is written."""

    key: str
    title: str
    show: Callable[[RowMapping], Cell]


@dataclass(frozen=True, slots=True)
class Listing:
    """One list, in one language."""

    name: str
    rows: Subquery
    heads: Sequence[Head]
    unique: str
    """The column that no two rows share: it ends every order, so that pages do not overlap."""
    order: str
    searched: Sequence[str]
    filtered: str = ""
    choices: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for; what it cannot ask for is passed over."""

    search: str = ""
    choice: str = ""
    order: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list."""

    rows: list[list[Cell]]
    total: int
    number: int
    pages: int


def read(listing: Listing, arguments: Mapping[str, str]) -> Asked:
    """The wishes in an address: ``q``, ``show``, ``sort`` (``-`` in front: falling), ``page``."""
    order = arguments.get("sort", "")
    choice = arguments.get("show", "")
    page = arguments.get("page", "1")
    return Asked(
        arguments.get("q", "").strip()[:SEARCH_CHARACTERS_MAX],
        choice if choice in dict(listing.choices) else "",
        order if order.removeprefix("-") in _keys(listing) else listing.order,
        min(int(page), PAGES_MAX) if page.isascii() and page.isdigit() and int(page) > 0 else 1,
    )


def page(connection: Connection, listing: Listing, asked: Asked) -> Page:
    """The rows of the page that was asked for, or of the last there is."""
    query = _chosen(listing, asked)
    total = connection.scalar(select(func.count()).select_from(query.subquery())) or 0
    pages = min(max(1, -(-total // ROWS_PER_PAGE)), PAGES_MAX)
    number = min(asked.page, pages)
    found = connection.execute(
        _ordered(listing, query, asked).limit(ROWS_PER_PAGE).offset((number - 1) * ROWS_PER_PAGE)
    )
    rows = [[head.show(row) for head in listing.heads] for row in found.mappings()]
    return Page(rows, total, number, pages)


def csv(connection: Connection, listing: Listing, asked: Asked) -> Iterator[str]:
    """All rows that were searched and filtered, as the database has them, at most 100 000."""
    query = _ordered(listing, _chosen(listing, asked), asked).limit(CSV_ROWS_MAX)
    keys = [head.key for head in listing.heads]
    rows = ([row[key] for key in keys] for row in connection.execute(query).mappings())
    return csv_cells.lines(keys, rows)


def address(listing: Listing, asked: Asked, **more: str) -> str:
    """The query string that asks for it again."""
    wishes = {
        "q": asked.search,
        "show": asked.choice,
        "sort": "" if asked.order == listing.order else asked.order,
        "page": "" if asked.page == 1 else str(asked.page),
    }
    return "?" + urlencode({name: wish for name, wish in (wishes | more).items() if wish})


def turned(asked: Asked, key: str) -> Asked:
    """Sorted by a column, or the other way round if it is already."""
    return replace(asked, order=f"-{key}" if asked.order == key else key, page=1)


def _keys(listing: Listing) -> set[str]:
    return {head.key for head in listing.heads}


def _chosen(listing: Listing, asked: Asked) -> Select[tuple[object, ...]]:
    query = select(listing.rows)
    if asked.choice:
        query = query.where(listing.rows.c[listing.filtered] == asked.choice)
    if asked.search:
        found: list[ColumnElement[bool]] = [
            listing.rows.c[key].icontains(asked.search, autoescape=True) for key in listing.searched
        ]
        query = query.where(or_(*found))
    return query


def _ordered(
    listing: Listing, query: Select[tuple[object, ...]], asked: Asked
) -> Select[tuple[object, ...]]:
    column = listing.rows.c[asked.order.removeprefix("-")]
    falling = asked.order.startswith("-")
    unique = listing.rows.c[listing.unique]
    return query.order_by(
        column.desc().nulls_last() if falling else column.asc().nulls_last(),
        unique.desc() if falling else unique,
    )
