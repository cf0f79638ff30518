"""The real process, spoken to over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from server.cli import main
from server.db import close, open_database, reading
from server.serve import STOP_WITHIN_S
from tests.served import STREAM, bearer, form_token_of, line

ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-c", "from server.cli import main; main()")
START_S = 20.0
STOP_S = 15.0

Start = Callable[..., "tuple[subprocess.Popen[str], str]"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'server.db'}"


def command(*arguments: str, text: str = "") -> dict[str, str]:
    from click.testing import CliRunner

    result = CliRunner().invoke(main, [*arguments, "--json"], input=text)
    assert result.exit_code == 0, result.output
    answer: dict[str, str] = json.loads(result.stdout)
    return answer


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    """Starts servers in process groups of their own and ends what is left of them."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [*PROGRAM, "run", "--json", "--database", url, "--port", "0", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        begun.append(process)
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, process.communicate()[1]
        address = json.loads(told)["address"].rstrip("/")
        wait_for(address)
        return process, address

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=STOP_S)


def wait_for(address: str) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            requests.get(f"{address}/login", timeout=2)
        except requests.ConnectionError:
            assert time.monotonic() < deadline_s, f"nobody answers at {address}"
            time.sleep(0.02)
        else:
            return


def claimed(url: str, address: str) -> str:
    command(
        "create-customer",
        "--name",
        "Ana",
        "--user",
        "ana",
        "--password-stdin",
        "--database",
        url,
        text="una clave larga\n",
    )
    made = command("create-meter", "--serial", "MX-000001", "--user", "ana", "--database", url)
    claim = {"code": made["claim_code"], "meter": "MX-000001"}
    answer = requests.post(f"{address}/api/v1/claim", json=claim, timeout=5)
    credential: str = answer.json()["credential"]
    return credential


def send(address: str, credential: str, first_seq: int, count: int) -> requests.Response:
    lines = [line(seq) + b"\n" for seq in range(first_seq, first_seq + count)]
    return requests.post(
        f"{address}/api/v1/readings/{STREAM}?first_seq={first_seq}",
        data=b"".join(lines),
        headers=bearer(credential) | {"Content-Type": "application/x-ndjson"},
        timeout=10,
    )


def test_a_process_serves_meters_and_customers_and_stops_when_told(url: str, start: Start) -> None:
    command("init", "--database", url)
    process, address = start()
    credential = claimed(url, address)
    answer = send(address, credential, 1, 3)
    assert (answer.status_code, answer.json()["hwm"]) == (200, 3)
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    browser = requests.Session()
    token = form_token_of(browser.get(f"{address}/login", timeout=5).text)
    page = browser.post(
        f"{address}/login",
        data={"csrf_token": token, "user_name": "ana", "password": "una clave larga"},
        headers={"Origin": address},
        timeout=5,
    )
    assert page.url == f"{address}/meters/MX-000001"
    assert "480 <span" in page.text
    assert "Importando de la red" in page.text
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=STOP_S)
    assert process.returncode == 0, errors
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=2)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_when_its_whole_group_is_told(
    url: str, start: Start, told: signal.Signals
) -> None:
    command("init", "--database", url)
    process, _ = start()
    os.killpg(process.pid, told)  # as a terminal's Ctrl-C and a service manager do
    begun_s = time.monotonic()
    _, errors = process.communicate(timeout=STOP_S)
    assert (process.returncode, "Traceback" in errors) == (0, False)
    assert time.monotonic() - begun_s < STOP_WITHIN_S


def test_what_was_acknowledged_survives_kill_9(url: str, start: Start) -> None:
    command("init", "--database", url)
    process, address = start()
    credential = claimed(url, address)
    acknowledged = 0
    for _ in range(2):
        for _ in range(6):
            answer = send(address, credential, acknowledged + 1, 50)
            acknowledged = answer.json()["hwm"]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=STOP_S)
        process, address = start()
        head = requests.get(
            f"{address}/api/v1/readings/{STREAM}", headers=bearer(credential), timeout=5
        )
        assert head.json()["hwm"] == acknowledged
        repeated = send(address, credential, acknowledged - 49, 50).json()
        assert {row["result"] for row in repeated["rows"]} == {"duplicate"}
    assert acknowledged == 600
    database = open_database(url)
    with reading(database) as connection:
        kept = connection.exec_driver_sql("SELECT seq, line FROM reading ORDER BY seq").all()
    close(database)
    assert [tuple(row) for row in kept] == [(seq, line(seq)) for seq in range(1, 601)]


def test_when_the_parent_is_killed_the_worker_goes_too(url: str, start: Start) -> None:
    command("init", "--database", url)
    process, address = start()
    process.kill()
    process.wait(timeout=STOP_S)
    deadline_s = time.monotonic() + STOP_S
    while True:
        try:
            requests.get(f"{address}/login", timeout=2)
        except requests.ConnectionError:
            break
        assert time.monotonic() < deadline_s, "the worker still answers"
        time.sleep(0.1)


def test_a_port_that_is_taken_is_one_sentence_and_a_failure(url: str) -> None:
    command("init", "--database", url)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = subprocess.run(
            [*PROGRAM, "run", "--database", url, "--port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: cannot listen at 127.0.0.1 port {port}")
    assert result.stderr.count("\n") == 1


def test_commands_work_while_the_server_runs(url: str, start: Start) -> None:
    command("init", "--database", url)
    _, address = start()
    credential = claimed(url, address)
    for number in range(5):
        assert send(address, credential, number * 10 + 1, 10).status_code == 200
        command("create-customer", "--name", "X", "--user", f"u{number}", "--database", url)
    assert send(address, credential, 1, 50).json()["hwm"] == 50


def test_a_hundred_forms_that_never_end_do_not_keep_others_out(url: str, start: Start) -> None:
    command("init", "--database", url)
    _, address = start()
    credential = claimed(url, address)
    host, port = address.removeprefix("http://").split(":")
    request = (
        f"POST /login HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 500\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\ncsrf_"
    )
    slow = [socket.create_connection((host, int(port)), timeout=5) for _ in range(100)]
    for each in slow:
        each.sendall(request.encode())
    time.sleep(0.5)  # the server must have begun to wait for them
    for seq in range(1, 5):
        assert requests.get(f"{address}/login", timeout=3).status_code == 200
        assert send(address, credential, seq, 1).json()["hwm"] == seq
    for each in slow:
        each.close()
