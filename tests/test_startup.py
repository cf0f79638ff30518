"""Before the first window: what is damaged is put aside, and no register falls for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterd import config, startup, store
from meterd.config import Config
from meterd.errors import KeyUnusableError
from meterd.model import Registers
from meterd.record.keys import create_key, key_folder, load_keys, load_or_create
from meterd.record.rows import said
from meterd.record.signing import SigningKey
from meterd.timekeeping import Clocks
from tests.chain import NOMINAL
from tests.records import KEY, add_reading, example, open_new
from tests.test_daemon import CONFIG

NOW = 1_800_000_000


@pytest.fixture
def chosen(tmp_path: Path) -> Config:
    (tmp_path / "meterd.toml").write_text(CONFIG.format(interval_s=60))
    (tmp_path / "state").mkdir()
    return config.load(tmp_path / "meterd.toml")


def fill(chosen: Config, rows: int = 60) -> str:
    kept = open_new(chosen.meter.readings_path, NOW)
    for seq in range(1, rows + 1):
        reading = example(kept, seq, import_j=60_000 * seq, export_j=7, end_utc_s=NOW + 60 * seq)
        add_reading(kept, reading, Registers(60_000 * seq, 7))
    store.copy_registers(kept.path, store.Saved(Registers(60_000 * rows - 5, 7), NOW))
    store.close(kept)
    return kept.stream


def start(chosen: Config, keys: list[SigningKey] | None = None) -> store.Store:
    """Open, tell the start, close; what was opened."""
    kept = startup.open_record(chosen, now_utc_s=NOW + 9999)
    try:
        clocks = Clocks(lambda: 7.0, lambda: float(NOW + 9999), lambda: "synced")
        time = startup.keep_time(kept.store, clocks, 1)
        recorder = startup.new_recorder(kept, chosen, (keys or [KEY])[-1], time, lambda: 0)
        told = startup.Start(chosen, (NOMINAL,))
        startup.record_start(kept, recorder, keys or [KEY], told, "b" * 36)
    finally:
        store.close(kept.store)
    return kept.store


def events(chosen: Config) -> Iterator[str]:
    reader = store.open_reader(chosen.meter.readings_path)
    rows = [said(line) for _, line in store.every_row(reader)]
    store.close_reader(reader)
    return (row.event for row in rows if row.event is not None)


def damage(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def registers(chosen: Config) -> Registers:
    kept = open_new(chosen.meter.readings_path)
    try:
        return store.load_registers(kept)
    finally:
        store.close(kept)


def test_a_sound_record_is_continued(chosen: Config) -> None:
    stream = fill(chosen)
    assert start(chosen).stream == stream
    assert list(events(chosen)) == ["boot", "calibration"]


def test_a_record_with_a_damaged_head_is_put_aside_and_counting_goes_on_from_the_copy(
    chosen: Config,
) -> None:
    path = chosen.meter.readings_path
    stream = fill(chosen)
    damage(path, 0, b"\xff" * 4096)
    opened = start(chosen)
    assert opened.stream != stream
    (aside,) = path.parent.glob("readings.db.damaged-*")
    assert aside.read_bytes()[:16] == b"\xff" * 16  # kept as it was found
    assert registers(chosen).import_j == 60_000 * 60 - 5
    assert next(events(chosen)) == "quarantine"


def test_a_record_with_a_damaged_page_gives_its_own_registers(chosen: Config) -> None:
    path = chosen.meter.readings_path
    fill(chosen)
    size = path.stat().st_size
    damage(path, size - 3 * 1024, b"\xa5" * 3072)  # the youngest rows
    start(chosen)
    assert list(path.parent.glob("readings.db.damaged-*"))
    assert registers(chosen) == Registers(60_000 * 60, 7)


def test_a_row_that_does_not_fit_its_hash_is_damage(chosen: Config) -> None:
    path = chosen.meter.readings_path
    fill(chosen)
    content = path.read_bytes()
    at = content.index(b'"import_j":3540000')
    damage(path, at, b'"import_j":3540001')
    start(chosen)
    assert list(path.parent.glob("readings.db.damaged-*"))


def test_nothing_known_is_said_and_not_made_up(chosen: Config) -> None:
    path = chosen.meter.readings_path
    fill(chosen)
    (path.parent / "registers.json").unlink()
    damage(path, 0, b"\xff" * path.stat().st_size)
    start(chosen)
    assert registers(chosen) == Registers()


def test_a_suspected_record_is_looked_at_and_then_trusted_again(chosen: Config) -> None:
    fill(chosen)
    suspect = store.suspect(chosen.meter.readings_path)
    suspect.touch()
    start(chosen)
    assert not suspect.exists()


def test_the_kernel_s_starts_are_counted_and_the_program_s_are_not(chosen: Config) -> None:
    fill(chosen)
    start(chosen)
    kept = open_new(chosen.meter.readings_path)
    try:
        assert startup.boot_number(kept, "b" * 36) == 1
        assert startup.boot_number(kept, "c" * 36) == 2
    finally:
        store.close(kept)


def test_a_new_key_is_introduced_by_the_old_one_once(chosen: Config, tmp_path: Path) -> None:
    fill(chosen)
    folder = tmp_path / "keys"
    first = load_or_create(folder)
    start(chosen, first)
    create_key(folder)
    both = load_keys(folder)
    assert both[0] == first[0] or both[0].public == first[0].public
    start(chosen, both)
    start(chosen, both)
    assert [event for event in events(chosen) if event == "key"] == ["key"]


def test_a_record_whose_key_is_gone_is_not_signed_by_another(chosen: Config) -> None:
    fill(chosen)
    start(chosen)
    other = create_key(chosen.meter.state_dir / "other")[1]
    with pytest.raises(KeyUnusableError, match="not among this meter's keys"):
        start(chosen, [other])


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path, _ = create_key(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(KeyUnusableError, match="chmod 600"):
        load_keys(tmp_path)


def test_systemd_s_credentials_come_before_the_meter_s_own_folder(tmp_path: Path) -> None:
    given, own = tmp_path / "credentials", tmp_path / "state"
    given.mkdir()
    assert key_folder(own, {"CREDENTIALS_DIRECTORY": str(given)}) == own / "keys"
    path, key = create_key(given)
    path.rename(given / "keys_signing-1.key")
    (given / "keys_signing-1.key").chmod(0o440)  # as systemd makes them
    found = key_folder(own, {"CREDENTIALS_DIRECTORY": str(given)})
    assert [one.public for one in load_keys(found)] == [key.public]
    assert key_folder(own, {}) == own / "keys"


def test_the_same_files_have_the_same_hash_and_it_is_a_sha_256() -> None:
    assert startup.program_hash() == startup.program_hash()
    assert len(bytes.fromhex(startup.program_hash())) == 32
