"""Who changed the calibration, when, how and from what: ``calibration.log`` beside the file.

One JSON object a line, only ever appended to. A change is on the disk here before the calibration
is replaced; if the power fails between the two, :func:`in_effect` tells.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from meterd import config
from meterd.config import NoiseFloor
from meterd.errors import CalibrationRefusedError, ConfigError
from meterd.model import Calibration

LOG_NAME = "calibration.log"
LOG_BYTES_MAX = 16 * 1024 * 1024
"""Some ten thousand changes; a log of that size is no log of a meter."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """All that a calibration sets (VIM 3.11, adjustment of a measuring system)."""

    calibration: Calibration
    noise: NoiseFloor


@dataclass(frozen=True, slots=True)
class Origin:
    """Who changes a calibration, and what it stands on."""

    circuit: str  # grid, leg2, solar or load
    by: str
    method: str  # guided, voltage, current, phase or offset
    reference: Mapping[str, float]  # what the reference instruments showed
    uncertainty: Mapping[str, float]  # expanded, k = 2


class Change(msgspec.Struct, frozen=True):
    """One line of the log: a change of the calibration."""

    counter: int
    utc_s: int
    circuit: str
    by: str
    method: str
    reference: dict[str, float]
    uncertainty: dict[str, float]
    old: dict[str, float | None]
    new: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Log:
    """The changes, oldest first, and the numbers of the lines that cannot be read."""

    changes: tuple[Change, ...]
    unreadable: tuple[int, ...]


def log_path(place: Path) -> Path:
    """Where the history of the calibration file ``place`` is."""
    return place.with_name(LOG_NAME)


def load(place: Path, role: str = "grid") -> Adjustment:
    """The calibration of a circuit at ``place``; nominal where there is none.

    Raises:
        ConfigError: the file cannot be read or a value cannot be.
    """
    return Adjustment(config.load_calibration(place, role), config.load_noise_floor(place, role))


def read(place: Path) -> Log:
    """The history of the calibration file ``place``; empty where there is none.

    A line cut by a power failure is told, not hidden, and does not make the others useless.

    Raises:
        ConfigError: it cannot be read, or is far too large.
    """
    path = log_path(place)
    try:
        if not path.exists():
            return Log((), ())
        if path.stat().st_size > LOG_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {LOG_BYTES_MAX} bytes: move it away and keep")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    changes, unreadable = [], []
    for number, line in enumerate(lines, start=1):
        try:
            changes.append(msgspec.json.decode(line, type=Change))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            unreadable.append(number)
    return Log(tuple(changes), tuple(unreadable))


def in_effect(log: Log, place: Path) -> bool:
    """Whether each circuit's calibration is what its last change made it.

    False after a power failure between the two, and when somebody changed the file by hand.
    """
    last = {entry.circuit: entry for entry in log.changes}
    return all(entry.new == _numbers(load(place, role)) for role, entry in last.items())


def change(
    place: Path, old: Adjustment, new: Adjustment, origin: Origin, *, now_utc_s: int
) -> Change:
    """Record that ``old`` becomes ``new``, then replace the calibration file ``place``.

    Raises:
        CalibrationRefusedError: the file does not say ``old`` any more; nothing was changed.
        ConfigError: a value could not be read back, or the disk refused.
    """
    with _locked(log_path(place)) as log:
        if load(place, origin.circuit) != old:
            raise CalibrationRefusedError(
                f"{place} was changed by somebody else meanwhile; nothing was written, begin anew"
            )
        known = read(place).changes
        counter = 1 + max((entry.counter for entry in known), default=0)
        entry = Change(
            counter=counter,
            utc_s=now_utc_s,
            circuit=origin.circuit,
            by=origin.by,
            method=origin.method,
            reference=dict(origin.reference),
            uncertainty=dict(origin.uncertainty),
            old=_numbers(old),
            new=_numbers(new),
        )
        _append(log, log_path(place), msgspec.json.encode(entry))
        config.save_calibration(place, new.calibration, new.noise, origin.circuit)
    return entry


def _numbers(adjustment: Adjustment) -> dict[str, float | None]:
    return {**asdict(adjustment.calibration), **asdict(adjustment.noise)}


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The log open for appending; one program at a time."""
    try:
        log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; the calibration is unchanged"
        ) from error
    try:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CalibrationRefusedError(
                f"another program writes {path}: wait for it and begin anew"
            ) from error
        yield log
    finally:
        os.close(log)


def _append(log: int, path: Path, line: bytes) -> None:
    """One line to the disk, and the log's name in its folder; a torn line before it is ended."""
    try:
        size = os.fstat(log).st_size
        torn = size > 0 and os.pread(log, 1, size - 1) != b"\n"
        content = (b"\n" if torn else b"") + line + b"\n"
        if os.write(log, content) != len(content):
            raise ConfigError(f"{path}: the disk is full; the calibration is unchanged")
        os.fsync(log)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; the calibration is unchanged"
        ) from error
