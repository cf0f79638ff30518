"""What an operator and an installer do before a meter can report, step by step."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

from demo.errors import DemoError
from demo.programs import ask

HOST = "127.0.0.1"
PORT_DEFAULT = 8080
SERIAL = "DEMO-000001"
CUSTOMER = "Ana López"
USER = "ana"
INTERVAL_S = 5
CONFIGURATION = "meterd.toml"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where everything is."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """The server's."""
        return f"http://{HOST}:{self.port}/"

    @property
    def database(self) -> str:
        """The server's."""
        return f"sqlite:///{self.folder / 'server.db'}"


@dataclass(frozen=True, slots=True)
class Registered:
    """What the operator hands out: the customer's password, the installer's claim code."""

    password: str
    claim_code: str


def free_port(wanted: int | None) -> int:
    """``wanted``; or 8080, or where that is taken another that is free.

    Raises:
        DemoError: another program listens at the port that was asked for.
    """
    for port in [PORT_DEFAULT, 0] if wanted is None else [wanted]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                reason = error.strerror
                continue
            found: int = probe.getsockname()[1]
            return found
    raise DemoError(f"cannot listen at {HOST} port {wanted} ({reason}): choose another PORT")


def write_configuration(desk: Desk, mains: str, waveform: Path | None) -> None:
    """meterd.toml: a meter with everything simulated that is not on every desk."""
    if waveform is None:
        simulation = f"mains = {_toml(mains)}"
    else:
        simulation = f"waveform = {_toml(str(waveform))}"
    (desk.folder / CONFIGURATION).write_text(
        f"""\
[meter]
serial = "{SERIAL}"
state_dir = "meter"
interval_s = {INTERVAL_S}

[[circuit]]
voltage_channel = 0
current_channel = 1

[adc]
device = "simulated"

[display]
device = "simulated"

[sync]
server = "{desk.address}"
every_s = {INTERVAL_S}

[simulation]
{simulation}
""",
        encoding="utf-8",
    )


def check(desk: Desk) -> None:
    """Let meterctl try the configuration and what is simulated.

    Raises:
        DemoError: the mains words or the recording cannot be used, and why.
    """
    answer = ask(
        desk.folder, "meterctl", "check", "--config", CONFIGURATION, "--json", statuses=(0, 1)
    )
    for finding in json.loads(answer):
        if not finding["ok"]:
            raise DemoError(str(finding["said"]))


def register(desk: Desk) -> Registered:
    """The operator's part: a database, a customer and a meter.

    Raises:
        DemoError: the server's command refused.
    """
    folder, at = desk.folder, ("--database", desk.database, "--json")
    ask(folder, "meterd-server", "init", *at)
    customer = ask(
        folder, "meterd-server", "create-customer", *at, "--name", CUSTOMER, "--user", USER
    )
    meter = ask(folder, "meterd-server", "create-meter", *at, "--serial", SERIAL, "--user", USER)
    return Registered(json.loads(customer)["password"], json.loads(meter)["claim_code"])


def claim(desk: Desk, code: str) -> None:
    """The installer's part.

    Raises:
        DemoError: the server refused the code or did not answer.
    """
    ask(desk.folder, "meterctl", "claim", "--config", CONFIGURATION, code)


def _toml(text: str) -> str:
    """A basic string of TOML; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
