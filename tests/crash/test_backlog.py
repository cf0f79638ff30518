"""Six weeks without a network: the backlog drains in few requests and little memory."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from meterd import store, wire
from meterd.model import Registers
from tests.records import EXAMPLE

from . import counts
from .programs import Programs
from .record import SERIAL, kept_by

MINUTES = counts.count("BACKLOG_ROWS", quick=10_000, torture=60_480)
BEGIN_UTC_S = 1_763_846_400
PIECE = 1000
LINES_A_REQUEST = 500
MEMORY_KIB_MAX = 128 * 1024
DRAINED_S = 300.0


def offline_for(database: Path, minutes: int) -> None:
    """A record that a meter without a network has filled, one reading a minute."""
    kept = store.open_store(database, meter=SERIAL, now_utc_s=BEGIN_UTC_S)
    kept.writer.connection.execute("PRAGMA synchronous = OFF")
    for first in range(1, minutes + 1, PIECE):
        rows = []
        for seq in range(first, min(first + PIECE, minutes + 1)):
            reading = replace(
                EXAMPLE,
                meter=SERIAL,
                stream=kept.stream,
                seq=seq,
                end_utc_s=BEGIN_UTC_S + 60 * seq,
                boot=1,
                boottime_ms=60_000 * seq,
                clock="synced",
                import_j=28_807 * seq,
                export_j=0,
            )
            rows.append(store.reading_row(wire.encode(reading), reading))
        store.append(kept, rows, store.Saved(Registers(28_807 * rows[-1].seq, 0), BEGIN_UTC_S))
        store.checkpoint(kept)
    store.close(kept)


class Counter:
    """Stands between meter and server and counts the requests that pass."""

    def __init__(self, port: int) -> None:
        self.requests = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                meter, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for pair in ((meter, server), (server, meter)):
                threading.Thread(target=self._pass_on, args=(*pair, meter), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, meter: socket.socket) -> None:
        with source, target:
            try:
                while piece := source.recv(1 << 16):
                    if source is meter:
                        self.requests += len(re.findall(rb"(?:POST|GET) /api/", piece))
                    target.sendall(piece)
            except OSError:  # the other side has gone
                return


@pytest.fixture
def counter(programs: Programs) -> Iterator[Counter]:
    with closing(Counter(programs.port)) as started:
        yield started


def test_six_weeks_drain_in_few_requests_and_little_memory(
    programs: Programs, counter: Counter
) -> None:
    programs.configure(port=counter.port)
    offline_for(programs.database, MINUTES)
    kept = kept_by(programs.database)
    programs.server()
    before = counter.requests
    syncing = programs.sync()
    took_s = programs.wait_until(
        "all rows", lambda: "up to" in programs.log("meterd_sync"), DRAINED_S
    )
    requests = counter.requests - before
    memory_kib = peak_kib(syncing.pid)
    assert programs.end(syncing) == 0
    assert programs.held(kept.stream) == kept.rows
    print(f"{MINUTES} rows in {took_s:.0f} s, {requests} requests, {memory_kib} KiB")  # noqa: T201
    assert memory_kib < MEMORY_KIB_MAX
    assert requests <= 2 * MINUTES / LINES_A_REQUEST + 5


def peak_kib(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])
