"""Waveform files: CSV with time_s, voltage_v and current_a, or .npz with fs, volts and amps."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meterd.errors import RecordingError
from meterd.model import Waveform

COLUMNS = ("time_s", "voltage_v", "current_a")
SAMPLES_MIN = 32
SAMPLES_MAX = 100_000_000


@dataclass(frozen=True, slots=True)
class Recording:
    """Simultaneous samples of mains voltage and current."""

    t_s: NDArray[np.float64]  # (n,) rising
    voltage_v: NDArray[np.float64]  # (n,)
    current_a: NDArray[np.float64]  # (n,)

    def between(self, from_s: float | None, to_s: float | None) -> Recording:
        """The samples with from ≤ t < to; an end that is None is the recording's own.

        Raises:
            RecordingError: fewer than 32 samples are left.
        """
        first = 0 if from_s is None else int(np.searchsorted(self.t_s, from_s))
        last = len(self.t_s) if to_s is None else int(np.searchsorted(self.t_s, to_s))
        if last - first < SAMPLES_MIN:
            raise RecordingError(
                f"between {from_s} s and {to_s} s there are {max(0, last - first)} samples; the "
                f"recording reaches from {self.t_s[0]:.6g} s to {self.t_s[-1]:.6g} s"
            )
        span = slice(first, last)
        return Recording(self.t_s[span], self.voltage_v[span], self.current_a[span])

    def waveform(self) -> Waveform:
        """The recording as the meter's own kind of value; both channels at the same instants."""
        return Waveform(
            start_ns=0,
            t_s=self.t_s,
            voltage_v=self.voltage_v,
            current_t_s=self.t_s,
            current_a=self.current_a,
            quality=np.zeros(len(self.t_s), np.uint16),
        )


def load(path: Path) -> Recording:
    """Read a recording; the file's ending says which kind it is.

    Raises:
        RecordingError: the file is missing, is of another kind, or does not hold a waveform.
    """
    if not path.is_file():
        raise RecordingError(f"{path}: no such file")
    if path.suffix == ".npz":
        recording = _load_npz(path)
    elif path.suffix == ".csv":
        recording = _load_csv(path)
    else:
        raise RecordingError(f"{path}: is neither .csv nor .npz")
    return _checked(path, recording)


def _load_npz(path: Path) -> Recording:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = {"fs", "volts", "amps"} - set(arrays.files)
            if missing:
                raise RecordingError(f"{path}: has no array {sorted(missing)[0]!r}")
            sampling_hz = float(arrays["fs"])
            volts = np.asarray(arrays["volts"], np.float64)
            amps = np.asarray(arrays["amps"], np.float64)
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path}: is broken: {error}") from error
    if not sampling_hz > 0 or not np.isfinite(sampling_hz):
        raise RecordingError(f"{path}: fs is {sampling_hz}, not a sampling rate in Hz")
    if volts.ndim != 1 or volts.shape != amps.shape:
        raise RecordingError(
            f"{path}: volts {volts.shape} and amps {amps.shape} are not two rows of one length"
        )
    return Recording(np.arange(len(volts), dtype=np.float64) / sampling_hz, volts, amps)


def _load_csv(path: Path) -> Recording:
    columns: list[list[float]] = [[], [], []]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            places = _places(path, rows.fieldnames)
            for row in rows:
                for column, name in zip(columns, places, strict=True):
                    column.append(_number(path, rows.line_num, name, row[name]))
                if rows.line_num > SAMPLES_MAX:
                    raise RecordingError(f"{path}: has more than {SAMPLES_MAX} lines")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: is broken: {error}") from error
    time_s, volts, amps = (np.array(column, np.float64) for column in columns)
    return Recording(time_s, volts, amps)


def _places(path: Path, names: object) -> tuple[str, ...]:
    header = list(names) if isinstance(names, list) else []
    for name in COLUMNS:
        if name not in header:
            raise RecordingError(
                f"{path}: has no column {name!r}; its first line must name "
                f"{', '.join(COLUMNS)}, it names {', '.join(map(str, header)) or 'nothing'}"
            )
    for name in header:
        if name not in COLUMNS:
            raise RecordingError(f"{path}: unknown column {name!r}; known: {', '.join(COLUMNS)}")
    return COLUMNS


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise RecordingError(f"{path}: line {line}: {column} is {text!r}, not a number") from None


def _checked(path: Path, recording: Recording) -> Recording:
    count = len(recording.t_s)
    if count < SAMPLES_MIN:
        raise RecordingError(f"{path}: has {count} samples, at least {SAMPLES_MIN} are needed")
    for name, values in zip(
        COLUMNS, (recording.t_s, recording.voltage_v, recording.current_a), strict=True
    ):
        if not np.all(np.isfinite(values)):
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            raise RecordingError(f"{path}: {name} of sample {place} is {values[place]}")
    steps = np.diff(recording.t_s)
    if np.any(steps <= 0):
        place = int(np.flatnonzero(steps <= 0)[0]) + 1
        raise RecordingError(f"{path}: time does not rise at sample {place}")
    return recording
