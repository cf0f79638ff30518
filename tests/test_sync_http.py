"""One request over real HTTP: every wait ends, every byte is counted, nothing is followed."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from meterd import sync
from meterd.errors import ServerUnavailableError

Script = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def served(script: Script) -> Iterator[str]:
    """A server on this machine that does what ``script`` says for each request."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            script(self)

        do_POST = do_GET  # noqa: N815  # the library's name

        def log_message(self, format: str, *words: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def ask(address: str, *, timeout_s: float = 2.0, credential: str | None = None) -> sync.Answer:
    with closing(requests.Session()) as session:
        exchange = sync.over_http(
            address,
            session,
            timeout_s=timeout_s,
            credential=None if credential is None else lambda: credential,
        )
        return exchange("POST", "/api/v1/readings/s?first_seq=1", b"{}\n", "application/x-ndjson")


def failure(script: Script, *, timeout_s: float = 2.0, scheme: str = "http:") -> str:
    with served(script) as address, pytest.raises(ServerUnavailableError) as caught:
        ask(address.replace("http:", scheme), timeout_s=timeout_s)
    return str(caught.value)


def answer(status: int, body: bytes, **headers: str) -> Script:
    def script(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", "0")))
        request.send_response_only(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        try:
            request.wfile.write(body)
        except OSError:  # the meter has hung up, as it should on too long a body
            request.close_connection = True

    return script


def test_the_body_goes_as_it_is_with_the_bearer_and_without_compression() -> None:
    seen: list[tuple[str, bytes, dict[str, str]]] = []

    def script(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        seen.append((request.path, body, dict(request.headers)))
        request.send_response(200)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"{}")

    with served(script) as address:
        assert ask(address, credential="abc.DEF") == sync.Answer(200, b"{}", None)
    ((path, body, headers),) = seen
    assert path == "/api/v1/readings/s?first_seq=1"
    assert body == b"{}\n"
    assert headers["Authorization"] == "Bearer abc.DEF"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["Accept-Encoding"] == "identity"


def test_a_netrc_does_not_take_the_credentials_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    def script(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers.get("Authorization"))
        answer(200, b"{}")(request)

    with served(script) as address:
        ask(address, credential="abc")
        ask(address)
    assert seen == ["Bearer abc", None]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    asked: list[str] = []

    def script(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        answer(status, b"", Location="/elsewhere")(request)

    with served(script) as address:
        assert ask(address).status == status
    assert asked == ["/api/v1/readings/s?first_seq=1"]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (formatdate(1_763_846_430, usegmt=True), 30.0),
        (formatdate(1_763_846_000, usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_on_the_servers_clock(
    said: str, seconds: float | None
) -> None:
    script = answer(503, b"{}", Retry_After=said, Date=formatdate(1_763_846_400, usegmt=True))
    with served(script) as address:
        assert ask(address) == sync.Answer(503, b"{}", seconds)


def test_a_body_without_end_is_cut_off() -> None:
    assert "more than 1048576 bytes" in failure(answer(200, b"x" * (3 * 1024 * 1024)))


def test_a_compressed_body_is_not_blown_up() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    with served(answer(200, bomb, Content_Encoding="gzip")) as address:
        assert ask(address).body == bomb


def test_a_body_that_drips_is_given_up_in_time() -> None:
    hung_up = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        while not hung_up.wait(0.05):
            try:
                request.wfile.write(b" ")
            except OSError:
                return

    with served(drip) as address:
        begun = time.monotonic()
        with pytest.raises(ServerUnavailableError, match="in time"):
            ask(address, timeout_s=0.3)
        assert time.monotonic() - begun < 2.0
        hung_up.set()


def test_a_body_that_ends_early_is_no_answer() -> None:
    assert "no answer" in failure(answer(200, b'{"hwm":', Content_Length="500"), timeout_s=0.5)


def test_a_server_that_hangs_up_or_says_nothing_is_no_answer() -> None:
    assert "no answer" in failure(lambda request: request.connection.shutdown(socket.SHUT_RDWR))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServerUnavailableError, match="no answer"):
            ask(address, timeout_s=0.2)


def test_what_speaks_no_http_and_what_is_not_there_is_no_answer() -> None:
    def other(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"SSH-2.0-OpenSSH\r\n")

    assert "no answer" in failure(other)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServerUnavailableError, match=f"127.0.0.1:{port}"):
        ask(f"http://127.0.0.1:{port}")


def test_a_server_without_tls_is_not_believed_under_https() -> None:
    assert "certificate" in failure(answer(200, b"{}"), scheme="https:")
