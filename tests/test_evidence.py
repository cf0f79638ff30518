"""The record handed out and checked, by the commands that people type."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pyocmf.core.ocmf import OCMF

from meterd import cli, config, evidence, startup, store
from meterd.evidence import Range
from meterd.model import Registers
from meterd.record.keys import load_or_create
from meterd.record.rows import said
from tests.records import add_reading, example, open_new, recorder
from tests.test_daemon import CONFIG

BEGIN = 1_763_846_400
MINUTES = 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A meter that imported 1.8 MJ and exported 0.9 MJ in forty minutes, and was stopped."""
    (tmp_path / "meterd.toml").write_text(CONFIG.format(interval_s=60))
    chosen = config.load(tmp_path / "meterd.toml")
    chosen.meter.state_dir.mkdir()
    keys = load_or_create(chosen.meter.state_dir / "keys")
    kept = open_new(chosen.meter.readings_path)
    writer = recorder(kept)
    writer.use_key(keys[-1])
    opened = startup.Opened(kept)
    start = startup.Start(chosen, ())
    startup.record_start(opened, writer, keys, _without_circuits(start), "b" * 36)
    for minute in range(MINUTES + 1):
        seq = store.next_seq(kept)
        counted = Registers(45_000 * minute, 22_500 * minute)
        reading = example(
            kept,
            seq,
            end_utc_s=BEGIN + 60 * minute,
            import_j=counted.import_j,
            export_j=counted.export_j,
        )
        add_reading(kept, reading, counted)
    writer = recorder(kept)
    writer.use_key(keys[-1])
    writer.tell("stop", {})
    store.close(kept)
    return tmp_path


def _without_circuits(start: startup.Start) -> startup.Start:
    calibrations = tuple(
        config.load_calibration(Path("absent"), circuit.role) for circuit in start.config.in_order
    )
    return startup.Start(start.config, calibrations)


def meterctl(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.meterctl, [*words, "--config", str(folder / "meterd.toml")])


def test_an_untouched_record_is_sound_where_it_lies_and_as_a_file(folder: Path) -> None:
    done = meterctl(folder, "verify")
    assert done.exit_code == 0, done.output
    assert "sound: every row is as the meter wrote it" in done.output
    assert "import    0.0000 to 0.5000 kWh" in done.output
    assert "export    0.0000 to 0.2500 kWh" in done.output
    file = folder / "out.ndjson"
    assert meterctl(folder, "export", "-o", str(file)).exit_code == 0
    done = meterctl(folder, "verify", str(file), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["rows"] == file.read_bytes().count(b"\n") - 1


def test_a_changed_file_is_called_tampered_and_a_cut_one_incomplete(folder: Path) -> None:
    file = folder / "out.ndjson"
    meterctl(folder, "export", "-o", str(file))
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"import_j":450000', b'"import_j":450001'))
    done = meterctl(folder, "verify", str(file))
    assert done.exit_code == 1
    assert "TAMPERED" in done.output
    file.write_bytes(b"".join(content.splitlines(keepends=True)[:-3]))
    done = meterctl(folder, "verify", str(file))
    assert done.exit_code == 2
    assert "incomplete" in done.output


def test_the_key_from_elsewhere_is_believed_and_the_file_s_own_is_not(folder: Path) -> None:
    file, other = folder / "out.ndjson", folder / "other"
    meterctl(folder, "export", "-o", str(file))
    shown = meterctl(folder, "key", "show").output
    digits, text = shown.splitlines()
    assert digits in meterctl(folder, "verify", str(file)).output
    (folder / "meter.pub").write_text(shown)
    done = meterctl(folder, "verify", str(file), "--key", str(folder / "meter.pub"))
    assert done.exit_code == 0, done.output
    made = meterctl(folder, "key", "create", "--folder", str(other)).output
    assert text not in made
    (folder / "forger.pub").write_text(made)
    done = meterctl(folder, "verify", str(file), "--key", str(folder / "forger.pub"))
    assert done.exit_code == 1


def test_a_row_changed_in_the_database_is_found_where_it_lies(folder: Path) -> None:
    kept = open_new(folder / "state" / "readings.db")
    writing = kept.writer.connection
    writing.execute("DROP TRIGGER rows_are_never_changed")
    line, seq = writing.execute(
        "SELECT line, seq FROM record WHERE kind = 'reading' ORDER BY seq LIMIT 1"
    ).fetchone()
    changed = bytes(line).replace(b'"voltage_v":126.982', b'"voltage_v":226.982')
    assert changed != line
    writing.execute("UPDATE record SET line = ? WHERE seq = ?", (changed, seq))
    store.close(kept)
    done = meterctl(folder, "verify")
    assert done.exit_code == 1
    assert "signs another history" in done.output


def test_a_part_of_the_time_is_a_file_of_its_own(folder: Path) -> None:
    file = folder / "part.ndjson"
    begin, end = "2025-11-22T21:30:00", "2025-11-22T21:40:00"
    done = meterctl(folder, "export", "--from", begin, "--to", end, "-o", str(file))
    assert done.exit_code == 0, done.output
    rows = file.read_bytes().splitlines()[1:]
    assert said(rows[-1]).kind == "checkpoint"  # the signature that covers those ten minutes
    first = next(said(row) for row in rows if said(row).kind == "reading")
    assert first.end_utc_s == 1_763_847_000
    assert meterctl(folder, "verify", str(file)).exit_code == 0


def test_a_table_has_the_readings_and_no_cell_that_a_spreadsheet_would_run(folder: Path) -> None:
    done = meterctl(folder, "export", "--format", "csv")
    table = list(csv.DictReader(io.StringIO(done.output)))
    assert len(table) == MINUTES + 1
    assert table[-1]["import_j"] == str(45_000 * MINUTES)
    assert table[0]["end_utc_s"] == str(BEGIN)
    assert evidence._cell("=1+1") == "'=1+1"
    assert evidence._cell(-12.5) == "-12.5"  # a number stays one
    assert evidence._cell(None) == ""


def test_ocmf_is_verified_by_a_program_of_others(folder: Path) -> None:
    """pyocmf checks format and signature; 45 kJ a minute for forty minutes are 0.5 kWh."""
    done = meterctl(folder, "export", "--format", "ocmf")
    assert done.exit_code == 0, done.output
    text = done.output.strip()
    record = OCMF.from_string(text, strict=True)
    public_key = json.loads(meterctl(folder, "key", "show", "--json").output)["public_key"]
    assert record.verify_signature(public_key)
    values = {(str(row.RI), str(row.TX)): row.RV for row in record.payload.RD}
    assert [str(value) for value in values.values()] == ["0.0000", "0.0000", "0.5000", "0.2500"]
    forged = OCMF.from_string(text.replace("0.5000", "0.4000"))
    with pytest.raises(Exception, match=r"(?i)signature|verif"):
        assert forged.verify_signature(public_key), "signature does not fit"


def test_events_are_told_with_their_dates(folder: Path) -> None:
    done = meterctl(folder, "events")
    names = [line.split()[4] for line in done.output.splitlines()]
    assert names == ["boot", "calibration", "stop"]


def test_an_empty_record_is_not_called_sound(tmp_path: Path) -> None:
    kept = open_new(tmp_path / "readings.db")
    store.close(kept)
    reader = store.open_reader(tmp_path / "readings.db")
    with pytest.raises(Exception, match="no signed row"):
        list(evidence.ndjson(reader, Range(), None))
    store.close_reader(reader)
