"""The way from a WSGI request to an answer that carries what it must."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Map
from werkzeug.wrappers import Request, Response

from server import access, pages
from server.access import LoginNeededError
from server.browser import make_environments, see_other
from server.db import Database
from server.errors import BusyError
from server.hashing import SlowHashing, new_secret, slow_hash
from server.language import load_languages
from server.responses import RefusedError, json_refusal, refusal_of, secure
from server.routes import ROUTES, url_map
from server.settings import Settings
from server.site import Site

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)


def utc_s() -> int:
    """Now, in whole UTC seconds."""
    return int(time.time())


def create_app(
    database: Database,
    settings: Settings | None = None,
    clock_utc_s: Callable[[], int] = utc_s,
) -> WSGIApplication:
    """The server as one WSGI application; the database must be current."""
    settings = settings or Settings()
    site = _site(database, settings, clock_utc_s)
    application: WSGIApplication = partial(_application, site, url_map())
    if settings.proxies:
        application = ProxyFix(application, x_for=settings.proxies, x_proto=0, x_host=0)
    return application


def _site(database: Database, settings: Settings, clock_utc_s: Callable[[], int]) -> Site:
    hashing = SlowHashing()
    languages = load_languages()
    static_files, static_version = pages.load_static()
    return Site(
        database=database,
        settings=settings,
        clock_utc_s=clock_utc_s,
        hashing=hashing,
        decoy_hash=slow_hash(hashing, new_secret()),
        languages=languages,
        environments=make_environments(languages),
        static_files=static_files,
        static_version=static_version,
    )


def _application(
    site: Site, routes: Map, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    request = Request(environ)
    response = secure(_answer(site, routes, request))
    return response(environ, start_response)


def _answer(site: Site, routes: Map, request: Request) -> Response:
    try:
        endpoint, arguments = routes.bind_to_environ(request.environ).match()
        access.admit(site, request, endpoint)
        return ROUTES[endpoint](site, request, **arguments)
    except LoginNeededError:
        return see_other("/login")
    except RefusedError as refusal:
        return json_refusal(refusal)
    except HTTPException as error:
        return _error(site, request, error)
    except BusyError as error:
        return _busy(site, request, error)
    except Exception:
        LOG.exception("%s %s failed", request.method, request.path)
        return _error(site, request, InternalServerError())


def _busy(site: Site, request: Request, error: BusyError) -> Response:
    unavailable = ServiceUnavailable(str(error), retry_after=error.retry_after_s)
    response = _error(site, request, unavailable)
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _error(site: Site, request: Request, error: HTTPException) -> Response:
    if request.path.startswith("/api/"):
        return json_refusal(refusal_of(error))
    return pages.error_page(site, request, error)
