"""From mains to the pins of the ADC: the paper's conditioning, with the errors real parts have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meterd.simulate.mains import Mains

TRANSFORMER_RATIO = 10.0
PEAK_V = 250.0
"""The mains peak that reaches the end of the ADC's range: 139 % of 127 V rms."""
ACS758_V_PER_A = 0.040
ACS758_SUPPLY_V = 5.0


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """Conditioning of one voltage and one current for an ADC with reference ``vref_v``.

    The voltage goes through the 10:1 transformer, a divider and the AD623, whose offset lifts it
    to half the reference; the ACS758's output, 2.5 V ± 40 mV/A, is divided from its 5 V supply
    down to the reference. ``*_error`` are relative errors of gain, ``current_delay_s`` is how
    much later than the voltage's the current's path answers.
    """

    vref_v: float = 3.3
    voltage_gain_error: float = 0.0
    current_gain_error: float = 0.0
    voltage_offset_v: float = 0.0
    current_offset_v: float = 0.0
    current_delay_s: float = 0.0

    @property
    def divider(self) -> float:
        """What the divider and the AD623 together make of a volt behind the transformer."""
        return self.vref_v / 2 / (PEAK_V / TRANSFORMER_RATIO)

    def voltage_pin_v(self, mains_v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Volts at the voltage channel's pin."""
        gain = self.divider / TRANSFORMER_RATIO * (1 + self.voltage_gain_error)
        return self.vref_v / 2 + self.voltage_offset_v + gain * mains_v

    def current_pin_v(self, mains_a: NDArray[np.float64]) -> NDArray[np.float64]:
        """Volts at the current channel's pin."""
        sensor_v = ACS758_SUPPLY_V / 2 + ACS758_V_PER_A * (1 + self.current_gain_error) * mains_a
        return sensor_v * (self.vref_v / ACS758_SUPPLY_V) + self.current_offset_v


@dataclass(frozen=True, slots=True)
class Wiring:
    """A mains circuit behind a front end on two channels of the ADC; a pin with no wire is 0 V.

    Calling it gives the volts at the pins, as the model of the chip asks for them.
    """

    mains: Mains
    front_end: FrontEnd
    channels: Sequence[int]  # voltage, current

    def __call__(
        self, channels: NDArray[np.uint8], t_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        volts = np.zeros(len(t_s))
        voltage, current = channels == self.channels[0], channels == self.channels[1]
        volts[voltage] = self.front_end.voltage_pin_v(self.mains(t_s[voltage])[0])
        delayed_s = t_s[current] - self.front_end.current_delay_s
        volts[current] = self.front_end.current_pin_v(self.mains(delayed_s)[1])
        return volts


@dataclass(frozen=True, slots=True)
class Wirings:
    """Several circuits on one ADC; where two share a channel, the later one is wired to it."""

    circuits: Sequence[Wiring]

    def __call__(
        self, channels: NDArray[np.uint8], t_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        volts = np.zeros(len(t_s))
        for circuit in self.circuits:
            wired = np.isin(channels, circuit.channels)
            volts[wired] = circuit(channels[wired], t_s[wired])
        return volts
