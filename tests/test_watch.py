"""meterctl watch: the picture to the character, and where its values come from."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from math import pi
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from meterd import cli, config, watch, wiring
from meterd.model import Quantities
from meterd.simulate.mains import Socket, synthetic
from meterd.wiring import Converter
from tests.chain import blocks, waveforms
from tests.test_cli import CONFIG, stored

FIXED = Quantities(
    end_ns=0,
    duration_s=0.2,
    gap_s=0.0,
    cycles=12,
    frequency_hz=60.0123,
    voltage_v=127.0,
    current_a=8.0,
    power_w=-1016.0,
    apparent_va=1016.0,
    reactive_var=0.0,
    nonactive_var=0.0,
    power_factor=-1.0,
    phase_deg=180.0,
    thd_voltage_pct=5.0,
    thd_current_pct=None,
    harmonic_voltage_v2=np.array([1.0, 0.0, 0.0016, *[0.0] * 17]),
    harmonic_current_a2=np.array([1.0, 0.0025, 0.01, *[0.0] * 17]),
)
TURN = np.linspace(0, 2 * pi, 200)
CYCLE = watch.Cycle(100 * np.sin(TURN), -5 * np.sin(TURN))
PICTURE = """\
MX-1
U           127.00 V      THD U          5.0 %
I            8.000 A      THD I            — %
P          -1016.0 W      PF          -1.000
Q              0.0 var    φ           180.00 °
S           1016.0 VA     f           60.012 Hz
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meterd.toml").write_text(CONFIG)
    (tmp_path / "state").mkdir()
    return tmp_path


@pytest.fixture
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    real = wiring.open_converter

    def quick(chosen: config.Config) -> Converter:
        return real(chosen, paced=False)

    monkeypatch.setattr(wiring, "open_converter", quick)


def looked(folder: Path, *arguments: str) -> Result:
    place = ("--config", str(folder / "meterd.toml"))
    return CliRunner().invoke(cli.meterctl, ("watch", *place, *arguments))


def shown(
    values: watch.Values | None,
    cycle: watch.Cycle | None = None,
    energy: watch.Energy | None = None,
    width: int = 80,
) -> list[str]:
    text = watch.frame(values, cycle, energy, width, title="MX-1", limit_w=2032.0)
    return text.plain.splitlines()


def test_a_frame_has_its_values_bar_and_harmonics_where_they_belong() -> None:
    wide = shown(FIXED, width=80)
    assert wide[1:6] == PICTURE.splitlines()[1:6]
    # 1016 of 2032 W fill half of 38 characters, to the left of the middle.
    assert wide[8] == "▕" + " " * 19 + "█" * 19 + "│" + " " * 38 + "▏"
    assert wide[10] == "order  " + "".join(f"{n:>5}" for n in range(2, 16)).rjust(71)
    assert wide[11] == "U %    " + ("".join(["  0.0", "  4.0", *["  0.0"] * 12])).rjust(71)
    assert wide[12] == " " * 14 + "████"
    assert wide[13].startswith("I %       5.0 10.0  0.0")
    assert wide[14] == " " * 9 + "▄▄▄▄ ████"


def test_each_further_circuit_has_a_line_of_its_own() -> None:
    solar = replace(FIXED, voltage_v=126.5, current_a=4.25, power_w=-537.5, power_factor=-0.9998)
    dead = replace(FIXED, voltage_v=0.2, current_a=0.0, power_w=0.0, power_factor=None)
    values = replace(FIXED, others=(solar, dead))
    text = watch.frame(
        values, None, None, 80, title="MX-1", limit_w=2032.0, roles=("solar", "leg2")
    )
    lines = text.plain.splitlines()
    assert lines[6].split() == ["solar", "126.50", "V", "4.250", "A", "-537.5", "W", "PF", "-1.000"]
    assert lines[7].split() == ["leg2", "0.20", "V", "0.000", "A", "0.0", "W", "PF", "—"]
    assert lines[9].startswith("power exporting")


def test_import_is_right_of_the_middle_and_never_beyond_the_end() -> None:
    line = shown(replace(FIXED, power_w=9999.0))[8]
    assert line == "▕" + " " * 38 + "│" + "█" * 38 + "▏"
    assert shown(replace(FIXED, power_w=9999.0))[7] == "power importing  beyond the bar"
    assert shown(replace(FIXED, power_w=0.0))[7] == "power idle"


def test_every_line_fits_the_width_and_all_lines_a_terminal_of_24() -> None:
    for width in (60, 80, 100, 133):
        lines = shown(FIXED, CYCLE, watch.Energy(1, 2), width)
        assert len(lines) == 24
        assert max(map(len, lines)) <= width


def test_without_mains_there_are_dashes_and_no_harmonics() -> None:
    dead = replace(FIXED, frequency_hz=None, power_factor=None, phase_deg=None, power_w=0.0)
    lines = shown(dead)
    assert lines[5].endswith("f                — Hz")
    assert not any(line.startswith("order") for line in lines)


def test_registers_are_cut_off_and_never_rounded_up() -> None:
    (line,) = (x for x in shown(None, None, watch.Energy(3_599_999, 7_200_000)) if "reg" in x)
    assert line == "registers  import 0.999   export 2.000 kWh"


def test_a_curve_touches_the_top_at_its_peak_and_the_bottom_at_its_trough() -> None:
    top, *_, bottom = watch.curve(np.sin(TURN), 40)
    # Braille dots 1 and 4 are the top row, 7 and 8 the bottom one.
    assert ord(top[10]) & 0x09
    assert ord(bottom[29]) & 0xC0
    assert top[29] == bottom[10] == "⠀"
    flat = watch.curve(np.zeros(8), 3)
    assert sum(row != "⠀⠀⠀" for row in flat) == 1


def test_the_cycle_begins_where_the_voltage_rises_through_zero() -> None:
    (first, *_) = waveforms(blocks(synthetic(Socket(127.0, 8.0, 0.5)), 0.5))
    cycle = watch.one_cycle(first, 60.0, mains_min_v=6.0)
    assert cycle is not None
    assert abs(cycle.voltage_v[0]) < 3.0
    assert cycle.voltage_v[50] == pytest.approx(127.0 * 2**0.5, rel=0.01)
    # 60° later: a sixth of a cycle.
    assert int(np.argmax(cycle.current_a)) == pytest.approx(50 + 200 / 6, abs=6)
    (dead, *_) = waveforms(blocks(synthetic(Socket(0.0, 0.0)), 0.5))
    assert watch.one_cycle(dead, 60.0, mains_min_v=6.0) is None


@pytest.mark.usefixtures("unpaced")
def test_once_prints_what_the_adc_measures(folder: Path) -> None:
    done = looked(folder, "--once")
    assert done.exit_code == 0, done.output
    assert "P           101" in done.stdout
    assert "power importing" in done.stdout
    assert "registers" not in done.stdout
    assert len(done.stdout.splitlines()) == 23


@pytest.mark.usefixtures("unpaced")
def test_into_a_pipe_frames_are_apart_by_an_empty_line_and_end_in_time(folder: Path) -> None:
    done = looked(folder, "--seconds", "0.5")
    frames = done.stdout.split("\n\nMX-1\n")
    assert len(frames) >= 2
    assert done.stdout.startswith("MX-1\n")


def test_the_last_stored_reading_is_shown_while_meterd_may_run(folder: Path) -> None:
    stored(folder, 3, 1_763_856_000)
    done = looked(folder, "--from-database", "--once")
    assert done.exit_code == 0, done.output
    assert "to 2025-11-23 00:00:00 UTC" in done.stdout
    assert "registers  import 0.020   export 0.000 kWh" in done.stdout


def test_an_empty_record_is_said_to_be_empty(folder: Path) -> None:
    done = looked(folder, "--from-database", "--once")
    assert done.exit_code == 0
    assert "no reading is stored yet" in done.stdout


@pytest.fixture
def meterd_running(folder: Path) -> Iterator[None]:
    lock = os.open(folder / "state" / "readings.db.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    os.close(lock)


@pytest.mark.usefixtures("meterd_running")
@pytest.mark.parametrize(
    "arguments", [("watch", "--once"), ("calibrate", "offset"), ("calibrate", "--yes", "--no-load")]
)
def test_while_meterd_runs_the_adc_is_left_to_it(folder: Path, arguments: tuple[str, ...]) -> None:
    where = ("--config", str(folder / "meterd.toml"))
    done = CliRunner().invoke(cli.meterctl, (*arguments, *where))
    assert done.exit_code == 1
    assert "meterd is running" in done.stderr
    assert "systemctl stop meterd" in done.stderr


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_a_key_ends_it_and_the_terminal_is_as_before(folder: Path, key: bytes) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, 0x5414, b"\x18\x00\x50\x00\x00\x00\x00\x00")  # TIOCSWINSZ: 24 x 80
    command = [sys.executable, "-c", "from meterd.cli import meterctl; meterctl()", "watch"]
    program = subprocess.Popen(
        [*command, "--config", str(folder / "meterd.toml")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, 0x540E, 0),  # TIOCSCTTY: Ctrl-C is a signal
    )
    os.close(theirs)
    try:
        before = _read_until(ours, b"power importing")
        os.write(ours, key)
        assert program.wait(timeout=10) == 0, before
        assert b"\x1b[?1049l" in _read_until(ours, b"\x1b[?1049l")
    finally:
        program.kill()
        program.wait(timeout=10)
        os.close(ours)


def _read_until(terminal: int, wanted: bytes) -> bytes:
    seen, until_s = b"", time.monotonic() + 20
    while wanted not in seen and time.monotonic() < until_s:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                return seen
    return seen
