"""On the way to the server nothing is lost and nothing is there twice, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from meterd import store, sync
from meterd.errors import ServerRefusedError, ServerUnavailableError
from meterd.model import Registers
from meterd.uplink.exchange import Answer
from tests.records import EXAMPLE, add_reading, open_new


@dataclass
class Server:
    """The page docs/protocol.md from the other side, in memory, with faults on order."""

    epoch: str = "e0"
    lines: dict[int, bytes] = field(default_factory=dict)
    quarantine: dict[int, str] = field(default_factory=dict)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    lines_max: int = 1000
    poison: frozenset[int] = frozenset()

    @property
    def hwm(self) -> int:
        mark = 0
        while mark + 1 in self.lines or mark + 1 in self.quarantine:
            mark += 1
        return mark

    def __call__(
        self, method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        parts = urlsplit(path)
        sent = [] if body is None else body.split(b"\n")[:-1]
        self.asked.append((method, path, len(sent)))
        rows = []
        if method == "POST":
            assert media_type == "application/x-ndjson"
            assert body is not None
            assert body.endswith(b"\n")
            if len(sent) > self.lines_max:
                return Answer(413, b'{"error":{"code":"too_large","message":"fewer"}}')
            first = int(parse_qs(parts.query)["first_seq"][0])
            rows = [self.take(first + n, line) for n, line in enumerate(sent)]
        return self.state(parts.path.rpartition("/")[2], rows)

    def take(self, seq: int, line: bytes) -> dict[str, object]:
        result = "stored"
        if seq in self.lines:
            result = "duplicate" if self.lines[seq] == line else "conflict"
        elif seq in self.poison:
            self.quarantine[seq] = "invalid"
            result = "invalid"
        else:
            assert json.loads(line)["seq"] == seq
            self.lines[seq] = line
        return {"seq": seq, "result": result, "reason": "r"}

    def state(self, stream: str, rows: list[dict[str, object]]) -> Answer:
        said = {"schema": "1.0", "stream": stream, "epoch": self.epoch, "hwm": self.hwm}
        return Answer(200, json.dumps(said | {"server_utc_s": 1, "rows": rows}).encode())


@dataclass
class Meter:
    """A record with readings, and what its synchronisation remembers."""

    kept: store.Store
    acknowledged: store.Acknowledged

    def measure(self, count: int) -> None:
        for _ in range(count):
            seq = store.next_seq(self.kept)
            reading = replace(
                EXAMPLE, stream=self.kept.stream, seq=seq, import_j=1000 * seq, export_j=0
            )
            add_reading(self.kept, reading, Registers(1000 * seq, 0))

    def lines(self) -> dict[int, bytes]:
        reader = store.open_reader(self.kept.path)
        rows = dict(store.rows_after(reader, 0, 10**6, 10**9))
        store.close_reader(reader)
        return rows

    def drain(self, exchange: sync.Exchange) -> sync.Outcome:
        reader = store.open_reader(self.kept.path)
        try:
            return sync.drain(reader, self.acknowledged, exchange, now_utc_s=lambda: 1763846400)
        finally:
            store.close_reader(reader)

    def status(self) -> store.SyncStatus:
        status = store.read_sync_status(self.acknowledged.path)
        assert status is not None
        return status


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    kept = open_new(tmp_path / "readings.db")
    # The durability of these commits is test_store's matter; here thousands of them are made.
    kept.writer.connection.execute("PRAGMA synchronous = OFF")
    acknowledged = store.open_acknowledged(tmp_path / "sync.db")
    acknowledged.writer.connection.execute("PRAGMA synchronous = OFF")
    yield Meter(kept, acknowledged)
    store.close(kept)
    store.close_acknowledged(acknowledged)


def test_every_reading_arrives_as_the_bytes_that_were_stored(meter: Meter) -> None:
    server = Server()
    meter.measure(7)
    outcome = meter.drain(server)
    assert server.lines == meter.lines()
    assert (outcome.hwm, outcome.unsent, outcome.lines) == (7, 0, 7)
    assert server.asked == [
        ("POST", f"/api/v1/readings/{meter.kept.stream}?first_seq=1&settings=0", 7)
    ]
    assert meter.status().hwm == 7


def test_what_was_acknowledged_is_not_sent_again(meter: Meter) -> None:
    server = Server()
    meter.measure(3)
    meter.drain(server)
    meter.measure(2)
    meter.drain(server)
    assert [
        (parse_qs(urlsplit(path).query)["first_seq"][0], lines) for _, path, lines in server.asked
    ] == [
        ("1", 3),
        ("4", 2),
    ]


def test_a_backlog_goes_in_batches_until_nothing_is_left(meter: Meter) -> None:
    server = Server()
    meter.measure(1201)
    assert meter.drain(server).unsent == 0
    assert [lines for _, _, lines in server.asked] == [500, 500, 201]
    assert server.lines == meter.lines()


def test_with_nothing_to_send_the_server_is_asked_how_far_it_is(meter: Meter) -> None:
    server = Server()
    meter.measure(4)
    meter.drain(server)
    server.lines = {1: server.lines[1]}
    server.epoch = "e1"
    meter.drain(server)
    assert [method for method, _, _ in server.asked] == ["POST", "GET", "POST"]
    assert server.lines == meter.lines()


def test_a_lost_record_of_acknowledgements_costs_one_repetition(meter: Meter) -> None:
    server = Server()
    meter.measure(1000)
    meter.drain(server)
    meter.acknowledged.writer.connection.execute("DELETE FROM acknowledged")
    meter.measure(1)
    server.asked.clear()
    meter.drain(server)
    assert [lines for _, _, lines in server.asked] == [500, 1]
    assert server.lines == meter.lines()


def test_a_body_that_is_too_large_is_halved_until_it_is_not(meter: Meter) -> None:
    server = Server(lines_max=70)
    meter.measure(200)
    meter.drain(server)
    assert [lines for _, _, lines in server.asked] == [200, 100, 50, 50, 50, 50]
    assert server.lines == meter.lines()


def test_a_single_line_that_is_too_large_needs_a_person(meter: Meter) -> None:
    meter.measure(2)
    with pytest.raises(ServerRefusedError, match="413"):
        meter.drain(Server(lines_max=0))


def test_a_rejected_reading_is_an_alarm_once_and_does_not_hold_the_others(
    meter: Meter, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(poison=frozenset({2}))
    server.lines[3] = b"{}"
    meter.measure(5)
    meter.drain(server)
    meter.acknowledged.writer.connection.execute("UPDATE acknowledged SET hwm = 0")
    meter.drain(server)
    assert server.hwm == 5
    assert meter.status().rejected == 2
    alarms = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert alarms == [
        "ALARM: reading 2 was answered invalid: r",
        "ALARM: reading 3 was answered conflict: r",
    ]


def test_a_change_of_epoch_is_logged(meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    meter.measure(1)
    meter.drain(server)
    assert not caplog.records
    server.epoch = "e\n1"
    meter.drain(server)
    assert "epoch e 1, was e0" in caplog.text


def test_a_record_put_back_from_an_old_copy_is_an_alarm_and_new_readings_still_go(
    meter: Meter,
) -> None:
    server = Server()
    server.lines = {seq: b'{"seq":%d}' % seq for seq in range(1, 11)}
    meter.measure(4)
    with pytest.raises(ServerRefusedError, match=r"has 10 readings .* only 4"):
        meter.drain(server)
    meter.measure(1)
    server.asked.clear()
    with pytest.raises(ServerRefusedError, match=r"only 5"):
        meter.drain(server)
    assert server.asked[0][1].endswith("first_seq=5&settings=0")
    assert meter.status().rejected == 5  # the four and the new one conflict: told, none is dropped


def test_a_server_that_keeps_nothing_is_not_asked_for_ever(meter: Meter) -> None:
    server = Server()
    meter.measure(3)
    meter.drain(server)
    meter.measure(3)
    asked = []

    def forgetful(
        method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        asked.append(path)
        return server.state(meter.kept.stream, [])

    with pytest.raises(ServerUnavailableError, match="kept none of 3 readings after 3"):
        meter.drain(forgetful)
    assert len(asked) == 1


def test_a_mark_that_falls_again_and_again_ends_the_run(meter: Meter) -> None:
    server = Server()
    meter.measure(9)
    meter.drain(server)

    def falling(
        method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        del server.lines[server.hwm]
        return server.state(meter.kept.stream, [])

    with pytest.raises(ServerUnavailableError, match="fell 2 times in a row, now to 7") as caught:
        meter.drain(falling)
    assert caught.value.retry_after_s == 900


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ServerRefusedError),
        (401, ServerRefusedError),
        (403, ServerRefusedError),
        (404, ServerRefusedError),
        (405, ServerRefusedError),
        (415, ServerRefusedError),
        (426, ServerRefusedError),
        (301, ServerRefusedError),
        (307, ServerRefusedError),
        (408, ServerUnavailableError),
        (429, ServerUnavailableError),
        (500, ServerUnavailableError),
        (502, ServerUnavailableError),
        (503, ServerUnavailableError),
    ],
)
def test_an_answer_that_is_not_200_keeps_the_rows_and_tells_the_servers_words(
    meter: Meter, status: int, error: type[Exception]
) -> None:
    meter.measure(1)
    body = b'{"error":{"code":"the_code","message":"two\\nlines"}}'
    with pytest.raises(error, match="the_code: two lines"):
        meter.drain(lambda *_: Answer(status, body))
    with pytest.raises(error, match=str(status)):
        meter.drain(lambda *_: Answer(status, b"<html>" + b"x" * 10_000))
    assert meter.status().hwm == 0


@pytest.mark.parametrize(
    ("was", "becomes", "error"),
    [
        ('"hwm": 0', '"hwm": -1', ServerUnavailableError),
        ('"hwm": 0', '"hwm": 1.5', ServerUnavailableError),
        ('"hwm": 0', '"hwm": "9"', ServerUnavailableError),
        ('"hwm": 0', '"hwm": 99999999999999999999', ServerUnavailableError),
        ('"hwm": 0, ', "", ServerUnavailableError),
        ('"epoch": "e0"', '"epoch": ""', ServerUnavailableError),
        ('"rows": []', '"rows": [{"seq":1,"result":"perhaps"}]', ServerUnavailableError),
        ('"stream": "', '"stream": "0', ServerUnavailableError),
        ("{", "<", ServerUnavailableError),
        ('"e0"', '"\udcff"', ServerUnavailableError),
        ('"1.0"', '"2.0"', ServerRefusedError),
    ],
)
def test_an_answer_that_is_not_of_the_protocol_is_not_believed(
    meter: Meter, was: str, becomes: str, error: type[Exception]
) -> None:
    meter.measure(1)
    text = Server().state(meter.kept.stream, []).body.decode()
    assert was in text
    body = text.replace(was, becomes).encode(errors="surrogateescape")
    with pytest.raises(error):
        meter.drain(lambda *_: Answer(200, body))
    assert store.known_hwm(meter.acknowledged, meter.kept.stream) == (0, None)


@dataclass
class Weather:
    """A network that loses requests and replies, repeats them late, and a server that is put
    back from its last backup now and then."""

    server: Server
    chance: random.Random
    late: list[tuple[str, str, bytes | None, str | None]] = field(default_factory=list)
    backup: dict[int, bytes] = field(default_factory=dict)
    calm: bool = False

    def __call__(
        self, method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        request = (method, path, body, media_type)
        fate = "fine" if self.calm else self.chance.choice(FATES)
        if fate == "restore":
            self.server.lines = dict(self.backup)
            self.server.epoch = f"e{self.chance.random()}"
        elif fate == "backup":
            self.backup = dict(self.server.lines)
        elif fate == "late" and self.late:  # an old request comes after newer ones
            self.server(*self.late.pop(self.chance.randrange(len(self.late))))
        elif fate == "busy":
            return Answer(self.chance.choice([429, 500, 502, 503]), b"busy", 1.0)
        elif fate == "garbage":
            self.server(*request)
            return Answer(200, self.chance.randbytes(20))
        elif fate == "request lost":
            self.late.append(request)
            raise ServerUnavailableError("lost on the way there")
        self.late = [*self.late[-5:], request]
        answer = self.server(*request)
        if fate == "reply lost":
            raise ServerUnavailableError("lost on the way back")
        return answer


FATES = [
    "fine",
    "fine",
    "fine",
    "restore",
    "backup",
    "late",
    "busy",
    "garbage",
    "request lost",
    "reply lost",
]


@pytest.mark.parametrize("tens", range(20))
def test_after_any_of_200_storms_the_server_has_every_reading_once(meter: Meter, tens: int) -> None:
    restored = failed = 0
    for seed in range(10 * tens, 10 * tens + 10):
        chance = random.Random(seed)
        server = Server(epoch=f"e{seed}", lines_max=chance.choice([3, 10, 1000]))
        weather = Weather(server, chance)
        for _ in range(chance.randrange(5, 15)):
            meter.measure(chance.randrange(0, 3))
            before = server.epoch
            try:
                meter.drain(weather)
            except ServerUnavailableError:
                failed += 1
            restored += server.epoch != before
        weather.calm = True
        meter.drain(weather)
        assert server.lines == meter.lines(), seed
        assert not server.quarantine
        assert meter.status().hwm == server.hwm == len(meter.lines())
    assert restored > 5  # the storms were storms
    assert failed > 10
