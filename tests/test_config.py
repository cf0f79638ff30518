"""The configuration: a typo must be found by its name, before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterd import config
from meterd.errors import ConfigError
from meterd.model import Calibration

SMALLEST = """
[meter]
serial = "MX-000001"
[[circuit]]
role = "grid"
voltage_channel = 0
current_channel = 1
"""

WHOLE = """
[meter]
serial = "MX-000001"
state_dir = "state"
interval_s = 5
nominal_hz = 50
nominal_v = 230
[adc]
device = "simulated"
bus = 1
chip_select = 1
speed_hz = 1000000
vref_v = 5
batch = 511
[[circuit]]
role = "grid"
voltage_channel = 6
current_channel = 7
[display]
device = "none"
port = 3
address = 0x3F
page_s = 2.5
language = "en"
[sync]
server = "https://meters.example:8443/base/"
every_s = 5
timeout_s = 3
[simulation]
mains = "voltage=230 current=1"
waveform = "fridge.npz"
noise_codes = 0
seed = 7
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "meterd.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_smallest_configuration_has_the_documented_defaults(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path, SMALLEST))
    assert loaded.meter == config.Meter("MX-000001", Path("/var/lib/meterd"), 60, 60, 127.0)
    assert loaded.adc == config.Adc("spidev", 0, 0, 1_350_000, 3.3, 0)
    assert loaded.display == config.Display("i2c", 1, 0x27, 4.0, "es")
    assert loaded.sync == config.Sync("", 60, 10.0)
    assert loaded.simulation is None
    assert loaded.grid == config.Circuit(voltage_channel=0, current_channel=1)


def test_every_key_that_is_written_is_read(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path, WHOLE))
    assert loaded.meter == config.Meter("MX-000001", tmp_path / "state", 5, 50, 230.0)
    assert loaded.adc == config.Adc("simulated", 1, 1, 1_000_000, 5.0, 511)
    assert loaded.grid == config.Circuit(6, 7, "grid")
    assert loaded.display == config.Display("none", 3, 0x3F, 2.5, "en")
    assert loaded.sync == config.Sync("https://meters.example:8443/base", 5, 3.0)
    assert loaded.simulation == config.Simulation(
        mains="voltage=230 current=1",
        waveform=tmp_path / "fridge.npz",
        noise_codes=0.0,
        seed=7,
    )


def test_an_absent_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration at .*meterd\.toml: write one"):
        config.load(tmp_path / "meterd.toml")


def test_a_folder_in_place_of_the_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        config.load(tmp_path)


def test_text_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    assert "line 2" in refusal(tmp_path, "[meter]\nserial = \n")


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "meterd.toml"
    path.write_bytes(b'[meter]\nserial = "\xff"\n')
    with pytest.raises(ConfigError, match="not TOML"):
        config.load(path)


@pytest.mark.parametrize("table", ["meter", "adc", "display", "sync", "simulation"])
def test_an_unknown_key_is_named_with_its_table(tmp_path: Path, table: str) -> None:
    message = refusal(tmp_path, WHOLE.replace(f"[{table}]", f"[{table}]\nintervall_s = 60"))
    assert f"[{table}]" in message
    assert "intervall_s" in message


def test_an_unknown_key_of_a_circuit_and_an_unknown_table_are_named(tmp_path: Path) -> None:
    assert "`gain`" in refusal(tmp_path, SMALLEST + "gain = 3\n")
    assert "`displya`" in refusal(tmp_path, SMALLEST + "[displya]\nport = 1\n")


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("interval_s = 5", "interval_s = 0", ["[meter]", "interval_s", "= 0", "1 to 3600"]),
        ("interval_s = 5", "interval_s = 7", ["[meter]", "interval_s", "= 7", "divide a day"]),
        ("interval_s = 5", "interval_s = 5.0", ["interval_s", "5.0", "whole seconds"]),
        ("interval_s = 5", "interval_s = true", ["interval_s", "True", "whole seconds"]),
        ("nominal_hz = 50", "nominal_hz = 55", ["[meter]", "nominal_hz", "55", "50 or 60"]),
        ("nominal_v = 230", "nominal_v = nan", ["[meter]", "nominal_v", "nan", "finite"]),
        ('serial = "MX-000001"', 'serial = "MX 1"', ["[meter]", "serial", "MX 1", "1 to 32"]),
        ('serial = "MX-000001"', 'serial = "A\\n"', ["serial", "1 to 32"]),
        ('serial = "MX-000001"', "", ["[meter]", "serial", "missing"]),
        ('state_dir = "state"', "state_dir = 3", ["[meter]", "state_dir", "3", "a folder"]),
        ('"simulated"', '"fake"', ["[adc]", "device", "fake", '"spidev" or "simulated"']),
        ("batch = 511", "batch = 512", ["[adc]", "batch", "512", "511"]),
        ("speed_hz = 1000000", "speed_hz = 5000000", ["[adc]", "speed_hz", "3600000"]),
        ("voltage_channel = 6", "voltage_channel = 8", ["[[circuit]]", "8", "0 to 7"]),
        ("voltage_channel = 6", "voltage_channel = 7", ["= 7", "channel of its own"]),
        ('role = "grid"', 'role = "solar"', ["[[circuit]]", "0 ", "exactly one"]),
        ('role = "grid"', 'role = "leg3"', ["[[circuit]]", "leg3", '"grid"']),
        ("address = 0x3F", "address = 0x30", ["[display]", "address", "0x38"]),
        ('language = "en"', 'language = "fr"', ["[display]", "language", "fr", '"es" or "en"']),
        ("timeout_s = 3", "timeout_s = 0", ["[sync]", "timeout_s", "0", "1 to 120"]),
        ('"https://', '"ftp://', ["[sync]", "server", "ftp://", "https://host"]),
        ("example:8443", "example:99999", ["[sync]", "server", "99999"]),
        ("base/", "base?key=1", ["[sync]", "server", "base?key=1"]),
        ("seed = 7", "seed = -1", ["[simulation]", "seed", "-1", "4294967295"]),
        ('device = "simulated"', 'device = "spidev"', ["[simulation]", "simulated", "spidev"]),
    ],
)
def test_a_wrong_value_is_told_with_key_value_and_what_is_allowed(
    tmp_path: Path, was: str, becomes: str, says: list[str]
) -> None:
    assert was in WHOLE
    message = refusal(tmp_path, WHOLE.replace(was, becomes))
    for words in says:
        assert words in message


def test_a_password_in_the_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    message = refusal(tmp_path, WHOLE.replace("https://", "https://user:hunter2@"))
    assert "hunter2" not in message
    assert "server" in message


def test_there_is_exactly_one_grid_circuit(tmp_path: Path) -> None:
    two = SMALLEST + '[[circuit]]\nrole = "grid"\nvoltage_channel = 2\ncurrent_channel = 3\n'
    assert "exactly one" in refusal(tmp_path, two)
    assert "circuit" in refusal(tmp_path, '[meter]\nserial = "A"\n')
    assert "exactly one" in refusal(tmp_path, 'circuit = []\n[meter]\nserial = "A"\n')


@pytest.mark.parametrize(
    ("circuit", "says"),
    [
        ('role = "grid"\nvoltage_channel = 2\ncurrent_channel = 3', "exactly one"),
        ('role = "leg2"\nvoltage_channel = 0\ncurrent_channel = 3', "another one"),
        ('role = "solar"\nvoltage_channel = 0\ncurrent_channel = 1', "of its own"),
        ('role = "solar"\nvoltage_channel = 4\ncurrent_channel = 0', "of its own"),
    ],
)
def test_circuits_that_cannot_be_wired_so_are_refused(
    tmp_path: Path, circuit: str, says: str
) -> None:
    assert says in refusal(tmp_path, f"{SMALLEST}[[circuit]]\n{circuit}\n")


def test_a_solar_circuit_may_share_the_grids_voltage_channel(tmp_path: Path) -> None:
    text = SMALLEST + '[[circuit]]\nrole = "solar"\nvoltage_channel = 0\ncurrent_channel = 5\n'
    loaded = config.load(written(tmp_path, text))
    assert loaded.channels == (0, 1, 5)
    assert [circuit.role for circuit in loaded.in_order] == ["grid", "solar"]


def test_each_circuit_has_its_own_calibration_and_saving_one_keeps_the_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "calibration.toml"
    one, two = Calibration(0.5, 512, 0.1, 512, 0), Calibration(0.4, 511, 0.2, 510, 1e-5)
    config.save_calibration(path, one)
    config.save_calibration(path, two, role="solar")
    assert config.load_calibration(path) == one
    assert config.load_calibration(path, "solar") == two


def test_a_simulated_adc_without_its_table_has_the_default_mains(tmp_path: Path) -> None:
    text = SMALLEST + '[adc]\ndevice = "simulated"\n'
    assert config.load(written(tmp_path, text)).simulation == config.Simulation()
    empty = text + '[simulation]\nwaveform = ""\n'
    assert config.load(written(tmp_path, empty)).simulation == config.Simulation()


def test_a_meter_without_calibration_file_is_nominal(tmp_path: Path) -> None:
    nominal = config.load_calibration(tmp_path / "calibration.toml")
    # 250 V peak over 512 codes; 5 V over 1024 codes at 40 mV/A is 125 A over 1024 codes
    assert nominal.voltage_v_per_code * 512 == 250.0
    assert nominal.current_a_per_code * 1024 == pytest.approx(125.0)
    assert nominal.voltage_zero_code == nominal.current_zero_code == 512.0
    assert nominal.current_delay_s == 0.0


def test_a_saved_calibration_reads_back_to_the_last_bit(tmp_path: Path) -> None:
    path = config.calibration_path(tmp_path / "meterd.toml")
    measured = Calibration(0.1 + 0.2, 511.8734, -0.1221, 512.0000001, 1e-05)
    config.save_calibration(path, measured)
    assert config.load_calibration(path) == measured
    config.save_calibration(path, Calibration(0.5, 512.0, 0.1, 512.0, -2e-07))
    assert config.load_calibration(path).current_delay_s == -2e-07
    assert [entry.name for entry in tmp_path.iterdir()] == ["calibration.toml"]


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), 0.0, 1e6])
def test_a_useless_gain_is_not_saved_and_the_old_file_stays(tmp_path: Path, gain: float) -> None:
    path = tmp_path / "calibration.toml"
    good = Calibration(0.5, 512.0, 0.1, 512.0, 0.0)
    config.save_calibration(path, good)
    with pytest.raises(ConfigError, match="voltage_v_per_code"):
        config.save_calibration(path, Calibration(gain, 512.0, 0.1, 512.0, 0.0))
    assert config.load_calibration(path) == good


def test_a_calibration_that_cannot_be_written_says_so_and_keeps_the_old(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unchanged"):
        config.save_calibration(
            tmp_path / "absent" / "calibration.toml", Calibration(0.5, 512.0, 0.1, 512.0, 0.0)
        )


def test_a_calibration_file_with_a_typo_names_it(tmp_path: Path) -> None:
    path = tmp_path / "calibration.toml"
    path.write_text("[grid]\nvoltage_v_per_cod = 0.5\n")
    with pytest.raises(ConfigError, match="voltage_v_per_cod"):
        config.load_calibration(path)
    path.write_text("[grid]\ncurrent_a_per_code = 0\n")
    with pytest.raises(ConfigError, match="not 0"):
        config.load_calibration(path)
