"""How sure a gain is: the parts of its uncertainty, combined as the GUM says (JCGM 100:2008)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import sqrt

from meterd.calibration.observation import Observation
from meterd.errors import CalibrationRefusedError
from meterd.model import Calibration

COVERAGE = 2.0
"""k of an expanded uncertainty: about 95 %."""
ADC_NONLINEARITY_CODES = 0.5
"""Typical integral nonlinearity of the MCP3008 (data sheet, table 1-1)."""
SQRT_2 = sqrt(2.0)
SQRT_3 = sqrt(3.0)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a reference instrument shows: the value and the weight of its last digit."""

    value: float
    resolution: float


@dataclass(frozen=True, slots=True)
class Budget:
    """Relative standard uncertainties of one gain; each is a share, 0.001 is 0.1 %."""

    scatter: float
    """Of the mean over the windows."""
    resolution: float
    """Half of the reference's last digit, evenly distributed."""
    reference: float | None
    """Of the reference instrument; None: nobody has told."""
    adc: float
    """The converter's nonlinearity at this amplitude, evenly distributed."""

    @property
    def combined(self) -> float:
        """Root of the sum of squares; without the reference's part where that is unknown."""
        parts = (self.scatter, self.resolution, self.reference or 0.0, self.adc)
        return sqrt(sum(part**2 for part in parts))

    @property
    def expanded_pct(self) -> float:
        """The combined one with k = 2, in percent."""
        return 100 * COVERAGE * self.combined


def reference(what: str, unit: str, text: str) -> Reference:
    """A reading as it was written: "8.02" is 8.02 with a last digit of 0.01.

    Raises:
        CalibrationRefusedError: it is no positive number.
    """
    try:
        number = Decimal(text.strip())
        if not number.is_finite():
            raise InvalidOperation
    except InvalidOperation:
        raise CalibrationRefusedError(
            f"the reference {what} {text!r} is not a number such as 127.1"
        ) from None
    if number <= 0:
        raise CalibrationRefusedError(f"the reference {what} must be above 0 {unit}")
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return Reference(float(number), 10.0 ** min(exponent, 0))


def budget(
    shown: Reference,
    *,
    spread: float,
    windows: int,
    amplitude_codes: float,
    reference_uncertainty_pct: float | None,
) -> Budget:
    """The uncertainty of ``shown`` / measured.

    ``spread`` is the relative standard deviation between windows, ``amplitude_codes`` the sine's
    peak at the ADC, ``reference_uncertainty_pct`` expanded with k = 2, as certificates give it.
    """
    certified = reference_uncertainty_pct
    return Budget(
        scatter=expected_uncertainty(spread, windows),
        resolution=shown.resolution / 2 / SQRT_3 / shown.value,
        reference=None if certified is None else certified / 100 / COVERAGE,
        adc=ADC_NONLINEARITY_CODES / SQRT_3 / amplitude_codes,
    )


def expected_uncertainty(spread: float, windows: float) -> float:
    """Relative standard uncertainty of a mean over so many windows that scatter by ``spread``."""
    return spread / sqrt(max(1.0, windows))


def amplitude_codes(rms: float, per_code: float) -> float:
    """Peak in codes of a sine of this rms value."""
    return SQRT_2 * rms / abs(per_code)


def of_voltage(shown: Reference, seen: Observation, old: Calibration) -> float:
    """Expanded uncertainty in percent of a voltage gain, without the reference's own."""
    return budget(
        shown,
        spread=seen.voltage_spread,
        windows=seen.windows,
        amplitude_codes=amplitude_codes(seen.mean.voltage_v, old.voltage_v_per_code),
        reference_uncertainty_pct=None,
    ).expanded_pct


def of_current(shown: Reference, seen: Observation, old: Calibration) -> float:
    """Expanded uncertainty in percent of a current gain, without the reference's own."""
    return budget(
        shown,
        spread=seen.current_spread,
        windows=seen.windows,
        amplitude_codes=amplitude_codes(seen.mean.current_a, old.current_a_per_code),
        reference_uncertainty_pct=None,
    ).expanded_pct


def of_delay_s(seen: Observation) -> float:
    """Expanded uncertainty of the current sensor's delay; scatter between the windows alone."""
    assert seen.mean.frequency_hz is not None
    scatter_deg = seen.phase_spread_deg * expected_uncertainty(1.0, seen.windows)
    return COVERAGE * scatter_deg / 360.0 / seen.mean.frequency_hz
