"""Measuring windows for tests of what follows on them: a network, and what is behind a contact."""

from __future__ import annotations

import numpy as np

from meterd.model import Quality, Quantities


def window(
    voltage_v: float = 127.0,
    frequency_hz: float | None = 60.0,
    angle_deg: float = 0.0,
    others: tuple[Quantities, ...] = (),
) -> Quantities:
    """One circuit's window of a clean sine without current."""
    return Quantities(
        end_ns=0,
        duration_s=0.2,
        gap_s=0.0,
        cycles=12.0,
        frequency_hz=frequency_hz,
        voltage_v=voltage_v,
        current_a=0.0,
        power_w=0.0,
        apparent_va=0.0,
        reactive_var=0.0,
        nonactive_var=0.0,
        power_factor=None,
        phase_deg=None,
        thd_voltage_pct=0.0,
        thd_current_pct=None,
        harmonic_voltage_v2=np.zeros(40),
        harmonic_current_a2=np.zeros(40),
        flags=Quality.GOOD if frequency_hz is not None else Quality.MAINS_LOST,
        voltage_phasor_v=np.array([voltage_v * np.exp(1j * np.radians(angle_deg))]),
        others=others,
    )


def behind(
    voltage_v: float = 127.0, frequency_hz: float | None = 60.0, angle_deg: float = 0.0
) -> Quantities:
    """The network at 127 V and 60 Hz, and this behind the contact."""
    return window(others=(window(voltage_v, frequency_hz, angle_deg),))
