"""Some seconds of one circuit, measured to calibrate at: means, scatter, zero and noise."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from meterd import calc
from meterd.config import Circuit
from meterd.errors import CalibrationRefusedError
from meterd.model import Calibration, Missed, Quality, Quantities, SampleBlock, Waveform

FIT_HARMONICS = 40
FIT_BAND = 0.4
"""Harmonics up to this share of the sampling rate are fitted."""
FIT_PIECE = 32
FIT_SAMPLES_MIN = 320
"""A block with fewer was preempted and says little of 83 unknowns."""
FIT_SAMPLES = 30_000
"""Zero and noise come from the last ones alone, so that a long observation needs no memory."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an observation is, and the window measured last."""

    share: float  # 0 to 1
    window: Quantities | None


@dataclass(frozen=True, slots=True)
class Observation:
    """Some seconds of measurement with the present calibration.

    The noise is the rms of one sample, quantisation included: what is left of the samples when
    DC and the harmonics 1…40 are taken out by least squares, up to half the sampling rate.
    """

    mean: Quantities
    windows: int  # whole windows of 10 or 12 cycles
    voltage_spread: float  # relative standard deviation between windows
    current_spread: float
    phase_spread_deg: float  # standard deviation between windows
    voltage_zero_code: float
    current_zero_code: float
    voltage_noise_v: float
    current_noise_a: float


def observe(
    read: Callable[[], SampleBlock],
    circuit: Circuit,
    calibration: Calibration,
    seconds: float,
    *,
    nominal_hz: float,
    mains_min_v: float,
) -> Iterator[Progress | Observation]:
    """Measure one circuit for ``seconds``: yields its Progress and last the Observation.

    Raises:
        CalibrationRefusedError: nothing could be measured.
        HardwareError: the ADC does not answer.
    """
    channels = (circuit.voltage_channel, circuit.current_channel)
    recent: deque[Waveform] = deque()
    windows: list[Quantities] = []
    share = 0.0

    def waveforms() -> Iterator[Waveform]:
        nonlocal share
        start_ns = None
        while share < 1.0:
            block = read()
            start_ns = int(block.t_ns[0, 0]) if start_ns is None else start_ns
            share = min(1.0, (int(block.t_ns[-1, -1]) - start_ns) / 1e9 / seconds)
            waveform = calc.align(block, channels, calibration)
            recent.append(waveform)
            while len(recent) > 1 and sum(len(w.t_s) for w in recent) > FIT_SAMPLES:
                recent.popleft()
            yield waveform

    stream = calc.stream(waveforms(), nominal_hz, mains_min_v=mains_min_v)
    for window in stream:
        if not isinstance(window, Missed):
            windows.append(window)
        yield Progress(share, windows[-1] if windows else None)
    if not windows:
        raise CalibrationRefusedError("nothing could be measured; look at meterctl check")
    yield _observation(windows, list(recent), calibration, nominal_hz)


def _observation(
    windows: list[Quantities], recent: list[Waveform], calibration: Calibration, nominal_hz: float
) -> Observation:
    mean = calc.aggregate(windows)
    frequency_hz = mean.frequency_hz or nominal_hz
    full = [w for w in recent if len(w.t_s) >= FIT_SAMPLES_MIN]
    if not full:
        raise CalibrationRefusedError(
            f"no block has the {FIT_SAMPLES_MIN} samples that zero and noise are found from; look "
            "at meterctl check"
        )
    volts_dc, volts_noise = _middle([_fit(w.t_s, w.voltage_v, frequency_hz) for w in full])
    amps_dc, amps_noise = _middle([_fit(w.current_t_s, w.current_a, frequency_hz) for w in full])
    whole = [w for w in windows if not w.flags & Quality.SHORT] or windows
    return Observation(
        mean=mean,
        windows=len(whole),
        voltage_spread=_spread([window.voltage_v for window in whole]),
        current_spread=_spread([window.current_a for window in whole]),
        phase_spread_deg=_phase_spread_deg(whole),
        voltage_zero_code=calibration.voltage_zero_code + volts_dc / calibration.voltage_v_per_code,
        current_zero_code=calibration.current_zero_code + amps_dc / calibration.current_a_per_code,
        voltage_noise_v=volts_noise,
        current_noise_a=amps_noise,
    )


def _middle(fits: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean of the zeros, rms of the noises."""
    zeros, noises = zip(*fits, strict=True)
    return float(np.mean(zeros)), sqrt(float(np.mean(np.square(noises))))


def _fit(
    t_s: NDArray[np.float64], values: NDArray[np.float64], frequency_hz: float
) -> tuple[float, float]:
    """DC and the rms noise of a sample of one block, by least squares at the true instants.

    The fundamental may drift within the block (two terms more), or a frequency off by 10 mHz
    would look like noise.
    """
    within = t_s - t_s.mean()
    span_s = float(np.ptp(within))
    orders = np.arange(1, 1 + min(FIT_HARMONICS, int(FIT_BAND * len(t_s) / span_s / frequency_hz)))
    turned = 2 * pi * frequency_hz * np.multiply.outer(orders, within)
    waves = np.concatenate((np.cos(turned), np.sin(turned)))
    drift = waves[[0, len(orders)]] * (2 * within / span_s)
    terms = np.concatenate((np.ones((1, len(within))), waves, drift))
    # The terms are nearly orthogonal, so the normal equations are as good as an SVD and quicker.
    # Summed in pieces so small that they stay on one core: waiting for the others costs more.
    pieces = [slice(first, first + FIT_PIECE) for first in range(0, len(values), FIT_PIECE)]
    normal = sum(terms[:, piece] @ terms[:, piece].T for piece in pieces)
    right = np.sum(terms * values, axis=1)
    found = np.linalg.solve(normal, right)
    left = values - np.sum(found[:, np.newaxis] * terms, axis=0)
    return float(found[0]), sqrt(float(left @ left) / (len(values) - len(terms)))


def _spread(values: list[float]) -> float:
    mean = float(np.mean(values))
    return float(np.std(values)) / mean if mean else 0.0


def _phase_spread_deg(windows: list[Quantities]) -> float:
    known = [window.phase_deg for window in windows if window.phase_deg is not None]
    if not known:
        return 0.0
    around = np.exp(1j * np.radians(known))
    return float(np.std(np.degrees(np.angle(around * np.conj(around.mean())))))
