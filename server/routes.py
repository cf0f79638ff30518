"""Every address of the server, and the function that answers it."""

from __future__ import annotations

from collections.abc import Callable

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from server import claim, ingest, meter_page, pages
from server.admin import meter as admin_meter
from server.admin import pages as admin_pages
from server.admin import users as admin_users

Route = Callable[..., Response]
ID = f"int(max={2**63 - 1})"  # what an integer of the database can be
ADDRESSES: tuple[tuple[str, str, Route], ...] = (
    ("POST", "/api/v1/claim", claim.post_claim),
    ("GET", "/api/v1/readings/<stream>", ingest.get_readings),
    ("POST", "/api/v1/readings/<stream>", ingest.post_readings),
    ("GET", "/", pages.get_home),
    ("GET", "/login", pages.get_login),
    ("POST", "/login", pages.post_login),
    ("POST", "/logout", pages.post_logout),
    ("GET", "/meters/<serial>", meter_page.get_meter),
    ("GET", "/static/<name>", pages.get_static),
    ("GET", "/admin", admin_pages.get_admin),
    ("GET", "/admin/customers", admin_pages.get_customers),
    ("GET", f"/admin/customers/<{ID}:customer_id>", admin_pages.get_customer),
    ("GET", "/admin/meters", admin_pages.get_meters),
    ("GET", "/admin/meters/<serial>", admin_meter.get_admin_meter),
    ("POST", "/admin/meters/<serial>/settings", admin_meter.post_settings),
    ("POST", "/admin/meters/<serial>/commands", admin_meter.post_command),
    ("POST", "/admin/meters/<serial>/commands/<command_id>/cancel", admin_meter.post_cancel),
    ("POST", "/admin/meters/<serial>/claim-code", admin_meter.post_claim_code),
    ("GET", "/admin/users", admin_users.get_users),
    ("POST", "/admin/users", admin_users.post_user),
    ("POST", "/admin/users/<user_name>/disable", admin_users.post_disable_user),
    ("GET", "/admin/tokens", admin_users.get_tokens),
    ("POST", "/admin/tokens", admin_users.post_token),
    ("POST", f"/admin/tokens/<{ID}:token_id>/revoke", admin_users.post_revoke_token),
    ("GET", "/admin/audit", admin_users.get_audit),
)
"""Method, address and function; server.access has who may."""
ROUTES: dict[str, Route] = {route.__name__: route for _, _, route in ADDRESSES}


def url_map() -> Map:
    """The addresses as werkzeug matches them."""
    rules = [
        Rule(address, methods=[method], endpoint=route.__name__)
        for method, address, route in ADDRESSES
    ]
    return Map(rules, redirect_defaults=False, merge_slashes=False, strict_slashes=True)
