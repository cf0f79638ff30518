"""The operator's commands: what they print, and one sentence for what goes wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from werkzeug.test import Client

from server.app import create_app
from server.cli import main
from server.db import close, open_database
from tests.served import login

CODE = r"[A-HJKMNP-TV-Z2-9]{4}-[A-HJKMNP-TV-Z2-9]{4}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'server.db'}"


def command(url: str, *arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=text, env={"METERD_SERVER_DATABASE": url})


def done(url: str, *arguments: str, text: str | None = None) -> dict[str, object]:
    result = command(url, *arguments, "--json", text=text)
    assert result.exit_code == 0, result.output
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def with_customer(url: str) -> dict[str, object]:
    done(url, "init")
    return done(url, "create-customer", "--name", "Ana López", "--user", "ana")


def meter_arguments(serial: str = "MX-1", **options: str) -> list[str]:
    more = [part for name, value in options.items() for part in (f"--{name}", value)]
    return ["create-meter", "--serial", serial, "--user", "ana", *more]


def test_the_way_of_the_help_leads_to_a_login(url: str) -> None:
    customer = with_customer(url)
    meter = done(url, *meter_arguments())
    assert re.fullmatch(CODE, str(meter["claim_code"]))
    database = open_database(url)
    browser = Client(create_app(database))
    assert login(browser, "ana", str(customer["password"])).status_code == 303
    assert browser.get("/").headers["Location"] == "/meters/MX-1"
    close(database)


def test_without_json_people_get_sentences(url: str) -> None:
    assert "is ready (version 0020)" in command(url, "init").output
    made = command(url, "create-customer", "--name", "Ana", "--user", "ana").output
    assert re.search(r"Password \(shown only now\): \S{16}\n", made)
    meter = command(url, *meter_arguments()).output
    assert re.search(rf"Claim code for MX-1: {CODE}\n", meter)
    assert re.search(rf"meterctl claim {CODE}", meter)


def test_a_password_may_come_from_standard_input(url: str) -> None:
    done(url, "init")
    answer = done(
        url,
        *("create-customer", "--name", "Ana", "--user", "ana", "--password-stdin"),
        text="una clave muy larga\n",
    )
    assert "password" not in answer
    database = open_database(url)
    assert login(Client(create_app(database)), "ana", "una clave muy larga").status_code == 303
    close(database)


def test_two_meters_may_follow_each_other_at_a_service_only_after_removal(url: str) -> None:
    with_customer(url)
    done(url, *meter_arguments("MX-1", **{"service-number": "77"}))
    again = command(url, *meter_arguments("MX-2", **{"service-number": "77"}))
    assert again.exit_code == 1
    assert "a meter hangs at service number '77' already" in again.stderr


def test_a_new_claim_code_can_be_made(url: str) -> None:
    with_customer(url)
    first = done(url, *meter_arguments())
    second = done(url, "create-claim-code", "--serial", "MX-1")
    assert first["claim_code"] != second["claim_code"]


MISTAKES = {
    "no-database": ([], ["create-customer", "--name", "A", "--user", "a"], "init"),
    "user-taken": (["customer"], ["create-customer", "--name", "A", "--user", "ana"], "already"),
    "user-name": (["customer"], ["create-customer", "--name", "A", "--user", "Año"], "user name"),
    "empty-name": (["customer"], ["create-customer", "--name", " ", "--user", "eva"], "name"),
    "serial-taken": (["customer", "meter"], meter_arguments(), "create-claim-code"),
    "serial": (["customer"], meter_arguments("MX 1"), "serial"),
    "long-serial": (["customer"], meter_arguments("M" * 33), "serial"),
    "no-user": (["init"], meter_arguments(), "create the customer first"),
    "time-zone": (["customer"], meter_arguments(**{"time-zone": "Mars/Olympus"}), "IANA"),
    "hertz": (["customer"], meter_arguments(**{"nominal-hz": "55"}), "50 or 60"),
    "volt": (["customer"], meter_arguments(**{"nominal-v": "12"}), "100 to 480 V"),
    "no-meter": (["customer"], ["create-claim-code", "--serial", "X"], "no meter 'X'"),
    "not-sqlite": ([], ["init", "--database", "mysql://x/y"], "SQLite"),
    "no-folder": ([], ["init", "--database", "sqlite:////absent/folder/x.db"], "create it first"),
    "run-no-database": ([], ["run"], "run `meterd-server init` first"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_a_failure(url: str, name: str) -> None:
    before, arguments, said = MISTAKES[name]
    if "init" in before:
        done(url, "init")
    if "customer" in before:
        with_customer(url)
    if "meter" in before:
        done(url, *meter_arguments())
    result = command(url, *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_short_password_is_refused_and_nobody_is_made(url: str) -> None:
    done(url, "init")
    arguments = ("create-customer", "--name", "A", "--user", "a", "--password-stdin")
    result = command(url, *arguments, text="short\n")
    assert (result.exit_code, "10 to 200" in result.stderr) == (1, True)
    assert done(url, "create-customer", "--name", "A", "--user", "a")["customer_id"] == 1


@pytest.mark.parametrize("name", ["", *main.commands])
def test_every_command_explains_itself(name: str) -> None:
    arguments = [name, "--help"] if name else ["--help"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 8


def test_every_command_speaks_json() -> None:
    commands = dict(main.commands)
    for name, each in main.commands.items():
        if isinstance(each, click.Group):
            del commands[name]
            commands |= each.commands
    for name, each in commands.items():
        assert "--json" in [option for parameter in each.params for option in parameter.opts], name
