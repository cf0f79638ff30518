"""Who may ask for what: one table of routes and roles, and the one place that decides by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request

from server import registry, staff
from server.audit import Actor
from server.browser import require_own_form, visitor_of
from server.db import reading
from server.responses import RefusedError
from server.roles import ADMINS, EVERYONE, OFFICE, PEOPLE, TECHNICIANS, Role
from server.site import Site
from server.streams import Meter

AUTHORIZATION = re.compile(r"Bearer ([A-Za-z0-9._-]{1,200})\Z")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROGRAM = "meterd.program"
ROLES_OF: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "post_claim": EVERYONE,
        "get_readings": frozenset({Role.METER}),
        "post_readings": frozenset({Role.METER}),
        "get_home": PEOPLE,
        "get_login": EVERYONE,
        "post_login": EVERYONE,
        "post_logout": EVERYONE,
        "get_meter": frozenset({Role.CUSTOMER}),
        "get_static": EVERYONE,
        "get_admin": OFFICE,
        "get_customers": OFFICE,
        "get_customer": OFFICE,
        "get_meters": OFFICE,
        "get_admin_meter": OFFICE,
        "post_settings": TECHNICIANS,
        "post_command": TECHNICIANS,
        "post_cancel": TECHNICIANS,
        "post_claim_code": TECHNICIANS,
        "get_users": ADMINS,
        "post_user": ADMINS,
        "post_disable_user": ADMINS,
        "get_tokens": ADMINS,
        "post_token": ADMINS,
        "post_revoke_token": ADMINS,
        "get_audit": ADMINS,
    }
)
"""A route that is not here answers nobody."""


class LoginNeededError(Exception):
    """A person who is not logged in asks for a page that is for some."""


@dataclass(frozen=True, slots=True)
class Program:
    """A meter, or a program of the utility that has a token."""

    role: Role
    name: str
    meter: Meter | None = None


def admit(site: Site, request: Request, endpoint: str) -> None:
    """Do nothing if who asks may; a form of somebody who is logged in must come from our page.

    Raises:
        LoginNeededError: a page, and nobody is logged in.
        NotFound: a page that is not for this role: the answer says no more than a missing one's.
        Forbidden: the form was not ours.
        RefusedError: 401 no or no valid credential, 403 one of another role.
    """
    allowed = ROLES_OF.get(endpoint, frozenset())
    if allowed == EVERYONE:
        return
    if request.path.startswith("/api/"):
        _admit_program(site, request, allowed)
    else:
        _admit_person(site, request, allowed)


def meter_of(request: Request) -> Meter:
    """The meter that was admitted."""
    program = request.environ[PROGRAM]
    assert isinstance(program, Program)
    assert program.meter is not None
    return program.meter


def actor_of(site: Site, request: Request) -> Actor:
    """The person who was admitted, as the audit log names them."""
    session = visitor_of(site, request).session
    assert session is not None
    return Actor(session.user_name, session.role, request.remote_addr or "unknown")


def _admit_person(site: Site, request: Request, allowed: frozenset[Role]) -> None:
    session = visitor_of(site, request).session
    if session is None:
        raise LoginNeededError
    if session.role not in allowed:
        raise NotFound
    if request.method not in SAFE_METHODS:
        require_own_form(site, request, session.csrf_token)


def _admit_program(site: Site, request: Request, allowed: frozenset[Role]) -> None:
    challenge = {"WWW-Authenticate": "Bearer"}
    given = AUTHORIZATION.match(request.headers.get("Authorization", ""))
    if given is None:
        raise RefusedError(401, "send Authorization: Bearer and the credential", challenge)
    program = _program(site, given[1])
    if program is None:
        raise RefusedError(401, "this credential is not known, expired or revoked", challenge)
    if program.role not in allowed:
        raise RefusedError(403, f"this is not for {program.role}")
    request.environ[PROGRAM] = program


def _program(site: Site, credential: str) -> Program | None:
    with reading(site.database) as connection:
        meter = registry.meter_of(connection, credential)
        if meter is not None:
            return Program(Role.METER, meter[1], Meter(*meter))
        name = staff.token_name(connection, credential, site.clock_utc_s())
        return None if name is None else Program(Role.UTILITY_SYNC, name)
