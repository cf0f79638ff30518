"""The configuration, read once and whole into frozen values.

Two TOML files: ``meterd.toml`` says what the meter is and where its parts are; ``calibration.toml``
beside it holds what was measured at calibration, because it is sealed and changed by other hands.
A key that does not exist, a wrong type or a value out of range is an error that names the file, the
table, the key, the value and what is allowed.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from meterd.errors import ConfigError
from meterd.model import ADC_CODES, Calibration

DEFAULT_PATH = Path("/etc/meterd/meterd.toml")
CALIBRATION_NAME = "calibration.toml"
CREDENTIAL_NAME = "credential"
DAY_S = 86_400
MCP3008_CHANNELS = 8
NOISE_MAX = 500.0
PCF8574_ADDRESSES = frozenset([*range(0x20, 0x28), *range(0x38, 0x40)])
"""PCF8574 and PCF8574A answer at these (datasheet, table 4), whatever the three jumpers say."""

_T = TypeVar("_T")
Channel = Annotated[int, Meta(ge=0, le=MCP3008_CHANNELS - 1, description="0 to 7")]


class Meter(Struct, frozen=True, forbid_unknown_fields=True):
    """[meter]: what this meter is."""

    serial: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9._-]{1,32}\Z",
            description='1 to 32 of A-Z a-z 0-9 . _ -, such as "MX-000001"',
        ),
    ]
    state_dir: Annotated[Path, Meta(description="the path of a folder")] = Path("/var/lib/meterd")
    interval_s: Annotated[
        int, Meta(ge=1, le=3600, description="1 to 3600 whole seconds that divide a day")
    ] = 60
    nominal_hz: Annotated[Literal[50, 60], Meta(description="50 or 60")] = 60
    nominal_v: Annotated[float, Meta(ge=50, le=480, description="50 to 480 volts rms")] = 127.0

    @property
    def readings_path(self) -> Path:
        """The meter's own record, written by meterd alone."""
        return self.state_dir / "readings.db"

    @property
    def sync_path(self) -> Path:
        """What the server has acknowledged, written by meterd-sync alone."""
        return self.state_dir / "sync.db"

    @property
    def credential_path(self) -> Path:
        """What the server knows the meter by; nobody else may read it."""
        return self.state_dir / CREDENTIAL_NAME


class Adc(Struct, frozen=True, forbid_unknown_fields=True):
    """[adc]: the MCP3008 and the bus it hangs on."""

    device: Annotated[
        Literal["spidev", "simulated"], Meta(description='"spidev" or "simulated"')
    ] = "spidev"
    bus: Annotated[int, Meta(ge=0, le=255, description="0 to 255, as in /dev/spidev<bus>.0")] = 0
    chip_select: Annotated[
        int, Meta(ge=0, le=255, description="0 to 255, as in /dev/spidev0.<chip_select>")
    ] = 0
    speed_hz: Annotated[
        int,
        Meta(ge=10_000, le=3_600_000, description="10000 to 3600000, the MCP3008's clock limits"),
    ] = 1_350_000
    vref_v: Annotated[float, Meta(ge=0.25, le=5.5, description="0.25 to 5.5 volts")] = 3.3
    batch: Annotated[
        int,
        Meta(ge=0, le=511, description="0 (as many as the kernel takes) to 511 frames a call"),
    ] = 0


class Circuit(Struct, frozen=True, forbid_unknown_fields=True):
    """[[circuit]]: which channels see the voltage and the current of one circuit."""

    voltage_channel: Channel
    current_channel: Channel
    role: Annotated[
        Literal["grid", "solar", "load", "leg2"],
        Meta(description='"grid" (also named, not yet measured: "solar", "load", "leg2")'),
    ] = "grid"


class Display(Struct, frozen=True, forbid_unknown_fields=True):
    """[display]: the 16x4 display behind its I2C expander."""

    device: Annotated[
        Literal["i2c", "simulated", "none"], Meta(description='"i2c", "simulated" or "none"')
    ] = "i2c"
    port: Annotated[int, Meta(ge=0, le=255, description="0 to 255, as in /dev/i2c-<port>")] = 1
    address: Annotated[
        int,
        Meta(ge=0x20, le=0x3F, description="0x20 to 0x27 (PCF8574) or 0x38 to 0x3f (PCF8574A)"),
    ] = 0x27
    page_s: Annotated[float, Meta(ge=1, le=60, description="1 to 60 seconds a page")] = 4.0
    language: Annotated[Literal["es", "en"], Meta(description='"es" or "en"')] = "es"


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    """[sync]: the server that readings go to; an empty address means none."""

    server: Annotated[
        str,
        Meta(
            max_length=300,
            description='"https://host" or "http://host", with a port and a path if need be and '
            'without user, "?" and "#"; "" sends nowhere',
        ),
    ] = ""
    every_s: Annotated[int, Meta(ge=1, le=3600, description="1 to 3600 whole seconds")] = 60
    timeout_s: Annotated[float, Meta(ge=1, le=120, description="1 to 120 seconds")] = 10.0


class DemandBlocks(Struct, frozen=True, forbid_unknown_fields=True):
    """[demand]: the blocks that demand is the mean of, and the customer's limit."""

    block_min: Annotated[
        int, Meta(ge=1, le=60, description="1 to 60 whole minutes that divide an hour")
    ] = 15
    limit_w: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="watts from 0 on; leave it out for no limit"),
    ] = None


class Simulation(Struct, frozen=True, forbid_unknown_fields=True):
    """[simulation]: the mains socket in place of a real one."""

    mains: Annotated[str, Meta(max_length=1000, description="words such as voltage=127 pf=0.9")] = (
        "voltage=127 current=4.2 pf=0.9"
    )
    waveform: Annotated[
        Path | None, Meta(description='the path of a recording, or "" for mains')
    ] = None
    noise_codes: Annotated[float, Meta(ge=0, le=100, description="0 to 100 codes rms")] = 0.5
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1, description="0 to 4294967295")] = 1


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of meterd.toml; paths are absolute, the server's address has no slash at its end.

    ``simulation`` is None exactly when the ADC is real.
    """

    meter: Meter
    circuits: Annotated[
        tuple[Circuit, ...], Meta(description="one table for each circuit: [[circuit]]")
    ] = msgspec.field(name="circuit")
    adc: Adc = Adc()
    display: Display = Display()
    sync: Sync = Sync()
    demand: DemandBlocks = DemandBlocks()
    simulation: Simulation | None = None

    @property
    def grid(self) -> Circuit:
        """The circuit that is billed."""
        return next(circuit for circuit in self.circuits if circuit.role == "grid")


Gain = Annotated[
    float, Meta(ge=-1000, le=1000, description="-1000 to 1000, not 0; negative: wired in reverse")
]
ZeroCode = Annotated[float, Meta(ge=0, le=ADC_CODES - 1, description="0 to 1023 codes")]


class GridCalibration(Struct, frozen=True, forbid_unknown_fields=True):
    """[grid] of calibration.toml; the defaults are the front end's nominal values.

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

    grid: GridCalibration = GridCalibration()


def load(path: Path = DEFAULT_PATH) -> Config:
    """The configuration in ``path``; its relative paths are relative to its folder.

    Raises:
        ConfigError: the file is absent or unreadable, or cannot work as written.
    """
    if not path.exists():
        raise ConfigError(
            f"there is no configuration at {path}: write one (at least [meter] serial and one "
            "[[circuit]]), or name another file"
        )
    config = _convert(_read(path), Config, path)
    _check_meter(config, path)
    _check_circuits(config.circuits, path)
    _check_server(config.sync.server, path)
    folder = path.absolute().parent
    replace = msgspec.structs.replace
    return replace(
        config,
        meter=replace(config.meter, state_dir=folder / config.meter.state_dir),
        sync=replace(config.sync, server=config.sync.server.rstrip("/")),
        simulation=_simulation(config, path, folder),
    )


def calibration_path(path: Path) -> Path:
    """Where the calibration that belongs to the configuration ``path`` is."""
    return path.absolute().parent / CALIBRATION_NAME


def load_calibration(path: Path) -> Calibration:
    """The grid circuit's calibration in ``path``; what is not written there is nominal.

    A file that does not exist is a meter that was never calibrated: all values are nominal.

    Raises:
        ConfigError: the file cannot be read or a value cannot be.
    """
    written = msgspec.structs.asdict(_grid(_read(path) if path.exists() else {}, path))
    return Calibration(**{name: written[name] for name in Calibration.__dataclass_fields__})


def load_noise_floor(path: Path) -> NoiseFloor:
    """The noise floor that was measured at calibration.

    Raises:
        ConfigError: the file cannot be read or a value cannot be.
    """
    grid = _grid(_read(path) if path.exists() else {}, path)
    return NoiseFloor(grid.voltage_noise_v, grid.current_noise_a)


def save_calibration(
    path: Path, calibration: Calibration, noise: NoiseFloor = NoiseFloor()
) -> None:
    """Replace ``path`` by ``calibration``: after a power cut it holds the old or the new, whole.

    Written by hand: seven numbers need no library. ``repr`` gives the shortest digits that read
    back as the same number, and TOML takes them as they are.

    Raises:
        ConfigError: a value could not be read back, or the disk refused; the old file stays.
    """
    known = {**asdict(calibration), **asdict(noise)}
    grid = {name: float(number) for name, number in known.items() if number is not None}
    _grid({"grid": grid}, path)
    lines = [f"{name} = {number!r}\n" for name, number in grid.items()]
    try:
        _replace(path, "".join(["# Written at calibration.\n[grid]\n", *lines]).encode())
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; the calibration there is unchanged"
        ) from error


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


def _grid(tables: dict[str, Any], path: Path) -> GridCalibration:
    grid = _convert(tables, CalibrationFile, path).grid
    for key in ("voltage_v_per_code", "current_a_per_code"):
        if getattr(grid, key) == 0:
            raise _refusal(path, "[grid]", key, 0.0, _allowed(GridCalibration, key))
    for key in ("voltage_noise_v", "current_noise_a"):
        if not 0.0 <= (getattr(grid, key) or 0.0) <= NOISE_MAX:
            raise _refusal(path, "[grid]", key, getattr(grid, key), _allowed(GridCalibration, key))
    return grid


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _simulation(config: Config, path: Path, folder: Path) -> Simulation | None:
    if config.adc.device != "simulated":
        if config.simulation is not None:
            raise ConfigError(
                f'{path}: [simulation] is only for [adc] device = "simulated", and it is '
                f'"{config.adc.device}": take the table out or change the device'
            )
        return None
    simulation = config.simulation or Simulation()
    if simulation.waveform is None or simulation.waveform == Path():  # Path(): waveform = ""
        return msgspec.structs.replace(simulation, waveform=None)
    return msgspec.structs.replace(simulation, waveform=folder / simulation.waveform)


def _check_meter(config: Config, path: Path) -> None:
    """What a range cannot say of one number."""
    interval_s, address = config.meter.interval_s, config.display.address
    if DAY_S % interval_s:
        raise _refusal(path, "[meter]", "interval_s", interval_s, _allowed(Meter, "interval_s"))
    if 60 % config.demand.block_min:
        found = config.demand.block_min
        raise _refusal(path, "[demand]", "block_min", found, _allowed(DemandBlocks, "block_min"))
    if address not in PCF8574_ADDRESSES:
        raise _refusal(path, "[display]", "address", address, _allowed(Display, "address"))


def _check_circuits(circuits: tuple[Circuit, ...], path: Path) -> None:
    for circuit in circuits:
        if circuit.role != "grid":
            raise ConfigError(
                f'{path}: [[circuit]] role = "{circuit.role}": this version measures the grid '
                "circuit alone; take this table out"
            )
    if len(circuits) != 1:
        raise ConfigError(
            f'{path}: {len(circuits)} [[circuit]] tables have role = "grid", and there must be '
            "exactly one"
        )
    if circuits[0].voltage_channel == circuits[0].current_channel:
        raise ConfigError(
            f"{path}: [[circuit]] voltage_channel and current_channel are both "
            f"{circuits[0].voltage_channel}: every signal needs a channel of its own"
        )


def _check_server(server: str, path: Path) -> None:
    if not server:
        return
    try:
        parts = urlsplit(server)
        fine = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and parts.username is None
            and not re.search(r"[?#\s\x00-\x1f]", server)
        )
    except ValueError:  # a port that is no number, a broken IPv6 address
        fine = False
    if not fine:
        shown = "…@" + server.rpartition("@")[2] if "@" in server else server  # no password in logs
        raise _refusal(path, "[sync]", "server", shown, _allowed(Sync, "server"))


def _convert(tables: dict[str, Any], into: type[_T], path: Path) -> _T:
    """``tables`` as ``into``; msgspec's refusal becomes a sentence with the value and the range."""
    _refuse_non_finite(tables, path)
    try:
        return msgspec.convert(tables, into, strict=True, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_sentence(str(error), tables, into)}") from error


def _path(kind: type, found: object) -> Path:
    assert kind is Path
    if not isinstance(found, str):
        raise TypeError("a path is a string")
    return Path(found)


def _refuse_non_finite(tables: dict[str, Any], path: Path) -> None:
    """TOML knows nan and inf, and a comparison with nan never tells."""
    for name, table in tables.items():
        for key, found in table.items() if isinstance(table, dict) else ():
            if isinstance(found, float) and not math.isfinite(found):
                raise _refusal(path, f"[{name}]", key, found, "a finite number")


def _sentence(refusal: str, tables: dict[str, Any], into: type) -> str:
    """msgspec says what it expected and where (``$.meter.interval_s``), but not what it found."""
    reason, _, place = refusal.partition(" - at `")
    steps = re.findall(r"[A-Za-z_]\w*|\d+", place)
    names = [step for step in steps if not step.isdigit()]
    table = f"[{names[0]}]" if names else "the top of the file"
    table = f"[{table}]" if steps[1:2] and steps[1].isdigit() else table
    owner = _struct_of(into, names[0]) if names else into
    if len(names) < 2:
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(owner))
        return f"{table}: {reason}; its keys are {keys}"
    found: Any = tables
    for step in steps:
        found = found[int(step) if step.isdigit() else step]
    return f"{table} {names[1]} = {found!r}: must be {_allowed(owner, names[1]) or reason}"


def _struct_of(owner: type, key: str) -> type:
    """The struct under ``key`` of ``owner``, or ``owner`` where there is none."""
    hint = _hint(owner, key)
    while hint is not None and not (isinstance(hint, type) and issubclass(hint, Struct)):
        inner = [part for part in get_args(hint) if part not in (type(None), Ellipsis)]
        hint = inner[0] if inner else None
    return owner if hint is None else hint


def _allowed(owner: type, key: str) -> str:
    """What the declaration of ``key`` says is allowed."""
    notes = (note for note in get_args(_hint(owner, key)) if isinstance(note, Meta))
    return next((note.description for note in notes if note.description), "")


def _hint(owner: type, key: str) -> Any:
    hints = get_type_hints(owner, include_extras=True)
    names = {field.encode_name: field.name for field in msgspec.structs.fields(owner)}
    return hints.get(names.get(key, key))


def _refusal(path: Path, table: str, key: str, found: object, allowed: str) -> ConfigError:
    return ConfigError(f"{path}: {table} {key} = {found!r}: must be {allowed}")
