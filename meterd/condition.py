"""How the meter is doing, found out and said: for ``meterctl status`` and ``meterctl check``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from meterd import acquire, calc, lcd, record_condition, store, wire, wiring
from meterd.config import Config
from meterd.errors import MeterdError, NotAReadingError, StoreError
from meterd.metrology import synchronism
from meterd.model import Calibration, Missed, Quantities, Reading
from meterd.panel import server_state
from meterd.record_condition import RecordCondition
from meterd.store import SyncStatus

SILENT_INTERVALS = 2.5
CHECK_BLOCKS = 6


@dataclass(frozen=True, slots=True)
class Condition:
    """What the meter's own files say of it."""

    last: Reading | None
    record: RecordCondition | None
    sync: SyncStatus | None
    claimed: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    what: str
    fine: bool
    said: str


def find_out(config: Config, now_utc_s: float) -> Condition:
    """Read both databases; what cannot be read is a problem that is named, not an exception."""
    problems: list[str] = []
    last, record = None, None
    try:
        reader = store.open_reader(config.meter.readings_path)
        try:
            rows = store.recent(reader, 1)
            record = record_condition.look(config, reader)
            last = wire.decode(rows[0][1]) if rows else None
        finally:
            store.close_reader(reader)
    except (StoreError, NotAReadingError) as error:
        problems.append(str(error))
    try:
        sync = store.read_sync_status(
            config.meter.sync_path, record.stream if record is not None else None
        )
    except StoreError as error:
        sync = None
        problems.append(str(error))
    claimed = config.meter.credential_path.exists()
    problems += _problems(config, last, sync, claimed, now_utc_s)
    if record is not None:
        problems += record_condition.problems(record)
    return Condition(last, record, sync, claimed, tuple(problems))


def _problems(
    config: Config, last: Reading | None, sync: SyncStatus | None, claimed: bool, now_utc_s: float
) -> Iterator[str]:
    if last is None:
        yield "no reading yet: start meterd (systemctl start meterd) and wait for one interval"
    else:
        silent_s = now_utc_s - last.end_utc_s
        if silent_s > SILENT_INTERVALS * config.meter.interval_s:
            yield (
                f"the last reading is {silent_s:.0f} s old: is meterd running? "
                "(systemctl status meterd)"
            )
        for flag, sentence in FLAG_SENTENCES.items():
            if flag in last.flags:
                yield sentence
    if config.sync.server:
        yield from _sync_problems(sync, claimed)


def _sync_problems(sync: SyncStatus | None, claimed: bool) -> Iterator[str]:
    if not claimed:
        yield "not claimed: get a claim code from the operator and run meterctl claim CODE"
    elif sync is None or (sync.last_success_utc_s is None and sync.last_error is None):
        yield "never synchronised: start meterd-sync (systemctl start meterd-sync)"
    elif sync.last_error is not None:
        yield f"the last synchronisation failed: {sync.last_error}"
    if sync is not None and sync.rejected:
        yield f"the server could not take {sync.rejected} readings as they are: tell the operator"


FLAG_SENTENCES = {
    "MAINS_LOST": "there was no mains voltage in the last interval",
    "CLIPPED": "the ADC was at the end of its range in the last interval: energy counted too low",
    "CLOCK_UNSET": "no time source has set the clock since the start: dates are a guess; give the "
    "machine a network or a clock module (timedatectl)",
}


def status_json(config: Config, condition: Condition, now_utc_s: float) -> dict[str, Any]:
    """The condition for a program."""
    sync = condition.sync
    return {
        "serial": config.meter.serial,
        "stream": condition.record.stream if condition.record else None,
        "last_seq": condition.record.last_seq if condition.record else 0,
        "last_end_utc_s": condition.last.end_utc_s if condition.last else None,
        "import_j": condition.last.import_j if condition.last else None,
        "export_j": condition.last.export_j if condition.last else None,
        "unsent": unsent(condition),
        "server": server_state(config, sync, now_utc_s) if sync else "unknown",
        "claimed": condition.claimed,
        "record": record_condition.as_plain(condition.record) if condition.record else None,
        "problems": list(condition.problems),
    }


def unsent(condition: Condition) -> int | None:
    """How many rows the server has not acknowledged; None: nobody knows."""
    if condition.sync is None or condition.record is None:
        return None
    known = condition.sync.hwm if condition.sync.stream == condition.record.stream else 0
    return condition.record.last_seq - known


def check(config: Config, calibrations: tuple[Calibration, ...]) -> Iterator[Finding]:
    """Try the ADC and the display and say what each answered."""
    attempts: tuple[tuple[str, Callable[[], str]], ...] = (
        ("ADC", partial(_check_adc, config, calibrations)),
        ("display", partial(_check_display, config)),
        ("state folder", partial(_check_folder, config.meter.state_dir)),
    )
    for what, attempt in attempts:
        try:
            yield Finding(what, True, attempt())
        except (MeterdError, OSError) as error:
            yield Finding(what, False, str(error))


def _check_adc(config: Config, calibrations: tuple[Calibration, ...]) -> str:
    converter = wiring.open_converter(config, paced=False)
    try:
        read = wiring.block_reader(converter, config)
        blocks = [read() for _ in range(CHECK_BLOCKS)]
    finally:
        converter.close()
    circuits = [
        ((circuit.voltage_channel, circuit.current_channel), calibration)
        for circuit, calibration in zip(config.in_order, calibrations, strict=True)
    ]
    measured: list[Quantities] = [
        window
        for window in calc.stream(
            (calc.align_circuits(block, circuits) for block in blocks),
            config.meter.nominal_hz,
            mains_min_v=wiring.MAINS_MIN_SHARE * config.meter.nominal_v,
        )
        if not isinstance(window, Missed)
    ]
    taken_s = float(blocks[-1].t_ns[-1, -1] - blocks[0].t_ns[0, 0]) / 1e9
    rate_hz = sum(block.codes.size for block in blocks) / taken_s
    batch = acquire.whole_batch(config.channels, converter.batch)
    text = f"{rate_hz:.0f} conversions/s, {batch} a call"
    if not measured:
        return f"{text}; no window could be measured in {taken_s:.1f} s"
    mean = calc.aggregate(measured)
    parts = [_circuit_words("grid", mean)]
    for circuit, other in zip(config.in_order[1:], mean.others, strict=True):
        parts.append(_circuit_words(circuit.role, other))
        if circuit.voltage_channel != config.grid.voltage_channel:
            parts.append(_synchronism_words(circuit.role, mean, other))
    return "; ".join([text, *parts])


def _circuit_words(role: str, mean: Quantities) -> str:
    frequency = "no mains" if mean.frequency_hz is None else f"{mean.frequency_hz:.3f} Hz"
    return (
        f"{role} {mean.voltage_v:.2f} V, {mean.current_a:.3f} A, {mean.power_w:.1f} W, {frequency}"
    )


def _synchronism_words(role: str, network: Quantities, other: Quantities) -> str:
    """Whether the circuit's voltage is in step with the network's."""
    found = synchronism.compare(synchronism.side_of(network), synchronism.side_of(other))
    if found.permitted:
        return (
            f"{role} in step: ΔV {found.voltage_pct:+.2f} %, Δf {found.frequency_hz:+.3f} Hz, "
            f"Δφ {found.phase_deg:+.2f}°"
        )
    return f"{role} not in step: {', '.join(found.reasons)}"


def _check_display(config: Config) -> str:
    if config.display.device == "none":
        return "none configured"
    if config.display.device == "simulated":
        opener = wiring.simulated_display(config.display.address, time.monotonic_ns, None)
        display = opener()
    else:
        display = lcd.open_display(config.display.port, config.display.address)
    try:
        display.write(0, 0, config.meter.serial[:16].ljust(16))
    finally:
        display.close()
    return f"answers at 0x{config.display.address:02x} and shows the serial number"


def _check_folder(state_dir: Path) -> str:
    state_dir.mkdir(parents=True, exist_ok=True)
    probe = state_dir / ".check"
    probe.write_bytes(b"")
    probe.unlink()
    return f"{state_dir} can be written"


def status_words(config: Config, condition: Condition, now_utc_s: float) -> Iterator[str]:
    """The condition for a person."""
    yield f"meter    {config.meter.serial}"
    if condition.last is not None:
        last = condition.last
        yield f"reading  {last.seq}, {now_utc_s - last.end_utc_s:.0f} s ago"
        yield f"import   {last.import_j / 3.6e6:.4f} kWh"
        yield f"export   {last.export_j / 3.6e6:.4f} kWh"
        if last.power_w is not None:
            direction = "exporting" if last.power_w < 0 else "importing"
            yield f"power    {direction} {abs(last.power_w):.1f} W"
    if condition.record is not None:
        yield from record_condition.in_words(condition.record)
    waiting = unsent(condition)
    server = server_state(config, condition.sync, now_utc_s) if condition.sync else "unknown"
    yield f"server   {config.sync.server or 'none'}: {server}"
    yield f"unsent   {'unknown' if waiting is None else waiting}"
    for problem in condition.problems:
        yield f"!        {problem}"
    if not condition.problems:
        yield "all is well"
