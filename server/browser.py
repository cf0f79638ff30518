"""What every page needs: the session, the language, the proof that a form is ours, the frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from werkzeug.exceptions import Forbidden
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from server import auth
from server.bodies import read_body
from server.db import reading, writing
from server.language import LANGUAGES, Language, choose
from server.site import Site

TEMPLATES = Path(__file__).parent / "templates"
FORM_BYTES_MAX = 8192
FORM_FIELDS_MAX = 20
LANGUAGE_KEPT_S = 365 * 24 * 3600
BACKGROUND_HEADER = "X-Background"
VISITOR = "meterd.visitor"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, and in which language to answer."""

    session: auth.Session | None
    language: Language


def make_environments(languages: Mapping[str, Language]) -> dict[str, Environment]:
    """One template environment for each language tag."""
    return {tag: _environment(language) for tag, language in languages.items()}


def visitor_of(site: Site, request: Request) -> Visitor:
    """The visitor, looked for once in a request.

    A use of the session is noted unless the page only refreshes itself.
    """
    known = request.environ.get(VISITOR)
    if isinstance(known, Visitor):
        return known
    visitor = Visitor(_session_of(site, request), language_of(site, request))
    request.environ[VISITOR] = visitor
    return visitor


def session_in(visitor: Visitor) -> auth.Session:
    """The session that :mod:`server.access` promised before the route was called."""
    assert visitor.session is not None
    return visitor.session


def language_of(site: Site, request: Request) -> Language:
    """The language that the address, the cookie or the browser asks for."""
    accepted = [tag for tag, _ in request.accept_languages]
    tag = choose(request.args.get("lang"), request.cookies.get("lang"), accepted)
    return site.languages[tag]


def session_cookie(site: Site) -> str:
    """``__Host-`` binds the cookie to this host and to TLS (RFC 6265bis, section 4.1.3.2)."""
    return "__Host-session" if site.settings.url_scheme == "https" else "session"


def form_cookie(site: Site) -> str:
    """Carries the login form's token, before there is a session."""
    return "__Host-form" if site.settings.url_scheme == "https" else "form"


def set_cookie(site: Site, response: Response, name: str, content: str, max_age_s: int) -> None:
    """A cookie that scripts and other sites' forms do not get."""
    response.set_cookie(
        name,
        content,
        max_age=max_age_s,
        path="/",
        secure=site.settings.url_scheme == "https",
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(site: Site, response: Response, name: str) -> None:
    """Ask the browser to forget it."""
    set_cookie(site, response, name, "", 0)


def require_own_form(site: Site, request: Request, expected_token: str | None) -> None:
    """Refuse a form that another site's page sent.

    Raises:
        BusyError: too many forms are being received.
        Forbidden: the Origin is not ours, or the form's token is not the visitor's.
    """
    request.max_form_memory_size = FORM_BYTES_MAX
    request.max_form_parts = FORM_FIELDS_MAX
    read_body(site.bodies_of_anyone, request, FORM_BYTES_MAX)
    own = auth.same_origin(request.headers.get("Origin"), site.settings.url_scheme, request.host)
    if not own or not auth.same_secret(request.form.get("csrf_token"), expected_token):
        raise Forbidden("csrf")


def render(
    site: Site, request: Request, visitor: Visitor, template: str, /, **context: Any
) -> Response:
    """A page in the visitor's language; ``?lang=`` is kept in a cookie."""
    tag = visitor.language.tag
    page = site.environments[tag].get_template(template)
    html = page.render(
        language=visitor.language,
        languages=LANGUAGES,
        path=request.path,
        session=visitor.session,
        static_version=site.static_version,
        **context,
    )
    response = Response(html, mimetype="text/html")
    response.headers["Content-Language"] = tag
    response.headers["Vary"] = "Cookie, Accept-Language"
    if "lang" in request.args:
        set_cookie(site, response, "lang", tag, LANGUAGE_KEPT_S)
    return response


def see_other(location: str) -> Response:
    """303: ask for that page now."""
    return redirect(location, 303)


def _session_of(site: Site, request: Request) -> auth.Session | None:
    token = request.cookies.get(session_cookie(site))
    session = None
    if token:
        now_utc_s = site.clock_utc_s()
        with reading(site.database) as connection:
            session = auth.session_of(connection, token, now_utc_s)
        background = BACKGROUND_HEADER in request.headers
        if session is not None and not background and auth.needs_note(session, now_utc_s):
            with writing(site.database) as connection:
                auth.note_use(connection, session, now_utc_s)
    return session


def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]  # added by the extension
        language.translations, newstyle=True
    )
    return environment
