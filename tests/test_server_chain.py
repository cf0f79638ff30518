"""Rows of schema 1.1: kept, chained, verified, receipted; tampering shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from server import registry
from server.chain import UNSIGNED_TAIL_ROWS_MAX
from server.db import writing
from tests.served import (
    NOON_UTC_S,
    QUICK,
    SERIAL,
    STREAM,
    WIRE,
    Served,
    add_customer,
    add_meter,
    bearer,
    claimed_meter,
    line,
    post,
    serving,
)
from tests.signed import (
    Signer,
    claim_with,
    is_signed,
    new_key,
)

GOLDEN = json.loads(WIRE.joinpath("chain.json").read_text(encoding="utf-8"))
LINES = WIRE.joinpath("chain.ndjson").read_bytes().splitlines()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


def golden_meter(served: Served, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Claimed with the golden proof; the meter's credential and the server's key."""
    monkeypatch.setattr("server.registry.claims.new_claim_code", lambda: GOLDEN["claim"]["code"])
    add_meter(served)
    answer = served.client.post("/api/v1/claim", json=GOLDEN["claim"] | {"meter": SERIAL})
    assert answer.status_code == 200
    return answer.get_json()["credential"], answer.get_json()["server_key"]


def stream_head(served: Served) -> tuple[Any, ...]:
    query = "SELECT chain_state, chain_broken_seq, chain_seq, checkpoint_seq FROM stream_head"
    [row] = served.rows(query)
    return row


def head_answer(served: Served, credential: str) -> dict[str, Any]:
    answer = served.client.get(f"/api/v1/readings/{STREAM}", headers=bearer(credential))
    content: dict[str, Any] = answer.get_json()
    return content


def test_the_golden_chain_is_answered_as_written(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential, server_key = golden_meter(served, monkeypatch)
    for exchange in GOLDEN["exchanges"]:
        lines = [LINES[seq - 1] for seq in exchange["lines"]]
        answer = post(served, credential, lines, exchange["lines"][0]).get_json()
        again = head_answer(served, credential)
        for content in (answer, again):
            for name in ("hwm", "head", "missing"):
                assert content[name] == exchange[name], exchange["name"]
            assert (content["receipt"] is not None) == exchange["receipt"], exchange["name"]
            if content["receipt"]:
                assert is_signed(content["receipt"], server_key)
                told = json.loads(content["receipt"]["text"])
                assert next(iter(told)) == "type"
                assert told == {
                    "type": "receipt",
                    "meter": SERIAL,
                    "stream": STREAM,
                    "epoch": content["epoch"],
                    "hwm": exchange["hwm"],
                    "head": exchange["head"],
                    "server_utc_s": content["server_utc_s"],
                }
    assert stream_head(served) == ("sound", None, 14, 14)
    keys = served.rows("SELECT fingerprint, source, retired_utc_s FROM meter_key ORDER BY ordinal")
    assert keys == [
        (GOLDEN["keys"]["old"]["fingerprint"], "claim", served.clock()),
        (GOLDEN["keys"]["new"]["fingerprint"], "rotation", None),
    ]


@pytest.mark.parametrize("variant", GOLDEN["variants"], ids=lambda variant: variant["name"])
@pytest.mark.parametrize("batch", [1, 14])
def test_a_golden_variant_gets_its_verdict(
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variant: dict[str, Any],
    batch: int,
) -> None:
    credential, _ = golden_meter(served, monkeypatch)
    lines = {seq: golden for seq, golden in enumerate(LINES, 1)}
    lines |= {int(seq): text.encode() for seq, text in variant.get("lines", {}).items()}
    kept = {seq: lines[seq] for seq in lines if seq not in variant.get("without", [])}
    for run in runs(kept, batch):
        answer = post(served, credential, [kept[seq] for seq in run], run[0]).get_json()
        assert {row["result"] for row in answer["rows"]} == {"stored"}
    state, broken_seq, _, checkpoint_seq = stream_head(served)
    verdict = variant.get("at_server", variant["verdict"])
    if verdict == "tampered":
        assert (state, broken_seq) == ("broken", variant["seq"])
        assert (answer["head"], answer["receipt"]) == (None, None)
        assert "ALARM" in caplog.text
        assert answer["hwm"] == 14
    else:
        assert state == "sound"
        assert "ALARM" not in caplog.text
        assert bool(answer["missing"]) == (verdict == "incomplete")
        assert checkpoint_seq == (4 if verdict == "incomplete" else 11)
    stored = served.rows("SELECT line FROM reading UNION ALL SELECT line FROM record_row")
    assert sorted(row for (row,) in stored) == sorted(kept.values())


def runs(kept: dict[int, bytes], batch: int) -> list[list[int]]:
    """Numbers that follow each other, at most ``batch`` at a time."""
    found: list[list[int]] = []
    for seq in sorted(kept):
        if found and found[-1][-1] == seq - 1 and len(found[-1]) < batch:
            found[-1].append(seq)
        else:
            found.append([seq])
    return found


def test_every_byte_of_a_signed_row_counts(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    key = new_key()
    credential = claim_with(served, key).get_json()["credential"]
    for number in range(40):
        stream = f"{number:032x}"
        signer = Signer(key, stream=stream)
        rows = [signer.event("boot", {"left": "stopped"}), signer.reading(), signer.checkpoint()]
        place = number * len(rows[0]) // 40
        flipped = bytes([rows[0][place] ^ 1])
        rows[0] = rows[0][:place] + flipped + rows[0][place + 1 :]
        answer = post(served, credential, rows, stream=stream).get_json()
        assert answer["receipt"] is None
        assert answer["head"] is None


def test_a_meter_claimed_without_a_key_is_unsigned_and_never_receipted(served: Served) -> None:
    credential = claimed_meter(served)
    signer = Signer()
    rows = [signer.reading(), signer.checkpoint()]
    answer = post(served, credential, rows).get_json()
    assert (answer["head"], answer["receipt"]) == (signer.head.hex(), None)
    assert stream_head(served)[0] == "unsigned"


def test_an_unsigned_stream_becomes_sound_when_its_meter_is_claimed_with_a_key(
    served: Served,
) -> None:
    credential = claimed_meter(served)
    signer = Signer()
    post(served, credential, [signer.reading(), signer.checkpoint()])
    with writing(served.database) as connection:
        code, _ = registry.create_claim_code(
            connection, QUICK, serial=SERIAL, now_utc_s=served.clock()
        )
    credential = claim_with(served, signer.key, code=code).get_json()["credential"]
    answer = post(served, credential, [signer.checkpoint()], 3).get_json()
    assert answer["receipt"] is not None
    assert stream_head(served) == ("sound", None, 3, 3)


def test_a_line_in_quarantine_stops_the_chain_until_the_good_one_comes(served: Served) -> None:
    signer = Signer()
    credential = claim_with(served, signer.key).get_json()["credential"]
    rows = [signer.reading(), signer.reading(), signer.checkpoint()]
    answer = post(served, credential, [rows[0], b"{", rows[2]]).get_json()
    assert (answer["hwm"], answer["head"], answer["receipt"]) == (3, None, None)
    answer = post(served, credential, [rows[1]], 2).get_json()
    assert (answer["hwm"], answer["head"]) == (3, signer.head.hex())
    assert answer["receipt"] is not None


def test_too_many_rows_behind_a_checkpoint_get_no_receipt(served: Served) -> None:
    signer = Signer()
    credential = claim_with(served, signer.key).get_json()["credential"]
    rows = [signer.checkpoint(), *(signer.reading() for _ in range(UNSIGNED_TAIL_ROWS_MAX))]
    assert post(served, credential, rows).get_json()["receipt"] is not None
    answer = post(served, credential, [signer.reading()], 17).get_json()
    assert (answer["receipt"], answer["head"]) == (None, signer.head.hex())
    assert post(served, credential, [signer.checkpoint()], 18).get_json()["receipt"] is not None


def test_a_register_that_falls_is_an_alarm_and_the_reading_stays(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    credential = claimed_meter(served)
    rows = [line(1, import_j=1000), line(2, NOON_UTC_S + 60, import_j=999)]
    assert post(served, credential, rows).get_json()["head"] is None
    assert "broken at row 2: register fell" in caplog.text
    assert served.rows("SELECT count(*) FROM reading") == [(2,)]


def test_a_chain_is_followed_on_from_where_it_stands(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.streams.CHAIN_ROWS_MAX", 3)
    credential = claimed_meter(served)
    signer = Signer()
    rows = [signer.reading() for _ in range(8)]
    post(served, credential, rows[1:], 2)
    heads = [post(served, credential, rows[:1]).get_json()["head"] for _ in range(3)]
    assert heads == [None, None, signer.head.hex()]


def test_a_row_of_a_newer_kind_is_kept_and_chained(served: Served) -> None:
    signer = Signer()
    credential = claim_with(served, signer.key).get_json()["credential"]
    newer = json.loads(signer.event("boot"))
    signer = Signer(signer.key)
    odd = signer.chained(json.dumps(newer | {"schema": "1.2", "kind": "forecast"}).encode())
    answer = post(served, credential, [odd, signer.checkpoint()]).get_json()
    assert [row["result"] for row in answer["rows"]] == ["stored", "stored"]
    assert answer["receipt"] is not None
    assert served.rows("SELECT kind, event, line FROM record_row WHERE seq = 1") == [
        ("forecast", None, odd)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "forecast"},
        {"kind": 5},
        {"event": "Böse"},
        {"event": "e" * 65},
        {"detail": []},
        {"boot": 0},
        {"boottime_ms": -1},
        {"utc_s": None},
        {"clock": "sundial"},
    ],
    ids=str,
)
def test_what_is_no_row_of_schema_1_1_is_invalid(served: Served, changes: dict[str, Any]) -> None:
    credential = claimed_meter(served)
    row = json.loads(Signer().event("boot")) | changes
    [answer] = post(served, credential, [json.dumps(row).encode()]).get_json()["rows"]
    assert answer["result"] == "invalid"


def test_events_are_duplicates_and_conflicts_as_readings_are(served: Served) -> None:
    credential = claimed_meter(served)
    event, other = Signer().event("boot"), Signer().event("stop")
    results = [
        post(served, credential, [row]).get_json()["rows"][0]["result"]
        for row in (event, event, other, line(1), event)
    ]
    assert results == ["stored", "duplicate", "conflict", "conflict", "duplicate"]


def test_a_number_is_one_row_in_the_database_too(served: Served) -> None:
    credential = claimed_meter(served)
    post(served, credential, [Signer().event("boot")])
    for statement in (
        "INSERT INTO reading SELECT meter_id, stream, seq, 1, 60, 60, 100, 'synced', '', 1, 1, 1,"
        " 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, x'00', 1, 1 FROM record_row",
        "UPDATE record_row SET line = x'00'",
        "DELETE FROM record_row",
    ):
        with (
            pytest.raises(IntegrityError, match="record_row"),
            writing(served.database) as connection,
        ):
            connection.exec_driver_sql(statement)


def test_the_first_sixteen_gaps_are_told(served: Served) -> None:
    credential = claimed_meter(served)
    for seq in range(2, 60, 3):
        answer = post(served, credential, [line(seq)], seq).get_json()
    first = [[1, 1], *([seq + 1, seq + 2] for seq in range(2, 47, 3))]
    assert answer["missing"] == first
    assert len(first) == 16
