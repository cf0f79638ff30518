"""What the server's answer brings for the meter is put down whole, bounded, and read by meterd."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from meterd import config, store, sync
from meterd.config import Config
from meterd.control.signed import load_server_key
from meterd.database.acknowledged import known_settings
from meterd.database.downlink import (
    COMMANDS_MAX,
    EXPIRED_KEPT_S,
    AcknowledgedRegisters,
    Downlink,
    ServerTime,
    SignedText,
    Told,
    read_boot_id,
    read_downlink,
)
from meterd.errors import ServerUnavailableError, StoreError
from meterd.record import signing
from meterd.uplink.exchange import Answer
from meterd.uplink.protocol import decode_stream
from meterd.uplink.told import Stopwatch, told
from tests import signed_texts
from tests.signed_texts import NOW_UTC_S, SERIAL, SERVER, command, sign

STREAM = "8c5a0a5e4a5b4f0c9f6f0d8a4d1b2c3e"
THIRD = signed_texts.settings(3, {})
WATCH = Stopwatch(lambda: 90_000_000_000, lambda: "this")


def receipt(hwm: int, stream: str = STREAM) -> SignedText:
    content = {"type": "receipt", "meter": SERIAL, "stream": stream, "epoch": "e0", "hwm": hwm}
    return sign(content | {"head": "ab" * 32, "server_utc_s": NOW_UTC_S})


def plain(signed: SignedText) -> dict[str, str]:
    return {"text": signed.text, "key": signed.key, "signature": signed.signature}


def answer(**fields: object) -> Answer:
    said = {"schema": "1.1", "stream": STREAM, "epoch": "e0", "hwm": 7, "server_utc_s": NOW_UTC_S}
    return Answer(200, json.dumps(said | {"rows": []} | fields).encode())


def brought(**fields: object) -> Told:
    state = decode_stream(answer(**fields), STREAM)
    rows = [(6, b'{"seq":6,"import_j":60,"export_j":5}'), (7, b'{"seq":7,"kind":"event"}')]
    return told(state, 9, rows, asked_ns=89_900_000_000, watch=WATCH, now_utc_s=NOW_UTC_S)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[store.Acknowledged]:
    opened = store.open_acknowledged(tmp_path / "sync.db")
    yield opened
    store.close_acknowledged(opened)


def put(kept: store.Acknowledged, said: Told) -> Downlink:
    store.acknowledge(kept, STREAM, 7, "e0", [], now_utc_s=NOW_UTC_S, said=said)
    found = read_downlink(kept.path)
    assert found is not None
    return found


def test_a_server_of_schema_1_0_brings_its_time_and_nothing_else() -> None:
    said = brought()
    assert (said.receipt, said.settings_version, said.settings, said.commands) == (
        None,
        None,
        None,
        (),
    )
    assert said.time == ServerTime(NOW_UTC_S, 90_000_000_000, 100_000_000, "this")


def test_all_that_an_answer_brings_is_put_down_and_read_back(kept: store.Acknowledged) -> None:
    settings, order = signed_texts.settings(3, {"interval_s": 900}), command("disconnect")
    found = put(
        kept,
        brought(
            head="ab" * 32,
            missing=[[9, 11]],
            receipt=plain(receipt(7)),
            settings_version=3,
            settings=plain(settings.signed),
            commands=[plain(order.signed)],
        ),
    )
    assert found.receipts[STREAM].hwm == 7
    assert found.receipts[STREAM].signed == receipt_text(found)
    assert found.settings == settings
    assert found.commands == (order,)
    assert found.time == ServerTime(NOW_UTC_S, 90_000_000_000, 100_000_000, "this")
    assert found.registers == {STREAM: AcknowledgedRegisters(6, 60, 5)}
    assert known_settings(kept) == settings


def receipt_text(found: Downlink) -> SignedText:
    """The receipt that was kept, which must still verify: not a byte of it may change."""
    signed = found.receipts[STREAM].signed
    assert signing.verifies(SERVER.public, signed.text.encode(), signed.signature)
    return signed


@pytest.mark.parametrize(
    "fields",
    [
        {"commands": [plain(command().signed)] * 17},
        {"missing": [[n, n] for n in range(1, 18)]},
        {"missing": [[1]]},
        {"head": "zz" * 32},
        {"settings_version": -1},
        {"receipt": {"text": "{}", "key": "short", "signature": "s"}},
        {"receipt": {"text": "x" * 4097, "key": "ab" * 32, "signature": "s"}},
        {"receipt": {"text": "{}", "key": "ab" * 32, "signature": "s" * 201}},
    ],
)
def test_an_answer_beyond_the_protocols_bounds_is_not_believed(
    fields: Mapping[str, object],
) -> None:
    with pytest.raises(ServerUnavailableError):
        decode_stream(answer(**fields), STREAM)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"receipt": plain(receipt(8))}, "other rows"),
        ({"receipt": plain(receipt(7, "0" * 32))}, "other rows"),
        ({"receipt": plain(command().signed)}, "receipt"),
        ({"settings": plain(command().signed), "settings_version": 3}, "settings"),
        (
            {"settings": plain(signed_texts.settings(3, {}).signed), "settings_version": 4},
            "version",
        ),
        ({"commands": [plain(receipt(7))]}, "command"),
        ({"commands": [plain(command(id="x").signed)]}, "command"),
    ],
)
def test_a_text_of_another_shape_is_left_out_and_told(
    fields: Mapping[str, object], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = brought(**fields)
    assert (found.receipt, found.settings, found.commands) == (None, None, ())
    assert said in caplog.text


def test_a_receipt_for_less_does_not_take_the_place_of_the_proof(kept: store.Acknowledged) -> None:
    put(kept, brought(receipt=plain(receipt(7))))
    assert put(kept, brought(receipt=plain(receipt(5)))).receipts[STREAM].hwm == 7


def test_settings_that_the_server_no_longer_has_are_asked_for_again(
    kept: store.Acknowledged,
) -> None:
    put(kept, brought(settings_version=3, settings=plain(THIRD.signed)))
    assert put(kept, brought(settings_version=3)).settings == THIRD
    assert put(kept, brought()).settings == THIRD
    assert put(kept, brought(settings_version=2)).settings is None


def test_commands_are_bounded_and_go_a_day_after_they_expired(kept: store.Acknowledged) -> None:
    for ten in range(0, 80, 16):
        orders = [command(id=f"{ten + n:032x}") for n in range(16)]
        found = put(kept, brought(commands=[plain(order.signed) for order in orders]))
    assert len(found.commands) == COMMANDS_MAX
    assert found.commands[-1].id == f"{79:032x}"
    later = NOW_UTC_S + 3600 + EXPIRED_KEPT_S
    assert len(put(kept, brought(server_utc_s=later)).commands) == COMMANDS_MAX
    assert put(kept, brought(server_utc_s=later + 1)).commands == ()


def test_an_answer_that_cannot_be_stored_whole_is_not_stored_at_all(
    kept: store.Acknowledged,
) -> None:
    kept.writer.connection.execute("DROP TABLE server_time")
    with pytest.raises(StoreError):
        store.acknowledge(
            kept, STREAM, 7, "e0", [], now_utc_s=1, said=brought(receipt=plain(receipt(7)))
        )
    assert store.known_hwm(kept, STREAM) == (0, None)
    assert kept.writer.connection.execute("SELECT count(*) FROM receipt").fetchone() == (0,)


def test_there_is_nothing_to_read_before_the_synchronisation_has_run(tmp_path: Path) -> None:
    assert read_downlink(tmp_path / "sync.db") is None
    (tmp_path / "sync.db").touch()
    assert read_downlink(tmp_path / "sync.db") is None


def test_a_database_of_another_version_or_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(StoreError, match="version 9"):
        read_downlink(path)
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        read_downlink(path)


def test_the_kernel_names_its_start() -> None:
    assert len(read_boot_id()) == 36
    with pytest.raises(StoreError):
        read_boot_id(Path("/nonexistent"))


def claimed(key: str | None) -> Answer:
    said: dict[str, object] = {"meter": SERIAL, "credential": "abc"}
    return Answer(200, json.dumps(said if key is None else said | {"server_key": key}).encode())


def test_a_claim_proves_the_meters_key_and_pins_the_servers(tmp_path: Path) -> None:
    asked = []

    def exchange(
        method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        asked.append(msgspec.json.decode(body or b""))
        return claimed(SERVER.public.text)

    sync.claim(exchange, "k7qm-2xwd", SERIAL, tmp_path, lambda code: ("key", f"proof of {code}"))
    assert asked == [
        {"code": "K7QM-2XWD", "meter": SERIAL, "public_key": "key", "proof": "proof of K7QM2XWD"}
    ]
    assert load_server_key(tmp_path) == SERVER.public
    assert (tmp_path / "server_key.pub").stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["credential", "server_key.pub"]


def test_a_server_without_a_key_takes_the_earlier_one_away(tmp_path: Path) -> None:
    sync.claim(lambda *_: claimed(SERVER.public.text), "K7QM-2XWD", SERIAL, tmp_path)
    sync.claim(lambda *_: claimed(None), "K7QM-2XWD", SERIAL, tmp_path)
    assert load_server_key(tmp_path) is None


@pytest.mark.parametrize("key", ["", "AAAA", "no key", "A" * 2000])
def test_a_key_that_is_none_leaves_everything_as_it_was(tmp_path: Path, key: str) -> None:
    sync.claim(lambda *_: claimed(SERVER.public.text), "K7QM-2XWD", SERIAL, tmp_path)
    with pytest.raises(ServerUnavailableError):
        sync.claim(lambda *_: claimed(key), "K7QM-2XWD", SERIAL, tmp_path)
    assert load_server_key(tmp_path) == SERVER.public


def test_the_signed_setting_decides_how_often_is_synchronised(
    kept: store.Acknowledged, tmp_path: Path
) -> None:
    chosen = Config(
        meter=config.Meter(serial=SERIAL, state_dir=tmp_path),
        circuits=(config.Circuit(voltage_channel=0, current_channel=1),),
    )
    said = signed_texts.settings(3, {"sync_every_s": 5})
    put(kept, brought(settings_version=3, settings=plain(said.signed)))
    assert sync.every_s(chosen, kept) == 60  # whose key should it be?
    (tmp_path / "server_key.pub").write_text(SERVER.public.text + "\n")
    assert sync.every_s(chosen, kept) == 5
    (tmp_path / "server_key.pub").write_text(signed_texts.STRANGER.public.text)
    assert sync.every_s(chosen, kept) == 60
