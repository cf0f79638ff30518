"""The three programs as processes, started as a user would start them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

from .ending import WITH_PARENT
from .record import SERIAL, held_by_server, peek

ROOT = Path(__file__).parents[2]
WAIT_S = 40.0
CONFIG = """
[meter]
serial = "{serial}"
state_dir = "{state}"
interval_s = {interval_s}
[adc]
device = "simulated"
[[circuit]]
role = "grid"
voltage_channel = 0
current_channel = 1
[display]
device = "simulated"
[record]
ballast_mib = {ballast_mib}
[sync]
server = "{server}"
every_s = 1
[simulation]
mains = "voltage=127 current=4.2 pf=0.9"
"""
POWER_W = 127 * 4.2 * 0.9
Process = subprocess.Popen[bytes]


class Programs:
    """All that run in the folder of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.server_file = folder / "server.db"
        self.port = free_port()
        self._running: list[Process] = []
        self._environment = dict(os.environ)

    @property
    def database(self) -> Path:
        return self.state / "readings.db"

    def configure(self, state: Path | None = None, *, port: int = 0, ballast_mib: int = 0) -> None:
        """Write the meter's configuration; its record lies in ``state``."""
        self.state = state or self.state
        self.state.mkdir(exist_ok=True)
        server = f"http://127.0.0.1:{port or self.port}"
        text = CONFIG.format(
            serial=SERIAL, state=self.state, interval_s=1, server=server, ballast_mib=ballast_mib
        )
        (self.folder / "meterd.toml").write_text(text)

    def set_environment(self, more: Mapping[str, str]) -> None:
        """For the device's programs that are started from now on; the server stays as it is."""
        self._environment = os.environ | more

    def meter(self, *options: str) -> Process:
        return self._start("meterd.programs", "meterd", *self._config(), *options)

    def sync(self) -> Process:
        return self._start("meterd.programs", "meterd_sync", *self._config())

    def server(self) -> Process:
        """A server that answers; new the first time, with a meter that has claimed."""
        url = f"sqlite:///{self.server_file}"
        new = not self.server_file.exists()
        code = self._make_server(url) if new else ""
        process = self._start(
            "server.cli", "main", "run", "--port", str(self.port), "--database", url
        )
        self.wait_until("the server", self._answers)
        if new:
            self._call("meterd.cli", "meterctl", "claim", code, *self._config())
        return process

    def kill(self, process: Process) -> None:
        """As SIGKILL and a pulled plug do."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def end(self, process: Process) -> int:
        """As systemd does; the exit status."""
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def kill_all(self) -> None:
        for process in self._running:
            if process.poll() is None:
                self.kill(process)

    def rows(self) -> list[tuple[int, bytes]]:
        """What the running meter's record holds."""
        return peek(self.database)

    def held(self, stream: str) -> list[tuple[int, bytes]]:
        """What the server holds of it."""
        return held_by_server(self.server_file, stream)

    def log(self, function: str) -> str:
        return (self.folder / f"{function}.log").read_text()

    def wait_until(self, what: str, true: Callable[[], bool], timeout_s: float = WAIT_S) -> float:
        """Wait until it is ``true``; after how many seconds it was."""
        began_s = time.monotonic()
        while not true():
            assert time.monotonic() - began_s < timeout_s, f"waited for {what}\n{self._logs()}"
            time.sleep(0.05)
        return time.monotonic() - began_s

    def _make_server(self, url: str) -> str:
        server = ("server.cli", "main")
        self._call(*server, "init", "--database", url)
        customer = ("--name", "Ana", "--user", "ana", "--password-stdin")
        self._call(
            *server, "create-customer", *customer, "--database", url, text="una clave larga\n"
        )
        meter = ("--serial", SERIAL, "--user", "ana", "--json")
        made = json.loads(self._call(*server, "create-meter", *meter, "--database", url))
        code: str = made["claim_code"]
        return code

    def _config(self) -> tuple[str, str]:
        return ("--config", str(self.folder / "meterd.toml"))

    def _start(self, module: str, function: str, *arguments: str) -> Process:
        with (self.folder / f"{function}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _code(module, function), *arguments],
                cwd=ROOT,
                env=os.environ if module.startswith("server") else self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def _call(self, module: str, function: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-c", _code(module, function), *arguments],
            cwd=ROOT,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/login", timeout=2).ok
        except requests.ConnectionError:
            return False

    def _logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log")
        )


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _code(module: str, function: str) -> str:
    return WITH_PARENT + f"from {module} import {function}; {function}()"
