"""The targets through the model of ten bits: power factors, batches, small currents, frequency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.accuracy import physics, signals
from bench.accuracy.errors import Errors, Spread, errors
from bench.accuracy.rows import Row, Table, mean_within, sigma_within
from bench.accuracy.sampling import bus, direct, waveforms, windows
from bench.accuracy.signals import Signal

STARTS = 6
SIGMA_LONGER = 4
"""Where the scatter is near its limit: it is known to 1/√(2·windows) of itself."""


def seen(signal: Signal, seconds: float, rng: np.random.Generator) -> Errors:
    """Errors of a signal through front end and ten bits, evenly sampled (direct)."""
    blocks = direct(signal.mains, seconds, rng)
    return errors(windows(waveforms(blocks), signal.exact.frequency_hz), signal.exact)


def seen_on_the_bus(signal: Signal, seconds: float, rng: np.random.Generator, batch: int) -> Errors:
    """Errors of a signal through the simulated chip, the bus and acquisition."""
    blocks = bus(signal.mains, seconds, rng, batch=batch)
    return errors(windows(waveforms(blocks), signal.exact.frequency_hz), signal.exact)


def ten_amperes(seconds: float, rng: np.random.Generator) -> Table:
    """10 A at power factors from 1 to 0.5, evenly sampled."""
    cases = {
        "PF 1": signals.circuit(10.0, 1.0, distorted=True),
        "PF 0.97": signals.circuit(10.0, 0.97, distorted=True),
        "PF 0.8 leading": signals.circuit(10.0, 0.8, leading=True, distorted=True),
        "PF 0.5": signals.circuit(10.0, 0.5, distorted=True),
        "PF 0.5, export": signals.circuit(10.0, 0.5, exporting=True, distorted=True),
    }
    limits = {"PF 0.97": 0.02, "PF 0.5": 0.035}
    rows: list[Row] = []
    for name, case in cases.items():
        found = seen(case, seconds * (SIGMA_LONGER if name == "PF 0.5" else 1), rng)
        rows.append(mean_within(f"{name}: P", found.power_pct, 0.01, "%"))
        if name in limits:
            best = physics.power_sigma_pct(case.exact)
            rows.append(sigma_within(f"{name}: σ of P", found.power_pct, limits[name], "%", best))
        rows.append(mean_within(f"{name}: Irms", found.current_pct, 0.01, "%"))
        rows.append(mean_within(f"{name}: φ", found.phase_deg, 0.01, "°"))
    method = (
        f"Direct, 10 kS/s of each channel in turn, {seconds:g} s each, "
        f"{SIGMA_LONGER} times that at PF 0.5 lagging; V3 1.5 %, I3 8 %, I5 5 %. ± is twice the "
        "standard error of the mean; σ is of one window of 12 cycles."
    )
    return Table("10 A through ten bits, evenly sampled", method, tuple(rows))


def batches(seconds: float, rng: np.random.Generator) -> Table:
    """10 A as the bus delivers it; the meter is started anew several times.

    At each start acquisition times the bus, and what that is wrong by stays until the next: the
    worst start is what somebody's meter does.
    """
    rows: list[Row] = []
    for batch in (32, 64, 511):
        for power_factor in (0.97, 0.5):
            case = signals.circuit(10.0, power_factor, distorted=True)
            found = [seen_on_the_bus(case, seconds / STARTS, rng, batch) for _ in range(STARTS)]
            name = f"batches of {batch}, PF {power_factor:g}"
            rows.append(_worst_start(f"{name}: P", [e.power_pct for e in found], 0.03, "%"))
            rows.append(_worst_start(f"{name}: φ", [e.phase_deg for e in found], 0.03, "°"))
    method = (
        f"Simulated chip, bus and acquisition, {STARTS} starts of {seconds / STARTS:g} s each: "
        "34 µs a conversion, gaps of 50 µs between the batches with 10 µs rms of jitter, and every "
        "3 s a stall of 5 ms, in turn between two batches and inside one. The figure is the worst "
        "start's: each times the bus anew, and keeps what that is wrong by."
    )
    return Table("10 A through ten bits, in batches", method, tuple(rows))


def _worst_start(what: str, starts: Sequence[Spread], limit: float, unit: str) -> Row:
    worst = max(starts, key=lambda found: abs(found.mean))
    mean = sum(found.mean for found in starts) / len(starts)
    return mean_within(what, worst, limit, unit, f"mean of the starts {mean:+.4f} {unit}")


def small_current(seconds: float, rng: np.random.Generator) -> Table:
    """0.6 A, where one code of the ADC is a fifth of the current."""
    case = signals.circuit(0.6, 0.97, distorted=True)
    found = seen(case, seconds, rng)
    best_i = physics.current_sigma_pct(case.exact.current_a)
    best_p = physics.power_sigma_pct(case.exact)
    rows = (
        mean_within("Irms", found.current_pct, 0.05, "%"),
        mean_within("P", found.power_pct, 0.05, "%"),
        mean_within("THD I", found.thd_current_points, 0.1, "points"),
        sigma_within("σ of Irms", found.current_pct, 0.28, "%", best_i),
        sigma_within("σ of P", found.power_pct, 0.28, "%", best_p),
    )
    method = f"Direct, as above, PF 0.97, {seconds:g} s."
    return Table("0.6 A through ten bits", method, rows)


def frequency_and_voltage(seconds: float, rng: np.random.Generator) -> Table:
    """The figures of 10 A at other frequencies and voltages."""
    rows: list[Row] = []
    conditions = [(hz, 127.0) for hz in (47.5, 50.0, 52.5, 57.5, 59.93, 62.5)]
    conditions += [(60.0, 114.3), (60.0, 139.7)]
    for frequency_hz, voltage_v in conditions:
        case = signals.circuit(
            10.0, 0.5, frequency_hz=frequency_hz, voltage_v=voltage_v, distorted=True
        )
        found = seen(case, seconds, rng)
        name = f"{frequency_hz:g} Hz, {voltage_v:g} V"
        rows.append(mean_within(f"{name}: P", found.power_pct, 0.01, "%"))
        rows.append(mean_within(f"{name}: Irms", found.current_pct, 0.01, "%"))
        rows.append(mean_within(f"{name}: φ", found.phase_deg, 0.01, "°"))
        rows.append(mean_within(f"{name}: f", found.frequency_mhz, 1.0, "mHz"))
    method = f"Direct, 10 A, PF 0.5, harmonics as above, {seconds:g} s each."
    return Table("Frequency and voltage", method, tuple(rows))
