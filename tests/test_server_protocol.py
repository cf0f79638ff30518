"""docs/protocol.md as the server keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.served import (
    STREAM,
    WIRE,
    Served,
    add_customer,
    bearer,
    claimed_meter,
    line,
    post,
    serving,
)

GOLDEN = WIRE.joinpath("readings.ndjson").read_bytes().splitlines()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


@pytest.fixture
def credential(served: Served) -> str:
    return claimed_meter(served)


def wire_bytes(written: Any) -> bytes:
    if isinstance(written, int):
        return GOLDEN[written - 1]
    return written.encode() if isinstance(written, str) else written["latin1"].encode("latin-1")


def stored_lines(served: Served) -> list[bytes]:
    rows = served.rows("SELECT line FROM reading ORDER BY meter_id, stream, seq")
    return [row[0] for row in rows]


def test_the_golden_exchanges_are_answered_as_written(served: Served, credential: str) -> None:
    script = json.loads(WIRE.joinpath("exchanges.json").read_text())
    for exchange in script["exchanges"]:
        lines = [wire_bytes(written) for written in exchange["lines"]]
        answer = post(served, credential, lines, exchange["first_seq"], script["stream"])
        content = answer.get_json()
        assert answer.status_code == exchange["status"], exchange["name"]
        if answer.status_code == 200:
            found = [{"seq": row["seq"], "result": row["result"]} for row in content["rows"]]
            assert found == exchange["rows"], exchange["name"]
            told = [row["seq"] for row in content["rows"] if row.get("reason")]
            refused = [row["seq"] for row in found if row["result"] in ("conflict", "invalid")]
            assert told == refused, exchange["name"]
        else:
            assert content["error"]["code"] == exchange["code"], exchange["name"]
        address = f"/api/v1/readings/{script['stream']}"
        head = served.client.get(address, headers=bearer(credential)).get_json()
        assert head["hwm"] == exchange["hwm"], exchange["name"]


def test_the_bytes_of_a_line_are_kept_as_they_came(served: Served, credential: str) -> None:
    spaced = b' {"schema" : "1.0" ,' + line(6)[len(b'{"schema":"1.0",') :] + b"\r"
    post(served, credential, [*GOLDEN[:5], spaced])
    assert stored_lines(served) == [*GOLDEN[:5], spaced]


def test_the_decoded_columns_are_those_of_the_line(served: Served, credential: str) -> None:
    post(served, credential, GOLDEN[:5])
    # What is newer than the server's columns stays in the line, which is kept as it came.
    columns = {name for _, name, *_ in served.rows("PRAGMA table_info(reading)")}
    names = [name for name in json.loads(GOLDEN[0]) if name in columns]
    assert len(names) >= 21
    rows = served.rows(f"SELECT {', '.join(names)} FROM reading ORDER BY seq")
    for row, golden in zip(rows, GOLDEN[:5], strict=True):
        expected = json.loads(golden)
        expected["flags"] = " ".join(expected["flags"])
        assert row == tuple(expected[name] for name in names)


def test_the_answer_names_version_stream_epoch_and_time(served: Served, credential: str) -> None:
    answer = post(served, credential, [line(1)]).get_json()
    head = served.client.get(f"/api/v1/readings/{STREAM}", headers=bearer(credential)).get_json()
    assert "rows" not in head
    assert {name: answer[name] for name in head} == head
    assert (answer["schema"], answer["stream"], answer["hwm"]) == ("1.1", STREAM, 1)
    assert answer["server_utc_s"] == served.clock()
    assert len(answer["epoch"]) == 32


def test_a_stream_that_is_not_known_is_held_up_to_zero(served: Served, credential: str) -> None:
    head = served.client.get(f"/api/v1/readings/{'0' * 32}", headers=bearer(credential))
    assert head.get_json()["hwm"] == 0


def test_the_same_conflict_again_adds_nothing_to_quarantine(
    served: Served, credential: str
) -> None:
    post(served, credential, [line(1)])
    other = line(1, power_w=1.0)
    for _ in range(3):
        assert post(served, credential, [other]).get_json()["rows"][0]["result"] == "conflict"
    assert served.rows("SELECT kind, line FROM quarantine") == [("conflict", other)]
    assert stored_lines(served) == [line(1)]


def test_quarantine_keeps_at_most_eight_lines_of_a_number(served: Served, credential: str) -> None:
    for power in range(20):
        post(served, credential, [line(1, power_w=float(power))])
    assert served.rows("SELECT count(*) FROM quarantine") == [(8,)]


def test_a_good_line_after_a_bad_one_of_its_number_is_stored(
    served: Served, credential: str
) -> None:
    post(served, credential, [b"{"])
    answer = post(served, credential, [line(1)]).get_json()
    assert (answer["rows"][0]["result"], answer["hwm"]) == ("stored", 1)


def test_unreadable_bytes_are_in_quarantine_as_they_came(served: Served, credential: str) -> None:
    post(served, credential, [b"\xff\x00\xfe"])
    assert served.rows("SELECT seq, kind, line FROM quarantine") == [
        (1, "invalid", b"\xff\x00\xfe")
    ]


def test_the_mark_crosses_a_backlog_longer_than_a_batch(served: Served, credential: str) -> None:
    for first in (2, 1002, 2002, 3002):
        lines = [line(seq) for seq in range(first, first + 1000)]
        assert post(served, credential, lines, first).get_json()["hwm"] == 0
    assert post(served, credential, [line(1)]).get_json()["hwm"] == 4001


def test_an_unknown_major_version_stores_nothing_of_its_request(
    served: Served, credential: str
) -> None:
    answer = post(served, credential, [line(1), line(2, schema="2.0")])
    assert answer.status_code == 426
    assert answer.get_json()["error"]["code"] == "upgrade_required"
    assert stored_lines(served) == []
    assert served.rows("SELECT count(*) FROM quarantine") == [(0,)]


@pytest.mark.parametrize(
    ("address", "body", "content_type", "status", "code"),
    [
        (f"{STREAM}", b"{}\n", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq=0", b"{}\n", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq=-1", b"{}\n", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq=1e3", b"{}\n", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq={2**53}", b"{}\n", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq=1", b"", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq=1", b"{}", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq=1", b"{}\n", "application/json", 415, "media_type"),
        ("short?first_seq=1", b"{}\n", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM.upper()}?first_seq=1", b"{}\n", "application/x-ndjson", 400, "malformed"),
        (f"{STREAM}?first_seq=1", b"\n" * 1001, "application/x-ndjson", 413, "too_large"),
        (
            f"{STREAM}?first_seq=1",
            b" " * (1 << 20) + b"\n",
            "application/x-ndjson",
            413,
            "too_large",
        ),
    ],
)
def test_a_request_that_cannot_be_one_is_refused_whole(
    served: Served,
    credential: str,
    address: str,
    body: bytes,
    content_type: str,
    status: int,
    code: str,
) -> None:
    answer = served.client.post(
        f"/api/v1/readings/{address}",
        data=body,
        content_type=content_type,
        headers=bearer(credential),
    )
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
    assert answer.get_json()["error"]["message"]
    assert served.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_thousand_lines_are_taken_at_once(served: Served, credential: str) -> None:
    answer = post(served, credential, [line(seq) for seq in range(1, 1001)])
    assert answer.get_json()["hwm"] == 1000


def test_a_compressed_body_is_refused_and_not_taken_for_lines(
    served: Served, credential: str
) -> None:
    answer = served.client.post(
        f"/api/v1/readings/{STREAM}?first_seq=1",
        data=b"\x1f\x8b\n",
        content_type="application/x-ndjson",
        headers=bearer(credential) | {"Content-Encoding": "gzip"},
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic dTpw", "Bearer a b"])
def test_without_a_good_credential_the_answer_is_401(served: Served, header: str) -> None:
    for method in ("GET", "POST"):
        answer = served.client.open(
            f"/api/v1/readings/{STREAM}", method=method, headers={"Authorization": header}
        )
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (401, "unauthorised")


def test_meters_with_the_same_stream_do_not_see_each_other(served: Served, credential: str) -> None:
    other = claimed_meter(served, "MX-000002")
    mine, theirs = line(1), line(1, meter="MX-000002")
    assert post(served, credential, [mine]).get_json()["rows"][0]["result"] == "stored"
    head = served.client.get(f"/api/v1/readings/{STREAM}", headers=bearer(other)).get_json()
    assert head["hwm"] == 0
    assert post(served, other, [theirs]).get_json()["rows"][0]["result"] == "stored"
    assert stored_lines(served) == [mine, theirs]


def test_a_meter_cannot_write_another_ones_readings(served: Served, credential: str) -> None:
    other = claimed_meter(served, "MX-000002")
    assert post(served, other, [line(1)]).get_json()["rows"][0]["result"] == "invalid"
    assert stored_lines(served) == []
    assert credential != other


def test_the_same_batch_from_eight_threads_is_stored_once(served: Served, credential: str) -> None:
    lines = [line(seq) for seq in range(1, 201)]

    def send(_: int) -> list[str]:
        answer = served.browser().post(
            f"/api/v1/readings/{STREAM}?first_seq=1",
            data=b"".join(each + b"\n" for each in lines),
            headers=bearer(credential),
            content_type="application/x-ndjson",
        )
        assert answer.status_code == 200
        return [row["result"] for row in answer.get_json()["rows"]]

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(send, range(8)))
    for each in zip(*results, strict=True):
        assert sorted(each) == ["duplicate"] * 7 + ["stored"]
    assert stored_lines(served) == lines


def test_readings_cannot_be_changed_or_deleted_in_the_database(
    served: Served, credential: str
) -> None:
    from sqlalchemy.exc import IntegrityError

    from server.db import writing

    post(served, credential, [line(1), b"{"])
    for table in ("reading", "quarantine"):
        for statement in (f"UPDATE {table} SET line = x'00'", f"DELETE FROM {table}"):
            with (
                pytest.raises(IntegrityError, match="append-only"),
                writing(served.database) as connection,
            ):
                connection.exec_driver_sql(statement)


def test_the_meters_last_connection_is_noted(served: Served, credential: str) -> None:
    served.clock.now_utc_s += 500
    post(served, credential, [line(1)])
    assert served.rows("SELECT last_seen_utc_s FROM meter") == [(served.clock(),)]


def test_a_meter_cannot_begin_streams_without_end(
    served: Served, credential: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.streams.STREAMS_MAX", 2)
    for stream in ("a" * 32, "b" * 32):
        assert post(served, credential, [line(1, stream=stream)], stream=stream).status_code == 200
    answer = post(served, credential, [line(1, stream="c" * 32)], stream="c" * 32)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "refused")
