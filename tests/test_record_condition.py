"""What meterctl status tells of the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterd import config, record_condition, store
from meterd.record.signing import shown
from meterd.record_condition import has_wal_bug
from tests.records import KEY, open_new, recorder
from tests.test_daemon import CONFIG


@pytest.fixture
def chosen(tmp_path: Path) -> config.Config:
    (tmp_path / "meterd.toml").write_text(CONFIG.format(interval_s=60))
    (tmp_path / "state").mkdir()
    return config.load(tmp_path / "meterd.toml")


def look(chosen: config.Config) -> record_condition.RecordCondition:
    reader = store.open_reader(chosen.meter.readings_path)
    try:
        return record_condition.look(chosen, reader)
    finally:
        store.close_reader(reader)


def test_faults_since_the_start_are_told_until_they_are_over(chosen: config.Config) -> None:
    kept = open_new(chosen.meter.readings_path)
    writer = recorder(kept)
    writer.tell("fault", {"part": "adc", "said": "before the start"})
    writer.tell("boot", {}, {"signer": KEY.public.fingerprint})
    writer.tell("fault", {"part": "display", "said": "gone"})
    writer.tell("fault", {"part": "disk", "said": "full"})
    assert look(chosen).faults == (("display", "gone"), ("disk", "full"))
    assert "the display failed: gone" in record_condition.problems(look(chosen))
    writer.tell("fault_over", {"part": "disk"})
    writer.tell("fault_over", {"part": "display"})
    found = look(chosen)
    store.close(kept)
    assert found.faults == ()
    assert list(record_condition.problems(found)) == []
    assert f"key      {shown(KEY.public.fingerprint)}" in record_condition.in_words(found)
    assert (found.unsigned_rows, found.clock) == (0, "synced")


def test_a_damaged_record_beside_it_is_named_with_what_to_do(chosen: config.Config) -> None:
    kept = open_new(chosen.meter.readings_path)
    recorder(kept).tell("boot", {})
    store.close(kept)
    chosen.meter.readings_path.with_name("readings.db.damaged-7").touch()
    chosen.meter.readings_path.with_name("readings.db.damaged-7-wal").touch()
    (told,) = record_condition.problems(look(chosen))
    assert "readings.db.damaged-7:" in told
    assert "keep it" in told


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_which_versions_of_sqlite_need_a_single_writer(
    version: tuple[int, int, int], affected: bool
) -> None:
    """The list of https://www.sqlite.org/wal.html#walresetbug."""
    assert has_wal_bug(version) is affected
