"""The administrator's pages of users, tokens and the audit log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, case, select
from werkzeug.wrappers import Request, Response

from server import staff
from server.access import actor_of
from server.admin.frame import changed, moment, render_list
from server.browser import see_other, visitor_of
from server.errors import SettingError
from server.hashing import new_secret, slow_hash
from server.language import UNKNOWN, Language
from server.listing import Cell, Head, Listing
from server.roles import STAFF, Role
from server.schema import API_TOKEN, AUDIT_ENTRY, STAFF_USER
from server.site import Site

GENERATED_PASSWORD_CHARACTERS = 16
FIELD_CHARACTERS_MAX = 200


def get_users(site: Site, request: Request) -> Response:
    """Every user of the utility, and the form for a new one."""
    return _users(site, request)


def post_user(site: Site, request: Request) -> Response:
    """A new user; the password is made up and shown this once."""
    password = new_secret()[:GENERATED_PASSWORD_CHARACTERS]
    password_hash = slow_hash(site.hashing, password)

    def change(connection: Connection, now_utc_s: int) -> str:
        user_name = _field(request, "user_name").lower()
        new = staff.NewUser(user_name, _field(request, "name"), _role(request), password_hash)
        staff.create_user(connection, new, actor_of(site, request), now_utc_s)
        return user_name

    made, problem = changed(site, change)
    secret = f"{made}: {password}" if made else ""
    return _users(site, request, problem=problem, secret=secret)


def post_disable_user(site: Site, request: Request, user_name: str) -> Response:
    """Nobody logs in by that name any more."""

    def change(connection: Connection, now_utc_s: int) -> None:
        staff.disable_user(connection, user_name, actor_of(site, request), now_utc_s)

    _, problem = changed(site, change)
    return _users(site, request, problem=problem) if problem else see_other("/admin/users")


def get_tokens(site: Site, request: Request) -> Response:
    """Every token of the utility's programs, and the form for a new one."""
    return _tokens(site, request)


def post_token(site: Site, request: Request) -> Response:
    """A new token, shown this once."""

    def change(connection: Connection, now_utc_s: int) -> str:
        days = _field(request, "days")
        if not (days.isascii() and days.isdigit()):
            raise SettingError(f"days is a whole number, not {days!r}")
        actor = actor_of(site, request)
        token, _ = staff.create_token(
            connection, _field(request, "name"), int(days), actor, now_utc_s
        )
        return token

    made, problem = changed(site, change)
    return _tokens(site, request, problem=problem, secret=made or "")


def post_revoke_token(site: Site, request: Request, token_id: int) -> Response:
    """The token is worth nothing from now on."""

    def change(connection: Connection, now_utc_s: int) -> None:
        staff.revoke_token(connection, token_id, actor_of(site, request), now_utc_s)

    _, problem = changed(site, change)
    return _tokens(site, request, problem=problem) if problem else see_other("/admin/tokens")


def get_audit(site: Site, request: Request) -> Response:
    """Every change, newest first."""
    language = visitor_of(site, request).language
    say = language.say
    found = Listing(
        name="audit",
        rows=select(AUDIT_ENTRY).subquery(),
        heads=[
            Head("id", say("Number"), lambda row: Cell(str(row["id"]))),
            Head("at_utc_s", say("When"), lambda row: moment(language, row["at_utc_s"])),
            _plain("who", say("Who")),
            _plain("role", say("Role")),
            _plain("address", say("From")),
            _plain("action", say("Action")),
            Head("object_name", say("Object"), _object_cell),
            _plain("before", say("Before")),
            _plain("after", say("After")),
        ],
        unique="id",
        order="-id",
        searched=("who", "address", "action", "object_name", "before", "after"),
        filtered="role",
        choices=[(str(role), str(role)) for role in STAFF],
    )
    return render_list(site, request, say("Audit log"), found)


def _users(site: Site, request: Request, *, problem: str = "", secret: str = "") -> Response:
    language = visitor_of(site, request).language
    say = language.say
    state = case((STAFF_USER.c.disabled_utc_s.is_(None), "active"), else_="disabled")
    words = {"active": say("active"), "disabled": say("disabled")}
    found = Listing(
        name="users",
        rows=select(STAFF_USER, state.label("state")).subquery(),
        heads=[
            _plain("user_name", say("User")),
            _plain("name", say("Name")),
            _plain("role", say("Role")),
            Head("state", say("State"), lambda row: Cell(words[row["state"]])),
            Head("created_utc_s", say("Since"), lambda row: moment(language, row["created_utc_s"])),
        ],
        unique="user_name",
        order="user_name",
        searched=("user_name", "name"),
        filtered="state",
        choices=list(words.items()),
    )
    title = say("Users")
    return _with_form(
        site, request, title, found, "admin/users.html", problem, secret, roles=list(STAFF)
    )


def _tokens(site: Site, request: Request, *, problem: str = "", secret: str = "") -> Response:
    language = visitor_of(site, request).language
    say = language.say
    now_utc_s = site.clock_utc_s()
    state = case(
        (API_TOKEN.c.revoked_utc_s.is_not(None), "revoked"),
        (API_TOKEN.c.expires_utc_s <= now_utc_s, "expired"),
        else_="good",
    )
    words = {"good": say("good"), "revoked": say("revoked"), "expired": say("expired")}
    found = Listing(
        name="tokens",
        rows=select(API_TOKEN, state.label("state")).subquery(),
        heads=[
            Head("id", say("Number"), lambda row: Cell(str(row["id"]))),
            _plain("name", say("Program")),
            _plain("scope", say("Scope")),
            Head("state", say("State"), lambda row: Cell(words[row["state"]])),
            _date(language, "created_utc_s", say("Since")),
            _date(language, "expires_utc_s", say("Until")),
        ],
        unique="id",
        order="id",
        searched=("name",),
        filtered="state",
        choices=list(words.items()),
    )
    return _with_form(site, request, say("Tokens"), found, "admin/tokens.html", problem, secret)


def _with_form(
    site: Site,
    request: Request,
    title: str,
    found: Listing,
    template: str,
    problem: str,
    secret: str,
    **context: Any,
) -> Response:
    more = {"problem": problem, "secret": secret} | context
    response = render_list(site, request, title, found, template=template, **more)
    response.status_code = 422 if problem else 200
    return response


def _date(language: Language, key: str, title: str) -> Head:
    return Head(key, title, lambda row: moment(language, row[key]))


def _plain(key: str, title: str) -> Head:
    return Head(key, title, lambda row: Cell(UNKNOWN if row[key] is None else str(row[key])))


def _object_cell(row: RowMapping) -> Cell:
    name = f"{row['object_kind']} {row['object_name']}"
    href = f"/admin/meters/{row['object_name']}" if row["object_kind"] == "meter" else ""
    return Cell(name, href)


def _field(request: Request, name: str) -> str:
    return request.form.get(name, "").strip()[:FIELD_CHARACTERS_MAX]


def _role(request: Request) -> Role:
    asked = _field(request, "role")
    if asked not in STAFF:
        raise SettingError(f"a user's role is {', '.join(STAFF)}, not {asked!r}")
    return Role(asked)
