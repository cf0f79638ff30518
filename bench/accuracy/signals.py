"""Voltages and currents whose true quantities are known in closed form.

Conventions of IEEE Std 1459-2010: a line is √2·X·sin(hωt + angle); DC is no part of an rms value,
as this meter is for alternating current.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import acos, atan2, cos, degrees, hypot, pi, radians, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from meterd.simulate.mains import Mains

Lines = Mapping[int, tuple[float, float]]
"""Order: rms, angle in degrees."""
Shape = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Radians of the fundamental since t = 0, (n,), to a current of 1 A rms where it flows, (n,)."""

VOLTAGE_V = 127.0
HOUSE_VOLTAGE = {3: 0.015}
HOUSE_CURRENT = {3: 0.08, 5: 0.05}


@dataclass(frozen=True, slots=True)
class Exact:
    """What a perfect meter shows."""

    frequency_hz: float
    voltage_v: float
    current_a: float
    power_w: float
    reactive_var: float  # of the fundamental
    phase_deg: float
    thd_voltage_pct: float
    thd_current_pct: float

    @property
    def apparent_va(self) -> float:
        """S = V·I."""
        return self.voltage_v * self.current_a


@dataclass(frozen=True, slots=True)
class Signal:
    """A mains circuit and its true quantities."""

    mains: Mains
    exact: Exact


def of_lines(frequency_hz: float, volts: Lines, amps: Lines) -> Signal:
    """Sums of harmonic lines; line 1 is in both."""

    def at(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        turned = 2 * pi * frequency_hz * t_s
        return sum_of_lines(volts, turned), sum_of_lines(amps, turned)

    (volt1, volt1_deg), (amp1, amp1_deg) = volts[1], amps[1]
    phase = radians(volt1_deg - amp1_deg)
    power_w = sum(
        volts[h][0] * amps[h][0] * cos(radians(volts[h][1] - amps[h][1]))
        for h in volts.keys() & amps.keys()
    )
    exact = Exact(
        frequency_hz=frequency_hz,
        voltage_v=_rms(volts),
        current_a=_rms(amps),
        power_w=power_w,
        reactive_var=volt1 * amp1 * sin(phase),
        phase_deg=degrees(atan2(sin(phase), cos(phase))),
        thd_voltage_pct=_thd_pct(volts),
        thd_current_pct=_thd_pct(amps),
    )
    return Signal(at, exact)


def sum_of_lines(lines: Lines, turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ √2·X·sin(hθ + angle) at the angles θ, any shape."""
    total = np.zeros_like(turned)
    for order, (rms, angle_deg) in lines.items():
        total += sqrt(2) * rms * np.sin(order * turned + radians(angle_deg))
    return total


def _rms(lines: Lines) -> float:
    return hypot(*(rms for rms, _ in lines.values()))


def _thd_pct(lines: Lines) -> float:
    if not lines[1][0]:
        return 0.0
    return 100 * hypot(*(rms for h, (rms, _) in lines.items() if h > 1)) / lines[1][0]


def circuit(
    current_a: float,
    power_factor: float = 1.0,
    *,
    leading: bool = False,
    exporting: bool = False,
    frequency_hz: float = 60.0,
    voltage_v: float = VOLTAGE_V,
    distorted: bool = False,
) -> Signal:
    """A load of ``current_a`` (fundamental) at a displacement power factor.

    Distorted, it is the house of the comparisons: V3 1.5 %, I3 8 %, I5 5 %.
    """
    lag_deg = degrees(acos(power_factor)) * (-1 if leading else 1)
    turn_deg = 180.0 if exporting else 0.0
    volts = {1: (voltage_v, 0.0)}
    amps = {1: (current_a, -lag_deg + turn_deg)}
    if distorted:
        volts |= {h: (voltage_v * share, 0.0) for h, share in HOUSE_VOLTAGE.items()}
        amps |= {
            h: (current_a * share, -h * lag_deg + turn_deg) for h, share in HOUSE_CURRENT.items()
        }
    return of_lines(frequency_hz, volts, amps)


def idle(offset_a: float = 0.0) -> Signal:
    """Voltage and no current; ``offset_a`` is what the sensor's zero has drifted by."""
    signal = of_lines(60.0, {1: (VOLTAGE_V, 0.0)}, {1: (0.0, 0.0)})

    def at(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        volts, amps = signal.mains(t_s)
        return volts, amps + offset_a

    return Signal(at, signal.exact)


def harmonics_in_phase(current_a: float) -> Signal:
    """Fifth harmonics of 10 % in voltage and 40 % in current, at power factor 1."""
    volts = {1: (VOLTAGE_V, 0.0), 5: (0.1 * VOLTAGE_V, 0.0)}
    return of_lines(60.0, volts, {1: (current_a, 0.0), 5: (0.4 * current_a, 0.0)})


def ieee_1459_example() -> Signal:
    """Annex B of IEEE Std 1459-2010."""
    volts = {1: (100.0, 0.0), 3: (8.0, -70.0), 5: (15.0, 140.0), 7: (5.0, 20.0)}
    amps = {1: (100.0, -30.0), 3: (20.0, -165.0), 5: (15.0, 233.0), 7: (10.0, 288.0)}
    return of_lines(60.0, volts, amps)


def shaped(
    shape: Shape, scale_a: float, exact_of_one: Exact, *, voltage_v: float = VOLTAGE_V
) -> Signal:
    """A sine of voltage and ``scale_a`` times a current of another shape."""
    frequency_hz = exact_of_one.frequency_hz

    def at(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        turned = 2 * pi * frequency_hz * t_s
        return sqrt(2) * voltage_v * np.sin(turned), scale_a * shape(turned)

    one = exact_of_one
    exact = Exact(
        frequency_hz=frequency_hz,
        voltage_v=voltage_v,
        current_a=scale_a * one.current_a,
        power_w=voltage_v * scale_a * one.power_w,
        reactive_var=voltage_v * scale_a * one.reactive_var,
        phase_deg=one.phase_deg,
        thd_voltage_pct=0.0,
        thd_current_pct=one.thd_current_pct,
    )
    return Signal(at, exact)


def phase_fired_shape(turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sine that flows from 90° to 180° of each half cycle."""
    return np.where(np.mod(turned, pi) >= pi / 2, sqrt(2) * np.sin(turned), 0.0)


def burst_shape(turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sine for two cycles, nothing for two."""
    return np.where(np.mod(turned, 8 * pi) < 4 * pi, sqrt(2) * np.sin(turned), 0.0)


def half_wave_shape(turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """The positive half cycles of a sine: even harmonics and DC."""
    return np.maximum(0.0, sqrt(2) * np.sin(turned))


def square_shape(turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """A square wave of 1 A in phase."""
    return np.where(np.mod(turned, 2 * pi) < pi, 1.0, -1.0)


def thd_of_forty_pct(shape: Shape) -> float:
    """THD of lines 2 … 40, by the midpoint rule over one cycle: edges fall between its points."""
    points = 200_000
    middles = (np.arange(points, dtype=np.float64) + 0.5) * (2 * pi / points)
    lines = np.abs(np.fft.rfft(shape(middles))[1:41]) ** 2
    return 100 * sqrt(float(np.sum(lines[1:]) / lines[0]))


def phase_fired(scale_a: float) -> Signal:
    """90° phase-fired; ``scale_a`` is the current's rms without firing."""
    phase_deg = degrees(atan2(1 / pi, 0.5))
    one = Exact(
        60.0, 1.0, sqrt(0.5), 0.5, 1 / pi, phase_deg, 0.0, thd_of_forty_pct(phase_fired_shape)
    )
    return shaped(phase_fired_shape, scale_a, one)


def burst(scale_a: float) -> Signal:
    """Two cycles on, two off; no harmonics, its lines lie between them."""
    return shaped(burst_shape, scale_a, Exact(60.0, 1.0, sqrt(0.5), 0.5, 0.0, 0.0, 0.0, 0.0))


def half_wave(scale_a: float) -> Signal:
    """Half-wave; the rms value is without the DC of √2/π."""
    rms = sqrt(0.5 - 2 / pi**2)
    return shaped(
        half_wave_shape,
        scale_a,
        Exact(60.0, 1.0, rms, 0.5, 0.0, 0.0, 0.0, thd_of_forty_pct(half_wave_shape)),
    )


def square(scale_a: float) -> Signal:
    """A square wave in phase with the voltage."""
    one = Exact(60.0, 1.0, 1.0, sqrt(8) / pi, 0.0, 0.0, 0.0, thd_of_forty_pct(square_shape))
    return shaped(square_shape, scale_a, one)
