"""When an observation may be calibrated at; each refusal says why and what to change."""

from __future__ import annotations

from math import cos, radians

from meterd.calibration.observation import Observation
from meterd.errors import CalibrationRefusedError
from meterd.model import Quality

UNSTABLE = 0.01
"""A quantity that wanders by more than this (standard deviation) is no place to calibrate at."""
CURRENT_MIN_A = 0.5
NO_LOAD_MAX_A = 0.1
DELAY_MAX_S = 0.005
FREQUENCY_OFF_MAX_HZ = 2.5
GAP_MAX = 0.01
RESISTIVE_PF_MIN = 0.95
"""A sensor that is 0.8 ms late makes this of a heater at 60 Hz; a motor has less."""
RESISTIVE_THD_POINTS = 2.0
"""A resistor's current has the voltage's waveform; an electronic load's has not."""
ANGLE_OFF_MAX_DEG = 20.0


def need_measured(seen: Observation) -> None:
    """Samples without clipping and without great holes.

    Raises:
        CalibrationRefusedError: with the reason.
    """
    if seen.mean.flags & Quality.CLIPPED:
        raise CalibrationRefusedError(
            "the ADC stands at the end of its range (clipping): take a smaller load, or look at "
            "the front end's offset and gain"
        )
    if seen.mean.gap_s > GAP_MAX * seen.mean.duration_s:
        raise CalibrationRefusedError(
            f"{seen.mean.gap_s:.2f} of {seen.mean.duration_s:.2f} s were not sampled: stop what "
            "else keeps this computer busy and try again"
        )


def need_mains(seen: Observation) -> None:
    """A voltage to follow.

    Raises:
        CalibrationRefusedError: there is none.
    """
    if seen.mean.frequency_hz is None:
        raise CalibrationRefusedError(
            "there is no mains voltage at the voltage channel: switch it on, or look at the "
            "transformer's wiring"
        )


def need_frequency(seen: Observation, nominal_hz: float) -> None:
    """The network's frequency near the nominal one.

    Raises:
        CalibrationRefusedError: it is further than 2.5 Hz away.
    """
    frequency_hz = seen.mean.frequency_hz
    if frequency_hz is not None and abs(frequency_hz - nominal_hz) > FREQUENCY_OFF_MAX_HZ:
        raise CalibrationRefusedError(
            f"the frequency is {frequency_hz:.3f} Hz and should be {nominal_hz:g} Hz: calibrate "
            "on the network, or correct [meter] nominal_hz"
        )


def need_no_load(seen: Observation) -> None:
    """No current.

    Raises:
        CalibrationRefusedError: something draws current.
    """
    if seen.mean.current_a > NO_LOAD_MAX_A:
        raise CalibrationRefusedError(
            f"{seen.mean.current_a:.3f} A flow, which is no idle circuit (at most "
            f"{NO_LOAD_MAX_A} A): disconnect every load"
        )


def need_current(seen: Observation) -> None:
    """Enough current for ten bits to tell.

    Raises:
        CalibrationRefusedError: it is too small.
    """
    if seen.mean.current_a < CURRENT_MIN_A:
        raise CalibrationRefusedError(
            f"{seen.mean.current_a:.3f} A is too little to calibrate at: connect a load of at "
            f"least {CURRENT_MIN_A} A, better 5 A"
        )


def need_stable(what: str, spread: float) -> None:
    """A quantity that stands still.

    Raises:
        CalibrationRefusedError: it wanders.
    """
    if spread > UNSTABLE:
        raise CalibrationRefusedError(
            f"the {what} wanders by {spread:.1%} between windows, more than {UNSTABLE:.0%}: "
            "use a steady load and try again"
        )


def need_known_angle(seen: Observation, true_deg: float) -> None:
    """A load whose angle is what it is said to be: 0° is a resistor's.

    Raises:
        CalibrationRefusedError: exported power, a load that is not resistive, or an angle that
            no sensor's delay explains.
    """
    mean = seen.mean
    assert mean.phase_deg is not None
    if mean.power_w * cos(radians(true_deg)) < 0:
        raise CalibrationRefusedError(
            f"the power is {mean.power_w:.1f} W, its direction reversed: exchange the current "
            "sensor's two thick wires or the transformer's secondary, not both"
        )
    off_deg = (mean.phase_deg - true_deg + 180.0) % 360.0 - 180.0
    if true_deg == 0.0:
        _need_resistive(seen)
    elif abs(off_deg) > ANGLE_OFF_MAX_DEG:
        raise CalibrationRefusedError(
            f"the angle is {mean.phase_deg:.2f}° and should be {true_deg:.2f}°: no sensor is that "
            "late; is the load what was said?"
        )


def _need_resistive(seen: Observation) -> None:
    mean = seen.mean
    power_factor = mean.power_factor or 0.0
    if power_factor < RESISTIVE_PF_MIN:
        raise CalibrationRefusedError(
            f"the load is not resistive: its power factor is {power_factor:.3f}; use a heater, a "
            "kettle or filament lamps, with no motor beside them"
        )
    volts_pct, amps_pct = mean.thd_voltage_pct or 0.0, mean.thd_current_pct or 0.0
    if abs(amps_pct - volts_pct) > RESISTIVE_THD_POINTS:
        raise CalibrationRefusedError(
            f"the load is not resistive: its current has a THD of {amps_pct:.1f} % and the voltage "
            f"{volts_pct:.1f} %; use a heater without electronic control"
        )


def ratio(what: str, unit: str, true: float, seen: float) -> float:
    """What a gain must be multiplied by, so that ``seen`` becomes ``true``.

    Raises:
        CalibrationRefusedError: they are further apart than any front end explains.
    """
    if not true > 0:
        raise CalibrationRefusedError(f"the reference {what} must be above 0 {unit}")
    found = true / seen
    if not 0.5 <= found <= 2.0:
        raise CalibrationRefusedError(
            f"the reference says {true:g} {unit} and the meter {seen:.4g} {unit}: more than a "
            "factor of two is wiring or a typing error, not calibration"
        )
    return found


def delay_s(old_delay_s: float, seen: Observation, true_deg: float) -> float:
    """The current sensor's delay with which the angle is ``true_deg``; a time, for any frequency.

    Raises:
        CalibrationRefusedError: a delay no sensor has.
    """
    assert seen.mean.phase_deg is not None
    assert seen.mean.frequency_hz is not None
    error_deg = (seen.mean.phase_deg - true_deg + 180.0) % 360.0 - 180.0
    found_s = old_delay_s + error_deg / 360.0 / seen.mean.frequency_hz
    if abs(found_s) > DELAY_MAX_S:
        raise CalibrationRefusedError(
            f"the angle is {seen.mean.phase_deg:.2f}° and should be {true_deg:.2f}°: no sensor is "
            f"{found_s * 1e3:.1f} ms late; is the sensor's direction reversed, or the load not "
            "what was said?"
        )
    return found_s
