"""What ten bits allow: the scatter that noise and quantisation leave to any method."""

from __future__ import annotations

from math import hypot, sqrt

from bench.accuracy.sampling import CALIBRATION, NOISE_CODES, RATE_HZ
from bench.accuracy.signals import Exact

WINDOW_S = 0.2
CODE_NOISE = hypot(NOISE_CODES, sqrt(1 / 12))
"""Noise and quantisation of one conversion together, in codes (uniform error: 1/√12)."""


def power_sigma_pct(exact: Exact) -> float:
    """Least scatter of one window's power, % of it.

    P is the mean of n products; to first order each carries V·σi and I·σv, independent of each
    other: σP = √((V·σi)² + (I·σv)²) / √n.
    """
    sigma_a = CODE_NOISE * CALIBRATION.current_a_per_code
    sigma_v = CODE_NOISE * CALIBRATION.voltage_v_per_code
    sigma_w = hypot(exact.voltage_v * sigma_a, exact.current_a * sigma_v)
    return 100 * sigma_w / sqrt(RATE_HZ * WINDOW_S) / abs(exact.power_w)


def current_sigma_pct(current_a: float) -> float:
    """Least scatter of one window's rms current, % of it: σi / √n."""
    sigma_a = CODE_NOISE * CALIBRATION.current_a_per_code
    return 100 * sigma_a / sqrt(RATE_HZ * WINDOW_S) / current_a
