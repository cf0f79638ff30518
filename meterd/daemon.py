"""The whole meter on one page (the paper's ``Logic.py``): sample, measure, count, store, show.

``run`` is the block diagram; :mod:`meterd.main` puts the real parts around it and owns clock and
signals.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from meterd import calc, interval, store, wiring
from meterd.config import Config
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
    Stamp,
)
from meterd.recorder import Ended, Recorder
from meterd.timekeeping import Timekeeper

log = logging.getLogger(__name__)

SAVE_S = 10.0
"""The most energy that a power cut can cost, in seconds of it."""
TIDY_S = 300.0
FOLLOW_S = 1.0
DEMAND_SETTLED_S = 5.0
OUTAGE_MIN_S = 2 * SAVE_S
STOP_S = 5.0


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
class Meter:
    """What ``run`` needs of the world around it."""

    config: Config
    calibrations: tuple[Calibration, ...]
    """Of the circuits in their order, the grid first."""
    recorder: Recorder
    time: Timekeeper
    clock_ns: Callable[[], int]
    show: Callable[[Quantities | None, Counted], None]
    """After each window; None: it could not be measured."""
    control: Callable[[Quantities | Missed], Config] | None = None
    """What the server wants: the configuration that is in effect from now on."""


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
            keep_reading(meter, current, counted, last_at, ended_at)
            first = current.end_utc_s == 0
            current = replace(current, end_utc_s=end_utc_s) if first else Interval(end_utc_s)
        dark, outages = outage(meter, dark)
        counted, window, ended = watch_voltage(meter, counted, window, window_utc_s)
        counted, seen = count(meter, counted, window, window_utc_s)
        current = interval.with_events(interval.add(current, seen), (*outages, *ended))
        kept, last_at = keep_registers(meter, counted, kept), ended_at
        meter.show(None if isinstance(seen, Missed) else seen, counted)
        meter, current = obey(meter, seen, current, counted, ended_at)
    cut_short(meter, current, counted, last_at)


def cut_short(meter: Meter, current: Interval, counted: Counted, last_at: Stamp) -> None:
    """Stopped in the middle of an interval: it ends now."""
    now_utc_s = interval.interval_end(meter.time.utc_s(), 1)
    current = replace(current, end_utc_s=min(current.end_utc_s, now_utc_s))
    keep_reading(meter, current, counted, last_at, None)


def obey(
    meter: Meter, seen: Quantities | Missed, current: Interval, counted: Counted, last_at: Stamp
) -> tuple[Meter, Interval]:
    """Take over what the server has set; another length of interval begins at once."""
    if meter.control is None:
        return meter, current
    config = meter.control(seen)
    if config is meter.config:
        return meter, current
    if config.meter.interval_s != meter.config.meter.interval_s and current.end_utc_s:
        cut_short(meter, current, counted, last_at)
        current = Interval(0)
    return replace(meter, config=config), current


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


def keep_reading(
    meter: Meter, ended: Interval, counted: Counted, last_at: Stamp, next_at: Stamp | None
) -> None:
    """Store the interval that ended, one transaction with its registers.

    ``last_at`` is the end of its last window, ``next_at`` that of the window behind it; None: there
    is none. An interval that the date has cut short, or a stop, ended with its last window.
    """
    if ended.end_utc_s == 0 or interval.is_empty(ended):
        return
    boottime_ms = last_at.boottime_ms + round(1000 * (ended.end_utc_s - last_at.utc_s))
    if next_at is None or not last_at.boottime_ms <= boottime_ms <= next_at.boottime_ms:
        boottime_ms = last_at.boottime_ms
    end_at = replace(last_at, utc_s=float(ended.end_utc_s), boottime_ms=boottime_ms)
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
