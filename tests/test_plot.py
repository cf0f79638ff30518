"""Pictures of recordings: what stands in them, and the refusals."""

from __future__ import annotations

import sys
from math import pi, sqrt
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from meterd import cli, plot
from meterd.analyze import Analysis, analyze
from meterd.errors import ConfigError
from meterd.recording import Recording

needs_matplotlib = pytest.mark.skipif(
    not plot.installed(), reason="matplotlib is not installed: pip install 'meterd[plot]'"
)
PNG = b"\x89PNG\r\n\x1a\n"


def dipping(seconds: float = 1.0) -> Recording:
    """127 V at 60 Hz with a dip to half from 0.4 to 0.5 s, and 10 A that lag by 60°."""
    t_s = np.arange(round(seconds * 6000)) / 6000.0
    turn = 2 * pi * 60 * t_s
    v = sqrt(2) * 127 * np.sin(turn) * np.where((t_s >= 0.4) & (t_s < 0.5), 0.5, 1.0)
    return Recording(t_s, v, sqrt(2) * 10 * np.sin(turn - pi / 3))


def picture(result: Analysis, name: str = "a.npz") -> plot.Picture:
    return plot.Picture(
        name=name,
        waveform=result.waveform,
        quantities=result.quantities,
        half_cycles=result.half_cycles,
        nominal_v=result.nominal_v,
        events=result.events,
    )


def texts(path: Path) -> str:
    """What is written in an SVG whose letters are letters."""
    root = ElementTree.fromstring(path.read_text())
    found = root.iter("{http://www.w3.org/2000/svg}text")
    return "\n".join("".join(text.itertext()) for text in found)


def call(folder: Path, *arguments: str) -> Result:
    mains = dipping()
    np.savez(folder / "a.npz", fs=6000.0, volts=mains.voltage_v, amps=mains.current_a)
    return CliRunner().invoke(cli.meterctl, ["analyze", str(folder / "a.npz"), *arguments])


@needs_matplotlib
def test_a_picture_says_its_figures(tmp_path: Path) -> None:
    plot.draw(tmp_path / "a.svg", picture(analyze(dipping(), to_s=0.3)))
    said = texts(tmp_path / "a.svg")
    for figure in ("a.npz", "127.000 V", "10.000 A", "635.000 W", "60.000 Hz", "PF 0.5000"):
        assert figure in said
    assert "I1 10 A ∠-60.00°" in said
    assert "φ1 60.00°" in said
    assert "no events" in said


@needs_matplotlib
def test_a_picture_shows_the_event_and_is_the_same_when_drawn_again(tmp_path: Path) -> None:
    result = picture(analyze(dipping(), nominal_v=127.0))
    plot.draw(tmp_path / "a.svg", result)
    plot.draw(tmp_path / "b.svg", result)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "1 event(s), the first a dip to 63.5 V from 0.4" in texts(tmp_path / "a.svg")


@needs_matplotlib
def test_the_waveform_around_the_first_event_is_shown() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    plot._draw_waveform(axes, picture(analyze(dipping(), nominal_v=127.0)))
    from_s, to_s = axes.get_xlim()
    assert from_s < 0.4 - 0.5 / 60
    assert 0.4 + 1 / 60 < to_s < 0.5


@needs_matplotlib
def test_the_phasor_of_a_lagging_current_points_down_and_of_exported_power_left() -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

    lagging = dipping(0.3)
    exported = Recording(lagging.t_s, lagging.voltage_v, -lagging.current_a)
    tips = []
    for mains in (lagging, exported):
        axes = Figure().add_subplot()
        plot._draw_phasors(axes, analyze(mains).quantities)
        arrows = [text for text in axes.texts if isinstance(text, Annotation)]
        assert arrows[0].xy == pytest.approx((1.0, 0.0))  # the voltage
        tips.append(arrows[1].xy)
    assert tips[0] == pytest.approx((0.75 * 0.5, -0.75 * sqrt(3) / 2), abs=1e-3)
    assert tips[1] == pytest.approx((-0.75 * 0.5, 0.75 * sqrt(3) / 2), abs=1e-3)


@needs_matplotlib
def test_the_spectrum_shows_each_line_in_percent_of_the_fundamental() -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    t_s = np.arange(3000) / 6000.0
    v = 100 * np.sin(2 * pi * 60 * t_s) + 4 * np.sin(2 * pi * 300 * t_s)
    axes = Figure().add_subplot()
    plot._draw_spectrum(axes, analyze(Recording(t_s, v, v / 10)).quantities)
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    heights = {round(bar.get_x() + 0.4, 1): bar.get_height() for bar in bars[: len(bars) // 2]}
    assert heights[1.0] == pytest.approx(100.0)
    assert heights[5.0] == pytest.approx(4.0, rel=1e-3)


@needs_matplotlib
def test_a_recording_without_mains_is_drawn_as_well(tmp_path: Path) -> None:
    t_s = np.arange(6000) / 6000.0
    nothing = np.zeros(6000)
    plot.draw(tmp_path / "a.svg", picture(analyze(Recording(t_s, nothing, nothing))))
    assert "no mains" in texts(tmp_path / "a.svg")
    assert "events unknown" in texts(tmp_path / "a.svg")


@needs_matplotlib
def test_a_dip_of_a_long_recording_is_not_lost_by_drawing_less() -> None:
    urms_v = np.full(1_000_001, 127.0)
    urms_v[765_432] = 50.0
    at_s, drawn_v = plot._outline(np.arange(1_000_001) / 120.0, urms_v)
    assert len(at_s) == len(drawn_v) <= plot.POINTS_MAX + 2
    assert at_s[int(np.argmin(drawn_v))] == pytest.approx(765_432 / 120.0, abs=1.0)
    assert drawn_v.min() == 50.0


@needs_matplotlib
def test_the_command_draws_and_prints(tmp_path: Path) -> None:
    done = call(tmp_path, "--plot", str(tmp_path / "a.PNG"), "--nominal-v", "127", "--adc")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.PNG").read_bytes().startswith(PNG)
    assert "events        1 (nominal 127 V)" in done.output
    assert "dip           from 0.4" in done.output
    assert "taken as" not in done.output  # the voltage was given


def test_a_picture_of_another_kind_is_refused_before_measuring(tmp_path: Path) -> None:
    done = call(tmp_path, "--plot", str(tmp_path / "a.gif"))
    assert done.exit_code == cli.EXIT_CONFIG
    assert "a picture ends in .png or .svg" in done.output


def test_a_picture_for_no_folder_is_refused(tmp_path: Path) -> None:
    done = call(tmp_path, "--plot", str(tmp_path / "none" / "a.png"))
    assert done.exit_code == cli.EXIT_CONFIG
    assert f"there is no folder {tmp_path / 'none'}" in done.output


def test_without_matplotlib_the_pip_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # what makes an import fail
    with pytest.raises(ConfigError, match=r"pip install 'meterd\[plot\]'"):
        plot.check(tmp_path / "a.png")


def test_nothing_of_matplotlib_is_imported_before_it_draws() -> None:
    import subprocess

    line = "import sys, meterd.cli; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line], timeout=60, check=False).returncode == 0
