"""Simple calibration: one quantity at a time against a reference instrument.

Each function takes what the meter measures now and what is true, and returns the calibration that
makes the two agree. All three quantities with two loads: :mod:`meterd.calibration.guide`.
"""

from __future__ import annotations

from dataclasses import replace

from meterd.calibration import conditions
from meterd.calibration.observation import Observation
from meterd.model import Calibration


def voltage(old: Calibration, seen: Observation, true_v: float) -> Calibration:
    """Voltage gain from a reference voltmeter's reading.

    Raises:
        CalibrationRefusedError: no mains, an unstable voltage, or a reading far from it.
    """
    conditions.need_measured(seen)
    conditions.need_mains(seen)
    conditions.need_stable("voltage", seen.voltage_spread)
    ratio = conditions.ratio("voltage", "V", true_v, seen.mean.voltage_v)
    return replace(old, voltage_v_per_code=old.voltage_v_per_code * ratio)


def current(old: Calibration, seen: Observation, true_a: float) -> Calibration:
    """Current gain from a reference ammeter's reading.

    Raises:
        CalibrationRefusedError: too small or unstable a current, or a reading far from it.
    """
    conditions.need_measured(seen)
    conditions.need_current(seen)
    conditions.need_stable("current", seen.current_spread)
    ratio = conditions.ratio("current", "A", true_a, seen.mean.current_a)
    return replace(old, current_a_per_code=old.current_a_per_code * ratio)


def phase(old: Calibration, seen: Observation, true_deg: float) -> Calibration:
    """The current sensor's delay from a load whose angle is known; 0° for a resistive one.

    Raises:
        CalibrationRefusedError: no mains, too small a current, or a delay no sensor has.
    """
    conditions.need_measured(seen)
    conditions.need_mains(seen)
    conditions.need_current(seen)
    conditions.need_stable("current", seen.current_spread)
    conditions.need_known_angle(seen, true_deg)
    return replace(old, current_delay_s=conditions.delay_s(old.current_delay_s, seen, true_deg))


def offset(old: Calibration, seen: Observation) -> Calibration:
    """The codes that stand for 0 V and 0 A.

    The meter takes DC out of every window anyway; the zero matters for the margin to clipping.
    """
    return replace(
        old,
        voltage_zero_code=seen.voltage_zero_code,
        current_zero_code=seen.current_zero_code,
    )
