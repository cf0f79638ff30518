"""Ours and the peers on the same samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench import peers
from bench.accuracy import signals
from bench.accuracy.energy import as_counted
from bench.accuracy.sampling import CALIBRATION, CHANNELS, RATE_HZ, direct, waveforms, windows
from bench.accuracy.signals import Signal
from bench.peers import Shown
from meterd.model import Quantities, SampleBlock

OURS = "meterd"
CPU_ROUNDS = 7
CUT_OFF_CODES = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """One method's mean errors; None where it does not show the quantity."""

    power_097_pct: float | None
    power_05_pct: float | None
    reactive_pct: float | None
    phase_deg: float | None
    small_current_pct: float | None
    small_thd_points: float | None
    idle_a: float | None  # shown with no current
    cpu_ms: float | None  # per second of signal; None: not a program that ran here


def ours(blocks: Sequence[SampleBlock]) -> list[Quantities]:
    """The meter's windows."""
    return list(windows(waveforms(blocks)))


def as_shown(found: Sequence[Quantities]) -> list[Shown]:
    """What the meter shows for its windows, in the peers' words."""
    return [
        Shown(w.power_w, w.current_a, w.reactive_var, w.phase_deg, w.thd_current_pct)
        for w in as_counted(found)
    ]


def as_arrays(blocks: Sequence[SampleBlock]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same samples as volts and amperes, (n,) each.

    Conversion cuts off, so codes stand half a code low; the peers that keep DC get that taken out.
    """
    codes = np.concatenate([block.codes for block in blocks]).astype(np.float64)
    volts, amps = (codes[:, channel] for channel in CHANNELS)
    return (
        (volts + CUT_OFF_CODES - CALIBRATION.voltage_zero_code) * CALIBRATION.voltage_v_per_code,
        (amps + CUT_OFF_CODES - CALIBRATION.current_zero_code) * CALIBRATION.current_a_per_code,
    )


def everyone(blocks: Sequence[SampleBlock]) -> dict[str, list[Shown]]:
    """What each method shows for the same samples."""
    volts, amps = as_arrays(blocks)
    shown = {OURS: as_shown(ours(blocks))}
    for name, method in peers.PEERS.items():
        shown[name] = peers.settled(method, volts, amps, RATE_HZ)
    return shown


def mean_of(shown: Sequence[Shown], of: Callable[[Shown], float | None]) -> float | None:
    """Mean over the windows, None where a method has no such quantity."""
    known = [value for value in map(of, shown) if value is not None]
    return float(np.mean(known)) if known else None


def power_error_pct(shown: Sequence[Shown], signal: Signal) -> float | None:
    """Mean error of the power, % of it."""
    mean = mean_of(shown, lambda s: s.power_w)
    return None if mean is None else 100 * (mean / signal.exact.power_w - 1)


def side_by_side(seconds: float, rng: np.random.Generator) -> dict[str, Line]:
    """The comparison's lines, ours first."""
    good, poor = (signals.circuit(10.0, pf, distorted=True) for pf in (0.97, 0.5))
    small = signals.circuit(0.6, 0.97, distorted=True)
    idle = signals.idle()
    samples = {
        name: list(direct(signal.mains, seconds, rng))
        for name, signal in {"good": good, "poor": poor, "small": small, "idle": idle}.items()
    }
    shown = {name: everyone(blocks) for name, blocks in samples.items()}
    cpu_ms = cpu(samples["good"], seconds)

    def line(name: str) -> Line:
        def error(case: str, true: float, of: Callable[[Shown], float | None]) -> float | None:
            mean = mean_of(shown[case][name], of)
            return None if mean is None else mean - true

        def percent(case: str, true: float, of: Callable[[Shown], float | None]) -> float | None:
            difference = error(case, true, of)
            return None if difference is None else 100 * difference / true

        return Line(
            power_097_pct=power_error_pct(shown["good"][name], good),
            power_05_pct=power_error_pct(shown["poor"][name], poor),
            reactive_pct=percent("good", good.exact.reactive_var, lambda s: s.reactive_var),
            phase_deg=error("good", good.exact.phase_deg, lambda s: s.phase_deg),
            small_current_pct=percent("small", small.exact.current_a, lambda s: s.current_a),
            small_thd_points=error("small", small.exact.thd_current_pct, _thd),
            idle_a=mean_of(shown["idle"][name], lambda s: s.current_a),
            cpu_ms=cpu_ms.get(name),
        )

    return {name: line(name) for name in shown["good"]}


def _thd(shown: Shown) -> float | None:
    return shown.thd_current_pct


def cpu(blocks: Sequence[SampleBlock], seconds: float) -> dict[str, float]:
    """CPU milliseconds per second of signal, the best of a few rounds taken in turn.

    Ours begins with the ADC's codes, the peers are given volts and amperes. EmonLib is a program
    for microcontrollers and rpi-power-monitor a loop over samples: their methods written with
    arrays would tell nothing about them.
    """
    volts, amps = as_arrays(blocks)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: ours(blocks),
        "pqopen-lib": lambda: peers.pqopen(volts, amps, RATE_HZ),
        "FFT peak bin": lambda: peers.fft_peak_bin(volts, amps, RATE_HZ),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(CPU_ROUNDS):
        for name, run in runs.items():
            begun_ns = time.process_time_ns()
            run()
            taken_ms = (time.process_time_ns() - begun_ns) / 1e6 / seconds
            best[name] = min(best[name], taken_ms)
    return best
