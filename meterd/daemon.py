"""The whole meter on one page (the paper's ``Logic.py``): sample, measure, count, store, show.

``run`` is the block diagram; ``main`` puts the real parts around it and owns clock and signals.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType

import meterd_journal
from meterd import __version__, calc, config, interval, realtime, store, wire, wiring
from meterd.acquire import Acquisition
from meterd.calibration import history
from meterd.calibration.history import Change
from meterd.config import Config
from meterd.interval import Interval, Origin
from meterd.metrology import demand, starting
from meterd.metrology.circuits import billed
from meterd.metrology.demand import Demand
from meterd.metrology.events import Events, detect
from meterd.metrology.starting import NO_LOAD, Load
from meterd.model import (
    Calibration,
    EventRecord,
    Missed,
    Quality,
    Quantities,
    Registers,
    SampleBlock,
    Screen,
)
from meterd.panel import Panel
from meterd.store import Store
from meterd.supervision import Supervision

log = logging.getLogger(__name__)

SAVE_S = 10.0
"""The most energy that a power cut can cost, in seconds of it."""
CHECKPOINT_S = 300.0
DEMAND_SETTLED_S = 5.0
OUTAGE_MIN_S = 2 * SAVE_S
TIME_ERROR = 5
STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Meter:
    """What ``run`` needs of the world around it."""

    config: Config
    calibrations: tuple[Calibration, ...]
    """Of the circuits in their order, the grid first."""
    store: Store
    clock_ns: Callable[[], int]
    utc_s: Callable[[], float]
    clock_state: Callable[[], str]
    show: Callable[[Quantities | None, Registers], None]


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted from window to window."""

    registers: Registers
    demand: Demand
    load: Load = NO_LOAD
    alarmed_block_utc_s: int | None = None
    """End of the demand block whose alarm was given."""
    open_events: Events = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """When the registers were last saved and the database's log last moved into it."""

    saved_ns: int
    checkpointed_ns: int


def run(meter: Meter, blocks: Iterable[SampleBlock]) -> None:
    """Sample → measure → count → store → show, until the blocks end.

    Raises:
        HardwareError: the ADC stopped answering.
        StoreError: the disk refused a reading.
    """
    interval_s = meter.config.meter.interval_s
    circuits = [
        ((circuit.voltage_channel, circuit.current_channel), calibration)
        for circuit, calibration in zip(meter.config.in_order, meter.calibrations, strict=True)
    ]
    waveforms = (calc.align_circuits(block, circuits) for block in blocks)
    windows = calc.stream(
        waveforms,
        meter.config.meter.nominal_hz,
        mains_min_v=wiring.MAINS_MIN_SHARE * meter.config.meter.nominal_v,
    )
    counted = Counted(store.load_registers(meter.store), store.load_demand(meter.store))
    kept = Kept(meter.clock_ns(), meter.clock_ns())
    current = Interval(0, flags=Quality.RESTARTED, events=outage(meter))
    for window in windows:
        window_utc_s = meter.utc_s() - (meter.clock_ns() - window.end_ns) / 1e9
        end_utc_s = interval.interval_end(window_utc_s, interval_s)
        if end_utc_s != current.end_utc_s:
            keep_reading(meter, current, counted)
            first = current.end_utc_s == 0
            current = replace(current, end_utc_s=end_utc_s) if first else Interval(end_utc_s)
        counted, window, ended = watch_voltage(meter, counted, window, window_utc_s)
        counted, seen = count(meter, counted, window, window_utc_s)
        current = interval.with_events(interval.add(current, seen), ended)
        kept = keep_registers(meter, counted, kept)
        meter.show(None if isinstance(seen, Missed) else seen, counted.registers)
    # Stopped in the middle of an interval: it ends now.
    stopped_utc_s = interval.interval_end(meter.utc_s(), 1)
    current = replace(current, end_utc_s=min(current.end_utc_s, stopped_utc_s))
    keep_reading(meter, current, counted)


def outage(meter: Meter) -> tuple[EventRecord, ...]:
    """The time since the registers were last saved, when the meter was without power or stopped.

    Only as sure as the clock is; a clock that was set back tells no outage.
    """
    alive_utc_s, now_utc_s = store.last_saved_utc_s(meter.store), meter.utc_s()
    if alive_utc_s is None or now_utc_s - alive_utc_s < OUTAGE_MIN_S:
        return ()
    record = EventRecord("outage", float(alive_utc_s), round(now_utc_s - alive_utc_s, 1), None)
    fields = {"EVENT": record.kind}
    log.warning("nothing was measured for %.0f s", record.duration_s, extra=fields)
    store.record_event(meter.store, record.kind, asdict(record), now_utc_s=int(now_utc_s))
    return (record,)


def watch_voltage(
    meter: Meter, counted: Counted, window: Quantities | Missed, window_utc_s: float
) -> tuple[Counted, Quantities | Missed, list[EventRecord]]:
    """Find dips, swells and interruptions; flag the windows that they lie in."""
    if window.half_cycles is None:
        return counted, window, []
    nominal_v = meter.config.meter.nominal_v
    ended, still_open = detect(counted.open_events, window.half_cycles, nominal_v)
    records = []
    for event in ended:
        start_utc_s = window_utc_s - (window.end_ns - event.start_ns) / 1e9
        record = EventRecord(
            event.kind.value,
            round(start_utc_s, 3),
            round(event.duration_s, 4),
            round(event.extreme_v, 3),
        )
        told = (record.kind, record.duration_s, event.extreme_v)
        log.warning("%s of %.3f s to %.1f V", *told, extra={"EVENT": record.kind})
        store.record_event(meter.store, record.kind, asdict(record), now_utc_s=int(window_utc_s))
        records.append(record)
    if (ended or still_open) and isinstance(window, Quantities):
        window = replace(window, flags=window.flags | Quality.VOLTAGE_EVENT)
    return replace(counted, open_events=still_open), window, records


def count(
    meter: Meter, counted: Counted, window: Quantities | Missed, window_utc_s: float
) -> tuple[Counted, Quantities | Missed]:
    """Energy and demand are counted where they were measured; none is invented for a gap."""
    if isinstance(window, Missed):
        log.warning("%.3f s were not measured: %s", window.duration_s, window.reason)
        return counted, window
    load, window = starting.step(counted.load, billed(window, meter.config.further_roles))
    block_s = 60 * meter.config.demand.block_min
    running = demand.step(counted.demand, window.power_w, window.duration_s, window_utc_s, block_s)
    registers = calc.accumulate(
        counted.registers, window.power_w, window.duration_s, window.reactive_var
    )
    alarmed = watch_demand(meter, running, window, window_utc_s, counted.alarmed_block_utc_s)
    now = replace(
        counted, registers=registers, demand=running, load=load, alarmed_block_utc_s=alarmed
    )
    return now, window


def watch_demand(
    meter: Meter, running: Demand, window: Quantities, utc_s: float, alarmed_utc_s: int | None
) -> int | None:
    """Say once a block that its demand will pass the customer's limit; return the block's end."""
    limit_w = meter.config.demand.limit_w
    if limit_w is None or alarmed_utc_s == running.block_end_utc_s:
        return alarmed_utc_s
    block_s = 60 * meter.config.demand.block_min
    heading_w = demand.predicted_w(running, window.power_w, utc_s, block_s)
    if heading_w is None or heading_w <= limit_w or running.elapsed_s < DEMAND_SETTLED_S:
        return alarmed_utc_s
    log.warning("demand is heading for %.0f W, over the limit of %.0f W", heading_w, limit_w)
    detail = {
        "block_end_utc_s": running.block_end_utc_s,
        "predicted_w": round(heading_w, 2),
        "limit_w": limit_w,
    }
    store.record_event(meter.store, "demand_limit", detail, now_utc_s=int(utc_s))
    return running.block_end_utc_s


def keep_reading(meter: Meter, ended: Interval, counted: Counted) -> None:
    """Store the interval that ended, one transaction with its registers."""
    if ended.end_utc_s == 0 or interval.is_empty(ended):
        return
    origin = Origin(
        schema=wire.SCHEMA,
        meter=meter.config.meter.serial,
        stream=meter.store.stream,
        seq=store.next_seq(meter.store),
        clock=meter.clock_state(),
    )
    reading = interval.reading(
        ended,
        counted.registers,
        origin,
        meter.config.meter.interval_s,
        counted.demand,
        meter.config.further_roles,
    )
    store.append(meter.store, wire.encode(reading), reading, counted.registers, counted.demand)


def keep_registers(meter: Meter, counted: Counted, kept: Kept) -> Kept:
    """Save the registers every 10 s between readings, and checkpoint every 5 min."""
    now_ns = meter.clock_ns()
    saved_ns, checkpointed_ns = kept.saved_ns, kept.checkpointed_ns
    if now_ns - saved_ns >= SAVE_S * 1e9:
        now_utc_s = int(meter.utc_s())
        store.save_registers(
            meter.store, counted.registers, now_utc_s=now_utc_s, demand=counted.demand
        )
        saved_ns = now_ns
    if now_ns - checkpointed_ns >= CHECKPOINT_S * 1e9:
        store.checkpoint(meter.store)
        checkpointed_ns = now_ns
    return Kept(saved_ns, checkpointed_ns)


def main(configuration: Path, on_screen: Callable[[Screen], None] | None = None) -> None:
    """Run the meter of a configuration until SIGTERM or SIGINT; ``on_screen`` sees the display.

    Raises:
        ConfigError, HardwareError, StoreError: with a sentence for whoever starts it.
    """
    supervision = Supervision(os.environ, time.monotonic_ns)
    chosen = config.load(configuration)
    meterd_journal.always(METER=chosen.meter.serial)
    place = config.calibration_path(configuration)
    calibrations = tuple(
        config.load_calibration(place, circuit.role) for circuit in chosen.in_order
    )
    with ExitStack() as opened:
        converter = wiring.open_converter(chosen)
        opened.callback(converter.close)
        chosen.meter.state_dir.mkdir(parents=True, exist_ok=True)
        record = store.open_store(chosen.meter.readings_path, now_utc_s=int(converter.utc_s()))
        opened.callback(store.close, record)
        panel = Panel(
            chosen,
            record.stream,
            converter.clock_ns,
            converter.utc_s,
            clock_state,
            lambda: store.next_seq(record) - 1,
        )
        opened.callback(panel.stop, STOP_S)
        panel.start(on_screen)
        changes = history.read(place).changes
        record_boot(record, chosen, calibrations, int(converter.utc_s()), changes)
        read = wiring.block_reader(converter, chosen)
        acquisition = Acquisition(read if chosen.simulation else realtime.preferred(read))
        _stop_on_signals(acquisition, supervision)
        acquisition.start()
        log.info("meter %s measures; stream %s", chosen.meter.serial, record.stream)
        clocks = (converter.clock_ns, converter.utc_s, clock_state)
        show = supervision.after(panel.show)
        run(Meter(chosen, calibrations, record, *clocks, show=show), acquisition)


def _stop_on_signals(acquisition: Acquisition, supervision: Supervision) -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        supervision.notifier.stopping()
        log.info("stopping on %s", signal.Signals(number).name)
        acquisition.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def record_boot(
    record: Store,
    chosen: Config,
    calibrations: tuple[Calibration, ...],
    now_utc_s: int,
    changes: Sequence[Change] = (),
) -> None:
    """Write into the record which program starts, and what changed in its calibration."""
    detail = {"version": __version__, "serial": chosen.meter.serial}
    store.record_event(record, "boot", detail, now_utc_s=now_utc_s)
    new: dict[str, dict[str, float]] = {
        circuit.role: asdict(calibration)
        for circuit, calibration in zip(chosen.in_order, calibrations, strict=True)
    }
    last = store.last_event(record, "calibration")
    old = last["new"] if last else None
    if old != new:
        told = {"old": old, "new": new, "by": _who_calibrated(new, changes)}
        store.record_event(record, "calibration", told, now_utc_s=now_utc_s)


def _who_calibrated(
    new: Mapping[str, Mapping[str, float]], changes: Sequence[Change]
) -> dict[str, dict[str, object] | None]:
    """For each circuit the logged change that made its calibration; None: changed by hand."""
    found: dict[str, dict[str, object] | None] = {}
    for role, calibration in new.items():
        latest = next((change for change in reversed(changes) if change.circuit == role), None)
        made_it = latest is not None and all(
            latest.new.get(name) == value for name, value in calibration.items()
        )
        found[role] = (
            {
                "counter": latest.counter,
                "utc_s": latest.utc_s,
                "by": latest.by,
                "method": latest.method,
            }
            if made_it and latest is not None
            else None
        )
    return found


def clock_state() -> str:
    """Whether a time source has set the system's clock: synced, unsynced or unknown."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(256)  # struct timex is 208 bytes; all zero asks only
    state = int(libc.adjtimex(timex))
    if state < 0:
        return "unknown"
    return "unsynced" if state == TIME_ERROR else "synced"
