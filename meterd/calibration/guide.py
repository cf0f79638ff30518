"""The three steps of a whole calibration: no load, a resistive load, a second load.

All observations are made with the calibration that the meter had at the beginning; each step
returns what it found, nothing is written here. The gain of the current comes from both loads by
least squares, each weighted by what is independent in its uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

from meterd.calibration import conditions
from meterd.calibration.history import Adjustment
from meterd.calibration.observation import Observation
from meterd.calibration.uncertainty import (
    COVERAGE,
    Budget,
    Reference,
    amplitude_codes,
    budget,
    of_delay_s,
)
from meterd.config import NoiseFloor
from meterd.errors import CalibrationRefusedError
from meterd.model import Calibration

APART_MIN = 1.5
"""Two loads nearer than this say nothing of linearity."""


@dataclass(frozen=True, slots=True)
class Gain:
    """One quantity at one load: reference / measured, and how sure that is."""

    measured: float
    shown: Reference
    ratio: float
    budget: Budget


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """What the resistive load says."""

    voltage: Gain
    current: Gain
    phase_deg: float  # as measured, before
    true_deg: float
    delay_s: float
    delay_uncertainty_s: float  # expanded, k = 2; scatter alone


@dataclass(frozen=True, slots=True)
class SecondLoad:
    """What the second load says, and the gain that serves both."""

    current: Gain
    ratio: float
    uncertainty_pct: float  # expanded, k = 2, of ratio
    disagreement_pct: float  # of the two loads' ratios
    allowed_pct: float


def no_load(old: Adjustment, seen: Observation, nominal_hz: float) -> Adjustment:
    """Zeros and noise of both channels with mains voltage and no current.

    Raises:
        CalibrationRefusedError: no such conditions.
    """
    conditions.need_measured(seen)
    conditions.need_mains(seen)
    conditions.need_frequency(seen, nominal_hz)
    conditions.need_stable("voltage", seen.voltage_spread)
    conditions.need_no_load(seen)
    calibration = replace(
        old.calibration,
        voltage_zero_code=seen.voltage_zero_code,
        current_zero_code=seen.current_zero_code,
    )
    return Adjustment(calibration, NoiseFloor(seen.voltage_noise_v, seen.current_noise_a))


def loaded(seen: Observation, nominal_hz: float) -> None:
    """What must be so with a load, before the reference is asked for.

    Raises:
        CalibrationRefusedError: no such conditions.
    """
    conditions.need_measured(seen)
    conditions.need_mains(seen)
    conditions.need_frequency(seen, nominal_hz)
    conditions.need_current(seen)
    conditions.need_stable("voltage", seen.voltage_spread)
    conditions.need_stable("current", seen.current_spread)


def first_load(
    old: Adjustment,
    seen: Observation,
    volts: Reference,
    amps: Reference,
    *,
    nominal_hz: float,
    true_deg: float,
    reference_uncertainty_pct: float | None,
) -> FirstLoad:
    """Gains and the current sensor's delay from a load whose angle is known, 0° for a heater.

    Raises:
        CalibrationRefusedError: conditions or readings that cannot be.
    """
    loaded(seen, nominal_hz)
    conditions.need_known_angle(seen, true_deg)
    return FirstLoad(
        voltage=_gain("voltage", "V", seen, volts, old, reference_uncertainty_pct),
        current=_gain("current", "A", seen, amps, old, reference_uncertainty_pct),
        phase_deg=seen.mean.phase_deg or 0.0,
        true_deg=true_deg,
        delay_s=conditions.delay_s(old.calibration.current_delay_s, seen, true_deg),
        delay_uncertainty_s=of_delay_s(seen),
    )


def second_load(
    old: Adjustment,
    seen: Observation,
    amps: Reference,
    first: FirstLoad,
    *,
    nominal_hz: float,
    reference_uncertainty_pct: float | None,
) -> SecondLoad:
    """Whether the current is linear, and the gain by least squares over both loads.

    Raises:
        CalibrationRefusedError: conditions that cannot be, a load too near the first, or two
            gains that differ by more than their uncertainties explain.
    """
    loaded(seen, nominal_hz)
    need_apart(seen, first)
    here = _gain("current", "A", seen, amps, old, reference_uncertainty_pct)
    there = first.current
    disagreement = here.ratio / there.ratio - 1.0
    allowed = COVERAGE * sqrt(here.budget.combined**2 + there.budget.combined**2)
    if abs(disagreement) > allowed:
        raise CalibrationRefusedError(
            f"the gains at {there.measured:.2f} A and {here.measured:.2f} A differ by "
            f"{disagreement:+.2%}, and their uncertainties explain {allowed:.2%}: read the "
            "instruments again, or the sensor is not linear; nothing was changed"
        )
    ratio, independent = _least_squares(there, here)
    common = here.budget.reference or 0.0
    return SecondLoad(
        current=here,
        ratio=ratio,
        uncertainty_pct=100 * COVERAGE * sqrt(independent**2 + common**2),
        disagreement_pct=100 * disagreement,
        allowed_pct=100 * allowed,
    )


def need_apart(seen: Observation, first: FirstLoad) -> None:
    """A current far enough from the first load's.

    Raises:
        CalibrationRefusedError: it is too near.
    """
    apart = seen.mean.current_a / first.current.measured
    if 1 / APART_MIN < apart < APART_MIN:
        raise CalibrationRefusedError(
            f"{seen.mean.current_a:.3f} A is too near the first load's "
            f"{first.current.measured:.3f} A: take one at least {APART_MIN} times larger or smaller"
        )


def adjusted(start: Adjustment, first: FirstLoad | None, second: SecondLoad | None) -> Adjustment:
    """``start``, whose zeros are already found, with the gains and the delay of the loads.

    The noise was measured in volts and amperes of the gains before and turns with them.
    """
    if first is None:
        return start
    volts, amps = first.voltage.ratio, second.ratio if second else first.current.ratio
    old = start.calibration
    new = replace(
        old,
        voltage_v_per_code=old.voltage_v_per_code * volts,
        current_a_per_code=old.current_a_per_code * amps,
        current_delay_s=first.delay_s,
    )
    return with_calibration(start, new)


def with_calibration(old: Adjustment, new: Calibration) -> Adjustment:
    """``old`` with another calibration, and the same noise in its volts and amperes."""
    volts = abs(new.voltage_v_per_code / old.calibration.voltage_v_per_code)
    amps = abs(new.current_a_per_code / old.calibration.current_a_per_code)
    noise = old.noise
    return Adjustment(
        new,
        NoiseFloor(
            None if noise.voltage_noise_v is None else noise.voltage_noise_v * volts,
            None if noise.current_noise_a is None else noise.current_noise_a * amps,
        ),
    )


def _gain(
    what: str,
    unit: str,
    seen: Observation,
    shown: Reference,
    old: Adjustment,
    reference_uncertainty_pct: float | None,
) -> Gain:
    volts = what == "voltage"
    measured = seen.mean.voltage_v if volts else seen.mean.current_a
    calibration = old.calibration
    per_code = calibration.voltage_v_per_code if volts else calibration.current_a_per_code
    return Gain(
        measured=measured,
        shown=shown,
        ratio=conditions.ratio(what, unit, shown.value, measured),
        budget=budget(
            shown,
            spread=seen.voltage_spread if volts else seen.current_spread,
            windows=seen.windows,
            amplitude_codes=amplitude_codes(measured, per_code),
            reference_uncertainty_pct=reference_uncertainty_pct,
        ),
    )


def _least_squares(one: Gain, other: Gain) -> tuple[float, float]:
    """The weighted mean of two ratios and its relative standard uncertainty.

    The weights leave the reference's own uncertainty out: it is the same instrument both times.
    """
    weights = [
        1.0 / (gain.ratio * replace(gain.budget, reference=None).combined) ** 2
        for gain in (one, other)
    ]
    ratio = (weights[0] * one.ratio + weights[1] * other.ratio) / sum(weights)
    return ratio, 1.0 / sqrt(sum(weights)) / ratio
