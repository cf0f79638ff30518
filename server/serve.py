"""The server as a process: granian in front of the application."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from meterd_journal import log_to_journal_or_stderr
from server import validator
from server.app import create_app, utc_s
from server.db import close, open_database
from server.errors import SettingError
from server.migrate import require_current
from server.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BLOCKING_THREADS = 32  # more than may wait for bodies: see bodies.py
REQUESTS_AT_ONCE_MAX = 256
CONNECTIONS_WAITING_MAX = 512
HEADERS_WITHIN_MS = 10_000
STOP_WITHIN_S = 10
PARENT_LOOK_S = 0.5


def serve(
    database_url: str,
    settings: Settings,
    *,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Raises:
        DatabaseNotReadyError: ``init`` has not been run, or by another version.
        SettingError: the address cannot be listened at.
    """
    from granian.constants import Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    database = open_database(database_url)
    require_current(database)
    close(database)  # the worker opens its own: SQLite connections must not cross a fork
    address, port = _free_address(host, port)
    server = Server(
        "meterd-server",
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,  # the lock that keeps one writer is this process's
        blocking_threads=BLOCKING_THREADS,
        backpressure=REQUESTS_AT_ONCE_MAX,
        backlog=CONNECTIONS_WAITING_MAX,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MS),
        loop=Loops.asyncio,
        log_level=LogLevels.error,
        websockets=False,
        workers_kill_timeout=STOP_WITHIN_S,
    )
    shown = f"[{host}]" if ":" in host else host
    server.on_startup(partial(on_listening, f"http://{shown}:{port}/"))
    server.serve(target_loader=partial(_load, database_url, settings, os.getpid()))


def _load(database_url: str, settings: Settings, parent: int, *_: Any) -> WSGIApplication:
    """Runs in the worker."""
    log_to_journal_or_stderr(line_format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # The parent hears Ctrl-C and SIGTERM and tells the worker once. The terminal tells the whole
    # group, and a worker that is told twice may never end: it hears SIGTERM alone, and on its
    # main thread, the only one that Python wakes for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until granian is ready to end in good order
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    database = open_database(database_url)
    validator.start(database, utc_s)
    return create_app(database, settings)


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed would keep the port and the database."""
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _free_address(host: str, port: int) -> tuple[str, int]:
    """The address of a host and the port, or with 0 one that is free.

    Asked for by a socket that does not share: granian's would stand beside another server's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingError(
                f"cannot listen at {host} port {port} ({error.strerror or error}): "
                "end the program that does, or choose another with --host and --port"
            ) from error
        address, free = probe.getsockname()[:2]
        return address, free
