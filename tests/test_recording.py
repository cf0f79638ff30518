"""Waveform files, good and bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from meterd import recording
from meterd.errors import RecordingError


def write_csv(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def sine_lines(count: int = 64) -> list[str]:
    return ["time_s,voltage_v,current_a", *(f"{k / 6000},{k % 7},{k % 5}" for k in range(count))]


def test_csv_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    lines = ["current_a,time_s,voltage_v", *(f"{k},{k / 100},{2 * k}" for k in range(40))]
    loaded = recording.load(write_csv(tmp_path / "a.csv", lines))
    assert loaded.t_s[3] == 0.03
    assert loaded.voltage_v[3] == 6.0
    assert loaded.current_a[3] == 3.0


def test_npz_holds_a_rate_and_two_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", fs=1000.0, volts=np.arange(50.0), amps=-np.arange(50.0))
    loaded = recording.load(tmp_path / "a.npz")
    assert loaded.t_s[-1] == pytest.approx(0.049)
    assert loaded.current_a[10] == -10.0


def broken_npz(path: Path) -> Path:
    path.write_bytes(b"PK\x03\x04 and no more")
    return path


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # wrong kinds are what is tested
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda d: d / "no.csv", "no such file"),
    "folder": (lambda d: d, "no such file"),
    "kind": (lambda d: write_csv(d / "a.wav", ["x"]), "neither .csv nor .npz"),
    "column": (
        lambda d: write_csv(d / "a.csv", ["time_s,voltage_v,amperes", "0,1,2"]),
        "no column 'current_a'",
    ),
    "extra": (
        lambda d: write_csv(d / "a.csv", ["time_s,voltage_v,current_a,watts", "0,1,2,3"]),
        "unknown column 'watts'",
    ),
    "empty": (lambda d: write_csv(d / "a.csv", [""]), "no column"),
    "number": (
        lambda d: write_csv(d / "a.csv", [*sine_lines(), "0.5,abc,1"]),
        "line 66: voltage_v is 'abc', not a number",
    ),
    "cell": (lambda d: write_csv(d / "a.csv", [*sine_lines(), "0.5,1"]), "current_a is None"),
    "short": (lambda d: write_csv(d / "a.csv", sine_lines(10)), "has 10 samples"),
    "nan": (
        lambda d: write_csv(d / "a.csv", [*sine_lines(), "0.5,nan,1"]),
        "voltage_v of sample 64 is nan",
    ),
    "time": (lambda d: write_csv(d / "a.csv", [*sine_lines(), "0,1,1"]), "time does not rise"),
    "broken": (lambda d: broken_npz(d / "a.npz"), "is broken"),
    "array": (
        lambda d: npz(d / "a.npz", fs=1.0, volts=np.zeros(40)),
        "has no array 'amps'",
    ),
    "rate": (
        lambda d: npz(d / "a.npz", fs=0.0, volts=np.zeros(40), amps=np.zeros(40)),
        "not a sampling rate",
    ),
    "shape": (
        lambda d: npz(d / "a.npz", fs=1.0, volts=np.zeros(40), amps=np.zeros(41)),
        "not two rows of one length",
    ),
    "pickle": (
        lambda d: npz(d / "a.npz", fs=1.0, volts=np.array([{}] * 40), amps=np.zeros(40)),
        "is broken",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_waveform_is_refused_with_its_name_and_reason(tmp_path: Path, name: str) -> None:
    make, reason = BAD[name]
    path = make(tmp_path)
    with pytest.raises(RecordingError) as refusal:
        recording.load(path)
    assert str(path) in str(refusal.value)
    assert reason in str(refusal.value)


def test_a_part_without_samples_says_where_the_recording_is(tmp_path: Path) -> None:
    loaded = recording.load(write_csv(tmp_path / "a.csv", sine_lines()))
    with pytest.raises(RecordingError, match=r"reaches from 0 s to 0\.0105 s"):
        loaded.between(5.0, 6.0)
