"""The whole meter on one page (the paper's ``Logic.py``): sample, measure, count, store, show.

``run`` is the block diagram; ``main`` puts the real parts around it and owns clock and signals.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

import meterd_journal
from meterd import calc, config, interval, realtime, startup, store, wiring
from meterd.acquire import Acquisition
from meterd.calibration import history
from meterd.config import Config
from meterd.errors import HardwareError, StoreDamagedError, StoreError
from meterd.interval import Interval
from meterd.metrology import demand, starting
from meterd.metrology.circuits import billed
from meterd.metrology.events import Events, detect
from meterd.metrology.starting import NO_LOAD, Load
from meterd.model import (
    Calibration,
    Demand,
    EventRecord,
    Missed,
    Quality,
    Quantities,
    Registers,
    SampleBlock,
    Screen,
    Stamp,
)
from meterd.panel import Panel
from meterd.record.keys import key_folder, load_or_create
from meterd.recorder import SAID_CHARACTERS_MAX, Ended, Recorder
from meterd.startup import Start
from meterd.store import Store
from meterd.supervision import Supervision
from meterd.timekeeping import Clocks, Timekeeper, kernel_state

log = logging.getLogger(__name__)

SAVE_S = 10.0
"""The most energy that a power cut can cost, in seconds of it."""
TIDY_S = 300.0
FOLLOW_S = 1.0
DEMAND_SETTLED_S = 5.0
OUTAGE_MIN_S = 2 * SAVE_S
STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Meter:
    """What ``run`` needs of the world around it."""

    config: Config
    calibrations: tuple[Calibration, ...]
    """Of the circuits in their order, the grid first."""
    recorder: Recorder
    time: Timekeeper
    clock_ns: Callable[[], int]
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
    """When the registers were last saved, the record last tidied, the clock last looked at."""

    saved_ns: int
    tidied_ns: int
    followed_ns: int


@dataclass(frozen=True, slots=True)
class Dark:
    """When the meter was last alive (None: told already, or never), and when it began again."""

    alive_utc_s: int | None
    begun_boottime_ms: int


def run(meter: Meter, blocks: Iterable[SampleBlock]) -> None:
    """Sample → measure → count → store → show, until the blocks end.

    Raises:
        HardwareError: the ADC stopped answering.
        StoreError: the disk failed; one that is full only makes the readings wait.
    """
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
    record = meter.recorder
    counted = Counted(store.load_registers(record.store), store.load_demand(record.store))
    kept = Kept(*[meter.clock_ns()] * 3)
    dark = Dark(store.last_saved_utc_s(record.store), meter.time.stamp().boottime_ms)
    current, last_at = Interval(0, flags=Quality.RESTARTED), meter.time.stamp()
    for window in windows:
        kept = follow_clock(meter, kept)
        ended_at = meter.time.stamp((meter.clock_ns() - window.end_ns) / 1e9)
        window_utc_s = ended_at.utc_s
        end_utc_s = interval.interval_end(window_utc_s, meter.config.meter.interval_s)
        if end_utc_s != current.end_utc_s:
            keep_reading(meter, current, counted, last_at)
            first = current.end_utc_s == 0
            current = replace(current, end_utc_s=end_utc_s) if first else Interval(end_utc_s)
        dark, outages = outage(meter, dark)
        counted, window, ended = watch_voltage(meter, counted, window, window_utc_s)
        counted, seen = count(meter, counted, window, window_utc_s)
        current = interval.with_events(interval.add(current, seen), (*outages, *ended))
        kept, last_at = keep_registers(meter, counted, kept), ended_at
        meter.show(None if isinstance(seen, Missed) else seen, counted.registers)
    # Stopped in the middle of an interval: it ends now.
    stopped_utc_s = interval.interval_end(meter.time.utc_s(), 1)
    current = replace(current, end_utc_s=min(current.end_utc_s, stopped_utc_s))
    keep_reading(meter, current, counted, last_at)


def follow_clock(meter: Meter, kept: Kept) -> Kept:
    """Look once a second whether the date is known better, and tell the record."""
    now_ns = meter.clock_ns()
    if now_ns - kept.followed_ns < FOLLOW_S * 1e9:
        return kept
    for event, detail in meter.time.follow():
        log.warning("clock: %s %s", event, detail, extra={"EVENT": event})
        meter.recorder.tell(event, detail)
    return replace(kept, followed_ns=now_ns)


def outage(meter: Meter, dark: Dark) -> tuple[Dark, tuple[EventRecord, ...]]:
    """The time from the last sign of life to this start, told once the date is not a mere guess."""
    stamp = meter.time.stamp()
    if dark.alive_utc_s is None or stamp.clock == "unknown":
        return dark, ()
    begun_utc_s = stamp.utc_s - (stamp.boottime_ms - dark.begun_boottime_ms) / 1000
    lasted_s = begun_utc_s - dark.alive_utc_s
    told = replace(dark, alive_utc_s=None)
    if lasted_s < OUTAGE_MIN_S:
        return told, ()
    record = EventRecord("outage", float(dark.alive_utc_s), round(lasted_s, 1), None)
    log.warning("nothing was measured for %.0f s", lasted_s, extra={"EVENT": record.kind})
    meter.recorder.tell(record.kind, _event_detail(record))
    return told, (record,)


def _event_detail(record: EventRecord) -> dict[str, object]:
    return {
        "start_utc_s": record.start_utc_s,
        "duration_s": record.duration_s,
        "extreme_v": record.extreme_v,
    }


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
        meter.recorder.tell(record.kind, _event_detail(record))
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
    meter.recorder.tell("demand_limit", detail)
    return running.block_end_utc_s


def keep_reading(meter: Meter, ended: Interval, counted: Counted, last_at: Stamp) -> None:
    """Store the interval that ended, one transaction with its registers.

    ``last_at`` is the end of its last window; by the date as it was then the interval's own end
    is told, whatever has happened to the date since.
    """
    if ended.end_utc_s == 0 or interval.is_empty(ended):
        return
    left_ms = round(1000 * (ended.end_utc_s - last_at.utc_s))
    end_at = replace(
        last_at, utc_s=float(ended.end_utc_s), boottime_ms=max(0, last_at.boottime_ms + left_ms)
    )
    meter.recorder.reading(
        Ended(
            ended,
            counted.registers,
            counted.demand,
            end_at,
            meter.config.meter.interval_s,
            meter.config.further_roles,
        )
    )


def keep_registers(meter: Meter, counted: Counted, kept: Kept) -> Kept:
    """Save the registers every 10 s between readings, and tidy the record every 5 min."""
    now_ns = meter.clock_ns()
    saved_ns, tidied_ns = kept.saved_ns, kept.tidied_ns
    if now_ns - saved_ns >= SAVE_S * 1e9:
        meter.recorder.save(counted.registers, counted.demand)
        saved_ns = now_ns
    if now_ns - tidied_ns >= TIDY_S * 1e9:
        meter.recorder.tidy()
        tidied_ns = now_ns
    return replace(kept, saved_ns=saved_ns, tidied_ns=tidied_ns)


def main(configuration: Path, on_screen: Callable[[Screen], None] | None = None) -> None:
    """Run the meter of a configuration until SIGTERM or SIGINT; ``on_screen`` sees the display.

    Raises:
        ConfigError, HardwareError, KeyUnusableError, StoreError: with a sentence for whoever
            starts it.
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
        keys = load_or_create(key_folder(chosen.meter.state_dir, os.environ))
        kept = startup.open_record(chosen, now_utc_s=int(converter.utc_s()))
        opened.callback(store.close, kept.store)
        start = Start(chosen, calibrations, history.read(place).changes)
        timekeeper = _keep_time(converter, kept.store)
        recorder = startup.new_recorder(
            kept, chosen, keys[-1], timekeeper, partial(acknowledged_seq, chosen, kept.store.stream)
        )
        startup.record_start(kept, recorder, keys, start, startup.read_boot_id())
        panel = Panel(
            chosen,
            kept.store.stream,
            converter.clock_ns,
            timekeeper.utc_s,
            lambda: timekeeper.stamp().clock,
            lambda: store.next_seq(kept.store) - 1,
        )
        opened.callback(panel.stop, STOP_S)
        panel.start(on_screen)
        read = wiring.block_reader(converter, chosen)
        acquisition = Acquisition(read if chosen.simulation else realtime.preferred(read))
        _stop_on_signals(acquisition, supervision)
        acquisition.start()
        log.info("meter %s measures; stream %s", chosen.meter.serial, kept.store.stream)
        show = supervision.after(panel.show)
        meter = Meter(chosen, calibrations, recorder, timekeeper, converter.clock_ns, show)
        with _faults_told(meter):
            run(meter, acquisition)
            stop(meter)


def stop(meter: Meter) -> None:
    """The last rows: that the meter was asked to stop, and the signature of all before."""
    registers = store.load_registers(meter.recorder.store)
    meter.recorder.tell("stop", {"import_j": registers.import_j, "export_j": registers.export_j})
    meter.recorder.tidy()


def acknowledged_seq(chosen: Config, stream: str) -> int:
    """Up to which row the server holds this stream, as the synchronisation was last told."""
    try:
        sync = store.read_sync_status(chosen.meter.sync_path, stream)
    except StoreError as error:
        log.warning("%s: no row counts as acknowledged meanwhile", error)
        return 0
    return sync.hwm if sync is not None and sync.stream == stream else 0


def _keep_time(converter: wiring.Converter, kept: Store) -> Timekeeper:
    boot = startup.boot_number(kept, startup.read_boot_id())
    return startup.keep_time(
        kept, Clocks(converter.boottime_s, converter.utc_s, kernel_state), boot
    )


@contextmanager
def _faults_told(meter: Meter) -> Iterator[None]:
    """What ends the meter is in its record, if the record can still be written."""
    try:
        yield
    except HardwareError as error:
        meter.recorder.tell("fault", {"part": "adc", "said": str(error)[:SAID_CHARACTERS_MAX]})
        raise
    except StoreDamagedError:
        # Looked at as a whole at the next start.
        store.suspect(meter.recorder.store.path).touch()
        raise


def _stop_on_signals(acquisition: Acquisition, supervision: Supervision) -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        supervision.notifier.stopping()
        log.info("stopping on %s", signal.Signals(number).name)
        acquisition.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
