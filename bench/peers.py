"""Other open meters' methods, on the samples that ours is given.

pqopen-lib is the package itself. The others are written anew from what their authors publish and
carry their native settings: the programs cannot be run here (a microcontroller, a database, a
figure in a paper). Each takes volts and amperes as converted: evenly spaced, the current's samples
half an interval after the voltage's, which none of them is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, degrees, radians, sin, sqrt

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]  # (n,)

SETTLE_S = 3.0
"""Left out at the beginning: EmonLib's offset filter needs the time."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a method shows for one of its windows; None where it has no such quantity."""

    power_w: float | None = None
    current_a: float | None = None
    reactive_var: float | None = None
    phase_deg: float | None = None
    thd_current_pct: float | None = None


Method = Callable[[Samples, Samples, float], list[Shown]]
"""Volts, amperes and samples per second to windows."""

PQOPEN_CYCLES = 12
PQOPEN_HARMONICS = 40
PQOPEN_CHUNK_S = 0.2


def pqopen(volts: Samples, amps: Samples, rate_hz: float) -> list[Shown]:
    """pqopen-lib: one phase, windows of 12 cycles at nominally 60 Hz, 40 harmonics.

    It is fed as samples come. Zero-crossing filter and threshold are its defaults.
    """
    from daqopen.channelbuffer import AcqBuffer
    from pqopen.powersystem import PowerSystem

    volt_buffer, amp_buffer = AcqBuffer(), AcqBuffer()
    system = PowerSystem(
        zcd_channel=volt_buffer,
        input_samplerate=rate_hz,
        nominal_frequency=60.0,
        nper=PQOPEN_CYCLES,
    )
    system.add_phase(u_channel=volt_buffer, i_channel=amp_buffer)
    system.enable_harmonic_calculation(PQOPEN_HARMONICS)
    chunk = round(PQOPEN_CHUNK_S * rate_hz)
    for first in range(0, len(volts), chunk):
        volt_buffer.put_data(volts[first : first + chunk])
        amp_buffer.put_data(amps[first : first + chunk])
        system.process()
    names = ("P", "I1_rms", "Q1_H1", "U1_H1_phi", "I1_H1_phi", "I1_THD")
    columns = [
        system.output_channels[name].read_data_by_acq_sidx(0, len(volts))[0] for name in names
    ]
    return [
        Shown(float(p), float(i), float(q), _wrapped(float(u_phi) - float(i_phi)), float(thd))
        for p, i, q, u_phi, i_phi, thd in zip(*columns, strict=True)
    ]


def _wrapped(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0


EMON_PHASECAL = 1.7
EMON_FILTER = 1024
EMON_CROSSINGS = 20


def emonlib(volts: Samples, amps: Samples, rate_hz: float) -> list[Shown]:
    """EmonLib's calcVI: offsets by a slow low-pass, phase by PHASECAL between voltage samples.

    20 crossings of the voltage and PHASECAL 1.7, as its examples have it.
    """
    volts, amps = _without_offset(volts), _without_offset(amps)
    before = np.concatenate((volts[:1], volts[:-1]))
    shifted = before + EMON_PHASECAL * (volts - before)
    crossings = np.flatnonzero(np.diff(np.signbit(volts))) + 1
    windows = []
    for first, last in zip(
        crossings[:-EMON_CROSSINGS:EMON_CROSSINGS],
        crossings[EMON_CROSSINGS::EMON_CROSSINGS],
        strict=True,
    ):
        part = slice(int(first), int(last))
        power_w = float(np.mean(shifted[part] * amps[part]))
        windows.append(Shown(power_w, sqrt(float(np.mean(amps[part] ** 2)))))
    return windows


def _without_offset(values: Samples) -> Samples:
    from scipy.signal import lfilter

    share = 1 / EMON_FILTER
    # offset[n] = offset[n−1] + (x[n] − offset[n−1]) / 1024, begun at the middle of the range.
    offset: Samples = lfilter([share], [1.0, share - 1.0], values)
    return values - offset


RPI_SAMPLES = 500


def rpi_power_monitor(volts: Samples, amps: Samples, rate_hz: float) -> list[Shown]:
    """rpi-power-monitor's calculate_power: variance and covariance of bursts of 500 samples."""
    count = len(volts) // RPI_SAMPLES * RPI_SAMPLES
    v = volts[:count].reshape(-1, RPI_SAMPLES)
    i = amps[:count].reshape(-1, RPI_SAMPLES)
    power_w = np.mean(v * i, axis=1) - np.mean(v, axis=1) * np.mean(i, axis=1)
    current_a = np.sqrt(np.mean(i**2, axis=1) - np.mean(i, axis=1) ** 2)
    return [Shown(float(p), float(c)) for p, c in zip(power_w, current_a, strict=True)]


PAPER_WINDOW_S = 0.5
PAPER_HARMONICS = 40


def fft_peak_bin(volts: Samples, amps: Samples, rate_hz: float) -> list[Shown]:
    """The FFT prototype: half a second, the peak bin is the fundamental, THD from its multiples."""
    count = round(PAPER_WINDOW_S * rate_hz)
    windows = []
    for first in range(0, len(volts) - count + 1, count):
        v, i = (2 / count * np.fft.rfft(x[first : first + count]) for x in (volts, amps))
        peak = 1 + int(np.argmax(np.abs(v[1:])))
        orders = np.arange(2, min(PAPER_HARMONICS, (len(i) - 1) // peak) + 1) * peak
        volt, amp = abs(v[peak]) / sqrt(2), abs(i[peak]) / sqrt(2)
        phase_deg = _wrapped(degrees(float(np.angle(v[peak]) - np.angle(i[peak]))))
        power_w = volt * amp * cos(radians(phase_deg))
        reactive_var = volt * amp * sin(radians(phase_deg))
        thd_pct = 100 * sqrt(float(np.sum(np.abs(i[orders]) ** 2))) / float(abs(i[peak]))
        windows.append(Shown(power_w, float(amp), reactive_var, phase_deg, thd_pct))
    return windows


PEERS: dict[str, Method] = {
    "pqopen-lib": pqopen,
    "rpi-power-monitor's method": rpi_power_monitor,
    "EmonLib's method": emonlib,
    "FFT peak bin": fft_peak_bin,
}


def settled(method: Method, volts: Samples, amps: Samples, rate_hz: float) -> list[Shown]:
    """A method's windows without those of its first seconds."""
    windows = method(volts, amps, rate_hz)
    left_out = int(len(windows) * SETTLE_S * rate_hz / len(volts)) + 1
    return windows[left_out:]
