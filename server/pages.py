"""Logging in and out, the way to the first meter, static files, and errors for people."""

from __future__ import annotations

import hashlib
from pathlib import Path

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Request, Response

from server import audit, auth, registry
from server.audit import Actor, Change
from server.browser import (
    Visitor,
    drop_cookie,
    form_cookie,
    language_of,
    render,
    require_own_form,
    see_other,
    session_cookie,
    session_in,
    set_cookie,
    visitor_of,
)
from server.db import reading, writing
from server.hashing import new_secret, slow_verify
from server.roles import OFFICE
from server.site import Site, StaticFile
from server.throttle import admit, forget, forgive, network_of

STATIC = Path(__file__).parent / "static"
MIMETYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
STATIC_KEPT_S = 365 * 24 * 3600
FORM_KEPT_S = 3600


def get_home(site: Site, request: Request) -> Response:
    """The customer's first meter, or the utility's own pages."""
    visitor = visitor_of(site, request)
    session = session_in(visitor)
    if session.role in OFFICE:
        return see_other("/admin")
    with reading(site.database) as connection:
        meters = registry.meters_of(connection, session.holder_id)
    if not meters:
        return render(site, request, visitor, "no_meter.html")
    return see_other(f"/meters/{meters[0].serial}")


def get_login(site: Site, request: Request) -> Response:
    """The form."""
    visitor = visitor_of(site, request)
    if visitor.session is not None:
        return see_other("/")
    return _login_form(site, request, visitor, problem="")


def post_login(site: Site, request: Request) -> Response:
    """A session, or the form again; what was wrong is not said, and takes the same time.

    Raises:
        Forbidden: the form was not ours.
    """
    visitor = Visitor(None, language_of(site, request))
    require_own_form(site, request, request.cookies.get(form_cookie(site)))
    now_utc_s = site.clock_utc_s()
    user_name = request.form.get("user_name", "")[:200].strip().lower()
    address = network_of(request.remote_addr)
    wait_s = admit(site.logins_by_address, address, now_utc_s)
    if wait_s is None:
        wait_s = admit(site.logins_by_account, user_name, now_utc_s)
    if wait_s is not None:
        response = _login_form(site, request, visitor, problem="throttled", status=429)
        response.headers["Retry-After"] = str(wait_s)
        return response
    login = _checked(site, user_name, request.form.get("password", ""))
    if login is None:
        return _login_form(site, request, visitor, problem="wrong", status=403)
    forgive(site.logins_by_address, address)
    forget(site.logins_by_account, user_name)
    return _logged_in(site, request, login, user_name)


def post_logout(site: Site, request: Request) -> Response:
    """The session's end.

    Raises:
        Forbidden: the form was not ours.
    """
    visitor = visitor_of(site, request)
    if visitor.session is not None:
        require_own_form(site, request, visitor.session.csrf_token)
        with writing(site.database) as connection:
            auth.end_session(connection, request.cookies[session_cookie(site)])
    response = see_other("/login")
    drop_cookie(site, response, session_cookie(site))
    return response


def get_static(site: Site, request: Request, name: str) -> Response:
    """A file of the version that the pages name; others are not kept.

    Raises:
        NotFound: no such file.
    """
    file = site.static_files.get(name)
    if file is None:
        raise NotFound
    response = Response(file.content, mimetype=file.mimetype)
    current = request.args.get("v") == site.static_version
    response.headers["Cache-Control"] = (
        f"public, max-age={STATIC_KEPT_S}, immutable" if current else "no-cache"
    )
    return response


def load_static() -> tuple[dict[str, StaticFile], str]:
    """Every static file, and a version that changes with any of them."""
    files = {
        path.name: StaticFile(path.read_bytes(), MIMETYPES[path.suffix])
        for path in sorted(STATIC.iterdir())
        if path.suffix in MIMETYPES
    }
    digest = hashlib.sha256(b"".join(file.content for file in files.values())).hexdigest()
    return files, digest[:12]


def error_page(site: Site, request: Request, error: HTTPException) -> Response:
    """An error for people; it needs no database."""
    visitor = Visitor(None, language_of(site, request))
    response = render(site, request, visitor, "error.html", status=error.code or 500)
    response.status_code = error.code or 500
    methods = getattr(error, "valid_methods", None)
    if methods:
        response.headers["Allow"] = ", ".join(methods)
    return response


def _login_form(
    site: Site, request: Request, visitor: Visitor, *, problem: str, status: int = 200
) -> Response:
    token = request.cookies.get(form_cookie(site)) or new_secret()
    response = render(
        site,
        request,
        visitor,
        "login.html",
        form_token=token,
        problem=problem,
        user_name=request.form.get("user_name", "")[:200] if problem else "",
    )
    response.status_code = status
    set_cookie(site, response, form_cookie(site), token, FORM_KEPT_S)
    return response


def _checked(site: Site, user_name: str, password: str) -> auth.Login | None:
    with reading(site.database) as connection:
        login = auth.login_of(connection, user_name)
    stored = site.decoy_hash if login is None else login.password_hash
    right = slow_verify(site.hashing, stored, password[: registry.PASSWORD_CHARACTERS_MAX + 1])
    return login if right else None


def _logged_in(site: Site, request: Request, login: auth.Login, user_name: str) -> Response:
    before = request.cookies.get(session_cookie(site))
    now_utc_s = site.clock_utc_s()
    with writing(site.database) as connection:
        if before:
            auth.end_session(connection, before)
        token = auth.begin_session(connection, login, now_utc_s)
        if login.role in OFFICE:
            who = Actor(user_name, login.role, request.remote_addr or "unknown")
            audit.note(connection, who, Change("login", "user", user_name), now_utc_s)
    response = see_other("/")
    set_cookie(site, response, session_cookie(site), token, auth.ABSOLUTE_S)
    drop_cookie(site, response, form_cookie(site))
    return response
