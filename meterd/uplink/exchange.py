"""One request and its answer, with an end to every wait and a bound on every byte."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import requests
import urllib3
from requests.auth import AuthBase

from meterd.errors import ServerUnavailableError

ANSWER_BYTES_MAX = 1024 * 1024
PIECE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class Exchange(Protocol):
    """Ask the server once.

    Raises:
        ServerUnavailableError: no whole answer came in time; the server may have acted or not.
    """

    def __call__(
        self, method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer: ...


def over_http(
    server: str,
    session: requests.Session,
    *,
    timeout_s: float,
    credential: Callable[[], str] | None = None,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Exchange:
    """An :class:`Exchange` with ``server``, such as ``https://meters.example``.

    Connecting, each wait for bytes and the whole of the body may take ``timeout_s`` each. TLS is
    verified, redirects are answers like any other, and ``credential`` is read for each request so
    that a new claim needs no restart.
    """

    def exchange(
        method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if media_type is not None:
            headers["Content-Type"] = media_type
        bearer = _Bearer(credential() if credential is not None else None)
        try:
            with session.request(
                method,
                server + path,
                data=body,
                headers=headers,
                auth=bearer,
                timeout=(timeout_s, timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _body(response, monotonic_s, monotonic_s() + timeout_s)
                return Answer(response.status_code, content, _retry_after_s(response.headers))
        except requests.exceptions.SSLError as error:
            raise ServerUnavailableError(
                f"the certificate of {server} was not accepted: check this machine's date and "
                f"the server's certificate ({error})"
            ) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ServerUnavailableError(f"no answer from {server}: {error}") from error

    return exchange


class _Bearer(AuthBase):
    """Who we are; as ``auth`` and not as a header, so that no ~/.netrc can take its place."""

    def __init__(self, credential: str | None) -> None:
        self._credential = credential

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._credential is not None:
            request.headers["Authorization"] = f"Bearer {self._credential}"
        return request


def _body(
    response: requests.Response, monotonic_s: Callable[[], float], deadline_s: float
) -> bytes:
    """The whole body as it came; ``read1`` returns what is there, so that a drip is noticed."""
    content = b""
    while piece := response.raw.read1(PIECE_BYTES, decode_content=False):
        content += piece
        if len(content) > ANSWER_BYTES_MAX:
            raise ServerUnavailableError(
                f"{response.url} answered with more than {ANSWER_BYTES_MAX} bytes: "
                "that is not a meter server"
            )
        if monotonic_s() > deadline_s:
            raise ServerUnavailableError(f"{response.url} did not finish its answer in time")
    return content


def _retry_after_s(headers: requests.structures.CaseInsensitiveDict[str]) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3) counted from the server's own clock."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    when = _date(said)
    if when is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (when - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
