"""Influence quantities of IEC 62053-21 class 1, against half of each limit, and overload."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from bench.accuracy import signals
from bench.accuracy.errors import errors
from bench.accuracy.rows import Row, Table, mean_within
from bench.accuracy.sampling import RANGE_A, direct, waveforms, windows
from bench.accuracy.signals import Signal
from bench.accuracy.standards import IMAX_A
from bench.accuracy.tenbits import seen
from meterd.model import Quality

REFERENCE_A = 10.0
HALF = 0.5
DRIFT_CODES = 3
OVERLOAD_A = 50.0
AWKWARD_HZ = 13_717
"""No multiple of 60 Hz lies near half of this rate: what it folds falls between harmonics."""


def table(seconds: float, rng: np.random.Generator) -> Table:
    """Each variation: the error it has beyond that of the undisturbed load beside it."""
    half_wave_a = IMAX_A  # what is left of it, DC included, is Imax/√2
    steady = {pf: _error(signals.circuit(REFERENCE_A, pf), seconds, rng) for pf in (1.0, 0.5)}
    cases: list[tuple[str, Signal, float, float]] = [
        ("U5 10 % and I5 40 %, Imax/2", signals.harmonics_in_phase(IMAX_A / 2), 1.0, 0.8),
        ("DC and even harmonics: half-wave, Imax/√2", signals.half_wave(half_wave_a), 1.0, 3.0),
        ("90° phase-fired, 10 A", signals.phase_fired(REFERENCE_A), 1.0, 3.0),
        ("burst, 2 cycles on, 2 off, 10 A", signals.burst(REFERENCE_A), 1.0, 3.0),
    ]
    for pf, frequency_pct, voltage_pct in ((1.0, 0.5, 0.7), (0.5, 0.7, 1.0)):
        for hz in (58.8, 61.2):
            signal = signals.circuit(REFERENCE_A, pf, frequency_hz=hz)
            cases.append((f"frequency {hz:g} Hz, PF {pf:g}", signal, pf, frequency_pct))
        for volts in (114.3, 139.7):
            signal = signals.circuit(REFERENCE_A, pf, voltage_v=volts)
            cases.append((f"voltage {volts:g} V, PF {pf:g}", signal, pf, voltage_pct))
    rows = [
        _row(name, _error(signal, seconds, rng) - steady[pf], limit)
        for name, signal, pf, limit in cases
    ]
    method = (
        f"Direct, ten bits, {seconds:g} s each; the variation is the error less that of 10 A "
        f"without the influence. Imax is {IMAX_A:g} A."
    )
    return Table("Influence quantities of class 1", method, tuple(rows))


def _error(signal: Signal, seconds: float, rng: np.random.Generator) -> float:
    return seen(signal, seconds, rng).power_pct.mean


def _row(name: str, variation_pct: float, limit: float) -> Row:
    return Row(
        name,
        f"{variation_pct:+.3f} %",
        f"≤ {HALF * limit:g} % (class: {limit:g} %)",
        abs(variation_pct) <= HALF * limit,
    )


def front_end(seconds: float, rng: np.random.Generator) -> Table:
    """A drifted sensor, and more current than the range holds."""
    drift_a = DRIFT_CODES * 2 * RANGE_A / 1024
    clean = signals.circuit(0.6, 1.0)

    def drifted(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        volts, amps = clean.mains(t_s)
        return volts, amps + drift_a

    found = seen(Signal(drifted, clean.exact), seconds, rng)
    over = signals.circuit(OVERLOAD_A, 1.0)
    clipped = list(windows(waveforms(direct(over.mains, 2.0, rng))))
    flagged = all(window.flags & Quality.CLIPPED for window in clipped)
    error = seen(over, 2.0, rng).power_pct.mean
    rows = (
        mean_within(
            f"0.6 A with the sensor's zero off by {DRIFT_CODES} codes: Irms",
            found.current_pct,
            0.05,
            "%",
            "a method that keeps DC shows +18 %",
        ),
        Row(
            f"{OVERLOAD_A:g} A: every window marked as clipped",
            f"{error:+.1f} %, {'marked' if flagged else 'not marked'}",
            "marked",
            flagged,
            f"peaks of {OVERLOAD_A * sqrt(2):.1f} A, the range ends at {RANGE_A:.1f} A",
        ),
        _folded("90° phase-fired", signals.phase_fired(10.0), seconds, rng),
        _folded("square wave", signals.square(10.0), seconds, rng),
    )
    return Table("Front end", f"Direct, ten bits, {seconds:g} s.", rows)


def _folded(name: str, signal: Signal, seconds: float, rng: np.random.Generator) -> Row:
    """A current with edges, at a rate that folds its lines between the harmonics."""
    blocks = direct(signal.mains, seconds, rng, rate_hz=AWKWARD_HZ)
    return mean_within(
        f"{name}, 10 A at {AWKWARD_HZ / 1e3:g} kS/s: Irms",
        errors(windows(waveforms(blocks)), signal.exact).current_pct,
        0.05,
        "%",
        "its lines fold back between the harmonics, where noise is looked for",
    )
