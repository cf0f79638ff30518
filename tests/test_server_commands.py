"""What operators set and tell meters, and what the meters' records say came of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy.exc import IntegrityError

from server import identity, meter_commands, meter_settings
from server.cli import main
from server.db import close, open_database, writing
from server.errors import SettingError
from server.migrate import upgrade
from tests.served import SERIAL, STREAM, Served, add_customer, bearer, post, serving
from tests.signed import Signer, claim_with, fingerprint_of, is_signed


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


@pytest.fixture
def meter(served: Served) -> tuple[str, str]:
    """A claimed meter's credential, and the server's key."""
    answer = claim_with(served, Signer().key).get_json()
    return answer["credential"], answer["server_key"]


def cli(served: Served, *arguments: str, code: int = 0) -> Any:
    """What a command answers: JSON, or its sentence of error."""
    url = f"sqlite:///{served.database.path}"
    result = CliRunner().invoke(
        main, [*arguments, "--json"], env={"METERD_SERVER_DATABASE": url}, catch_exceptions=False
    )
    assert result.exit_code == code, result.output
    return result.stderr if code else json.loads(result.stdout)


def fetched(served: Served, credential: str, settings: int = 0) -> dict[str, Any]:
    """The answer to a meter that asks."""
    answer = served.client.get(
        f"/api/v1/readings/{STREAM}?settings={settings}", headers=bearer(credential)
    )
    assert answer.status_code == 200, answer.get_json()
    content: dict[str, Any] = answer.get_json()
    return content


def issued(served: Served, *arguments: str) -> str:
    """A new command's id."""
    command_id: str = cli(served, "command", *arguments, "--serial", SERIAL)["id"]
    return command_id


def states(served: Served) -> list[tuple[str, Any]]:
    """Newest first, with results."""
    found = cli(served, "commands", "--serial", SERIAL)["commands"]
    return [(each["state"], each["result"]) for each in found]


def say(served: Served, credential: str, signer: Signer, command_id: str, state: str) -> None:
    """The meter's record says how far it is."""
    detail = {"id": command_id, "command": "self_test", "state": state, "result": f"is {state}"}
    row = signer.event("command", detail)
    answer = post(served, credential, [row], signer.seq).get_json()
    assert answer["rows"][0]["result"] == "stored"


def test_a_command_is_sent_signed_until_its_result_is_in_the_record(
    served: Served, meter: tuple[str, str]
) -> None:
    credential, server_key = meter
    command_id = issued(served, "message", "--text", "Pague su recibo", "--minutes", "30")
    for _ in range(2):
        [command] = fetched(served, credential)["commands"]
        assert is_signed(command, server_key)
    told = json.loads(command["text"])
    assert list(told) == [
        *("type", "meter", "id", "command", "arguments", "issued_utc_s", "expires_utc_s")
    ]
    assert (told["type"], told["meter"], told["id"]) == ("command", SERIAL, command_id)
    assert told["arguments"] == {"text": "Pague su recibo", "minutes": 30}
    assert told["expires_utc_s"] - told["issued_utc_s"] == 3600
    signer = Signer()
    say(served, credential, signer, command_id, "accepted")
    assert len(fetched(served, credential)["commands"]) == 1
    say(served, credential, signer, command_id, "done")
    assert fetched(served, credential)["commands"] == []
    assert states(served) == [("done", "is done")]


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (["refused"], "refused"),
        (["expired"], "expired"),
        (["accepted", "failed"], "failed"),
        (["accepted", "interrupted"], "interrupted"),
        (["done", "accepted"], "done"),
        (["done", "failed"], "done"),
        (["refused", "done"], "refused"),
    ],
    ids=str,
)
def test_a_result_is_final(
    served: Served, meter: tuple[str, str], said: list[str], known: str
) -> None:
    command_id = issued(served, "self-test")
    signer = Signer()
    for state in said:
        say(served, meter[0], signer, command_id, state)
    assert states(served) == [(known, f"is {known}")]


def test_one_meter_cannot_answer_for_another(served: Served, meter: tuple[str, str]) -> None:
    command_id = issued(served, "self-test")
    other = Signer(serial="MX-000002")
    credential = claim_with(served, other.key, "MX-000002").get_json()["credential"]
    say(served, credential, other, command_id, "done")
    assert states(served) == [("open", None)]


def test_an_answer_to_no_command_is_kept_and_disturbs_nothing(
    served: Served, meter: tuple[str, str]
) -> None:
    signer = Signer()
    say(served, meter[0], signer, "0" * 32, "done")
    for detail in ({}, {"id": 5, "state": "done"}, {"id": "0" * 32, "state": "flying"}):
        answer = post(served, meter[0], [signer.event("command", detail)], signer.seq).get_json()
        assert answer["rows"][0]["result"] == "stored"


def test_sixteen_commands_wait_at_most_and_come_oldest_first(
    served: Served, meter: tuple[str, str]
) -> None:
    ids = [issued(served, "self-test") for _ in range(16)]
    said = cli(served, "command", "self-test", "--serial", SERIAL, code=1)
    assert "16 commands" in said
    commands = fetched(served, meter[0])["commands"]
    assert [json.loads(command["text"])["id"] for command in commands] == ids
    say(served, meter[0], Signer(), ids[3], "refused")
    issued(served, "reconnect", "--expires-min", "5")


def test_a_cancelled_command_is_sent_no_more_but_the_meter_has_the_last_word(
    served: Served, meter: tuple[str, str]
) -> None:
    first, second = issued(served, "disconnect"), issued(served, "self-test")
    signer = Signer()
    say(served, meter[0], signer, second, "accepted")
    assert "no open command" in cli(served, "cancel-command", second, "--serial", SERIAL, code=1)
    cli(served, "cancel-command", first, "--serial", SERIAL)
    assert len(fetched(served, meter[0])["commands"]) == 1
    assert states(served)[1] == ("cancelled", None)
    say(served, meter[0], signer, first, "done")
    assert states(served)[1] == ("done", "is done")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("message", {}),
        ("message", {"text": "", "minutes": 1}),
        ("message", {"text": "x" * 65, "minutes": 1}),
        ("message", {"text": "a\nb", "minutes": 1}),
        ("message", {"text": "x", "minutes": 0}),
        ("message", {"text": "x", "minutes": 1441}),
        ("message", {"text": "x", "minutes": True}),
        ("self_test", {"text": "x"}),
        ("explode", {}),
    ],
    ids=str,
)
def test_arguments_are_those_of_the_protocol(command: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        meter_commands.require_arguments(command, arguments)


def test_what_was_promised_to_a_meter_cannot_be_changed_in_the_database(
    served: Served, meter: tuple[str, str]
) -> None:
    issued(served, "self-test")
    cli(served, "set", "--serial", SERIAL, "interval_s=900")
    for statement in (
        "UPDATE meter_command SET text = 'x'",
        "DELETE FROM meter_command",
        "UPDATE meter_setting SET text = 'x'",
        "DELETE FROM meter_setting",
        "DELETE FROM meter_key",
        "UPDATE meter_key SET public_key = 'x'",
        "DELETE FROM server_key",
    ):
        with (
            pytest.raises(IntegrityError, match="append-only"),
            writing(served.database) as connection,
        ):
            connection.exec_driver_sql(statement)


def test_settings_are_sent_signed_to_a_meter_that_has_older_ones(
    served: Served, meter: tuple[str, str]
) -> None:
    credential, server_key = meter
    none = fetched(served, credential)
    assert (none["settings_version"], none["settings"]) == (0, None)
    shown = cli(served, "set", "--serial", SERIAL, "interval_s=900", "tariff_text=DAC 6.13")
    assert shown["settings"] == {"interval_s": 900, "tariff_text": "DAC 6.13"}
    answer = fetched(served, credential)
    assert answer["settings_version"] == 1
    assert is_signed(answer["settings"], server_key)
    told = json.loads(answer["settings"]["text"])
    assert list(told) == ["type", "meter", "version", "issued_utc_s", "settings"]
    assert (told["type"], told["version"], told["settings"]) == ("settings", 1, shown["settings"])
    assert fetched(served, credential, settings=1)["settings"] is None


def test_a_change_keeps_the_rest_and_an_empty_value_removes(
    served: Served, meter: tuple[str, str]
) -> None:
    cli(served, "set", "--serial", SERIAL, "interval_s=900", "demand_limit_w=none")
    shown = cli(served, "set", "--serial", SERIAL, "interval_s=", "display_pages=power,meter")
    assert shown["settings"] == {"demand_limit_w": None, "display_pages": ["power", "meter"]}
    assert shown["version"] == 2
    assert cli(served, "set", "--serial", SERIAL) == shown


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("interval_s", ["5", "60", "3600"], ["4", "7", "3601", "60.0", "x", "true"]),
        ("sync_every_s", ["1", "2.5", "3600"], ["0", "3601", "nan", "inf"]),
        ("display_language", ["es", "en"], ["de", "ES"]),
        ("display_pages", ["power", "tariff,demand"], ["power,power", "weather", ","]),
        ("display_page_s", ["1", "60"], ["0.9", "61"]),
        ("demand_block_min", ["1", "15", "60"], ["0", "7", "61"]),
        ("demand_limit_w", ["0", "1e4", "none"], ["-1", "inf", "nan", "much"]),
        ("tariff_text", ["x" * 48, "ñ"], ["x" * 49, "a\nb"]),
        ("colour", [], ["red"]),
    ],
)
def test_settings_are_those_of_the_protocol(key: str, good: list[str], bad: list[str]) -> None:
    for written in good:
        meter_settings.read(key, written)
    for written in bad:
        with pytest.raises(SettingError):
            meter_settings.read(key, written)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "--serial", SERIAL, "interval_s"), "not key=value"),
        (("set", "--serial", SERIAL, "colour=red"), "no setting 'colour'"),
        (("set", "--serial", SERIAL, "colour="), "no setting 'colour'"),
        (("set", "--serial", SERIAL, "interval_s=7"), "divide a day"),
        (("set", "--serial", "X", "interval_s=60"), "no meter 'X'"),
        (("fingerprint", "--serial", "X"), "no meter 'X'"),
        (("commands", "--serial", "X"), "no meter 'X'"),
        (("command", "self-test", "--serial", "X"), "no meter 'X'"),
        (("command", "self-test", "--serial", SERIAL, "--expires-min", "0"), "minutes"),
        (("command", "message", "--serial", SERIAL, "--text", ""), "1 to 64"),
        (("cancel-command", "--serial", SERIAL, "x"), "no open command"),
    ],
    ids=str,
)
def test_an_operators_mistake_is_one_sentence(
    served: Served, meter: tuple[str, str], arguments: tuple[str, ...], said: str
) -> None:
    told = cli(served, *arguments, code=1)
    assert said in told
    assert told.count("\n") == 1


def test_the_fingerprint_is_the_one_of_the_display(served: Served) -> None:
    signer = Signer()
    claim_with(served, signer.key)
    shown = cli(served, "fingerprint", "--serial", SERIAL)
    digits = fingerprint_of(signer.key)[:16].upper()
    assert shown["digits"].replace(" ", "") == digits
    assert len(shown["digits"].split()) == 4
    assert (shown["record"], shown["fingerprint"]) == ("unsigned", fingerprint_of(signer.key))


def test_the_servers_key_is_the_one_that_meters_are_given(
    served: Served, meter: tuple[str, str]
) -> None:
    assert cli(served, "show-key")["public_key"] == meter[1]


@pytest.mark.parametrize("settings", ["-1", "x", "1.0", "", "9" * 17])
def test_a_settings_version_that_is_none_is_refused(
    served: Served, meter: tuple[str, str], settings: str
) -> None:
    address = f"/api/v1/readings/{STREAM}?settings={settings}"
    assert served.client.get(address, headers=bearer(meter[0])).status_code == 400


def test_a_restored_server_gets_results_again_and_gives_no_number_twice(tmp_path: Path) -> None:
    """The backup knows a command as open; the meter, which refuses ids that it knows, resends."""
    signer = Signer()
    with serving(tmp_path) as served:
        add_customer(served)
        answer = claim_with(served, signer.key).get_json()
        credential, server_key = answer["credential"], answer["server_key"]
        command_id = issued(served, "disconnect")
        cli(served, "set", "--serial", SERIAL, "interval_s=60")
        with (
            closing(sqlite3.connect(tmp_path / "backup.db")) as copy,
            closing(sqlite3.connect(served.database.path)) as original,
        ):
            original.backup(copy)
        detail = {"id": command_id, "command": "disconnect"}
        rows = [
            signer.event("command", detail | {"state": "accepted"}),
            signer.event("command", detail | {"state": "done", "result": "open"}),
            signer.checkpoint(),
        ]
        before = post(served, credential, rows).get_json()
        cli(served, "set", "--serial", SERIAL, "interval_s=900")
    database = open_database(f"sqlite:///{tmp_path / 'backup.db'}")
    upgrade(database, restored=True)
    restored = Served(database)
    again = fetched(restored, credential, settings=2)
    assert again["epoch"] != before["epoch"]
    assert (again["hwm"], again["settings_version"]) == (0, 1)
    assert [json.loads(command["text"])["id"] for command in again["commands"]] == [command_id]
    after = post(restored, credential, rows).get_json()
    assert after["commands"] == []
    assert states(restored) == [("done", "open")]
    assert is_signed(after["receipt"], server_key)
    assert after["head"] == before["head"]
    version = cli(restored, "set", "--serial", SERIAL, "interval_s=300")["version"]
    assert version == meter_settings.VERSIONS_PER_RESTORE + 1
    assert fetched(restored, credential, settings=2)["settings"] is not None
    close(database)


def test_the_servers_key_survives_a_restore(served: Served) -> None:
    with writing(served.database) as connection:
        before = identity.signing_key(connection).verifying.fingerprint
        identity.establish(connection, 0, restored=True)
        assert identity.signing_key(connection).verifying.fingerprint == before
