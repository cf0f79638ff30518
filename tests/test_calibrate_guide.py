"""The guided calibration, from the command line to the file, on a socket with a known front end."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from meterd import cli, config, wiring
from meterd.calibration import history
from meterd.calibration.history import Adjustment
from meterd.config import NoiseFloor
from meterd.errors import CalibrationRefusedError
from meterd.model import Calibration
from meterd.simulate.adc import SimulatedAdc, SimulatedClock
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import Socket, synthetic
from meterd.simulate.mcp3008 import Mcp3008
from meterd.wiring import Converter
from tests.chain import NOMINAL, measured
from tests.test_calibrate import PARTS, TOML

IDLE, HEATER, LAMP = Socket(127.0, 0.0, 1.0), Socket(127.0, 8.0, 1.0), Socket(126.5, 2.0, 1.0)
NOMINAL_FILE = Calibration(500 / 1024, 512.0, 5 / 1024 / 0.04, 512.0, 0.0)
GIVEN = ("--voltage", "127.00", "--current", "8.000", "--second-current", "2.000")


class Plug:
    """What is plugged in, which a technician changes."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    def __call__(self, t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return synthetic(self.socket)(t_s)


def converter(
    mains: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]],
    front_end: FrontEnd = PARTS,
) -> Converter:
    clock = SimulatedClock(paced=False)
    rng = np.random.default_rng(1)
    chip = Mcp3008(Wiring(mains, front_end, (0, 1)), vref_v=3.3, noise_codes=0.5, rng=rng)
    return Converter(
        SimulatedAdc(chip, clock),
        clock.now_ns,
        clock.utc_s,
        lambda: clock.now_ns() / 1e9,
        511,
        lambda: None,
    )


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    plug = Plug(IDLE)
    monkeypatch.setattr(wiring, "open_converter", lambda _config: converter(plug))
    return plug


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meterd.toml").write_text(TOML)
    return tmp_path


def calibrated(folder: Path, *arguments: str) -> Result:
    place = ("--config", str(folder / "meterd.toml"), "--seconds", "1")
    return CliRunner().invoke(cli.meterctl, ("calibrate", *place, *arguments))


def place(folder: Path) -> Path:
    return folder / "calibration.toml"


def technician(
    monkeypatch: pytest.MonkeyPatch, plug: Plug, script: list[tuple[str, object, Socket | None]]
) -> None:
    """Answers each question in turn, after plugging something else in."""
    turns = iter(script)

    def answer(text: str, **_: object) -> object:
        asked, said, socket = next(turns)
        assert asked in text
        plug.socket = socket or plug.socket
        if isinstance(said, BaseException):
            raise said
        return said

    monkeypatch.setattr("click.prompt", answer)
    monkeypatch.setattr("click.confirm", answer)


WHOLE: list[tuple[str, object, Socket | None]] = [
    ("measure", "m", IDLE),
    ("measure", "m", HEATER),
    ("voltage", "127.00", None),
    ("current", "eight", None),
    ("current", "8.000", None),
    ("measure", "m", LAMP),
    ("current", "2.000", None),
    ("Write", True, None),
]


def test_a_technician_takes_the_front_ends_errors_out_in_three_steps(
    folder: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    technician(monkeypatch, plug, WHOLE)
    done = calibrated(folder, "--by", "Ana", "--reference-uncertainty-pct", "0.2")
    assert done.exit_code == 0, done.output
    assert "'eight' is not a number" in done.output
    found = config.load_calibration(place(folder))
    assert found.voltage_v_per_code == pytest.approx(NOMINAL.voltage_v_per_code / 1.03, rel=1e-3)
    assert found.current_a_per_code == pytest.approx(NOMINAL.current_a_per_code / 0.98, rel=1e-3)
    assert found.current_delay_s == pytest.approx(80e-6, abs=1e-6)
    assert found.voltage_zero_code == pytest.approx(511.5 + 0.02 / 3.3 * 1024, abs=0.1)
    load = Socket(127.0, 6.0, power_factor=0.5)
    seen = measured(load, 3.0, found, front_end=PARTS)
    assert seen.power_w == pytest.approx(127.0 * 6.0 * 0.5, rel=0.002)
    at_50_hz = measured(Socket(127.0, 6.0, 0.5, 50.0), 3.0, found, front_end=PARTS)
    assert at_50_hz.power_w == pytest.approx(127.0 * 6.0 * 0.5, rel=0.002)
    noise = config.load_noise_floor(place(folder))
    codes = (0.25 + 1 / 12) ** 0.5
    # The noise of the codes, in the amperes of the new gain.
    assert noise.current_noise_a == pytest.approx(codes * found.current_a_per_code, rel=0.03)


def test_every_change_is_told_with_who_when_how_and_from_what(
    folder: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_763_856_000.5)
    plug.socket = HEATER
    place_of = ("--config", str(folder / "meterd.toml"))
    simple = ("calibrate", "voltage", "127.00", "--seconds", "1", "--by", "Ana")
    assert CliRunner().invoke(cli.meterctl, (*simple, *place_of)).exit_code == 0
    monkeypatch.setenv("SUDO_USER", "luis")
    done = calibrated(folder, "--yes", "--voltage", "127.00", "--current", "8.000")
    assert done.exit_code == 0, done.output
    first, second = history.read(place(folder)).changes
    assert (first.counter, first.by, first.method, first.utc_s) == (
        1,
        "Ana",
        "voltage",
        1_763_856_000,
    )
    assert first.reference == {"voltage_v": 127.0}
    assert first.old["voltage_v_per_code"] == 500 / 1024
    assert first.new["voltage_v_per_code"] == second.old["voltage_v_per_code"]
    assert (second.counter, second.by, second.method) == (2, "luis", "guided")
    assert second.reference == {"voltage_v": 127.0, "current_a": 8.0, "phase_deg": 0.0}
    assert second.uncertainty.keys() == {"voltage_pct", "current_pct", "delay_s"}
    shown = CliRunner().invoke(cli.meterctl, ("calibrate", "history", *place_of)).output
    assert "2025-11-23 00:00:00" in shown
    assert "by hand" not in shown
    lines = CliRunner().invoke(cli.meterctl, ("calibrate", "history", "--json", *place_of)).stdout
    assert [json.loads(line)["by"] for line in lines.splitlines()] == ["Ana", "luis"]


def test_each_circuit_has_a_calibration_and_a_history_of_its_own(folder: Path, plug: Plug) -> None:
    two = TOML.replace("_channel = 0", "_channel = 2").replace("_channel = 1", "_channel = 3")
    two += '[[circuit]]\nrole = "leg2"\nvoltage_channel = 0\ncurrent_channel = 1\n'
    plug.socket = HEATER
    absent = calibrated(folder, "--yes", *GIVEN[:4], "--circuit", "solar")
    assert absent.exit_code == cli.EXIT_CONFIG
    assert 'role = "solar"' in absent.stderr
    (folder / "meterd.toml").write_text(two)
    done = calibrated(folder, "--yes", *GIVEN[:4], "--circuit", "leg2")
    assert done.exit_code == 0, done.output
    found = config.load_calibration(place(folder), "leg2")
    assert found.current_a_per_code == pytest.approx(NOMINAL.current_a_per_code / 0.98, rel=1e-3)
    assert config.load_calibration(place(folder)) == NOMINAL_FILE
    (entry,) = history.read(place(folder)).changes
    assert entry.circuit == "leg2"
    assert history.in_effect(history.read(place(folder)), place(folder))


def test_an_option_before_a_subcommand_is_refused_rather_than_forgotten(folder: Path) -> None:
    done = calibrated(folder, "voltage", "127.00")
    assert done.exit_code == 2
    assert "write the options behind" in done.stderr


def test_a_script_waits_for_each_load_to_be_switched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bench(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        volts, amps = synthetic(HEATER)(t_s)
        return volts, amps * np.select([t_s < 4.0, t_s < 8.0], [0.0, 1.0], 0.25)

    monkeypatch.setattr(wiring, "open_converter", lambda _config: converter(bench))
    done = calibrated(folder, "--yes", "--no-load", *GIVEN, "--wait", "20")
    assert done.exit_code == 0, done.output
    assert "too little" in done.output
    found = config.load_calibration(place(folder))
    assert found.current_a_per_code == pytest.approx(NOMINAL.current_a_per_code / 0.98, rel=1e-3)


REFUSALS = [
    (("--no-load",), Socket(127.0, 0.4, 1.0), "no idle circuit"),
    (("--no-load",), Socket(0.0, 0.0, 1.0), "no mains voltage"),
    (GIVEN, Socket(0.0, 8.0, 1.0), "no mains voltage"),
    (GIVEN, Socket(127.0, 0.2, 1.0), "too little"),
    (GIVEN, Socket(127.0, 8.0, 1.0, vary_s=3.0), "wanders"),
    (GIVEN, Socket(200.0, 8.0, 1.0), "clipping"),
    (GIVEN, Socket(127.0, 8.0, 1.0, exporting=True), "direction reversed"),
    (GIVEN, Socket(127.0, 8.0, 0.9), "not resistive: its power factor"),
    (GIVEN, Socket(127.0, 8.0, 1.0, current_harmonics={3: 0.1}), "not resistive: its current has"),
    (GIVEN, Socket(127.0, 8.0, 1.0, 63.0), "frequency is 63"),
    (GIVEN, HEATER, "too near the first load"),
    (("--voltage", "1270", "--current", "8.0"), HEATER, "factor of two"),
    (("--voltage", "127", "--current", "zwei"), HEATER, "not a number"),
    (("--voltage", "127", "--current", "-8"), HEATER, "above 0 A"),
    (("--phase-deg", "60", *GIVEN), HEATER, "is the load what was said"),
]


@pytest.mark.parametrize(
    ("arguments", "socket", "reason"), REFUSALS, ids=[reason for _, _, reason in REFUSALS]
)
def test_bad_conditions_are_refused_with_the_reason_and_nothing_is_written(
    folder: Path, plug: Plug, arguments: tuple[str, ...], socket: Socket, reason: str
) -> None:
    plug.socket = socket
    done = calibrated(folder, "--yes", *arguments)
    assert done.exit_code == 1, done.output
    assert reason in done.stderr
    assert [entry.name for entry in folder.iterdir()] == ["meterd.toml"]


def test_two_loads_that_disagree_by_more_than_the_uncertainty_are_refused(
    folder: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The ammeter says 10 % too much at the second load; ten bits at 2 A explain 2.6 %.
    asked = [*WHOLE[:3], *WHOLE[4:6], ("current", "2.200", None), ("measure", "q", None)]
    technician(monkeypatch, plug, asked)
    done = calibrated(folder)
    assert re.search(r"differ by \+(9\.9|10\.0)\d%.*explain 2\.6\d%", done.output)
    assert done.exit_code == 1
    assert not place(folder).exists()


def test_a_refused_step_can_be_tried_again_and_a_second_load_skipped(
    folder: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object, Socket | None]] = [
        ("measure", "m", HEATER),  # forgotten to disconnect
        ("measure", "m", IDLE),
        *WHOLE[1:3],
        WHOLE[4],
        ("measure", "s", None),
        ("Write", True, None),
    ]
    technician(monkeypatch, plug, asked)
    done = calibrated(folder)
    assert done.exit_code == 0, done.output
    assert "refused:" in done.output
    (entry,) = history.read(place(folder)).changes
    assert "second_current_a" not in entry.reference


@pytest.mark.parametrize("turn", [0, 1, 3, 5, 7])
def test_an_interruption_at_any_question_changes_nothing(
    folder: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    asked, _, socket = WHOLE[turn]
    technician(monkeypatch, plug, [*WHOLE[:turn], (asked, KeyboardInterrupt(), socket)])
    done = calibrated(folder)
    assert done.exit_code == 1
    assert [entry.name for entry in folder.iterdir()] == ["meterd.toml"]


def test_no_for_an_answer_writes_nothing(
    folder: Path, plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    technician(monkeypatch, plug, [*WHOLE[:-1], ("Write", False, None)])
    done = calibrated(folder)
    assert done.exit_code == 0
    assert "nothing was written" in done.output
    assert [entry.name for entry in folder.iterdir()] == ["meterd.toml"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("--voltage", "127"), ("--current", "8"), ("--no-load", "--second-current", "2")],
)
def test_yes_needs_the_values_that_would_be_asked_for(
    folder: Path, plug: Plug, arguments: tuple[str, ...]
) -> None:
    done = calibrated(folder, "--yes", *arguments)
    assert done.exit_code == 2
    assert "Error:" in done.stderr


OLD = Adjustment(Calibration(0.5, 512.0, 0.1, 512.0, 0.0), NoiseFloor())
NEW = Adjustment(Calibration(0.4, 511.0, 0.1, 512.0, 1e-5), NoiseFloor(0.3, 0.07))
BY = history.Origin("grid", "Ana", "guided", {}, {})


def test_the_log_is_on_the_disk_before_the_calibration_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(tmp_path)
    config.save_calibration(path, OLD.calibration)

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "save_calibration", power_cut)
    with pytest.raises(KeyboardInterrupt):
        history.change(path, OLD, NEW, BY, now_utc_s=1)
    log = history.read(path)
    assert log.changes[-1].new["voltage_v_per_code"] == 0.4
    assert not history.in_effect(log, path)


def test_a_line_that_a_power_failure_cut_is_told_and_the_next_begins_anew(tmp_path: Path) -> None:
    path = place(tmp_path)
    config.save_calibration(path, OLD.calibration)
    history.change(path, OLD, NEW, BY, now_utc_s=1)
    with history.log_path(path).open("ab") as log:
        log.write(b'{"counter": 2, "utc')
    history.change(path, NEW, OLD, BY, now_utc_s=2)
    found = history.read(path)
    assert [entry.counter for entry in found.changes] == [1, 2]
    assert found.unreadable == (2,)
    assert history.in_effect(found, path)
    assert config.load_noise_floor(path) == NoiseFloor()


def test_a_calibration_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = place(tmp_path)
    config.save_calibration(path, NEW.calibration, NEW.noise)
    with pytest.raises(CalibrationRefusedError, match="somebody else"):
        history.change(path, OLD, NEW, BY, now_utc_s=1)
    assert history.load(path) == NEW
    assert history.read(path).changes == ()


def test_a_change_by_hand_is_told(folder: Path) -> None:
    path = place(folder)
    config.save_calibration(path, OLD.calibration)
    history.change(path, OLD, NEW, BY, now_utc_s=1)
    path.write_text(path.read_text().replace("0.4", "0.45"))
    arguments = ("calibrate", "history", "--config", str(folder / "meterd.toml"))
    assert "by hand" in CliRunner().invoke(cli.meterctl, arguments).stdout
