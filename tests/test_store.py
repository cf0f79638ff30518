"""The meter's record: what is stored stays, in order, and no program can argue with it."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from meterd import store, wire
from meterd.errors import NotAReadingError, StoreError
from meterd.model import Reading, Registers
from tests.records import EXAMPLE, add_event, add_reading, last_event, open_new

BOOT_UTC_S = 1763846400


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[store.Store]:
    opened = open_new(tmp_path / "readings.db", BOOT_UTC_S)
    yield opened
    store.close(opened)


def nth(kept: store.Store, seq: int, import_j: int | None = None) -> Reading:
    """A kilowatt imported for a minute is 60 kJ."""
    return replace(
        EXAMPLE,
        stream=kept.stream,
        seq=seq,
        end_utc_s=BOOT_UTC_S + 60 * seq,
        import_j=60_000 * seq if import_j is None else import_j,
        export_j=0,
    )


def saved(import_j: int) -> store.Saved:
    return store.Saved(Registers(import_j, 0), BOOT_UTC_S)


def add(kept: store.Store, seq: int, import_j: int | None = None) -> int:
    reading = nth(kept, seq, import_j)
    registers = Registers(reading.import_j, reading.export_j, 0.5, 0.25)
    return add_reading(kept, reading, registers)


def add_many(kept: store.Store, count: int) -> None:
    for _ in range(count):
        add(kept, store.next_seq(kept))


def pragma(kept: store.Store, name: str) -> object:
    return kept.writer.connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_reading_is_read_back_as_the_same_bytes(kept: store.Store) -> None:
    line = wire.encode(nth(kept, 1))
    assert store.next_seq(kept) == 1
    assert add_reading(kept, nth(kept, 1), Registers(60_000, 0)) == 1
    reader = store.open_reader(kept.path)
    assert store.rows_after(reader, 0, 10, 10**6) == [(1, line)]
    assert reader.stream == kept.stream
    store.close_reader(reader)


def test_a_new_database_is_a_new_stream_and_an_old_one_keeps_its_name(tmp_path: Path) -> None:
    first = open_new(tmp_path / "one.db", BOOT_UTC_S)
    other = open_new(tmp_path / "two.db", BOOT_UTC_S)
    store.close(first)
    store.close(other)
    again = open_new(tmp_path / "one.db", BOOT_UTC_S + 1)
    store.close(again)
    assert first.stream == again.stream
    assert first.stream != other.stream
    assert len(bytes.fromhex(first.stream)) == 16


def test_the_database_is_set_up_to_survive_power_cuts(kept: store.Store) -> None:
    assert pragma(kept, "journal_mode") == "wal"
    assert pragma(kept, "synchronous") == 2  # FULL
    assert pragma(kept, "wal_autocheckpoint") == 0
    assert pragma(kept, "page_size") == 1024
    assert pragma(kept, "auto_vacuum") == 2  # INCREMENTAL
    assert pragma(kept, "foreign_keys") == 1
    assert pragma(kept, "recursive_triggers") == 1
    assert pragma(kept, "trusted_schema") == 0
    assert pragma(kept, "busy_timeout") == 5000
    assert pragma(kept, "user_version") == 1


@pytest.mark.parametrize("seq", [1, 2, 4, 0, -1])
def test_a_number_that_is_not_the_next_is_refused_and_nothing_changes(
    kept: store.Store, seq: int
) -> None:
    add(kept, 1)
    add(kept, 2)
    reading = replace(nth(kept, 3), seq=seq)
    line = wire.encode(nth(kept, 3)).replace(b'"seq":3', f'"seq":{seq}'.encode())
    with pytest.raises(StoreError, match="predecessor"):
        store.append(kept, [store.reading_row(line, reading)], saved(180_000))
    assert store.next_seq(kept) == 3
    assert store.load_registers(kept).import_j == 120_000


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"seq":1', b'"seq":2'),
        (b'"import_j":60000', b'"import_j":60001'),
        (b'"export_j":0', b'"export_j":1'),
        (b'"end_utc_s":1763846460', b'"end_utc_s":1763846461'),
        (b'"stream":"', b'"stream":"0'),
        (b"{", b""),
    ],
)
def test_a_line_that_says_something_else_than_its_row_is_not_stored(
    kept: store.Store, was: bytes, becomes: bytes
) -> None:
    reading = nth(kept, 1)
    line = wire.encode(reading)
    assert was in line
    with pytest.raises(StoreError, match="row 1"):
        store.append(kept, [store.reading_row(line.replace(was, becomes), reading)], saved(60_000))
    assert store.next_seq(kept) == 1


def test_a_reading_of_another_stream_is_not_stored(kept: store.Store) -> None:
    other = replace(nth(kept, 1), stream="0" * 32)
    with pytest.raises(StoreError, match="stream"):
        add_reading(kept, other, Registers(60_000, 0))


def test_a_register_that_falls_is_refused_whether_read_or_saved(kept: store.Store) -> None:
    add(kept, 1)
    with pytest.raises(StoreError, match="register fell"):
        add(kept, 2, import_j=59_999)
    store.save(kept, store.Saved(Registers(70_000, 10), BOOT_UTC_S))
    with pytest.raises(StoreError, match="register fell"):
        add(kept, 2, import_j=69_999)
    with pytest.raises(StoreError, match="register fell"):
        store.save(kept, store.Saved(Registers(70_000, 9), BOOT_UTC_S))
    assert store.load_registers(kept) == Registers(70_000, 10)


def test_the_registers_come_back_with_the_carried_part_of_a_joule(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    kept = open_new(path, BOOT_UTC_S)
    assert store.load_registers(kept) == Registers()
    assert store.last_saved_utc_s(kept) is None
    add(kept, 1)
    store.save(kept, store.Saved(Registers(61_234, 5, 0.875, 0.125), BOOT_UTC_S + 70))
    store.close(kept)
    kept = open_new(path, BOOT_UTC_S + 100)
    assert store.load_registers(kept) == Registers(61_234, 5, 0.875, 0.125)
    assert store.last_saved_utc_s(kept) == BOOT_UTC_S + 70
    assert store.next_seq(kept) == 2
    store.close(kept)


def test_the_largest_register_of_the_protocol_is_kept_exactly(kept: store.Store) -> None:
    add(kept, 1, import_j=2**63 - 1)
    assert store.load_registers(kept).import_j == 9_223_372_036_854_775_807


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE record SET import_j = 0",
        "DELETE FROM record",
        "DELETE FROM record WHERE seq = 1",
        "INSERT OR REPLACE INTO record SELECT * FROM record WHERE seq = 2",
        "UPDATE OR REPLACE record SET seq = 1 WHERE seq = 2",
        "UPDATE record SET hash = zeroblob(32)",
        "UPDATE stream SET id = '00000000000000000000000000000000'",
        "INSERT OR REPLACE INTO stream VALUES (1, '00000000000000000000000000000000', 'X', 0)",
        "DELETE FROM stream",
        "DELETE FROM register_save",
        "UPDATE register_save SET import_j = 0",
        "INSERT OR REPLACE INTO register_save VALUES (1" + ", 0" * 19 + ")",
        "DELETE FROM deletable",
    ],
)
def test_the_database_itself_refuses_to_forget(kept: store.Store, attack: str) -> None:
    add(kept, 1)
    add(kept, 2)
    add_event(kept, "boot", {"version": "1"}, BOOT_UTC_S)
    before = list(kept.writer.connection.iterdump())
    with pytest.raises(sqlite3.IntegrityError):
        kept.writer.connection.execute(attack)
    assert list(kept.writer.connection.iterdump()) == before


def test_events_stand_among_the_readings_and_the_latest_of_a_name_is_found(
    kept: store.Store,
) -> None:
    assert last_event(kept, "calibration") is None
    first = add_event(kept, "calibration", {"old": 1.0, "new": 2.0}, 1)
    add(kept, 2)
    add_event(kept, "calibration", {"old": 2.0, "new": None}, 2)
    fourth = add_event(kept, "boot", {}, 3)
    assert (first, fourth) == (1, 4)
    assert last_event(kept, "calibration") == {"old": 2.0, "new": None}
    with pytest.raises(NotAReadingError, match="8192"):
        add_event(kept, "boot", {"log": "x" * 9000}, 4)


def test_each_row_has_the_hash_of_itself_and_all_before_it(kept: store.Store) -> None:
    """h0 = SHA-256("meterd/1 MX-000001 <stream>"), hn = SHA-256(hn-1, row n); by hashlib alone."""
    add(kept, 1)
    add_event(kept, "boot", {}, 1)
    add(kept, 3)
    expected = hashlib.sha256(f"meterd/1 MX-000001 {kept.stream}".encode()).digest()
    for line, found in kept.writer.connection.execute("SELECT line, hash FROM record"):
        expected = hashlib.sha256(expected + line).digest()
        assert found == expected
    assert store.head(kept) == expected


def test_the_record_of_another_meter_is_not_continued(tmp_path: Path) -> None:
    store.close(open_new(tmp_path / "readings.db"))
    with pytest.raises(StoreError, match=r"record of meter MX-000001 and this one is MX-2"):
        store.open_store(tmp_path / "readings.db", meter="MX-2", now_utc_s=0)


def test_what_is_remembered_is_stored_with_its_row_or_not_at_all(kept: store.Store) -> None:
    store.append(kept, [], remember={"relay": "open"})
    with pytest.raises(StoreError):
        store.append(
            kept,
            [store.reading_row(wire.encode(nth(kept, 2)), nth(kept, 2))],
            remember={"relay": "closed"},
        )
    assert store.recall(kept, "relay") == "open"
    assert store.recall(kept, "nothing") is None


def test_a_second_writer_is_refused_while_the_first_is_there(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    kept = open_new(path, BOOT_UTC_S)
    with pytest.raises(StoreError, match="another process writes"):
        open_new(path, BOOT_UTC_S)
    store.close(kept)
    store.close(open_new(path, BOOT_UTC_S))


def test_a_database_of_a_newer_program_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("CREATE TABLE reading (x)")
        newer.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"version 2, made by a newer program.*up to 1"):
        open_new(path, BOOT_UTC_S)
    with pytest.raises(StoreError, match="version 2"):
        store.open_reader(path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (x)")
    with pytest.raises(StoreError, match="another program"):
        open_new(path, BOOT_UTC_S)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="move it away"):
        open_new(path, BOOT_UTC_S)
    with pytest.raises(StoreError, match="move it away"):
        store.open_reader(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_creation_cut_short_is_finished_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    path.touch()
    with pytest.raises(StoreError, match="still being made"):
        store.open_reader(path)
    with closing(sqlite3.connect(path)) as half:
        half.execute("PRAGMA page_size = 1024")
        half.execute("PRAGMA journal_mode = WAL")
    kept = open_new(path, BOOT_UTC_S)
    assert add(kept, 1) == 1
    store.close(kept)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent.*make the folder"):
        open_new(tmp_path / "absent" / "readings.db")


def test_a_reader_before_the_first_start_is_told_to_wait(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has not started"):
        store.open_reader(tmp_path / "readings.db")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_what_was_stored_before_during_and_after_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    kept = open_new(path, BOOT_UTC_S)
    reader = store.open_reader(path)
    assert store.last_seq(reader) == 0
    add(kept, 1)
    assert store.last_seq(reader) == 1
    store.checkpoint(kept)
    add(kept, 2)
    assert store.last_seq(reader) == 2
    store.close_reader(reader)
    store.close(kept)  # takes the -wal and -shm files away
    reader = store.open_reader(path)
    assert store.last_seq(reader) == 2
    store.close_reader(reader)


def test_a_reader_cannot_write(kept: store.Store) -> None:
    reader = store.open_reader(kept.path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.connection.execute("UPDATE deletable SET seq = 9")
    store.close_reader(reader)


def test_rows_come_in_order_within_the_bounds_but_never_none(kept: store.Store) -> None:
    for seq in range(1, 8):
        add(kept, seq)
    reader = store.open_reader(kept.path)
    lines = {seq: wire.encode(nth(kept, seq)) for seq in range(1, 8)}
    assert store.rows_after(reader, 2, 3, 10**6) == [(n, lines[n]) for n in (3, 4, 5)]
    two = len(lines[1]) + len(lines[2]) + 2
    assert [seq for seq, _ in store.rows_after(reader, 0, 9, two)] == [1, 2]
    assert [seq for seq, _ in store.rows_after(reader, 0, 9, two - 1)] == [1]
    assert [seq for seq, _ in store.rows_after(reader, 0, 9, 1)] == [1]
    assert store.rows_after(reader, 7, 9, 10**6) == []
    assert [seq for seq, _ in store.recent(reader, 3)] == [5, 6, 7]
    assert len(store.recent(reader, 100)) == 7
    store.close_reader(reader)


def test_a_full_disk_is_told_and_the_next_reading_goes_in_when_there_is_room(
    kept: store.Store,
) -> None:
    add(kept, 1)
    pages = pragma(kept, "page_count")
    kept.writer.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"readings\.db.*full.*free some space"):
        add_many(kept, 20)
    stored = store.next_seq(kept) - 1
    assert 1 <= stored < 20
    assert store.load_registers(kept).import_j == 60_000 * stored
    kept.writer.connection.execute("PRAGMA max_page_count = 1000000")
    assert add(kept, stored + 1) == stored + 1


def test_a_day_of_defaults_writes_less_than_a_hundred_mebibytes(kept: store.Store) -> None:
    add(kept, 1)
    log = kept.path.with_name("readings.db-wal")
    before = log.stat().st_size
    add(kept, 2)
    appended = log.stat().st_size - before
    store.save(kept, store.Saved(Registers(120_001, 0), BOOT_UTC_S))
    saved = log.stat().st_size - before - appended
    # each page goes to the log and, at most once more, into the database
    assert 2 * (1440 * appended + 8640 * saved) < 100 * 1024**2


WRITES_UNTIL_KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from meterd import store, wire
from meterd.model import Registers
example = wire.decode(Path(sys.argv[2]).read_bytes().splitlines()[0])
kept = store.open_store(Path(sys.argv[1]), meter=example.meter, now_utc_s=0)
while True:
    seq = store.next_seq(kept)
    reading = replace(example, stream=kept.stream, seq=seq, import_j=seq, export_j=0)
    row = store.reading_row(wire.encode(reading), reading)
    store.append(kept, [row], store.Saved(Registers(seq, 0, 0.5, 0.0), seq))
    print(seq, flush=True)
    if seq % 7 == 0:
        store.checkpoint(kept)
"""


def test_every_reading_that_was_told_stored_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    golden = Path(__file__).parent / "wire" / "readings.ndjson"
    told = 0
    for kill_after in (3, 10, 17, 24):
        with subprocess.Popen(
            [sys.executable, "-c", WRITES_UNTIL_KILLED, str(path), str(golden)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        ) as writer:
            assert writer.stdout is not None
            for _ in range(kill_after):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            told = max([told, *map(int, writer.stdout.read().split()[:-1])])
        reader = store.open_reader(path)  # reads the log that the dead writer left
        seqs = [seq for seq, _ in store.rows_after(reader, 0, 10_000, 10**8)]
        store.close_reader(reader)
        assert seqs == list(range(1, len(seqs) + 1))
        assert told <= len(seqs)
        kept = open_new(path, 0)
        assert store.load_registers(kept) == Registers(len(seqs), 0, 0.5, 0.0)
        store.close(kept)


def test_the_synchronisation_has_no_status_before_it_ran(tmp_path: Path) -> None:
    assert store.read_sync_status(tmp_path / "sync.db") is None
    (tmp_path / "sync.db").touch()
    assert store.read_sync_status(tmp_path / "sync.db") is None


def test_the_status_tells_what_the_server_said_last(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    written = store.open_acknowledged(path)
    assert store.known_hwm(written, "a" * 32) == (0, None)
    assert store.record_failure(written, "no route", refused=False, now_utc_s=5) == 1
    assert store.record_failure(written, "no", refused=True, now_utc_s=6) == 2
    assert store.read_sync_status(path) == store.SyncStatus(None, 0, None, "no", 6, True, 2, 0)
    bad = store.Rejection(3, "invalid", "voltage_v")
    assert store.acknowledge(written, "a" * 32, 5, "e1", [bad], now_utc_s=7) == [bad]
    assert store.acknowledge(written, "a" * 32, 2, "e2", [bad], now_utc_s=8) == []
    assert store.known_hwm(written, "a" * 32) == (2, "e2")
    status = store.SyncStatus("a" * 32, 2, 8, None, None, False, 0, 1)
    assert store.read_sync_status(path) == status
    store.close_acknowledged(written)
    assert store.read_sync_status(path, "a" * 32) == status
    other = store.read_sync_status(path, "b" * 32)
    assert other is not None
    assert (other.stream, other.hwm) == (None, 0)
