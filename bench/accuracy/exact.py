"""Exact signals in floating point, no converter: what the mathematics alone does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.accuracy import signals
from bench.accuracy.errors import Errors, errors
from bench.accuracy.rows import Row, Table, at_most
from bench.accuracy.sampling import analog, windows
from bench.accuracy.signals import Signal
from meterd import calc

SECONDS = 2.0
FREQUENCIES_HZ = (47.5, 49.93, 52.5, 57.5, 59.93, 62.5)
ANNEX_B = {
    "V": 101.557865,
    "I": 103.561576,
    "P": 8632.78855,
    "Q1": 5000.0,
    "S": 10517.49257,
    "N": 6007.71269,
    "PF": 0.820803,
    "THD V": 17.720045,
    "THD I": 26.925824,
}
EDGE_RATE_HZ = 100_000.0
"""For shapes with edges, whose lines do not end: at 14 kS/s they would fold back, and any meter
would measure the folded signal."""

WITH_EDGES = ("90° phase-fired", "square wave")
EDGES = "at this rate edges fold onto few bins; see the end of the page"


def seen(signal: Signal, rate_hz: float = 14_000.0) -> Errors:
    """Errors of all whole windows of the signal itself."""
    return errors(windows([analog(signal.mains, SECONDS, rate_hz=rate_hz)]), signal.exact)


def sines() -> Table:
    """Worst errors over power factors, directions, frequencies and a distorted load."""
    cases = [
        signals.circuit(10.0, power_factor, leading=leading, exporting=exporting, distorted=bent)
        for power_factor, leading in ((1.0, False), (0.5, False), (0.8, True))
        for exporting in (False, True)
        for bent in (False, True)
    ]
    cases += [signals.circuit(10.0, 0.5, frequency_hz=hz) for hz in FREQUENCIES_HZ]
    found = [seen(case) for case in cases]
    rows = (
        at_most("V", _worst(found, lambda e: e.voltage_pct.mean), 0.01, "%"),
        at_most("I", _worst(found, lambda e: e.current_pct.mean), 0.01, "%"),
        at_most("P", _worst(found, lambda e: e.power_pct.mean), 0.01, "%"),
        at_most("f", _worst(found, lambda e: e.frequency_mhz.mean), 1.0, "mHz"),
        at_most("φ", _worst(found, lambda e: e.phase_deg.mean), 0.01, "°"),
        at_most("THD I", _worst(found, lambda e: e.thd_current_points.mean), 0.05, "points"),
        at_most("THD V", _worst(found, lambda e: e.thd_voltage_points.mean), 0.05, "points"),
    )
    method = (
        f"The worst of {len(cases)} cases: power factor 1, 0.5 lagging, 0.8 leading, import and "
        "export, with and without harmonics, 47.5 … 62.5 Hz. Samples at 14 kS/s, the current half "
        "an interval after the voltage, no converter, no noise."
    )
    return Table("Exact signals", method, rows)


def _worst(found: Iterable[Errors], of: Callable[[Errors], float]) -> float:
    return max((of(item) for item in found), key=abs)


def annex_b() -> Table:
    """The example of IEEE Std 1459-2010, Annex B."""
    signal = signals.ieee_1459_example()
    window = calc.aggregate(list(windows([analog(signal.mains, SECONDS)])))
    values = {
        "V": window.voltage_v,
        "I": window.current_a,
        "P": window.power_w,
        "Q1": window.reactive_var,
        "S": window.apparent_va,
        "N": window.nonactive_var,
        "PF": window.power_factor,
        "THD V": window.thd_voltage_pct,
        "THD I": window.thd_current_pct,
    }
    rows = tuple(_annex_b_row(name, values[name], true) for name, true in ANNEX_B.items())
    return Table(
        "IEEE Std 1459-2010, Annex B", "Four lines in voltage and current, as above.", rows
    )


def _annex_b_row(name: str, value: float | None, true: float) -> Row:
    assert value is not None, name
    error = value / true - 1
    return Row(name, f"{value:.6g} ({error:+.1e})", f"{true:.9g} ± 1e-4", abs(error) <= 1e-4)


def shapes() -> Table:
    """The influence tests' currents, whose Fourier series are known."""
    cases = {
        "U5 10 %, I5 40 %, in phase": signals.harmonics_in_phase(1.0),
        "90° phase-fired": signals.phase_fired(1.0),
        "half-wave": signals.half_wave(1.0),
        "square wave": signals.square(1.0),
        "burst, 2 cycles on, 2 off": signals.burst(1.0),
    }
    rows: list[Row] = []
    for name, case in cases.items():
        found = seen(case, EDGE_RATE_HZ)
        rows.append(at_most(f"{name}: P", found.power_pct.mean, 0.01, "%"))
        edges = EDGES if name in WITH_EDGES else ""
        rows.append(at_most(f"{name}: I", found.current_pct.mean, 0.01, "%", edges))
        if case.exact.thd_current_pct:
            remark = f"true {case.exact.thd_current_pct:.3f} %"
            thd = found.thd_current_points.mean
            rows.append(at_most(f"{name}: THD I", thd, 0.05, "points", remark))
    method = (
        "Samples at 100 kS/s, no converter: edges have lines without end, and at a low rate every "
        "meter measures them folded back. Rms values are without DC (half-wave: 0.5453 of the "
        "0.7071 it has with DC). THD counts lines 2 … 40."
    )
    return Table("Signals of the influence tests", method, tuple(rows))
