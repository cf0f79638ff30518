"""meterctl and meterd as their users call them, good input and bad."""

from __future__ import annotations

import json
import re
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from meterd import cli, config, interval, store
from meterd.model import Registers
from tests.records import add_reading
from tests.test_interval import ORIGIN, filled

CONFIG = """
[meter]
serial = "MX-1"
state_dir = "state"
[adc]
device = "simulated"
[[circuit]]
voltage_channel = 0
current_channel = 1
[display]
device = "simulated"
[simulation]
mains = "voltage=127 current=8 pf=1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meterd.toml").write_text(CONFIG)
    (tmp_path / "state").mkdir()
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.meterctl, arguments)


def at(folder: Path) -> tuple[str, str]:
    return ("--config", str(folder / "meterd.toml"))


def sine(path: Path, seconds: float = 2.0) -> Path:
    t_s = np.arange(round(seconds * 6000)) / 6000.0
    volts = 127.0 * np.sqrt(2) * np.sin(2 * pi * 60.0 * t_s)
    amps = 10.0 * np.sqrt(2) * np.sin(2 * pi * 60.0 * t_s - pi / 3)
    np.savez(path, fs=6000.0, volts=volts, amps=amps)
    return path


KEYS = {
    "duration_s", "windows", "frequency_hz", "voltage_v", "current_a", "power_w", "apparent_va",
    "reactive_var", "nonactive_var", "power_factor", "phase_deg", "thd_voltage_pct",
    "thd_current_pct", "import_j", "export_j", "harmonics",
}  # fmt: skip


def test_analyze_tells_a_program_every_quantity(tmp_path: Path) -> None:
    done = call("analyze", str(sine(tmp_path / "a.npz")), "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert said.keys() >= KEYS
    assert said["windows"] == 10
    assert said["power_w"] == pytest.approx(635.0, rel=1e-4)
    assert said["import_j"] == pytest.approx(1270, abs=2)
    assert said["harmonics"]["voltage_v"][0] == pytest.approx(127.0, rel=1e-4)
    assert len(said["harmonics"]["current_a"]) >= 40


def test_analyze_measures_a_csv_like_the_same_npz(tmp_path: Path) -> None:
    npz = sine(tmp_path / "a.npz")
    with np.load(npz) as arrays:
        rows = zip(np.arange(12_000) / 6000.0, arrays["volts"], arrays["amps"], strict=True)
        text = "\n".join(f"{t!r},{v!r},{a!r}" for t, v, a in (map(float, row) for row in rows))
    (tmp_path / "a.csv").write_text(f"time_s,voltage_v,current_a\n{text}\n")
    one = json.loads(call("analyze", str(npz), "--json").stdout)
    other = json.loads(call("analyze", str(tmp_path / "a.csv"), "--json").stdout)
    assert other["power_w"] == pytest.approx(one["power_w"], rel=1e-9)


def test_analyze_says_when_a_recording_is_shorter_than_a_window(tmp_path: Path) -> None:
    done = call("analyze", str(sine(tmp_path / "a.npz", 0.12)), "--json")
    said = json.loads(done.stdout)
    assert said["windows"] == 0
    assert said["power_w"] == pytest.approx(635.0, rel=1e-3)
    assert "measured over its 7 whole cycles" in said["remarks"][0]


def test_analyze_speaks_to_people_too(tmp_path: Path) -> None:
    done = call("analyze", str(sine(tmp_path / "a.npz")), "--adc")
    assert done.exit_code == 0
    assert "voltage       12" in done.stdout
    assert "(imported)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing.npz",), "no such file"),
        (("a.npz", "--from", "9"), "reaches from 0 s"),
        (("flat.npz",), "no mains voltage"),
    ],
)
def test_analyze_refuses_what_is_no_waveform_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    sine(tmp_path / "a.npz")
    np.savez(tmp_path / "flat.npz", fs=6000.0, volts=np.zeros(6000), amps=np.zeros(6000))
    done = call("analyze", *arguments)
    output = done.stdout + done.stderr
    assert said in output
    assert "Traceback" not in output
    assert (done.exit_code == 0) == (arguments == ("flat.npz",))


def test_an_unknown_key_of_the_configuration_is_named(folder: Path) -> None:
    (folder / "meterd.toml").write_text(CONFIG + "seeed = 3\n")
    done = CliRunner().invoke(cli.meterd, at(folder))
    assert done.exit_code == cli.EXIT_CONFIG
    assert "seeed" in done.stderr


def test_check_tries_adc_display_and_folder(folder: Path) -> None:
    done = call("check", *at(folder))
    assert done.exit_code == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 4
    assert "60.000 Hz" in done.stdout


def test_check_names_a_device_that_is_not_there(folder: Path) -> None:
    real = CONFIG.replace('device = "simulated"', "", 2).split("[simulation]")[0]
    (folder / "meterd.toml").write_text(real)
    done = call("check", "--json", *at(folder))
    assert done.exit_code == 1
    findings = {item["what"]: item for item in json.loads(done.stdout)}
    assert "/dev/spidev0.0" in findings["ADC"]["said"]
    assert "/dev/i2c-1" in findings["display"]["said"]
    assert findings["state folder"]["ok"]


def test_a_meter_without_its_adc_ends_with_a_sentence(folder: Path) -> None:
    real = CONFIG.replace('device = "simulated"', "", 2).split("[simulation]")[0]
    (folder / "meterd.toml").write_text(real)
    done = CliRunner().invoke(cli.meterd, at(folder))
    assert done.exit_code == 1
    assert "cannot open /dev/spidev0.0" in done.stderr


def stored(folder: Path, count: int, now_utc_s: int) -> None:
    meter = config.load(folder / "meterd.toml").meter
    record = store.open_store(meter.readings_path, meter=meter.serial, now_utc_s=0)
    try:
        for seq in range(1, count + 1):
            origin = interval.Origin("1.1", record.meter, record.stream, seq, ORIGIN.stamp)
            registers = Registers(24_000 * seq, 0)
            current = interval.Interval(
                now_utc_s - 60 * (count - seq), filled(300).recent, filled(300).aggregates
            )
            row = interval.reading(current, registers, origin, 60)
            add_reading(record, row, registers)
    finally:
        store.close(record)


def test_status_tells_what_is_wrong_and_what_to_do(folder: Path) -> None:
    done = call("status", *at(folder))
    assert done.exit_code == 1
    assert "systemctl start meterd" in done.stdout


def test_status_of_a_meter_at_work_is_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(folder, 3, 1_763_856_000)
    monkeypatch.setattr("time.time", lambda: 1_763_856_010.0)
    done = call("status", *at(folder))
    assert done.exit_code == 0, done.stdout
    assert "import   0.0200 kWh" in done.stdout
    assert "all is well" in done.stdout
    said = json.loads(call("status", "--json", *at(folder)).stdout)
    assert (said["last_seq"], said["import_j"], said["problems"]) == (3, 72_000, [])


def test_status_of_a_silent_meter_says_since_when(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(folder, 1, 1_763_856_000)
    monkeypatch.setattr("time.time", lambda: 1_763_857_000.0)
    done = call("status", *at(folder))
    assert done.exit_code == 1
    assert "1000 s old" in done.stdout


def test_readings_are_a_table_for_people_and_the_stored_lines_for_programs(folder: Path) -> None:
    stored(folder, 3, 1_763_856_000)
    assert "0.0133" in call("readings", *at(folder)).stdout
    lines = call("readings", "--json", "-n", "2", *at(folder)).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2, 3]


def test_a_claim_without_a_server_says_what_is_missing(folder: Path) -> None:
    done = call("claim", "K7QM-2XWD", *at(folder))
    assert done.exit_code == cli.EXIT_CONFIG
    assert "[sync] server" in done.stderr


def test_a_claim_of_a_server_that_is_down_says_so_and_leaves_nothing(folder: Path) -> None:
    text = CONFIG + '[sync]\nserver = "http://127.0.0.1:9"\ntimeout_s = 2\n'
    (folder / "meterd.toml").write_text(text)
    done = call("claim", "K7QM-2XWD", *at(folder))
    assert done.exit_code == 1
    assert "127.0.0.1:9" in done.stderr
    assert not config.load(folder / "meterd.toml").meter.credential_path.exists()


def test_calibrate_writes_what_changed_and_shows_it(folder: Path) -> None:
    done = call("calibrate", "voltage", "130.0", "--seconds", "1", *at(folder))
    assert done.exit_code == 0, done.stderr
    assert "voltage_v_per_code" in done.stdout
    found = config.load_calibration(config.calibration_path(folder / "meterd.toml"))
    assert found.voltage_v_per_code == pytest.approx(500 / 1024 * 130 / 127, rel=1e-3)


def test_calibrate_refuses_and_changes_nothing(folder: Path) -> None:
    done = call("calibrate", "voltage", "1270", "--seconds", "1", *at(folder))
    assert done.exit_code == 1
    assert "factor of two" in done.stderr
    assert not config.calibration_path(folder / "meterd.toml").exists()


@pytest.mark.parametrize("command", sorted(cli.meterctl.commands))
def test_every_command_explains_itself(command: str) -> None:
    done = call(command, "--help")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) > 5


def test_check_says_whether_a_second_voltage_is_in_step(folder: Path) -> None:
    leg = '[[circuit]]\nrole = "leg2"\nvoltage_channel = 2\ncurrent_channel = 3\n'
    words = 'leg2 = "voltage=128 current=2 pf=1 angle={angle}"\n'
    # 128 V are 0.79 % above 127 V; the noise of 1.2 s is in the last digit.
    in_step = r"leg2 in step: ΔV \+0\.(7[5-9]|8[0-3]) %, Δf [+-]0\.0\d\d Hz, Δφ \+[23]\.\d\d°"
    for angle, said in (("3", in_step), ("180", r"leg2 not in step: Δφ")):
        text = CONFIG.replace("[display]", f"{leg}[display]") + words.format(angle=angle)
        (folder / "meterd.toml").write_text(text)
        assert re.search(said, call("check", *at(folder)).stdout)
