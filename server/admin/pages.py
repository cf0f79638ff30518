"""The utility's pages of the fleet: overview, customers, meters."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import RowMapping, select
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from server import fleet, listing
from server.admin.frame import moment, render_admin, render_list
from server.browser import visitor_of
from server.db import reading
from server.language import UNKNOWN, Language, age, kwh, number
from server.listing import Asked, Cell, Head, Listing
from server.registry import meters_of
from server.schema import ACCOUNT_LOGIN, CUSTOMER
from server.signing import digits
from server.site import Site

MARKS = {"online": "●", "late": "▲", "waiting": "○", "retired": "■"}
RECORD_MARKS = {"signed": "✓", "unsigned": "–", "broken": "✗"}


def get_admin(site: Site, request: Request) -> Response:
    """How the fleet is, and which meters somebody must look at."""
    language = visitor_of(site, request).language
    now_utc_s = site.clock_utc_s()
    found = meter_listing(language, now_utc_s)
    wanting = replace(found, rows=fleet.wanting(now_utc_s).subquery(), name="wanting")
    with reading(site.database) as connection:
        counts = fleet.overview(connection, now_utc_s)
        page = listing.page(connection, wanting, Asked(order="last_seen_utc_s"))
    return render_admin(
        site,
        request,
        "admin/overview.html",
        counts=counts,
        marks=MARKS,
        states=state_words(language),
        heads=found.heads,
        rows=[list(zip(found.heads, row, strict=True)) for row in page.rows],
        total=page.total,
    )


def get_meters(site: Site, request: Request) -> Response:
    """Every meter."""
    language = visitor_of(site, request).language
    found = meter_listing(language, site.clock_utc_s())
    return render_list(site, request, language.say("Meters"), found)


def get_customers(site: Site, request: Request) -> Response:
    """Every customer."""
    language = visitor_of(site, request).language
    say = language.say
    found = Listing(
        name="customers",
        rows=fleet.customers().subquery(),
        heads=[
            Head("id", say("Number"), lambda row: Cell(str(row["id"]))),
            Head("name", say("Name"), _customer_cell),
            Head("user_name", say("User"), lambda row: Cell(row["user_name"] or UNKNOWN)),
            Head("meters", say("Meters"), lambda row: Cell(str(row["meters"]))),
            Head(
                "created_utc_s",
                say("Since"),
                lambda row: moment(language, row["created_utc_s"]),
            ),
        ],
        unique="id",
        order="name",
        searched=("name", "user_name"),
    )
    return render_list(site, request, say("Customers"), found)


def get_customer(site: Site, request: Request, customer_id: int) -> Response:
    """One customer with the meters that hang at the customer's places.

    Raises:
        NotFound: no such customer.
    """
    query = (
        select(CUSTOMER, ACCOUNT_LOGIN.c.user_name)
        .outerjoin(ACCOUNT_LOGIN, ACCOUNT_LOGIN.c.customer_id == CUSTOMER.c.id)
        .where(CUSTOMER.c.id == customer_id)
        .limit(1)
    )
    with reading(site.database) as connection:
        customer = connection.execute(query).one_or_none()
        if customer is None:
            raise NotFound
        meters = meters_of(connection, customer_id)
    language = visitor_of(site, request).language
    return render_admin(
        site,
        request,
        "admin/customer.html",
        customer=customer,
        since=moment(language, customer.created_utc_s).text,
        meters=meters,
    )


def meter_listing(language: Language, now_utc_s: int) -> Listing:
    """The list of all meters."""
    return Listing(
        name="meters",
        rows=fleet.meters(now_utc_s).subquery(),
        heads=_meter_heads(language, now_utc_s),
        unique="serial",
        order="serial",
        searched=("serial", "customer", "service_number", "area", "fingerprint"),
        filtered="state",
        choices=list(state_words(language).items()),
    )


def state_words(language: Language) -> dict[str, str]:
    """How a meter's state is said."""
    say = language.say
    return {
        "online": say("Online"),
        "late": say("No connection"),
        "waiting": say("Never connected"),
        "retired": say("Out of service"),
    }


def record_words(language: Language) -> dict[str, str]:
    """How the state of a meter's record is said."""
    say = language.say
    return {"signed": say("signed"), "unsigned": say("unsigned"), "broken": say("broken")}


def _meter_heads(language: Language, now_utc_s: int) -> list[Head]:
    say = language.say
    states, records = state_words(language), record_words(language)

    def seen(row: RowMapping) -> Cell:
        seen_utc_s = row["last_seen_utc_s"]
        return Cell(UNKNOWN if seen_utc_s is None else age(language, now_utc_s - seen_utc_s))

    def marked(marks: dict[str, str], words: dict[str, str], state: str) -> Cell:
        return Cell(f"{marks[state]} {words[state]}", state=state)

    def text(key: str) -> Head:
        titles = {"service_number": say("Service"), "area": say("Area")}
        return Head(key, titles[key], lambda row: Cell(row[key] or UNKNOWN))

    return [
        Head("serial", say("Serial"), lambda row: Cell(row["serial"], _meter_href(row))),
        Head("state", say("State"), lambda row: marked(MARKS, states, row["state"])),
        Head("customer", say("Customer"), _owner_cell),
        text("service_number"),
        text("area"),
        Head("last_seen_utc_s", say("Last connection"), seen),
        Head("power_w", say("Power W"), lambda row: Cell(number(language, row["power_w"], 0))),
        Head("import_j", say("Import kWh"), lambda row: Cell(kwh(language, row["import_j"]))),
        Head("export_j", say("Export kWh"), lambda row: Cell(kwh(language, row["export_j"]))),
        Head("record", say("Record"), lambda row: marked(RECORD_MARKS, records, row["record"])),
        Head("fingerprint", say("Key"), _key_cell),
        Head("quarantined", say("Quarantine"), _quarantine_cell),
    ]


def _meter_href(row: RowMapping) -> str:
    return f"/admin/meters/{row['serial']}"


def _customer_cell(row: RowMapping) -> Cell:
    return Cell(row["name"], f"/admin/customers/{row['id']}")


def _owner_cell(row: RowMapping) -> Cell:
    if row["customer_id"] is None:
        return Cell(UNKNOWN)
    return Cell(row["customer"], f"/admin/customers/{row['customer_id']}")


def _key_cell(row: RowMapping) -> Cell:
    fingerprint = row["fingerprint"]
    return Cell(UNKNOWN if fingerprint is None else digits(fingerprint)[:9] + " …")


def _quarantine_cell(row: RowMapping) -> Cell:
    return Cell(str(row["quarantined"]), state="late" if row["quarantined"] else "")
