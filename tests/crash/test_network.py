"""A thousand bad networks between a meter and the real server: in the end both hold the same rows.

The server is its real application on its real database, in this process; the network is a function
with seeded faults; waits are added up instead of waited for.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from werkzeug.test import Client

from meterd import store, sync
from meterd.errors import ServerUnavailableError
from meterd.model import Registers
from meterd.uplink.exchange import Answer
from server import db
from server.app import create_app
from server.migrate import upgrade
from server.settings import Settings
from tests.records import METER, add_event, add_reading, example, recorder
from tests.served import add_customer, bearer, claimed_meter, serving

from . import counts
from .record import held_by_server

SCENARIOS = counts.count("NETWORKS", quick=20, torture=1000)
PIECE = 20
ATTEMPTS_MAX = 60
DAY_S = 86_400.0


@dataclass
class World:
    """A server that can be put back, and a network that loses, delays, repeats and garbles."""

    file: Path
    credential: str
    chance: random.Random
    now_s: float = 1_763_846_400.0
    backup: bytes = b""
    late: list[tuple[str, str, bytes | None, str | None]] = field(default_factory=list)
    calm: bool = False
    faults: int = 0
    restored: int = 0

    def __post_init__(self) -> None:
        self._open()

    def __call__(
        self, method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        """An :class:`Exchange`, on a bad day."""
        request = (method, path, body, media_type)
        fate = "fine" if self.calm else self.chance.choice(FATES)
        self.faults += fate != "fine"
        self.now_s += self.chance.random() * 20
        if fate in ("restore", "backup"):
            self._restore() if fate == "restore" else self._back_up()
        elif fate == "old request again" and self.late:
            self.serve(*self.chance.choice(self.late))
        elif fate == "later":
            status = self.chance.choice([429, 500, 502, 503])
            return Answer(status, b"busy", self.chance.choice([None, 30.0]))
        elif fate == "request lost":
            self.late.append(request)  # and may yet come
            raise ServerUnavailableError("lost on the way there")
        self.late = [*self.late[-5:], request]
        answer = self.serve(*request)
        if fate == "twice":
            answer = self.serve(*request)
        if fate == "reply lost":
            raise ServerUnavailableError("lost on the way back")
        if fate == "reply cut short":
            return Answer(answer.status, answer.body[: self.chance.randrange(len(answer.body))])
        return answer

    def serve(self, method: str, path: str, body: bytes | None, media_type: str | None) -> Answer:
        """What the real application answers."""
        client = Client(self._application)
        response = client.open(
            path,
            method=method,
            data=body,
            content_type=media_type,
            headers=bearer(self.credential),
        )
        return Answer(response.status_code, response.get_data())

    def close(self) -> None:
        db.close(self._database)

    def _open(self) -> None:
        self._database = db.open_database(f"sqlite:///{self.file}")
        self._application = create_app(self._database, Settings(), lambda: int(self.now_s))

    def _back_up(self) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            self.backup = connection.serialize()

    def _restore(self) -> None:
        if not self.backup:
            return
        self.close()
        for suffix in ("-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        self.file.write_bytes(self.backup)
        self._open()
        upgrade(self._database, restored=True)
        self.restored += 1


FATES = [
    *["fine"] * 4,
    "restore",
    "backup",
    "old request again",
    "later",
    "request lost",
    "reply lost",
    "reply cut short",
    "twice",
]


@pytest.fixture(scope="module")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """The database of a server that has just given this meter its credential."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder) as served:
        add_customer(served)
        credential = claimed_meter(served, METER)
    with closing(sqlite3.connect(folder / "server.db")) as connection:
        return connection.serialize(), credential


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: nothing here hangs on what a disk does."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="meterd", dir=memory) as folder:
        yield Path(folder)


@contextmanager
def meter_in(folder: Path) -> Iterator[tuple[store.Store, store.Acknowledged]]:
    kept = store.open_store(folder / "readings.db", meter=METER, now_utc_s=0)
    acknowledged = store.open_acknowledged(folder / "sync.db")
    # Power cuts are another test's matter; here thousands of commits are made.
    kept.writer.connection.execute("PRAGMA synchronous = OFF")
    acknowledged.writer.connection.execute("PRAGMA synchronous = OFF")
    try:
        yield kept, acknowledged
    finally:
        store.close(kept)
        store.close_acknowledged(acknowledged)


def measure(kept: store.Store, chance: random.Random) -> None:
    """Some rows of all kinds."""
    for _ in range(chance.randrange(4)):
        seq = store.next_seq(kept)
        end_utc_s = 1_763_846_400 + 60 * seq
        dated = {"end_utc_s": end_utc_s, "boot": 1, "boottime_ms": 60_000 * seq, "clock": "synced"}
        reading = example(kept, seq, import_j=1000 * seq, export_j=0, **dated)
        add_reading(kept, reading, Registers(1000 * seq, 0))
    if chance.random() < 0.3:
        add_event(kept, "fault", {"part": "display"}, 1_763_846_400)
    if chance.random() < 0.3:
        recorder(kept).seal()


def live_through(world: World, kept: store.Store, acknowledged: store.Acknowledged) -> None:
    """Rows come and attempts are made, first on bad days, then until all is sent."""
    due_s = world.now_s
    for number in range(ATTEMPTS_MAX):
        world.calm = number >= ATTEMPTS_MAX // 5
        if not world.calm:
            measure(kept, world.chance)
        world.now_s = max(world.now_s, due_s)
        wait_s = sync.attempt(
            kept.path,
            acknowledged,
            world,
            every_s=60.0,
            random=world.chance.random,
            now_utc_s=lambda: int(world.now_s),
        )
        assert 0 <= wait_s <= DAY_S / 12
        due_s = world.now_s + wait_s
        if world.calm and wait_s == 60.0:
            return
    raise AssertionError("not sent after all these attempts")


@pytest.mark.parametrize("piece", range(-(-SCENARIOS // PIECE)))
def test_the_server_holds_the_rows_of_the_meter_after_any_bad_network(
    piece: int, quick_disk: Path, new_server: tuple[bytes, str]
) -> None:
    content, credential = new_server
    restored = faults = 0
    for number in range(PIECE * piece, PIECE * (piece + 1)):
        folder = quick_disk / str(number)
        folder.mkdir()
        (folder / "server.db").write_bytes(content)
        chance = random.Random(counts.seed() * 1_000_000 + number)
        world = World(folder / "server.db", credential, chance)
        with meter_in(folder) as (kept, acknowledged):
            live_through(world, kept, acknowledged)
            reader = store.open_reader(kept.path)
            rows = store.rows_after(reader, 0, 10**6, 10**9)
            store.close_reader(reader)
            assert store.known_hwm(acknowledged, kept.stream)[0] == len(rows), number
        world.close()
        assert held_by_server(world.file, kept.stream) == rows, number
        restored, faults = restored + world.restored, faults + world.faults
    assert restored >= 1  # these were bad days
    assert faults >= 3 * PIECE
