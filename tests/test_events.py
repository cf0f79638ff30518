"""Urms(1/2), dips, swells and interruptions, against signals and definitions.

What is expected comes from IEC 61000-4-30's thresholds and from the rms values of pieces of sines.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from meterd import calc, cli
from meterd.analyze import analyze
from meterd.metrology.events import EventKind, Events, PowerQualityEvent, detect
from meterd.metrology.half_cycle import LastHalf, half_cycles
from meterd.model import HalfCycles, Missed, Waveform
from meterd.recording import Recording

NOMINAL_V = 127.0
LSB_V = 0.49  # ten bits over the front end's ±250 V
HALF_NS = 8_333_333
FLOAT_V = 0.02
"""A straight line between samples 1/230 of a cycle apart is off by less than this."""


def waveform(t_s: NDArray[np.float64], voltage_v: NDArray[np.float64]) -> Waveform:
    return Waveform(0, t_s, voltage_v, t_s, np.zeros_like(t_s), np.zeros(len(t_s), np.uint16))


def even(seconds: float, rate_hz: float = 14_000.0) -> NDArray[np.float64]:
    return np.arange(round(seconds * rate_hz)) / rate_hz


def sine(t_s: NDArray[np.float64], rms_v: float = 127.0, hertz: float = 60.0) -> Waveform:
    return waveform(t_s, sqrt(2) * rms_v * np.sin(2 * pi * hertz * t_s))


def step(
    of: Waveform, span_s: tuple[float, float], hertz: float | None, last: LastHalf | None = None
) -> tuple[HalfCycles, LastHalf | None]:
    (seen,), last = half_cycles(of, span_s, [hertz], last, nominal_hz=60.0)
    return seen, last


def one_step(of: Waveform, from_s: float, to_s: float, hertz: float = 60.0) -> HalfCycles:
    return step(of, (from_s, to_s), hertz)[0]


def of_values(*shares: float, first: int = 0) -> HalfCycles:
    """Urms(1/2) in shares of 100 V, a half cycle of 60 Hz apart; value k ends at (k + 2) halves."""
    begin_ns = (first + np.arange(len(shares), dtype=np.int64)) * HALF_NS
    return HalfCycles(begin_ns, begin_ns + 2 * HALF_NS, 100.0 * np.array(shares, np.float64))


def found_in(*shares: float) -> Events:
    ended, still_open = detect((), of_values(*shares), 100.0)
    return ended + still_open


def test_a_steady_sine_has_its_rms_value_every_half_cycle() -> None:
    seen = one_step(sine(even(0.25)), 0.0, 0.2)
    assert len(seen.urms_v) == 23  # 24 half cycles, two of them to each value
    assert seen.urms_v == pytest.approx(np.full(23, 127.0), abs=FLOAT_V)
    assert np.diff(seen.end_ns) == pytest.approx(np.full(22, HALF_NS), abs=2)
    assert seen.end_ns - seen.begin_ns == pytest.approx(np.full(23, 2 * HALF_NS), abs=2)


def test_harmonics_count_in_the_rms_value() -> None:
    t_s = even(0.25)
    v = 100 * np.sin(2 * pi * 60 * t_s) + 30 * np.sin(2 * pi * 180 * t_s + 1)
    seen = one_step(waveform(t_s, v), 0.0, 0.2)
    assert seen.urms_v == pytest.approx(np.full(23, sqrt((100**2 + 30**2) / 2)), rel=2e-3)


def test_a_cycle_half_in_a_dip_has_the_mean_of_both_squares() -> None:
    t_s = even(0.25)
    v = sine(t_s).voltage_v * np.where(t_s < 6 / 60, 1.0, 0.5)  # from a zero crossing on
    seen = one_step(waveform(t_s, v), 0.0, 0.2)
    expected = [127.0] * 11 + [127.0 * sqrt((1 + 0.25) / 2)] + [63.5] * 11
    assert seen.urms_v == pytest.approx(expected, abs=0.1)


def test_windows_lose_and_double_no_half_cycle() -> None:
    mains = sine(even(1.0))
    whole = one_step(mains, 0.0, 0.8)
    pieces: list[HalfCycles] = []
    last: LastHalf | None = None
    for k in range(4):
        # A window's own samples and those of the cycle before it, on a clock that begins with them.
        part = calc.between(mains, 0.2 * k - 0.018, 0.2 * (k + 1) + 0.0005)
        shift_ns = 200_000_000 * k
        moved = replace(part, start_ns=shift_ns, t_s=part.t_s - shift_ns / 1e9)
        piece, last = step(moved, (0.0, 0.2), 60.0, last)
        pieces.append(piece)
    assert [len(piece.urms_v) for piece in pieces] == [23, 24, 24, 24]
    assert np.concatenate([p.end_ns for p in pieces]) == pytest.approx(whole.end_ns, abs=2)
    assert np.concatenate([p.begin_ns for p in pieces]) == pytest.approx(whole.begin_ns, abs=2)
    assert np.concatenate([p.urms_v for p in pieces]) == pytest.approx(whole.urms_v, abs=FLOAT_V)


def test_uneven_samples_give_the_same_value() -> None:
    rng = np.random.default_rng(1)
    batch_s = np.arange(3600) // 255 * 50e-6  # a gap after each batch
    t_s = np.arange(3600) / 14_000.0 + batch_s + rng.uniform(-10e-6, 10e-6, 3600)
    seen = one_step(sine(t_s), 0.02, 0.22)
    assert seen.urms_v == pytest.approx(np.full(23, 127.0), abs=2 * FLOAT_V)


def test_a_hole_in_the_samples_leaves_its_cycles_out_and_no_others() -> None:
    t_s = even(0.25)
    t_s = t_s[(t_s < 0.101) | (t_s > 0.106)]  # inside half cycle 12, of 0.1000 to 0.1083 s
    seen = one_step(sine(t_s), 0.0, 0.2)
    assert seen.urms_v == pytest.approx(np.full(21, 127.0), abs=FLOAT_V)
    missing = [12 * HALF_NS, 11 * HALF_NS]  # where the cycles with this half begin
    assert all(np.abs(seen.begin_ns - begin_ns).min() > 1000 for begin_ns in missing)


def test_a_window_after_missed_time_makes_no_cycle_with_the_one_before() -> None:
    mains = sine(even(1.0))
    _, last = step(mains, (0.0, 0.2), 60.0, None)
    seen, _ = step(mains, (0.4, 0.6), 60.0, last)
    assert len(seen.urms_v) == 23
    assert seen.begin_ns[0] == 400_000_000


def test_a_frequency_is_followed_when_two_windows_in_a_row_say_it() -> None:
    mains = sine(even(1.5), hertz=50.0)
    _, last = step(mains, (0.0, 0.2), 50.0, None)
    seen, last = step(mains, (0.2, 0.4), 61.0, last)
    assert seen.urms_v == pytest.approx(np.full(20, 127.0), abs=FLOAT_V)  # cut at 50 Hz
    assert last is not None
    assert last.frequency_hz == 50.0
    _, last = step(mains, (0.4, 0.6), 61.05, last)
    assert last is not None
    assert last.frequency_hz == 61.05


def test_without_mains_half_cycles_go_on_at_the_last_frequency() -> None:
    _, last = step(sine(even(1.0)), (0.0, 0.2), 50.0, None)
    seen, _ = step(sine(even(1.0), 0.0), (0.2, 0.4), None, last)
    assert len(seen.urms_v) == 20


def test_the_end_of_the_samples_is_not_taken_for_a_dip() -> None:
    seen = one_step(sine(even(0.15)), 0.0, 0.2)
    assert len(seen.urms_v) == 17  # 18 half cycles of 1/120 s in 0.15 s
    assert seen.urms_v == pytest.approx(np.full(17, 127.0), abs=0.3)


def test_a_dip_lasts_from_below_90_to_92_percent() -> None:
    (event,) = found_in(1, 0.9, 0.89, 0.7, 0.91, 0.919, 0.92, 1)
    assert event == PowerQualityEvent(
        EventKind.DIP,
        start_ns=4 * HALF_NS,
        duration_s=4 * HALF_NS / 1e9,
        extreme_v=70.0,
        ended=True,
    )


def test_a_swell_lasts_from_above_110_to_108_percent() -> None:
    (event,) = found_in(1, 1.1, 1.11, 1.3, 1.09, 1.079, 1)
    assert event.kind is EventKind.SWELL
    assert event.start_ns == 4 * HALF_NS
    assert event.duration_s == pytest.approx(3 * HALF_NS / 1e9)
    assert event.extreme_v == pytest.approx(130.0)


def test_without_the_hysteresis_one_dip_would_be_three() -> None:
    assert len(found_in(1, 0.89, 0.905, 0.89, 0.915, 0.89, 0.93)) == 1
    assert len(found_in(1, 0.89, 0.93, 0.89, 0.93, 0.89, 0.93)) == 3


def test_a_voltage_at_a_threshold_is_no_event() -> None:
    assert found_in(1, 0.9, 1.1, 0.9, 1.1) == ()


def test_an_interruption_lies_inside_a_dip_and_lasts_from_its_first_cycle_without_voltage() -> None:
    dip, interruption = found_in(1, 0.8, 0.4, 0.2, 0.0, 0.0, 0.11, 0.12, 0.7, 0.95)
    assert (dip.kind, dip.extreme_v) == (EventKind.DIP, 0.0)
    assert interruption.kind is EventKind.INTERRUPTION
    assert interruption.start_ns == 4 * HALF_NS  # the cycle of value 4 begins there
    assert interruption.start_ns + round(interruption.duration_s * 1e9) == 9 * HALF_NS


def test_an_interruption_does_not_begin_before_its_dip() -> None:
    dip, interruption = found_in(1, 1, 0.7, 0.0, 0.0, 0.7, 0.95)
    assert interruption.start_ns == dip.start_ns == 4 * HALF_NS


def test_an_event_at_the_end_stays_open_and_goes_on_with_the_next_piece() -> None:
    ended, still_open = detect((), of_values(1, 0.8, 0.6), 100.0)
    assert ended == ()
    (event,) = still_open
    assert (event.ended, event.extreme_v) == (False, 60.0)
    assert event.duration_s == pytest.approx(HALF_NS / 1e9)
    ended, still_open = detect(still_open, of_values(0.5, 0.7, 0.95, 1, first=3), 100.0)
    assert still_open == ()
    assert ended[0].start_ns == event.start_ns
    assert ended[0].duration_s == pytest.approx(4 * HALF_NS / 1e9)
    assert (ended[0].ended, ended[0].extreme_v) == (True, 50.0)


def test_time_that_was_not_measured_does_not_end_an_event() -> None:
    _, still_open = detect((), of_values(1, 0.5), 100.0)
    assert detect(still_open, of_values(), 100.0) == ((), still_open)
    (event,), _ = detect(still_open, of_values(0.95, first=50), 100.0)
    assert event.duration_s == pytest.approx(49 * HALF_NS / 1e9)


def test_events_need_a_nominal_voltage() -> None:
    with pytest.raises(ValueError, match="nominal voltage is 0"):
        detect((), of_values(1.0), 0.0)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([0.0, 0.11, 0.13, 0.5, 0.89, 0.91, 0.95, 1.09, 1.12]), min_size=2),
    st.data(),
)
def test_pieces_find_what_the_whole_finds(shares: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(shares)))
    whole = detect((), of_values(*shares), 100.0)
    first, still_open = detect((), of_values(*shares[:cut]), 100.0)
    second, still_open = detect(still_open, of_values(*shares[cut:], first=cut), 100.0)
    by_start = sorted(first + second, key=lambda event: (event.start_ns, event.kind))
    assert by_start == sorted(whole[0], key=lambda event: (event.start_ns, event.kind))
    assert set(still_open) == set(whole[1])


def mains_with(
    share: float, from_s: float, length_s: float, *, hertz: float, rate_hz: float, seed: int
) -> Recording:
    """Distorted mains of 127 V, multiplied by ``share`` for a while, in ten bits."""
    rng = np.random.default_rng(seed)
    t_s = even(from_s + length_s + 0.5, rate_hz)
    turn = 2 * pi * hertz * t_s + rng.uniform(0, 2 * pi)
    lines = {1: 1.0, 3: 0.03, 5: 0.02, 7: 0.01}
    shape = sum(a * np.sin(h * turn + h) for h, a in lines.items())
    peak_v = NOMINAL_V * sqrt(2 / sum(a * a for a in lines.values()))
    v = peak_v * shape * np.where((t_s >= from_s) & (t_s < from_s + length_s), share, 1.0)
    codes = np.round(v / LSB_V + rng.normal(0, 0.5, len(t_s)))
    return Recording(t_s, codes * LSB_V, np.sin(turn))


@pytest.mark.parametrize("hertz", [49.6, 50.0, 60.0, 60.5])
@pytest.mark.parametrize("rate_hz", [6_000.0, 14_000.0])
@pytest.mark.parametrize(
    ("kind", "share"),
    [("dip", 0.88), ("dip", 0.7), ("dip", 0.55), ("swell", 1.12), ("swell", 1.4)],
)
@pytest.mark.parametrize("seed", range(3))
def test_an_event_at_any_phase_is_found_with_its_size_and_length(
    kind: str, share: float, hertz: float, rate_hz: float, seed: int
) -> None:
    rng = np.random.default_rng(100 + seed)
    from_s, length_s = rng.uniform(0.4, 0.6), rng.uniform(2.0, 30.0) / hertz
    mains = mains_with(share, from_s, length_s, hertz=hertz, rate_hz=rate_hz, seed=seed)
    (event,) = analyze(mains, nominal_v=NOMINAL_V).events
    assert (str(event.kind), event.ended) == (kind, True)
    assert event.extreme_v == pytest.approx(share * NOMINAL_V, abs=0.005 * NOMINAL_V)
    assert event.duration_s == pytest.approx(length_s, abs=1 / hertz)
    assert event.start_ns / 1e9 == pytest.approx(from_s, abs=1.5 / hertz)


@pytest.mark.parametrize("hertz", [50.0, 60.0])
@pytest.mark.parametrize("share", [0.0, 0.06])
@pytest.mark.parametrize("cycles", [2.3, 9.7, 31.0, 100.5])
def test_an_interruption_is_as_long_as_the_voltage_was_away(
    cycles: float, share: float, hertz: float
) -> None:
    length_s = cycles / hertz
    mains = mains_with(share, 0.4321, length_s, hertz=hertz, rate_hz=14_000.0, seed=round(cycles))
    dip, interruption = analyze(mains, nominal_v=NOMINAL_V).events
    assert (dip.kind, interruption.kind) == (EventKind.DIP, EventKind.INTERRUPTION)
    assert interruption.duration_s == pytest.approx(length_s, abs=1 / hertz)
    assert interruption.start_ns / 1e9 == pytest.approx(0.4321, abs=1 / hertz)
    assert interruption.extreme_v == pytest.approx(share * NOMINAL_V, abs=0.005 * NOMINAL_V)


@pytest.mark.parametrize("share", [0.12, 0.3, 0.5])
def test_a_deep_dip_of_whole_cycles_is_as_long_as_it_was(share: float) -> None:
    for seed in range(6):  # as many phases
        mains = mains_with(share, 0.4, 5 / 60, hertz=60.0, rate_hz=6_000.0, seed=seed)
        (event,) = analyze(mains, nominal_v=NOMINAL_V).events
        assert event.kind is EventKind.DIP
        # By the standard's definition a deep dip begins half a cycle to a cycle sooner than it
        # ends: a whole cycle at some phases, to which noise adds a little.
        assert event.duration_s == pytest.approx(5 / 60, abs=1.01 / 60)
        assert event.extreme_v == pytest.approx(share * NOMINAL_V, abs=0.005 * NOMINAL_V)


def test_a_dip_is_found_through_front_end_converter_and_acquisition() -> None:
    mains = mains_with(0.6, 0.5, 0.1, hertz=60.0, rate_hz=14_000.0, seed=5)
    (event,) = analyze(mains, nominal_v=NOMINAL_V, chain=True).events
    assert event.kind is EventKind.DIP
    assert event.extreme_v == pytest.approx(0.6 * NOMINAL_V, abs=0.005 * NOMINAL_V)
    assert event.start_ns / 1e9 == pytest.approx(0.5, abs=1.5 / 60)
    assert event.duration_s == pytest.approx(0.1, abs=1 / 60)


def test_events_come_out_of_short_pieces_of_a_stream() -> None:
    mains = mains_with(0.0, 0.5, 1.2, hertz=60.0, rate_hz=14_000.0, seed=3).waveform()
    pieces = [calc.between(mains, 0.05 * k, 0.05 * (k + 1)) for k in range(45)]
    results = list(calc.stream(pieces, 60.0, mains_min_v=6.0))
    begin_s, last = 0.0, None
    still_open: Events = ()
    all_ended: list[PowerQualityEvent] = []
    for result in results:
        hertz = None if isinstance(result, Missed) else result.frequency_hz
        span_s = (begin_s, begin_s + result.duration_s)
        halves, last = step(mains, span_s, hertz, last)
        ended, still_open = detect(still_open, halves, NOMINAL_V)
        all_ended += ended
        begin_s += result.duration_s
    assert still_open == ()
    lengths_s = {event.kind: event.duration_s for event in all_ended}
    assert lengths_s[EventKind.INTERRUPTION] == pytest.approx(1.2, abs=1 / 60)
    assert len(all_ended) == 2


def test_a_program_is_told_the_events(tmp_path: Path) -> None:
    mains = mains_with(0.5, 0.6, 9.0, hertz=60.0, rate_hz=6_000.0, seed=1).between(None, 1.5)
    np.savez(tmp_path / "a.npz", fs=6_000.0, volts=mains.voltage_v, amps=mains.current_a)
    arguments = ["analyze", str(tmp_path / "a.npz"), "--json", "--nominal-v", "127", "--from"]
    said = json.loads(CliRunner().invoke(cli.meterctl, [*arguments, "0.2"]).stdout)
    (event,) = said["events"]
    assert event.keys() == {"kind", "start_s", "duration_s", "extreme_v", "ended"}
    assert (event["kind"], event["ended"]) == ("dip", False)
    assert event["start_s"] == pytest.approx(0.6, abs=1 / 60)  # of the recording, not of the part
    assert event["duration_s"] == pytest.approx(0.9, abs=1 / 60)
    assert event["extreme_v"] == pytest.approx(63.5, abs=0.6)
    assert said["nominal_v"] == 127.0


@pytest.mark.parametrize(
    ("rms_v", "hertz", "nominal_v"),
    [(123.0, 60.0, 120.0), (129.0, 60.0, 127.0), (236.0, 50.0, 230.0), (182.34, 50.0, 182.0)],
)
def test_the_nominal_voltage_is_the_nearest_standard_one_where_none_is_given(
    rms_v: float, hertz: float, nominal_v: float
) -> None:
    mains = sine(even(1.0, 6_000.0), rms_v, hertz)
    seen = analyze(Recording(mains.t_s, mains.voltage_v, mains.voltage_v))
    assert seen.nominal_v == nominal_v
    assert any(f"taken as {nominal_v:g} V" in remark for remark in seen.remarks)


def test_the_beginning_of_a_50_hz_recording_is_no_event() -> None:
    t_s = even(1.0, 6_000.0)
    for phase in np.arange(8) * pi / 4:
        v = sqrt(2) * 230 * np.sin(2 * pi * 50 * t_s + phase)
        seen = analyze(Recording(t_s, v, v), nominal_v=230.0)
        assert seen.events == ()
        assert seen.half_cycles.urms_v == pytest.approx(230.0, rel=2e-3)
