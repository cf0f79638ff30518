"""The server's word to a meter and back, with the real programs: set, told, tested, proved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.test_end_to_end import (
    CONFIG,
    PASSWORD,
    SERIAL,
    USER,
    Programs,
    answers,
    customers_page,
    free_port,
    wait_until,
)

SERVER = ("server.cli", "main")


@pytest.fixture
def programs(tmp_path: Path) -> Any:
    running = Programs(tmp_path)
    yield running
    for process in running.running:
        if process.poll() is None:
            running.kill(process)


class Town:
    """A server, and one meter that is claimed and at work."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.programs, self.url = programs, f"sqlite:///{folder / 'server.db'}"
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.operator("init")
        programs.call(
            *SERVER, "create-customer", "--name", "Ana López", "--user", USER,
            "--password-stdin", "--database", self.url, text=f"{PASSWORD}\n",
        )  # fmt: skip
        made = self.operator("create-meter", "--serial", SERIAL, "--user", USER, "--json")
        text = CONFIG.format(serial=SERIAL, server=self.address)
        (folder / "meterd.toml").write_text(text)
        (folder / "state").mkdir()
        self.config = ("--config", str(folder / "meterd.toml"))
        programs.start(*SERVER, "run", "--port", str(port), "--database", self.url)
        wait_until(programs, "the server", lambda: answers(self.address))
        self.claimed = self.meterctl("claim", json.loads(made)["claim_code"])
        self.meter = programs.start("meterd.cli", "meterd", "--print-screens", *self.config)
        programs.start("meterd.cli", "meterd_sync", *self.config)

    def operator(self, *words: str) -> str:
        return self.programs.call(*SERVER, *words, "--database", self.url)

    def meterctl(self, *words: str) -> str:
        return self.programs.call("meterd.cli", "meterctl", *words, *self.config)

    def command(self, *words: str) -> None:
        self.operator("command", *words, "--serial", SERIAL)

    def commands(self) -> dict[str, dict[str, Any]]:
        """The commands by what they are."""
        listed = json.loads(self.operator("commands", "--serial", SERIAL, "--json"))
        rows = listed if isinstance(listed, list) else listed["commands"]
        return {row["command"]: row for row in rows}


def test_a_meter_is_set_told_and_tested_from_afar_and_its_record_proves_it(
    tmp_path: Path, programs: Programs
) -> None:
    town = Town(tmp_path, programs)
    digits = town.claimed.split("its key is ")[1][:19]
    assert digits in town.operator("fingerprint", "--serial", SERIAL)

    town.operator("set", "--serial", SERIAL, "interval_s=5", "tariff_text=DAC 6.13")
    town.command("message", "--text", "Gracias", "--minutes", "5")
    town.command("self-test")
    town.command("disconnect")
    wait_until(
        programs,
        "answers to all commands",
        lambda: {row["state"] for row in town.commands().values()} <= {"done", "refused"},
    )
    found = town.commands()
    assert found["message"]["state"] == "done"
    assert found["self_test"]["state"] == "done"
    assert found["disconnect"]["state"] == "refused"  # it has no relay
    screens = (tmp_path / "meterd.log").read_text(errors="replace")
    assert "Gracias" in screens

    def intervals() -> set[int]:
        rows = town.meterctl("readings", "-n", "3", "--json").splitlines()
        return {json.loads(row)["interval_s"] for row in rows}

    wait_until(programs, "intervals of five seconds", lambda: intervals() == {5})
    assert "signed" in customers_page(town.address).lower() or "firmad" in customers_page(
        town.address
    )

    def countersigned() -> bool:
        return bool(json.loads(town.meterctl("verify", "--json"))["receipt_seq"])

    wait_until(programs, "a receipt", countersigned)
    report = json.loads(town.meterctl("verify", "--json"))
    assert report["verdict"] == "sound", report["problems"]
    assert {change["event"] for change in report["changes"]} >= {"setting", "calibration"}
