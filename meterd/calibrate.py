"""Simple calibration: one quantity at a time against a reference instrument.

Each function takes what the meter measures now and what is true, and returns the calibration that
makes the two agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from meterd import calc
from meterd.config import Config
from meterd.errors import CalibrationRefusedError
from meterd.model import Calibration, Missed, Quantities, SampleBlock

UNSTABLE = 0.01
"""A quantity that wanders by more than this (standard deviation) is no place to calibrate at."""
CURRENT_MIN_A = 0.5
RESISTIVE_PF = 0.8
DELAY_MAX_S = 0.005


@dataclass(frozen=True, slots=True)
class Observation:
    """Some seconds of measurement with the present calibration."""

    mean: Quantities
    voltage_spread: float  # relative standard deviation between windows
    current_spread: float
    voltage_zero_code: float
    current_zero_code: float


def observe(
    read: Callable[[], SampleBlock],
    config: Config,
    calibration: Calibration,
    seconds: float,
    *,
    mains_min_v: float,
) -> Iterator[float | Observation]:
    """Measure for ``seconds``: yields the share done, 0 to 1, and at the end the Observation.

    Raises:
        CalibrationRefusedError: nothing could be measured.
        HardwareError: the ADC does not answer.
    """
    channels = (config.grid.voltage_channel, config.grid.current_channel)
    blocks: list[SampleBlock] = []
    while not blocks or _taken_s(blocks) < seconds:
        blocks.append(read())
        yield min(1.0, _taken_s(blocks) / seconds)
    waveforms = (calc.align(block, channels, calibration) for block in blocks)
    windows = [
        window
        for window in calc.stream(waveforms, config.meter.nominal_hz, mains_min_v=mains_min_v)
        if not isinstance(window, Missed)
    ]
    if not windows:
        raise CalibrationRefusedError("nothing could be measured; look at meterctl check")
    yield Observation(
        mean=calc.aggregate(windows),
        voltage_spread=_spread([window.voltage_v for window in windows]),
        current_spread=_spread([window.current_a for window in windows]),
        voltage_zero_code=_zero_code(blocks, channels[0]),
        current_zero_code=_zero_code(blocks, channels[1]),
    )


def _taken_s(blocks: list[SampleBlock]) -> float:
    return float(blocks[-1].t_ns[-1, -1] - blocks[0].t_ns[0, 0]) / 1e9


def _spread(values: list[float]) -> float:
    mean = float(np.mean(values))
    return float(np.std(values)) / mean if mean else 0.0


def _zero_code(blocks: list[SampleBlock], channel: int) -> float:
    """The mean code, weighted so that cut cycles at the ends do not count."""
    codes = np.concatenate([b.codes[b.valid, b.channels.index(channel)] for b in blocks])
    weights = np.hanning(len(codes) + 2)[1:-1]
    return float(weights @ codes / weights.sum())


def voltage(old: Calibration, seen: Observation, true_v: float) -> Calibration:
    """Voltage gain from a reference voltmeter's reading.

    Raises:
        CalibrationRefusedError: no mains, an unstable voltage, or a reading far from it.
    """
    _need_mains(seen)
    _need_stable("voltage", seen.voltage_spread)
    ratio = _ratio("voltage", "V", true_v, seen.mean.voltage_v)
    return replace(old, voltage_v_per_code=old.voltage_v_per_code * ratio)


def current(old: Calibration, seen: Observation, true_a: float) -> Calibration:
    """Current gain from a reference ammeter's reading.

    Raises:
        CalibrationRefusedError: too small or unstable a current, or a reading far from it.
    """
    _need_current(seen)
    _need_stable("current", seen.current_spread)
    ratio = _ratio("current", "A", true_a, seen.mean.current_a)
    return replace(old, current_a_per_code=old.current_a_per_code * ratio)


def phase(old: Calibration, seen: Observation, true_deg: float) -> Calibration:
    """The current sensor's delay from a load whose angle is known; 0° for a resistive one.

    Raises:
        CalibrationRefusedError: no mains, too small a current, or a delay no sensor has.
    """
    _need_mains(seen)
    _need_current(seen)
    _need_stable("current", seen.current_spread)
    assert seen.mean.phase_deg is not None
    assert seen.mean.frequency_hz is not None
    error_deg = (seen.mean.phase_deg - true_deg + 180.0) % 360.0 - 180.0
    delay_s = old.current_delay_s + error_deg / 360.0 / seen.mean.frequency_hz
    if abs(delay_s) > DELAY_MAX_S:
        raise CalibrationRefusedError(
            f"the angle is {seen.mean.phase_deg:.2f}° and should be {true_deg:.2f}°: no sensor is "
            f"{delay_s * 1e3:.1f} ms late; is the sensor's direction reversed, or the load not "
            "what was said?"
        )
    return replace(old, current_delay_s=delay_s)


def offset(old: Calibration, seen: Observation) -> Calibration:
    """The codes that stand for 0 V and 0 A.

    The meter takes DC out of every window anyway; the zero matters for the margin to clipping.
    """
    return replace(
        old,
        voltage_zero_code=seen.voltage_zero_code,
        current_zero_code=seen.current_zero_code,
    )


def expected_uncertainty(spread: float, windows: float) -> float:
    """Relative standard uncertainty of a mean over so many windows that scatter by ``spread``."""
    return spread / sqrt(max(1.0, windows))


def _need_mains(seen: Observation) -> None:
    if seen.mean.frequency_hz is None:
        raise CalibrationRefusedError("there is no mains voltage at the voltage channel")


def _need_current(seen: Observation) -> None:
    if seen.mean.current_a < CURRENT_MIN_A:
        raise CalibrationRefusedError(
            f"{seen.mean.current_a:.3f} A is too little to calibrate at: connect a load of at "
            f"least {CURRENT_MIN_A} A, better 5 A"
        )


def _need_stable(what: str, spread: float) -> None:
    if spread > UNSTABLE:
        raise CalibrationRefusedError(
            f"the {what} wanders by {spread:.1%} between windows, more than {UNSTABLE:.0%}: "
            "use a steady load and try again"
        )


def _ratio(what: str, unit: str, true: float, seen: float) -> float:
    if true <= 0:
        raise CalibrationRefusedError(f"the reference {what} must be above 0 {unit}")
    ratio = true / seen
    if not 0.5 <= ratio <= 2.0:
        raise CalibrationRefusedError(
            f"the reference says {true:g} {unit} and the meter {seen:.4g} {unit}: more than a "
            "factor of two is wiring or a typing error, not calibration"
        )
    return ratio
