"""What every answer carries, and the answers that programs get."""

from __future__ import annotations

import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # not no-referrer: with it browsers send "Origin: null", and the Origin check needs the truth
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
ERROR_CODES = {
    400: "malformed",
    401: "unauthorised",
    403: "refused",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "media_type",
    426: "upgrade_required",
    429: "later",
    503: "later",
}


class RefusedError(Exception):
    """An answer other than 200 for a program: status of docs/protocol.md, and a sentence."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def secure(response: Response) -> Response:
    """Add what every answer carries, errors and static files included."""
    for name, content in SECURITY_HEADERS.items():
        response.headers[name] = content
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def json_answer(content: object) -> Response:
    """200 with JSON."""
    return Response(msgspec.json.encode(content), mimetype="application/json")


def json_refusal(refusal: RefusedError) -> Response:
    """The error form of docs/protocol.md."""
    code = ERROR_CODES.get(refusal.status, "server_error" if refusal.status >= 500 else "refused")
    content = {"error": {"code": code, "message": str(refusal)}}
    response = Response(
        msgspec.json.encode(content), status=refusal.status, mimetype="application/json"
    )
    response.headers.update(refusal.headers)
    return response


def refusal_of(error: HTTPException) -> RefusedError:
    """The same refusal for a program that Werkzeug raised for a browser."""
    allowed = {"Allow": ", ".join(getattr(error, "valid_methods", None) or ())}
    return RefusedError(
        error.code or 500,
        error.description or error.name,
        {name: content for name, content in allowed.items() if content},
    )
