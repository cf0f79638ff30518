"""The writer of the record: numbered, signed, and not stopped by a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meterd import evidence, interval, store
from meterd.errors import DiskFullError
from meterd.model import NO_DEMAND, Registers, Stamp
from meterd.record.rows import CHECKPOINT_ROWS, said
from meterd.record.verify import verify
from meterd.recorder import WAITING_MAX, Ended, Recorder
from meterd.store import Ballast, Limits
from tests.records import KEY, add_reading, example, open_new
from tests.test_interval import filled

DAY_S = 86_400


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[store.Store]:
    opened = open_new(tmp_path / "readings.db")
    yield opened
    store.close(opened)


def rows(kept: store.Store) -> list[bytes]:
    return [bytes(line) for (line,) in kept.writer.connection.execute("SELECT line FROM record")]


def kinds(kept: store.Store) -> list[str]:
    return [said(line).kind for line in rows(kept)]


def ended(minute: int, import_j: int | None = None) -> Ended:
    counted = Registers(24_000 * minute if import_j is None else import_j, 0)
    end_utc_s = 1_763_846_400 + 60 * minute
    return Ended(
        replace(filled(15), end_utc_s=end_utc_s),
        counted,
        NO_DEMAND,
        Stamp(1, 60_000 * minute, end_utc_s, "synced"),
        60,
    )


def writer(kept: store.Store, **how: object) -> Recorder:
    return Recorder(kept, KEY, lambda: Stamp(1, 0, 1_763_846_400, "synced"), **how)  # type: ignore[arg-type]


def fill(kept: store.Store, room_pages: int = 0) -> None:
    """The database may not grow any more."""
    (pages,) = kept.writer.connection.execute("PRAGMA page_count").fetchone()
    kept.writer.connection.execute(f"PRAGMA max_page_count = {pages + room_pages}")


def empty(kept: store.Store) -> None:
    kept.writer.connection.execute("PRAGMA max_page_count = 1000000")


def test_fifteen_rows_at_most_wait_for_a_signature(kept: store.Store) -> None:
    recorder = writer(kept)
    for minute in range(1, 46):
        recorder.reading(ended(minute))
        assert store.unsigned_rows(kept) < CHECKPOINT_ROWS
    assert kinds(kept) == [*["reading"] * 15, "checkpoint"] * 3


def test_an_event_is_signed_at_once_with_what_stood_before_it(kept: store.Store) -> None:
    recorder = writer(kept)
    recorder.reading(ended(1))
    recorder.event("boot", {"version": "1"})
    assert kinds(kept) == ["reading", "event", "checkpoint"]
    recorder.seal()
    assert kinds(kept)[3:] == []  # nothing is left to be signed


def test_a_full_disk_makes_readings_wait_and_they_go_in_in_their_order(kept: store.Store) -> None:
    recorder = writer(kept)
    for minute in range(1, 4):
        recorder.reading(ended(minute))
    fill(kept)
    for minute in range(4, 40):
        recorder.reading(ended(minute))
    assert (recorder.full, recorder.waiting > 20) == (True, True)
    recorder.tell("dip", {"duration_s": 0.1})
    empty(kept)
    recorder.save(Registers(24_000 * 39 + 5, 0), NO_DEMAND)
    assert (recorder.full, recorder.waiting) == (False, 0)
    seqs = [said(line).seq for line in rows(kept)]
    assert seqs == list(range(1, len(seqs) + 1))
    energies = [said(line).import_j for line in rows(kept) if said(line).kind == "reading"]
    assert energies == [24_000 * minute for minute in range(1, 40)]
    assert store.load_registers(kept).import_j == 24_000 * 39 + 5
    told = [said(line).event for line in rows(kept) if said(line).kind == "event"]
    assert told == ["fault", "dip", "fault_over"]


def test_an_order_is_not_carried_out_while_it_cannot_be_recorded(kept: store.Store) -> None:
    recorder = writer(kept)
    recorder.reading(ended(1))
    fill(kept)
    for minute in range(2, 20):
        recorder.reading(ended(minute))
    with pytest.raises(DiskFullError, match="command"):
        recorder.event("command", {"state": "accepted"})
    empty(kept)
    recorder.event("command", {"state": "accepted"})
    told = [said(line).event for line in rows(kept) if said(line).kind == "event"]
    assert told == ["fault", "fault_over", "command"]


def test_what_waits_is_bounded_and_the_oldest_profile_goes_first(kept: store.Store) -> None:
    recorder = writer(kept)
    recorder.reading(ended(1))
    fill(kept)
    for minute in range(2, WAITING_MAX + 60):
        recorder.reading(ended(minute))
    assert recorder.waiting == WAITING_MAX


def test_on_a_full_disk_rows_that_the_server_has_go_and_no_others(kept: store.Store) -> None:
    recorder = writer(kept, acknowledged_seq=lambda: 100)
    for minute in range(1, 141):
        recorder.reading(ended(minute))
    fill(kept)
    for minute in range(141, 200):
        recorder.reading(ended(minute))
    assert not recorder.full
    first = said(rows(kept)[0]).seq
    assert first == 101
    gone = [line for line in rows(kept) if said(line).event == "pruned"]
    assert len(gone) == 1
    assert b'"because":"full disk"' in gone[0]


def test_the_ballast_gives_the_room_that_a_deletion_needs(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path, 1024 * 1024)
    assert ballast.lay()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1024 * 1024
    assert ballast.release()
    assert not ballast.release()
    assert not Ballast(tmp_path, 0).lay()


def aged(kept: store.Store, days: int, acknowledged: int) -> Recorder:
    """A row a day, the oldest first."""
    for day in range(days, 0, -1):
        end_utc_s = 1_763_846_400 - day * DAY_S
        seq = store.next_seq(kept)
        reading = example(kept, seq, end_utc_s=end_utc_s, import_j=seq, export_j=0)
        add_reading(kept, reading, Registers(seq, 0))
    return writer(kept, acknowledged_seq=lambda: acknowledged, limits=Limits(400 * DAY_S))


def test_rows_stay_400_days_and_after_that_until_the_server_has_them(kept: store.Store) -> None:
    recorder = aged(kept, 420, acknowledged=10)
    recorder.tidy()
    assert said(rows(kept)[0]).seq == 11  # 20 are too old, ten of them are not on the server
    pruned = [line for line in rows(kept) if said(line).event == "pruned"]
    assert b'"first_seq":1,"last_seq":10,"because":"age"' in pruned[0]


def test_a_record_over_its_size_gives_up_the_oldest_that_the_server_has(kept: store.Store) -> None:
    recorder = aged(kept, 300, acknowledged=250)
    recorder.tidy()
    assert said(rows(kept)[0]).seq == 1  # young enough, and small enough
    small = writer(kept, acknowledged_seq=lambda: 250, limits=Limits(400 * DAY_S, 100_000))
    small.tidy()
    assert said(rows(kept)[0]).seq == 251


def test_the_rest_of_a_pruned_record_still_verifies(kept: store.Store) -> None:
    recorder = aged(kept, 420, acknowledged=30)
    recorder.event(
        "boot",
        {},
        {f"public_key {KEY.public.fingerprint}": KEY.public.text},
    )
    recorder.tidy()
    recorder.seal()
    reader = store.open_reader(kept.path)
    claimed = evidence.claimed(reader, None, None)
    report = verify((line for _, line in store.every_row(reader)), claimed)
    store.close_reader(reader)
    assert claimed.first_seq == 21
    assert report.verdict == "sound", report.problems


def test_an_interval_in_the_recorder_is_the_reading_of_the_interval(kept: store.Store) -> None:
    writer(kept).reading(ended(1))
    (line,) = rows(kept)
    row = said(line)
    assert (row.boot, row.boottime_ms, row.end_utc_s) == (1, 60_000, 1_763_846_460)
    assert interval.interval_end(row.end_utc_s or 0, 60) == row.end_utc_s
