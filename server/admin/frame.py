"""What the utility's pages share: their sections, their lists, and how a change is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection
from werkzeug.wrappers import Request, Response

from server import listing
from server.access import ROLES_OF
from server.browser import render, session_in, visitor_of
from server.db import reading, writing
from server.errors import ServerError
from server.language import UNKNOWN, Language, date_and_time
from server.listing import Cell, Listing
from server.registry import TIME_ZONE_DEFAULT
from server.site import Site

ZONE = ZoneInfo(TIME_ZONE_DEFAULT)
"""Fleet-wide lists have one clock; a meter's own page has its place's."""


def render_admin(site: Site, request: Request, template: str, /, **context: Any) -> Response:
    """A page with the sections that the visitor's role may open."""
    visitor = visitor_of(site, request)
    role = session_in(visitor).role
    sections = [
        (address, title)
        for endpoint, address, title in _sections(visitor.language)
        if role in ROLES_OF[endpoint]
    ]
    return render(
        site,
        request,
        visitor,
        template,
        sections=sections,
        role=role,
        may=lambda endpoint: role in ROLES_OF[endpoint],
        zone=ZONE.key,
        **context,
    )


def render_list(
    site: Site,
    request: Request,
    title: str,
    found: Listing,
    *,
    template: str = "admin/list.html",
    **context: Any,
) -> Response:
    """A list as a page, or with ``format=csv`` as a table to take away."""
    asked = listing.read(found, request.args)
    if request.method == "GET" and request.args.get("format") == "csv":
        return _csv(site, found, asked)
    with reading(site.database) as connection:
        page = listing.page(connection, found, asked)
    return render_admin(
        site,
        request,
        template,
        title=title,
        listing=found,
        asked=asked,
        page=page,
        rows=[list(zip(found.heads, row, strict=True)) for row in page.rows],
        link=lambda **more: listing.address(found, asked, **more),
        sorted_by=lambda key: listing.address(found, listing.turned(asked, key)),
        **context,
    )


def changed(
    site: Site,
    change: Callable[[Connection, int], Any],
) -> tuple[Any, str]:
    """Make a change in one transaction: what it returns, and why it was refused, or nothing."""
    now_utc_s = site.clock_utc_s()
    try:
        with writing(site.database) as connection:
            return change(connection, now_utc_s), ""
    except ServerError as error:
        return None, str(error)


def moment(language: Language, utc_s: int | None) -> Cell:
    """A date and time of the utility's clock."""
    return Cell(UNKNOWN if utc_s is None else date_and_time(language, utc_s, ZONE))


def _sections(language: Language) -> list[tuple[str, str, str]]:
    say = language.say
    return [
        ("get_admin", "/admin", say("Overview")),
        ("get_customers", "/admin/customers", say("Customers")),
        ("get_meters", "/admin/meters", say("Meters")),
        ("get_users", "/admin/users", say("Users")),
        ("get_tokens", "/admin/tokens", say("Tokens")),
        ("get_audit", "/admin/audit", say("Audit log")),
    ]


def _csv(site: Site, found: Listing, asked: listing.Asked) -> Response:
    with reading(site.database) as connection:
        text = "".join(listing.csv(connection, found, asked))
    response = Response(text, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{found.name}.csv"'
    return response
