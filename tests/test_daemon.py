"""The whole meter on a simulated socket and a clock that tests turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from meterd import acquire, config, daemon, main, startup, store, wire, wiring
from meterd.calibration.history import Change
from meterd.daemon import Meter
from meterd.errors import HardwareError
from meterd.model import Calibration, Quantities, Reading, Registers, SampleBlock
from meterd.record.rows import detail, said
from meterd.simulate.adc import SimulatedAdc, SimulatedClock
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import Mains, Socket, synthetic
from meterd.simulate.mcp3008 import Mcp3008
from meterd.timekeeping import Clocks
from tests.chain import CHANNELS, NOMINAL
from tests.records import KEY, open_new

CONFIG = """
[meter]
serial = "MX-000001"
state_dir = "state"
interval_s = {interval_s}
[adc]
device = "simulated"
[[circuit]]
role = "grid"
voltage_channel = 0
current_channel = 1
[display]
device = "none"
"""
MIDNIGHT_UTC_S = 1_763_856_000.0
LOAD = Socket(127.0, 4.2, 0.9)
POWER_W = 127.0 * 4.2 * 0.9


class Desk:
    """A meter, its socket and its clock; ``utc_step_s`` steps the date and not the time."""

    def __init__(self, folder: Path, mains: Mains, interval_s: int = 5) -> None:
        self.folder = folder
        (folder / "meterd.toml").write_text(CONFIG.format(interval_s=interval_s))
        self.config = config.load(folder / "meterd.toml")
        self.config.meter.state_dir.mkdir(exist_ok=True)
        self.clock = SimulatedClock(paced=False, start_utc_s=MIDNIGHT_UTC_S)
        self.utc_step_s, self.kernel_state = 0.0, "synced"
        self.shown: list[Quantities | None] = []
        chip = Mcp3008(
            Wiring(mains, FrontEnd(), CHANNELS),
            vref_v=3.3,
            noise_codes=0.5,
            rng=np.random.default_rng(1),
        )
        adc = SimulatedAdc(chip, self.clock)
        timing = acquire.measure_timing(adc, CHANNELS, 510, self.clock.now_ns)
        self.read = partial(
            acquire.read_block,
            adc,
            CHANNELS,
            batches=3,
            batch=510,
            timing=timing,
            clock_ns=self.clock.now_ns,
        )

    def blocks(self, seconds: float) -> Iterator[SampleBlock]:
        end_ns = self.clock.now_ns() + round(seconds * 1e9)
        while self.clock.now_ns() < end_ns:
            yield self.read()

    def run(self, blocks: Iterator[SampleBlock]) -> None:
        kept = startup.open_record(self.config, now_utc_s=int(MIDNIGHT_UTC_S))
        try:
            clocks = Clocks(
                lambda: self.clock.now_ns() / 1e9,
                lambda: self.clock.utc_s() + self.utc_step_s,
                lambda: self.kernel_state,
            )
            time = startup.keep_time(kept.store, clocks, 1, built_utc_s=0)
            meter = Meter(
                config=self.config,
                calibrations=(NOMINAL,) * len(self.config.circuits),
                recorder=startup.new_recorder(kept, self.config, KEY, time, lambda: 0),
                time=time,
                clock_ns=self.clock.now_ns,
                show=lambda window, registers: self.shown.append(window),
            )
            daemon.run(meter, blocks)
            main.stop(meter)
        finally:
            store.close(kept.store)

    def lines(self) -> list[bytes]:
        reader = store.open_reader(self.config.meter.readings_path)
        try:
            return [line for _, line in store.every_row(reader)]
        finally:
            store.close_reader(reader)

    def events(self, name: str) -> list[dict[str, object]]:
        """What the events of a name say, oldest first."""
        return [detail(line) for line in self.lines() if said(line).event == name]

    def readings(self) -> list[Reading]:
        reader = store.open_reader(self.config.meter.readings_path)
        try:
            return [wire.decode(line) for _, line in store.recent(reader, 10_000)]
        finally:
            store.close_reader(reader)

    def registers(self) -> Registers:
        record = open_new(self.config.meter.readings_path)
        try:
            return store.load_registers(record)
        finally:
            store.close(record)


def test_a_reading_is_stored_at_the_end_of_each_interval(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    desk.run(desk.blocks(21.0))
    rows = desk.readings()
    assert len(rows) == 5
    assert [said(line).seq for line in desk.lines()] == list(range(1, len(desk.lines()) + 1))
    assert [row.end_utc_s - MIDNIGHT_UTC_S for row in rows[:4]] == [5, 10, 15, 20]
    for row in rows[1:4]:
        assert row.voltage_v == pytest.approx(127.0, rel=0.001)
        assert row.power_w == pytest.approx(POWER_W, rel=0.002)
        assert row.coverage_pct == pytest.approx(100.0, abs=5.0)
        assert row.flags == []
    assert "RESTARTED" in rows[0].flags
    assert desk.shown


def test_energy_is_power_times_time_and_the_last_interval_is_kept_when_stopped(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, synthetic(replace(LOAD, exporting=True)))
    desk.run(desk.blocks(17.0))
    last = desk.readings()[-1]
    assert last.import_j == 0
    assert last.export_j == pytest.approx(POWER_W * 17.0, rel=0.005)
    assert last.end_utc_s == -int(-desk.clock.utc_s() // 1)
    assert last.measured_s == pytest.approx(desk.clock.utc_s() - MIDNIGHT_UTC_S - 15.0, abs=0.2)


def test_a_restarted_meter_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Desk(tmp_path, synthetic(LOAD))
    first.run(first.blocks(11.0))
    before = first.readings()
    again = Desk(tmp_path, synthetic(LOAD))
    again.run(again.blocks(11.0))
    after = again.readings()
    assert after[: len(before)] == before
    assert [said(line).seq for line in again.lines()] == list(range(1, len(again.lines()) + 1))
    assert {row.stream for row in after} == {before[0].stream}
    assert after[-1].import_j == pytest.approx(2 * before[-1].import_j, rel=0.01)


def test_a_meter_that_dies_loses_at_most_ten_seconds_of_energy(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD), interval_s=60)

    def dying() -> Iterator[SampleBlock]:
        yield from desk.blocks(35.0)
        raise HardwareError("the power is gone")

    with pytest.raises(HardwareError):
        desk.run(dying())
    assert desk.registers().import_j >= POWER_W * 25.0 * 0.995
    assert desk.readings() == []


def test_a_clock_set_forward_by_400_days_stores_both_intervals_and_loses_no_energy(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))

    def stepped() -> Iterator[SampleBlock]:
        yield from desk.blocks(7.0)
        desk.utc_step_s = 400 * 86_400.0
        yield from desk.blocks(7.0)

    desk.run(stepped())
    rows = desk.readings()
    assert [said(line).seq for line in desk.lines()] == list(range(1, len(desk.lines()) + 1))
    assert rows[-1].end_utc_s > MIDNIGHT_UTC_S + 400 * 86_400
    assert rows[-1].import_j == pytest.approx(POWER_W * 14.0, rel=0.005)


def test_a_sure_clock_that_is_set_back_an_hour_is_refused_and_told_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))

    def stepped() -> Iterator[SampleBlock]:
        yield from desk.blocks(7.0)
        desk.utc_step_s = -3600.0
        yield from desk.blocks(7.0)

    desk.run(stepped())
    rows = desk.readings()
    ends = [row.end_utc_s for row in rows]
    assert ends == sorted(ends)
    assert rows[-1].clock == "relative"
    assert len(desk.events("clock_refused")) == 1
    assert rows[-1].import_j == pytest.approx(POWER_W * 14.0, rel=0.005)


def test_a_guessed_clock_may_be_set_back_an_hour_by_hand(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    desk.kernel_state = "unsynced"

    def stepped() -> Iterator[SampleBlock]:
        yield from desk.blocks(7.0)
        desk.utc_step_s = -3600.0
        yield from desk.blocks(7.0)

    desk.run(stepped())
    rows = desk.readings()
    assert any(row.end_utc_s < MIDNIGHT_UTC_S for row in rows)
    assert {row.clock for row in rows} == {"informative"}
    (anchor,) = desk.events("anchor")
    assert anchor["stepped_ms"] == pytest.approx(-3_600_000, abs=1)
    assert anchor["source"] == "system"
    assert rows[-1].import_j == pytest.approx(POWER_W * 14.0, rel=0.005)


def test_a_second_that_was_not_sampled_is_not_counted_and_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))

    def with_a_hole() -> Iterator[SampleBlock]:
        yield from desk.blocks(6.0)
        desk.clock.advance(1_000_000_000)
        yield from desk.blocks(6.0)

    desk.run(with_a_hole())
    rows = desk.readings()
    assert rows[-1].import_j == pytest.approx(POWER_W * 12.0, rel=0.04)
    assert rows[-1].import_j <= POWER_W * 12.15  # blocks of 52 ms are read whole
    assert "GAP" in rows[1].flags
    assert rows[1].coverage_pct < 85.0


def start_again(desk: Desk, calibration: Calibration, changes: Sequence[Change] = ()) -> None:
    """A start and nothing more."""
    kept = startup.open_record(desk.config, now_utc_s=int(MIDNIGHT_UTC_S))
    try:
        clocks = Clocks(lambda: 7.0, lambda: MIDNIGHT_UTC_S, lambda: "synced")
        time = startup.keep_time(kept.store, clocks, 1, built_utc_s=0)
        recorder = startup.new_recorder(kept, desk.config, KEY, time, lambda: 0)
        start = startup.Start(desk.config, (calibration,), changes)
        startup.record_start(kept, recorder, [KEY], start, "a" * 32)
    finally:
        store.close(kept.store)


def test_the_boot_and_a_changed_calibration_are_written_into_the_record(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    start_again(desk, NOMINAL)
    start_again(desk, NOMINAL)
    start_again(desk, replace(NOMINAL, current_delay_s=1e-4))
    first, second = desk.events("calibration")
    assert (first["counter"], second["counter"]) == (1, 2)
    assert first["old"] is None
    assert second["old"] == first["new"]
    assert second["new"]["grid"]["current_delay_s"] == 1e-4  # type: ignore[index]  # a JSON object
    boots = desk.events("boot")
    assert len(boots) == 3
    assert boots[0]["serial"] == "MX-000001"
    assert boots[0]["program_sha256"] == startup.program_hash()


def test_windows_of_a_meter_at_work_are_shown_one_by_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    desk.run(itertools.islice(desk.blocks(10.0), 60))
    powers = [window.power_w for window in desk.shown if window is not None]
    assert len(powers) >= 10
    assert powers == pytest.approx([POWER_W] * len(powers), rel=0.005)


def test_a_demand_that_heads_over_the_limit_is_told_once_a_block(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    limited = CONFIG.format(interval_s=5) + "[demand]\nblock_min = 1\nlimit_w = 300.0\n"
    (tmp_path / "meterd.toml").write_text(limited)
    desk.config = config.load(tmp_path / "meterd.toml")
    desk.run(desk.blocks(100.0))
    told = [line for line in desk.lines() if said(line).event == "demand_limit"]
    assert len(told) == 2
    second_utc_s = said(told[1]).utc_s
    assert second_utc_s is not None
    assert second_utc_s - MIDNIGHT_UTC_S == pytest.approx(60 + daemon.DEMAND_SETTLED_S, abs=2)
    last = desk.readings()[-1]
    assert last.demand_w == pytest.approx(POWER_W, rel=0.02)
    assert last.demand_max_end_utc_s == MIDNIGHT_UTC_S + 60


def test_least_and_most_of_an_interval_are_in_its_reading(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(replace(LOAD, power_factor=1.0, vary_s=20.0)))
    desk.run(desk.blocks(21.0))
    for row in desk.readings()[1:4]:
        assert row.power_min_w is not None
        assert row.power_w is not None
        assert row.power_max_w is not None
        assert row.power_min_w < row.power_w < row.power_max_w
        assert row.voltage_min_v == pytest.approx(127.0, rel=0.002)


def test_an_idle_meter_moves_no_register_and_shows_no_current(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(replace(LOAD, current_a=0.0)))
    desk.run(desk.blocks(30.0))
    assert desk.registers() == Registers()
    assert [row.current_a for row in desk.readings()] == [0.0] * len(desk.readings())
    assert {row.voltage_v is not None for row in desk.readings()} == {True}


def test_a_dip_is_stored_with_its_reading_and_its_windows_are_flagged(tmp_path: Path) -> None:
    steady = synthetic(replace(LOAD, power_factor=1.0))

    def dipping(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        volts, amps = steady(t_s)
        # Six cycles at 60 % of 127 V, after the clock was read for timing and mains were found.
        share = np.where((t_s >= 7.0) & (t_s < 7.1), 0.6, 1.0)
        return volts * share, amps

    desk = Desk(tmp_path, dipping)
    desk.run(desk.blocks(16.0))
    found = [event for row in desk.readings() for event in row.events]
    assert [event.kind for event in found] == ["dip"]
    (dip,) = found
    assert dip.extreme_v == pytest.approx(0.6 * 127.0, abs=0.005 * 127.0)
    assert dip.duration_s == pytest.approx(0.1, abs=1 / 60)
    assert dip.start_utc_s - MIDNIGHT_UTC_S == pytest.approx(7.0, abs=1 / 60)
    flagged = ["VOLTAGE_EVENT" in row.flags for row in desk.readings()]
    assert flagged == [False, True, *[False] * (len(flagged) - 2)]
    assert [event["extreme_v"] for event in desk.events("dip")] == [dip.extreme_v]


def test_the_time_without_power_is_told_by_the_first_reading_after_it(tmp_path: Path) -> None:
    first = Desk(tmp_path, synthetic(LOAD))
    first.run(first.blocks(11.0))
    again = Desk(tmp_path, synthetic(LOAD))
    again.utc_step_s = 3600.0
    again.run(again.blocks(6.0))
    outages = [row.events for row in again.readings() if row.events]
    assert len(outages) == 1
    ((outage,),) = outages
    assert outage.kind == "outage"
    assert outage.extreme_v is None
    assert outage.start_utc_s - MIDNIGHT_UTC_S == pytest.approx(12.0, abs=1.0)
    assert outage.duration_s == pytest.approx(3600.0 - 11.0, abs=2.0)


SPLIT_PHASE = """
[[circuit]]
role = "leg2"
voltage_channel = 2
current_channel = 3
[[circuit]]
role = "solar"
voltage_channel = 0
current_channel = 4
"""


def test_two_legs_are_billed_as_one_and_the_house_is_grid_and_sun(tmp_path: Path) -> None:
    text = CONFIG.format(interval_s=5) + SPLIT_PHASE
    words = """[simulation]
mains = "voltage=120 current=6 pf=1 export"
leg2 = "voltage=121 current=2 pf=1 angle=180"
solar = "voltage=120 current=9 pf=1"
"""
    (tmp_path / "meterd.toml").write_text(text + words)
    desk = Desk.__new__(Desk)
    desk.folder, desk.utc_step_s, desk.shown = tmp_path, 0.0, []
    desk.kernel_state = "synced"
    desk.config = config.load(tmp_path / "meterd.toml")
    desk.config.meter.state_dir.mkdir()
    converter = wiring.open_converter(desk.config, paced=False)
    assert isinstance(converter.adc, SimulatedAdc)
    desk.clock = converter.utc_s.__self__  # type: ignore[attr-defined]  # a SimulatedClock's
    desk.read = wiring.block_reader(converter, desk.config)  # type: ignore[assignment]
    desk.run(desk.blocks(11.0))
    row = desk.readings()[1]
    legs_w = -120.0 * 6.0 + 121.0 * 2.0
    assert row.power_w == pytest.approx(legs_w, rel=2e-3)
    roles = {circuit.role: circuit for circuit in row.circuits}
    assert roles["leg2"].power_w == pytest.approx(121.0 * 2.0, rel=5e-3)
    assert roles["leg2"].voltage_v == pytest.approx(121.0, rel=1e-3)
    assert roles["solar"].power_w == pytest.approx(120.0 * 9.0, rel=2e-3)
    assert roles["house"].power_w == pytest.approx(legs_w + 120.0 * 9.0, rel=5e-3)
    assert desk.registers().import_j == 0
    assert desk.registers().export_j == pytest.approx(-legs_w * 11.0, rel=0.03)


def test_the_record_says_who_calibrated_and_when_nobody_is_known(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    changed = replace(NOMINAL, current_delay_s=1e-4)
    values: dict[str, float | None] = {**asdict(changed)}
    change = Change(7, 1_763_850_000, "grid", "ana", "guided", {}, {}, {}, values)
    start_again(desk, changed, [change])
    start_again(desk, replace(changed, current_delay_s=2e-4), [change])
    first, second = desk.events("calibration")
    assert first["by"] == {
        "grid": {"counter": 7, "utc_s": 1_763_850_000, "by": "ana", "method": "guided"}
    }
    assert second["by"] == {"grid": None}


def test_the_time_since_the_start_at_a_readings_end_does_not_follow_the_date(
    tmp_path: Path,
) -> None:
    """What was measured between two readings is what passed between their ends, steps or not."""
    desk = Desk(tmp_path, synthetic(LOAD))
    desk.kernel_state = "unsynced"

    def stepped() -> Iterator[SampleBlock]:
        yield from desk.blocks(7.3)
        desk.utc_step_s = 86_400.0 * 30 + 1.7
        yield from desk.blocks(8.1)

    desk.run(stepped())
    rows = desk.readings()
    for before, after in itertools.pairwise(rows):
        passed_s = (after.boottime_ms - before.boottime_ms) / 1000
        assert after.measured_s == pytest.approx(passed_s, abs=0.25)  # a window's length
