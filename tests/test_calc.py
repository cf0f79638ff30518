"""Windows, quantities and registers against analytic signals."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import acos, cos, degrees, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from meterd import calc
from meterd.model import Calibration, Missed, Quality, Quantities, Registers, SampleBlock, Waveform

RATE_HZ = 14_000.0
Lines = dict[int, tuple[float, float]]  # order: rms, angle in degrees


def signal(
    seconds: float = 2.0,
    *,
    frequency_hz: float = 60.0,
    volts: Lines | None = None,
    amps: Lines | None = None,
    skew_s: float = 0.0,
    dc_v: float = 0.0,
    dc_a: float = 0.0,
    rate_hz: float = RATE_HZ,
) -> Waveform:
    """Sums of √2·rms·sin(hωt + angle), angles in degrees, the current sampled ``skew_s`` later."""
    t_s = np.arange(round(seconds * rate_hz)) / rate_hz

    def total(
        lines: dict[int, tuple[float, float]], at_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return sum(
            (
                sqrt(2) * rms * np.sin(2 * pi * h * frequency_hz * at_s + np.radians(angle))
                for h, (rms, angle) in lines.items()
            ),
            np.zeros_like(at_s),
        )

    return Waveform(
        start_ns=0,
        t_s=t_s,
        voltage_v=dc_v + total(volts or {1: (127.0, 0.0)}, t_s),
        current_t_s=t_s + skew_s,
        current_a=dc_a + total({1: (10.0, -30.0)} if amps is None else amps, t_s + skew_s),
        quality=np.zeros(len(t_s), np.uint16),
    )


def windows_of(waveform: Waveform) -> list[Quantities]:
    found = calc.stream([waveform], 60.0, mains_min_v=6.0)
    return [window for window in found if isinstance(window, Quantities)]


def mean_of(waveform: Waveform) -> Quantities:
    return calc.aggregate(windows_of(waveform))


def test_a_sine_is_measured_within_the_float_targets() -> None:
    seen = mean_of(signal())
    assert seen.voltage_v == pytest.approx(127.0, rel=1e-4)
    assert seen.current_a == pytest.approx(10.0, rel=1e-4)
    assert seen.power_w == pytest.approx(1270.0 * cos(pi / 6), rel=1e-4)
    assert seen.reactive_var == pytest.approx(635.0, rel=1e-4)
    assert seen.apparent_va == pytest.approx(1270.0, rel=1e-4)
    assert seen.nonactive_var == pytest.approx(635.0, rel=1e-3)
    assert seen.power_factor == pytest.approx(cos(pi / 6), rel=1e-4)
    assert seen.phase_deg == pytest.approx(30.0, abs=0.01)
    assert seen.frequency_hz == pytest.approx(60.0, abs=0.001)
    assert seen.thd_voltage_pct == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("frequency_hz", [47.5, 49.93, 50.0, 52.5, 57.5, 59.93, 60.07, 62.5])
def test_windows_follow_the_frequency(frequency_hz: float) -> None:
    seen = mean_of(signal(frequency_hz=frequency_hz))
    assert seen.frequency_hz == pytest.approx(frequency_hz, abs=0.001)
    assert seen.current_a == pytest.approx(10.0, rel=1e-4)
    assert seen.power_w == pytest.approx(1270.0 * cos(pi / 6), rel=1e-4)


@pytest.mark.parametrize(("frequency_hz", "cycles"), [(50.0, 10), (60.0, 12)])
def test_a_window_has_the_cycles_of_iec_61000_4_30(frequency_hz: float, cycles: int) -> None:
    first, *_ = windows_of(signal(frequency_hz=frequency_hz))
    assert first.cycles == cycles
    assert first.duration_s == pytest.approx(0.2, rel=1e-4)


@pytest.mark.parametrize("skew_s", [-50e-6, 0.0, 34e-6, 50e-6])
@pytest.mark.parametrize("angle_deg", [0.0, -60.0, 60.0])
def test_the_skew_between_the_channels_changes_nothing(skew_s: float, angle_deg: float) -> None:
    # Left alone, 50 µs at 60 Hz are 1.08°: 3.2 % of the power at a power factor of 0.5.
    seen = mean_of(signal(amps={1: (10.0, angle_deg)}, skew_s=skew_s))
    assert seen.power_w == pytest.approx(1270.0 * cos(np.radians(angle_deg)), rel=1e-4)
    assert seen.phase_deg == pytest.approx(-angle_deg, abs=0.01)


def test_the_skew_is_undone_at_the_harmonics_too() -> None:
    harmonic = {1: (10.0, -30.0), 15: (2.0, 40.0)}
    seen = mean_of(signal(volts={1: (127.0, 0.0), 15: (6.0, 40.0)}, amps=harmonic, skew_s=36e-6))
    # The 15th carries 12 W in phase; 36 µs there are 11.7° and would take 2 % of it away.
    assert seen.power_w == pytest.approx(1270 * cos(pi / 6) + 12.0, rel=2e-5)


def test_dc_is_not_measured() -> None:
    # Three codes of drift of a Hall sensor, 0.37 A, are 18 % at 0.6 A where DC is not taken out.
    seen = mean_of(signal(amps={1: (0.6, 0.0)}, dc_a=0.366, dc_v=1.5))
    assert seen.current_a == pytest.approx(0.6, rel=1e-4)
    assert seen.power_w == pytest.approx(0.6 * 127.0, rel=1e-4)
    assert seen.voltage_v == pytest.approx(127.0, rel=1e-4)


def test_export_is_negative_power_and_power_factor() -> None:
    seen = mean_of(signal(amps={1: (10.0, 180.0)}))
    assert seen.power_w == pytest.approx(-1270.0, rel=1e-4)
    assert seen.power_factor == pytest.approx(-1.0, rel=1e-4)
    assert abs(seen.phase_deg or 0.0) == pytest.approx(180.0, abs=0.01)


@pytest.mark.parametrize(
    ("angle_deg", "reactive_var"), [(-90.0, 1270.0), (90.0, -1270.0)], ids=["lags", "leads"]
)
def test_a_lagging_current_is_positive_reactive_power(
    angle_deg: float, reactive_var: float
) -> None:
    assert mean_of(signal(amps={1: (10.0, angle_deg)})).reactive_var == pytest.approx(
        reactive_var, rel=1e-4
    )


def test_the_example_of_ieee_1459_annex_b() -> None:
    volts = {1: (100.0, 0.0), 3: (8.0, -70.0), 5: (15.0, 140.0), 7: (5.0, 20.0)}
    amps = {1: (100.0, -30.0), 3: (20.0, -165.0), 5: (15.0, 233.0), 7: (10.0, 288.0)}
    seen = mean_of(signal(volts=volts, amps=amps))
    assert seen.voltage_v == pytest.approx(101.557865, rel=1e-4)
    assert seen.current_a == pytest.approx(103.561576, rel=1e-4)
    assert seen.power_w == pytest.approx(8632.78855, rel=1e-4)
    assert seen.reactive_var == pytest.approx(5000.0, rel=1e-4)
    assert seen.apparent_va == pytest.approx(10517.49257, rel=1e-4)
    assert seen.nonactive_var == pytest.approx(6007.71269, rel=1e-4)
    assert seen.power_factor == pytest.approx(0.820803, abs=1e-4)
    assert seen.thd_voltage_pct == pytest.approx(17.720045, abs=0.05)
    assert seen.thd_current_pct == pytest.approx(26.925824, abs=0.05)


def test_harmonics_are_told_line_by_line() -> None:
    amps = {1: (10.0, 0.0), 3: (0.8, 10.0), 25: (0.5, 20.0), 40: (0.3, 30.0)}
    seen = mean_of(signal(amps=amps))
    for order, (rms, _) in amps.items():
        assert seen.harmonic_current_a[order - 1] == pytest.approx(rms, rel=0.002)
    assert seen.harmonic_current_a[1] == pytest.approx(0.0, abs=0.002)


def test_the_noise_of_the_adc_is_taken_out_of_rms_values_and_never_of_the_power() -> None:
    clean = signal(6.0, amps={1: (0.6, 0.0)})
    rng = np.random.default_rng(1)
    noisy = replace(clean, current_a=clean.current_a + 0.07 * rng.standard_normal(len(clean.t_s)))
    seen = mean_of(noisy)
    # In quadrature 70 mA would make 604 mA of 600.
    assert seen.current_a == pytest.approx(0.6, rel=1.5e-3)
    assert seen.power_w == pytest.approx(0.6 * 127.0, rel=1.5e-3)
    assert seen.thd_current_pct == pytest.approx(0.0, abs=1.5)


def test_windows_leave_no_time_out() -> None:
    waveform = signal(10.0, frequency_hz=59.97)
    found = list(calc.stream([waveform], 60.0, mains_min_v=6.0))
    elapsed_s = sum(item.duration_s for item in found)
    assert elapsed_s == pytest.approx(10.0, abs=3 / 59.97)
    ends_ns = [item.end_ns for item in found]
    assert ends_ns == sorted(ends_ns)


def test_the_same_windows_come_from_one_waveform_and_from_many_pieces() -> None:
    whole = signal(2.0, frequency_hz=59.9)
    edges = [0, 100, 1500, 1501, 9000, 20_000, len(whole.t_s)]
    pieces = [
        Waveform(
            start_ns=round(whole.t_s[a] * 1e9),
            t_s=whole.t_s[a:b] - round(whole.t_s[a] * 1e9) / 1e9,
            voltage_v=whole.voltage_v[a:b],
            current_t_s=whole.current_t_s[a:b] - round(whole.t_s[a] * 1e9) / 1e9,
            current_a=whole.current_a[a:b],
            quality=whole.quality[a:b],
        )
        for a, b in pairwise(edges)
    ]
    together = windows_of(whole)
    apart = [w for w in calc.stream(pieces, 60.0, mains_min_v=6.0) if isinstance(w, Quantities)]
    assert len(apart) == len(together)
    for one, other in zip(apart, together, strict=True):
        assert one.power_w == pytest.approx(other.power_w, rel=1e-6)


def without(waveform: Waveform, from_s: float, to_s: float) -> Waveform:
    kept = (waveform.t_s < from_s) | (waveform.t_s >= to_s)
    return replace(
        waveform,
        t_s=waveform.t_s[kept],
        voltage_v=waveform.voltage_v[kept],
        current_t_s=waveform.current_t_s[kept],
        current_a=waveform.current_a[kept],
        quality=waveform.quality[kept],
    )


def test_a_stall_of_5_ms_is_filled_in_and_told() -> None:
    found = windows_of(without(signal(), 0.9, 0.905))
    seen = calc.aggregate(found)
    assert seen.power_w == pytest.approx(1270.0 * cos(pi / 6), rel=1e-4)
    assert seen.gap_s == pytest.approx(0.005, abs=0.0005)
    assert sum(1 for window in found if window.flags & Quality.GAP) == 1


def test_a_second_without_samples_is_missed_and_not_invented() -> None:
    found = list(calc.stream([without(signal(4.0), 1.0, 2.0)], 60.0, mains_min_v=6.0))
    missed_s = sum(item.duration_s for item in found if isinstance(item, Missed))
    windows = [item for item in found if isinstance(item, Quantities)]
    assert 0.999 <= missed_s <= 1.25
    assert sum(w.duration_s for w in windows) + missed_s == pytest.approx(4.0, abs=0.05)
    for window in windows:
        assert window.power_w == pytest.approx(1270.0 * cos(pi / 6), rel=1e-3)


def test_without_mains_the_unknown_is_unknown() -> None:
    seen = mean_of(signal(volts={1: (0.5, 0.0)}, amps={}))
    assert seen.frequency_hz is None
    assert seen.power_factor is None
    assert seen.phase_deg is None
    assert Quality.MAINS_LOST in seen.flags
    assert seen.voltage_v == pytest.approx(0.5, rel=1e-3)


def test_the_mains_are_found_again_when_they_come_back() -> None:
    waveform = signal(4.0)
    dead = (waveform.t_s > 1.0) & (waveform.t_s < 2.0)
    waveform = replace(
        waveform,
        voltage_v=np.where(dead, 0.0, waveform.voltage_v),
        current_a=np.where(dead, 0.0, waveform.current_a),
    )
    found = windows_of(waveform)
    lost = [window for window in found if Quality.MAINS_LOST in window.flags]
    assert 3 <= len(lost) <= 6
    assert found[-1].frequency_hz == pytest.approx(60.0, abs=0.001)
    assert found[-1].power_w == pytest.approx(1270.0 * cos(pi / 6), rel=1e-4)


def test_fewer_cycles_than_a_window_are_measured_and_marked_short() -> None:
    (only,) = windows_of(signal(0.1))
    assert only.cycles == 6
    assert Quality.SHORT in only.flags
    assert only.current_a == pytest.approx(10.0, rel=1e-3)


def test_less_than_two_cycles_are_not_measured() -> None:
    assert windows_of(signal(0.03)) == []


def test_rms_values_are_averaged_by_their_squares_and_powers_as_they_are() -> None:
    one, other = mean_of(signal(amps={1: (3.0, 0.0)})), mean_of(signal(amps={1: (4.0, 0.0)}))
    both = calc.aggregate([one, replace(other, duration_s=one.duration_s)])
    assert both.current_a == pytest.approx(sqrt((9 + 16) / 2), rel=1e-4)
    assert both.power_w == pytest.approx(127.0 * 3.5, rel=1e-4)


def test_angles_around_180_degrees_average_to_180_and_not_to_0() -> None:
    one, other = mean_of(signal(amps={1: (10.0, 179.0)})), mean_of(signal(amps={1: (10.0, -179.0)}))
    assert abs(calc.aggregate([one, other]).phase_deg or 0.0) == pytest.approx(180.0, abs=0.01)


def test_codes_become_volts_and_amperes_each_at_its_instant() -> None:
    block = SampleBlock(
        channels=(2, 5),
        codes=np.array([[512, 612], [712, 412]], np.uint16),
        t_ns=np.array([[1000, 1034], [1068, 1102]], np.int64),
        valid=np.ones(2, np.bool_),
    )
    waveform = calc.align(block, (2, 5), Calibration(0.5, 512.0, 0.1, 512.0, 4e-9))
    assert waveform.voltage_v.tolist() == [0.0, 100.0]
    assert waveform.current_a == pytest.approx([10.0, -10.0])
    assert waveform.t_s == pytest.approx([0.0, 68e-9])
    assert waveform.current_t_s == pytest.approx([30e-9, 98e-9])


def test_codes_at_the_end_of_the_range_are_marked_clipped() -> None:
    block = SampleBlock(
        channels=(0, 1),
        codes=np.array([[512, 1023], [512, 512]], np.uint16),
        t_ns=np.arange(4, dtype=np.int64).reshape(2, 2),
        valid=np.ones(2, np.bool_),
    )
    waveform = calc.align(block, (0, 1), Calibration(1.0, 512.0, 1.0, 512.0, 0.0))
    assert waveform.quality.tolist() == [Quality.CLIPPED, Quality.GOOD]


def test_samples_of_a_preempted_batch_are_left_out() -> None:
    block = SampleBlock(
        channels=(0, 1),
        codes=np.array([[1, 2], [3, 4]], np.uint16),
        t_ns=np.arange(4, dtype=np.int64).reshape(2, 2),
        valid=np.array([False, True]),
        flags=Quality.PREEMPTED,
    )
    waveform = calc.align(block, (0, 1), Calibration(1.0, 0.0, 1.0, 0.0, 0.0))
    assert waveform.voltage_v.tolist() == [3.0]
    assert waveform.quality.tolist() == [Quality.PREEMPTED]


def test_one_kilowatt_for_one_hour_is_one_kilowatt_hour() -> None:
    registers = Registers()
    for _ in range(18_000):
        registers = calc.accumulate(registers, 1000.0, 0.2)
    assert registers.import_j == 3_600_000
    assert registers.export_j == 0


def test_import_and_export_are_never_netted() -> None:
    registers = calc.accumulate(calc.accumulate(Registers(), 500.0, 2.0), -300.0, 2.0)
    assert (registers.import_j, registers.export_j) == (1000, 600)


@given(st.lists(st.tuples(st.floats(-50e3, 50e3), st.floats(0, 1)), max_size=200))
def test_registers_never_fall_and_lose_nothing(steps: list[tuple[float, float]]) -> None:
    registers = Registers()
    for power_w, elapsed_s in steps:
        after = calc.accumulate(registers, power_w, elapsed_s)
        assert after.import_j >= registers.import_j
        assert after.export_j >= registers.export_j
        registers = after
    imported = sum(power * elapsed for power, elapsed in steps if power >= 0)
    exported = -sum(power * elapsed for power, elapsed in steps if power < 0)
    assert registers.import_j + registers.import_carry_j == pytest.approx(imported, abs=1e-3)
    assert registers.export_j + registers.export_carry_j == pytest.approx(exported, abs=1e-3)


def test_time_that_goes_back_is_refused() -> None:
    with pytest.raises(ValueError, match="time went back"):
        calc.accumulate(Registers(), 1.0, -0.1)


def test_acos_of_the_power_factor_is_the_angle_of_a_sine() -> None:
    seen = mean_of(signal(amps={1: (5.0, -25.84)}))
    assert degrees(acos(seen.power_factor or 0.0)) == pytest.approx(25.84, abs=0.02)


@pytest.mark.parametrize("seed", range(12))
def test_any_pattern_of_holes_is_got_over_and_all_time_accounted_for(seed: int) -> None:
    rng = np.random.default_rng(seed)
    waveform = signal(5.0)
    for _ in range(int(rng.integers(1, 30))):
        begin_s = float(rng.uniform(0.0, 4.5))
        waveform = without(waveform, begin_s, begin_s + float(rng.choice([0.001, 0.03, 0.1, 0.5])))
    found = list(calc.stream([waveform], 60.0, mains_min_v=6.0))
    assert sum(item.duration_s for item in found) == pytest.approx(
        float(waveform.t_s[-1] - waveform.t_s[0]), abs=0.05
    )
    for item in found:
        if isinstance(item, Quantities):
            assert item.power_w == pytest.approx(1270.0 * cos(pi / 6), rel=0.005)
