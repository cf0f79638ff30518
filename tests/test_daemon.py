"""The whole meter on a simulated socket and a clock that tests turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from meterd import acquire, config, daemon, store, wire, wiring
from meterd.calibration.history import Change
from meterd.daemon import Meter
from meterd.errors import HardwareError
from meterd.model import Quantities, Reading, Registers, SampleBlock
from meterd.simulate.adc import SimulatedAdc, SimulatedClock
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import Mains, Socket, synthetic
from meterd.simulate.mcp3008 import Mcp3008
from tests.chain import CHANNELS, NOMINAL

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
        self.utc_step_s = 0.0
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
        record = store.open_store(self.config.meter.readings_path, now_utc_s=int(MIDNIGHT_UTC_S))
        try:
            daemon.run(
                Meter(
                    config=self.config,
                    calibrations=(NOMINAL,) * len(self.config.circuits),
                    store=record,
                    clock_ns=self.clock.now_ns,
                    utc_s=lambda: self.clock.utc_s() + self.utc_step_s,
                    clock_state=lambda: "synced",
                    show=lambda window, registers: self.shown.append(window),
                ),
                blocks,
            )
        finally:
            store.close(record)

    def readings(self) -> list[Reading]:
        reader = store.open_reader(self.config.meter.readings_path)
        try:
            return [wire.decode(line) for _, line in store.rows_after(reader, 0, 10_000, 10**8)]
        finally:
            store.close_reader(reader)

    def registers(self) -> Registers:
        record = store.open_store(self.config.meter.readings_path, now_utc_s=0)
        try:
            return store.load_registers(record)
        finally:
            store.close(record)


def test_a_reading_is_stored_at_the_end_of_each_interval(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    desk.run(desk.blocks(21.0))
    rows = desk.readings()
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
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
    assert [row.seq for row in after] == list(range(1, len(after) + 1))
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
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1].end_utc_s > MIDNIGHT_UTC_S + 400 * 86_400
    assert rows[-1].import_j == pytest.approx(POWER_W * 14.0, rel=0.005)


def test_a_clock_set_back_an_hour_stores_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))

    def stepped() -> Iterator[SampleBlock]:
        yield from desk.blocks(7.0)
        desk.utc_step_s = -3600.0
        yield from desk.blocks(7.0)

    desk.run(stepped())
    rows = desk.readings()
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert any(row.end_utc_s < MIDNIGHT_UTC_S for row in rows)
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


def test_the_boot_and_a_changed_calibration_are_written_into_the_record(tmp_path: Path) -> None:
    desk = Desk(tmp_path, synthetic(LOAD))
    record = store.open_store(desk.config.meter.readings_path, now_utc_s=1)
    try:
        daemon.record_boot(record, desk.config, (NOMINAL,), 1)
        first = store.last_event(record, "calibration")
        daemon.record_boot(record, desk.config, (NOMINAL,), 2)
        changed = replace(NOMINAL, current_delay_s=1e-4)
        daemon.record_boot(record, desk.config, (changed,), 3)
        second = store.last_event(record, "calibration")
        boot = store.last_event(record, "boot")
    finally:
        store.close(record)
    assert first is not None
    assert first["old"] is None
    assert second is not None
    assert second["old"] == first["new"]
    assert second["new"]["grid"]["current_delay_s"] == 1e-4  # type: ignore[index]  # a JSON object
    assert boot is not None
    assert boot["serial"] == "MX-000001"


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
    record = store.open_store(desk.config.meter.readings_path, now_utc_s=0)
    try:
        rows = record.writer.connection.execute(
            "SELECT utc_s, detail FROM event WHERE kind = 'demand_limit' ORDER BY id"
        ).fetchall()
    finally:
        store.close(record)
    assert len(rows) == 2
    assert rows[1][0] - MIDNIGHT_UTC_S == pytest.approx(60 + daemon.DEMAND_SETTLED_S, abs=2)
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
    flagged = [row.seq for row in desk.readings() if "VOLTAGE_EVENT" in row.flags]
    assert flagged == [2]


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
    record = store.open_store(desk.config.meter.readings_path, now_utc_s=1)
    try:
        daemon.record_boot(record, desk.config, (changed,), 1, [change])
        first = store.last_event(record, "calibration")
        by_hand = replace(changed, current_delay_s=2e-4)
        daemon.record_boot(record, desk.config, (by_hand,), 2, [change])
        second = store.last_event(record, "calibration")
    finally:
        store.close(record)
    assert first is not None
    assert first["by"] == {
        "grid": {"counter": 7, "utc_s": 1_763_850_000, "by": "ana", "method": "guided"}
    }
    assert second is not None
    assert second["by"] == {"grid": None}
