"""The resolution of apparent power in IEEE Std 1459-2010, clause 3.1.2 (single phase)."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from meterd.model import Quantities


@dataclass(frozen=True, slots=True)
class Components:
    """Where an apparent power comes from: S² = S1² + S_N², S_N² = D_I² + D_V² + S_H²."""

    fundamental_w: float  # P1
    fundamental_var: float  # Q1
    fundamental_va: float  # S1
    harmonic_w: float  # P_H
    nonfundamental_va: float  # S_N
    current_distortion_var: float  # D_I = V1 · I_H
    voltage_distortion_var: float  # D_V = V_H · I1
    harmonic_va: float  # S_H = V_H · I_H
    nonactive_var: float  # N


def components(quantities: Quantities) -> Components | None:
    """The components of these quantities; None where there is no fundamental."""
    if not len(quantities.harmonic_va):
        return None
    voltage_v, current_a = (
        float(quantities.harmonic_voltage_v[0]),
        float(quantities.harmonic_current_a[0]),
    )
    other_v = sqrt(max(0.0, quantities.voltage_v**2 - voltage_v**2))
    other_a = sqrt(max(0.0, quantities.current_a**2 - current_a**2))
    fundamental = complex(quantities.harmonic_va[0])
    distortions = (voltage_v * other_a, other_v * current_a, other_v * other_a)
    return Components(
        fundamental_w=fundamental.real,
        fundamental_var=fundamental.imag,
        fundamental_va=voltage_v * current_a,
        harmonic_w=quantities.power_w - fundamental.real,
        nonfundamental_va=sqrt(sum(part**2 for part in distortions)),
        current_distortion_var=distortions[0],
        voltage_distortion_var=distortions[1],
        harmonic_va=distortions[2],
        nonactive_var=quantities.nonactive_var,
    )
