"""Who the meter is to the server: claimed once, kept where only its user reads it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from meterd import sync
from meterd.errors import ConfigError, ServerRefusedError, ServerUnavailableError
from meterd.uplink.exchange import Answer


def claimed(serial: str = "MX-000001", credential: str = "abc.DEF-1_2") -> Answer:
    return Answer(200, json.dumps({"meter": serial, "credential": credential}).encode())


def test_a_claim_keeps_the_credential_where_only_its_user_reads_it(tmp_path: Path) -> None:
    asked: list[tuple[object, ...]] = []

    def exchange(
        method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        asked.append((method, path, body, media_type))
        return claimed()

    assert sync.claim(exchange, " k7qm-2xwd\n", "MX-000001", tmp_path) == "abc.DEF-1_2"
    body = b'{"code":"K7QM-2XWD","meter":"MX-000001"}'
    assert asked == [("POST", "/api/v1/claim", body, "application/json")]
    assert stat.S_IMODE((tmp_path / "credential").stat().st_mode) == 0o600
    assert sync.load_credential(tmp_path) == "abc.DEF-1_2"
    assert [path.name for path in tmp_path.iterdir()] == ["credential"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(403, b'{"error":{"code":"refused","message":"no"}}'), ServerRefusedError),
        (Answer(429, b"{}", 60.0), ServerUnavailableError),
        (claimed(serial="MX-000002"), ServerRefusedError),
        (claimed(credential="a b"), ServerUnavailableError),
        (claimed(credential="a\r\nX-Evil: 1"), ServerUnavailableError),
        (claimed(credential="a" * 201), ServerUnavailableError),
    ],
)
def test_a_claim_that_fails_keeps_the_old_credential(
    tmp_path: Path, answer: Answer, error: type[Exception]
) -> None:
    sync.claim(lambda *_: claimed(credential="old"), "K7QM-2XWD", "MX-000001", tmp_path)
    with pytest.raises(error):
        sync.claim(lambda *_: answer, "K7QM-2XWD", "MX-000001", tmp_path)
    assert sync.load_credential(tmp_path) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["credential"]


def test_a_disk_that_refuses_does_not_use_up_the_code(tmp_path: Path) -> None:
    def unused(
        method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        raise AssertionError("the server was asked")

    with pytest.raises(ConfigError, match="cannot write"):
        sync.claim(unused, "K7QM-2XWD", "MX-000001", tmp_path / "absent")


def test_a_missing_credential_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="meterctl claim CODE"):
        sync.load_credential(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_credential_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "credential"
    path.write_text("abc\n")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        sync.load_credential(tmp_path)


def test_a_file_that_holds_no_credential_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "credential"
    path.touch(0o600)
    with pytest.raises(ConfigError, match="does not hold"):
        sync.load_credential(tmp_path)
