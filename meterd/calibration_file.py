"""calibration.toml: what was measured at calibration, circuit by circuit.

A file of its own beside the configuration, because it is sealed and changed by other hands.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from meterd.errors import ConfigError
from meterd.model import ADC_CODES, Calibration
from meterd.toml_tables import allowed, convert, read, refusal

NOISE_MAX = 500.0

Gain = Annotated[
    float, Meta(ge=-1000, le=1000, description="-1000 to 1000, not 0; negative: wired in reverse")
]
ZeroCode = Annotated[float, Meta(ge=0, le=ADC_CODES - 1, description="0 to 1023 codes")]


class CircuitCalibration(Struct, frozen=True, forbid_unknown_fields=True):
    """[grid], [leg2], [solar] or [load]; the defaults are the front end's nominal values.

    250 V of mains peak reach half of the ADC's range; the ACS758 gives 40 mV/A and its 0 to 5 V
    are divided down to 0 to vref.
    """

    voltage_v_per_code: Gain = 500 / ADC_CODES
    voltage_zero_code: ZeroCode = ADC_CODES / 2
    current_a_per_code: Gain = 5 / ADC_CODES / 0.04
    current_zero_code: ZeroCode = ADC_CODES / 2
    current_delay_s: Annotated[
        float, Meta(ge=-0.005, le=0.005, description="-0.005 to 0.005 seconds")
    ] = 0.0
    voltage_noise_v: Annotated[
        float | None, Meta(description="0 to 500 volts rms of one sample, at no load")
    ] = None
    current_noise_a: Annotated[
        float | None, Meta(description="0 to 500 amperes rms of one sample, at no load")
    ] = None


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The rms noise of one sample of each channel at no load, quantisation included.

    DC and the harmonics 1…40 are taken out, all else up to half the sampling rate is in it; None
    where it was never measured.
    """

    voltage_noise_v: float | None = None
    current_noise_a: float | None = None


class CalibrationFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of calibration.toml."""

    grid: CircuitCalibration = CircuitCalibration()
    leg2: CircuitCalibration = CircuitCalibration()
    solar: CircuitCalibration = CircuitCalibration()
    load: CircuitCalibration = CircuitCalibration()


def load_calibration(path: Path, role: str = "grid") -> Calibration:
    """A circuit's calibration in ``path``; what is not written there is nominal.

    A file that does not exist is a meter that was never calibrated: all values are nominal.

    Raises:
        ConfigError: the file cannot be read or a value cannot be.
    """
    written = msgspec.structs.asdict(_circuit(_tables(path), path, role))
    return Calibration(**{name: written[name] for name in Calibration.__dataclass_fields__})


def load_noise_floor(path: Path, role: str = "grid") -> NoiseFloor:
    """The noise floor that was measured at calibration.

    Raises:
        ConfigError: the file cannot be read or a value cannot be.
    """
    circuit = _circuit(_tables(path), path, role)
    return NoiseFloor(circuit.voltage_noise_v, circuit.current_noise_a)


def save_calibration(
    path: Path, calibration: Calibration, noise: NoiseFloor = NoiseFloor(), role: str = "grid"
) -> None:
    """Replace one circuit's table: after a power cut the file holds the old or the new, whole.

    Written by hand: a few numbers need no library. ``repr`` gives the shortest digits that read
    back as the same number, and TOML takes them as they are.

    Raises:
        ConfigError: a value could not be read back, or the disk refused; the old file stays.
    """
    known = {**asdict(calibration), **asdict(noise)}
    tables = dict(_tables(path))
    tables[role] = {name: float(number) for name, number in known.items() if number is not None}
    _circuit(tables, path, role)
    lines = ["# Written at calibration.\n"]
    for name, table in tables.items():
        lines += [f"[{name}]\n", *(f"{key} = {number!r}\n" for key, number in table.items())]
    try:
        _replace(path, "".join(lines).encode())
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; the calibration there is unchanged"
        ) from error


def _tables(path: Path) -> dict[str, Any]:
    return read(path) if path.exists() else {}


def _replace(path: Path, content: bytes) -> None:
    """Write beside, flush, rename, flush the folder: the rename must reach the disk too."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _circuit(tables: dict[str, Any], path: Path, role: str) -> CircuitCalibration:
    circuit: CircuitCalibration = getattr(convert(tables, CalibrationFile, path), role)
    for key in ("voltage_v_per_code", "current_a_per_code"):
        if getattr(circuit, key) == 0:
            raise refusal(path, f"[{role}]", key, 0.0, allowed(CircuitCalibration, key))
    for key in ("voltage_noise_v", "current_noise_a"):
        found = getattr(circuit, key)
        if not 0.0 <= (found or 0.0) <= NOISE_MAX:
            raise refusal(path, f"[{role}]", key, found, allowed(CircuitCalibration, key))
    return circuit
