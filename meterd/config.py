"""The configuration, read once and whole into frozen values.

Two TOML files: ``meterd.toml`` says what the meter is and where its parts are; ``calibration.toml``
beside it holds what was measured at calibration, because it is sealed and changed by other hands.
A key that does not exist, a wrong type or a value out of range is an error that names the file, the
table, the key, the value and what is allowed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from meterd.calibration_file import (
    NoiseFloor,
    load_calibration,
    load_noise_floor,
    save_calibration,
)
from meterd.errors import ConfigError
from meterd.relay_table import Relay, check_relay
from meterd.toml_tables import allowed, convert, read, refusal

__all__ = [
    "Config",
    "NoiseFloor",
    "Relay",
    "calibration_path",
    "load",
    "load_calibration",
    "load_noise_floor",
    "save_calibration",
]

DEFAULT_PATH = Path("/etc/meterd/meterd.toml")
CALIBRATION_NAME = "calibration.toml"
CREDENTIAL_NAME = "credential"
DAY_S = 86_400
MCP3008_CHANNELS = 8
PCF8574_ADDRESSES = frozenset([*range(0x20, 0x28), *range(0x38, 0x40)])
"""PCF8574 and PCF8574A answer at these (datasheet, table 4), whatever the three jumpers say."""

PageName = Literal["power", "supply", "meter", "demand", "tariff"]
TARIFF_CHARACTERS_MAX = 48
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
        Meta(description='"grid", "leg2", "solar" or "load"'),
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
    pages: Annotated[
        tuple[PageName, ...],
        Meta(
            min_length=1,
            max_length=5,
            description='a list of one or more of "power", "supply", "meter", "demand" and '
            '"tariff", each once',
        ),
    ] = ("power", "supply", "meter")
    tariff_text: Annotated[
        str,
        Meta(
            max_length=TARIFF_CHARACTERS_MAX,
            description=f"up to {TARIFF_CHARACTERS_MAX} printable characters",
        ),
    ] = ""


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


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """[record]: how long and how much the meter keeps."""

    retention_days: Annotated[int, Meta(ge=40, le=3650, description="40 to 3650 whole days")] = 400
    size_max_mib: Annotated[int, Meta(ge=16, le=65_536, description="16 to 65536 MiB")] = 1024
    ballast_mib: Annotated[
        int, Meta(ge=0, le=256, description="0 to 256 MiB held for a full disk")
    ] = 8


class Simulation(Struct, frozen=True, forbid_unknown_fields=True):
    """[simulation]: the mains socket in place of a real one."""

    mains: Annotated[str, Meta(max_length=1000, description="words such as voltage=127 pf=0.9")] = (
        "voltage=127 current=4.2 pf=0.9"
    )
    waveform: Annotated[
        Path | None, Meta(description='the path of a recording, or "" for mains')
    ] = None
    leg2: Annotated[str, Meta(max_length=1000, description="words such as angle=180 pf=1")] = (
        "voltage=127 current=2 pf=1 angle=180"
    )
    solar: Annotated[str, Meta(max_length=1000, description="words such as current=5")] = (
        "voltage=127 current=5 pf=1"
    )
    load: Annotated[str, Meta(max_length=1000, description="words such as current=5")] = (
        "voltage=127 current=5 pf=1"
    )
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
    relay: Relay | None = None
    record: Record = Record()
    simulation: Simulation | None = None

    @property
    def in_order(self) -> tuple[Circuit, ...]:
        """All circuits, the grid first: windows are locked to its voltage."""
        return tuple(sorted(self.circuits, key=lambda circuit: circuit.role != "grid"))

    @property
    def further_roles(self) -> tuple[str, ...]:
        """The roles of the circuits after the grid, in their order."""
        return tuple(circuit.role for circuit in self.in_order[1:])

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels to convert, in turn, each once."""
        pairs = ((c.voltage_channel, c.current_channel) for c in self.in_order)
        return tuple(dict.fromkeys(channel for pair in pairs for channel in pair))

    @property
    def own_voltages(self) -> tuple[str, ...]:
        """The roles of the circuits whose voltage is not the grid's."""
        network = self.grid.voltage_channel
        return tuple(c.role for c in self.circuits if c.voltage_channel != network)

    @property
    def grid(self) -> Circuit:
        """The circuit that is billed."""
        return next(circuit for circuit in self.circuits if circuit.role == "grid")


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
    config = convert(read(path), Config, path)
    _check_meter(config, path)
    _check_circuits(config.circuits, path)
    _check_server(config.sync.server, path)
    check_relay(config.relay, config.own_voltages, path)
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
        raise refusal(path, "[meter]", "interval_s", interval_s, allowed(Meter, "interval_s"))
    if 60 % config.demand.block_min:
        found = config.demand.block_min
        raise refusal(path, "[demand]", "block_min", found, allowed(DemandBlocks, "block_min"))
    if address not in PCF8574_ADDRESSES:
        raise refusal(path, "[display]", "address", address, allowed(Display, "address"))
    pages, text = config.display.pages, config.display.tariff_text
    if len(set(pages)) != len(pages):
        raise refusal(path, "[display]", "pages", list(pages), allowed(Display, "pages"))
    if not text.isprintable():
        raise refusal(path, "[display]", "tariff_text", text, allowed(Display, "tariff_text"))


def _check_circuits(circuits: tuple[Circuit, ...], path: Path) -> None:
    """One grid, no role twice, and no current channel that is another signal's too.

    A voltage channel may serve several circuits, but the second leg has a voltage of its own.
    """
    roles = [circuit.role for circuit in circuits]
    if roles.count("grid") != 1:
        raise ConfigError(
            f'{path}: {roles.count("grid")} [[circuit]] tables have role = "grid", and there must '
            "be exactly one"
        )
    twice = next((role for role in roles if roles.count(role) > 1), None)
    if twice is not None:
        raise ConfigError(f'{path}: two [[circuit]] tables have role = "{twice}"')
    currents = [circuit.current_channel for circuit in circuits]
    voltages = {circuit.voltage_channel for circuit in circuits}
    for channel in currents:
        if channel in voltages or currents.count(channel) > 1:
            raise ConfigError(
                f"{path}: [[circuit]] current_channel = {channel} is another signal's channel "
                "too: every current needs a channel of its own"
            )
    legs = [circuit.voltage_channel for circuit in circuits if circuit.role in ("grid", "leg2")]
    if len(set(legs)) != len(legs):
        raise ConfigError(
            f'{path}: [[circuit]] role = "leg2" has the voltage channel of the grid; the second '
            "leg's voltage is another one"
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
        raise refusal(path, "[sync]", "server", shown, allowed(Sync, "server"))
