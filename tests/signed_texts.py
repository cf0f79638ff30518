"""What a server signs, made in tests with a key of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from meterd.database.downlink import SignedCommand, SignedSettings, SignedText
from meterd.record import signing

SERIAL = "MX-000001"
SERVER = signing.new_key()
STRANGER = signing.new_key()
NOW_UTC_S = 1_763_846_400


def sign(content: Mapping[str, object], key: signing.SigningKey = SERVER) -> SignedText:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return SignedText(text, key.public.fingerprint, signing.sign(key, text.encode()))


def command_content(command: str = "self_test", **changed: object) -> dict[str, object]:
    content: dict[str, object] = {
        "type": "command",
        "meter": SERIAL,
        "id": "0" * 31 + "1",
        "command": command,
        "arguments": {},
        "issued_utc_s": NOW_UTC_S - 10,
        "expires_utc_s": NOW_UTC_S + 3600,
    }
    return content | changed


def command(
    command: str = "self_test", *, key: signing.SigningKey = SERVER, **changed: object
) -> SignedCommand:
    content = command_content(command, **changed)
    expires_utc_s = content["expires_utc_s"]
    assert isinstance(expires_utc_s, int)
    return SignedCommand(str(content["id"]), expires_utc_s, NOW_UTC_S, sign(content, key))


def settings(
    version: int,
    values: dict[str, object],
    *,
    key: signing.SigningKey = SERVER,
    meter: str = SERIAL,
) -> SignedSettings:
    content: dict[str, object] = {
        "type": "settings",
        "meter": meter,
        "version": version,
        "issued_utc_s": NOW_UTC_S,
        "settings": values,
    }
    return SignedSettings(version, sign(content, key))
