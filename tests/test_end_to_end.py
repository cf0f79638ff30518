"""From the ADC's bytes to the customer's page: the real programs, real HTTP, two of them killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.served import form_token_of

ROOT = Path(__file__).parents[1]
SERIAL = "MX-000042"
USER, PASSWORD = "ana", "una clave larga de verdad"
WAIT_S = 40.0
CONFIG = """
[meter]
serial = "{serial}"
state_dir = "state"
interval_s = 1
[adc]
device = "simulated"
[[circuit]]
role = "grid"
voltage_channel = 0
current_channel = 1
[display]
device = "simulated"
[sync]
server = "{server}"
every_s = 1
[simulation]
mains = "voltage=127 current=4.2 pf=0.9 export"
"""


class Programs:
    """Programs of ours as processes, started as a user would and ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, function: str, *arguments: str) -> subprocess.Popen[bytes]:
        code = f"from {module} import {function}; {function}()"
        log = (self.folder / f"{function}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.running.append(process)
        return process

    def call(self, module: str, function: str, *arguments: str, text: str = "") -> str:
        code = f"from {module} import {function}; {function}()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log")
        )

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    for process in programs.running:
        if process.poll() is None:
            programs.kill(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(programs: Programs, what: str, true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, f"waited for {what}\n{programs.logs()}"
        time.sleep(0.1)


def held_by_the_server(database: Path) -> list[tuple[int, bytes]]:
    """Every row the server holds, as it came; none while it is still being made."""
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT seq, line FROM reading UNION ALL SELECT seq, line FROM record_row "
                "ORDER BY seq"
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return []
    return [(int(seq), bytes(line)) for seq, line in rows]


def held_by_the_meter(database: Path) -> list[tuple[int, bytes]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT seq, line FROM record ORDER BY seq").fetchall()
    finally:
        connection.close()
    return [(int(seq), bytes(line)) for seq, line in rows]


def customers_page(address: str) -> str:
    browser = requests.Session()
    token = form_token_of(browser.get(f"{address}/login", timeout=5).text)
    page = browser.post(
        f"{address}/login",
        data={"csrf_token": token, "user_name": USER, "password": PASSWORD},
        headers={"Origin": address},
        timeout=10,
    )
    assert page.url.endswith(f"/meters/{SERIAL}"), page.text[:2000]
    return page.text


def answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/login", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


def test_readings_reach_the_page_once_each_though_server_and_sync_are_killed(
    tmp_path: Path, programs: Programs
) -> None:
    url, server_file = f"sqlite:///{tmp_path / 'server.db'}", tmp_path / "server.db"
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server = ("server.cli", "main")
    programs.call(*server, "init", "--database", url)
    programs.call(
        *server, "create-customer", "--name", "Ana López", "--user", USER, "--password-stdin",
        "--database", url, text=f"{PASSWORD}\n",
    )  # fmt: skip
    made = programs.call(
        *server, "create-meter", "--serial", SERIAL, "--user", USER, "--json", "--database", url
    )
    (tmp_path / "meterd.toml").write_text(CONFIG.format(serial=SERIAL, server=address))
    (tmp_path / "state").mkdir()
    config = ("--config", str(tmp_path / "meterd.toml"))

    def run_server() -> subprocess.Popen[bytes]:
        process = programs.start(*server, "run", "--port", str(port), "--database", url)
        wait_until(programs, "the server", lambda: answers(address))
        return process

    serving = run_server()
    claim_code = json.loads(made)["claim_code"]
    programs.call("meterd.cli", "meterctl", "claim", claim_code, *config)
    meter = programs.start("meterd.cli", "meterd", *config)
    syncing = programs.start("meterd.cli", "meterd_sync", *config)
    wait_until(programs, "three readings", lambda: len(held_by_the_server(server_file)) >= 3)

    programs.kill(syncing)
    syncing = programs.start("meterd.cli", "meterd_sync", *config)
    before = len(held_by_the_server(server_file))
    wait_until(programs, "more", lambda: len(held_by_the_server(server_file)) >= before + 3)

    programs.kill(serving)
    before = len(held_by_the_server(server_file))
    serving = run_server()
    wait_until(programs, "the rest", lambda: len(held_by_the_server(server_file)) >= before + 3)

    meter.send_signal(signal.SIGTERM)
    assert meter.wait(20) == 0, programs.logs()
    kept = held_by_the_meter(tmp_path / "state" / "readings.db")
    wait_until(programs, "all", lambda: len(held_by_the_server(server_file)) == len(kept))
    assert held_by_the_server(server_file) == kept
    assert [seq for seq, _ in kept] == list(range(1, len(kept) + 1))

    last = [json.loads(line) for _, line in kept if b'"kind":"reading"' in line][-1]
    page = customers_page(address)
    assert SERIAL in page
    assert "Ana López" in page
    assert re.search(r"Exportando a la red", page)
    assert f"{abs(last['power_w']):.0f}" in page
    for process in (syncing, serving):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(20) for process in (syncing, serving)] == [0, 0], programs.logs()
