"""Windows measured several at a time: the same results, a bounded delay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import pi, sqrt

import numpy as np
import pytest

from meterd import calc
from meterd.model import Quantities, Waveform
from tests.test_calc import RATE_HZ, signal, windows_of


def cut_up(whole: Waveform, seconds: float) -> list[Waveform]:
    edges = np.arange(0, len(whole.t_s) + 1, round(seconds * RATE_HZ))
    return [
        calc.between(whole, whole.t_s[a], whole.t_s[b - 1] + 0.5 / RATE_HZ)
        for a, b in pairwise(edges.tolist())
    ]


@pytest.mark.parametrize("frequency_hz", [49.9, 60.0, 60.08])
def test_windows_measured_together_say_what_they_say_one_by_one(frequency_hz: float) -> None:
    amps = {1: (10.0, -30.0), 3: (0.8, 10.0)}
    pieces = cut_up(signal(4.0, frequency_hz=frequency_hz, amps=amps, skew_s=36e-6), 0.2)
    one, five = (
        [
            window
            for window in calc.stream(pieces, 60.0, mains_min_v=6.0, at_once=count)
            if isinstance(window, Quantities)
        ]
        for count in (1, 5)
    )
    assert len(one) == len(five)
    for alone, together in zip(one, five, strict=True):
        assert abs(together.end_ns - alone.end_ns) < 2000
        assert together.power_w == pytest.approx(alone.power_w, rel=1e-6)
        assert together.current_a == pytest.approx(alone.current_a, rel=1e-6)
        assert together.frequency_hz == pytest.approx(alone.frequency_hz, rel=1e-7)
        assert together.half_cycles is not None
        assert alone.half_cycles is not None
        assert len(together.half_cycles.urms_v) == len(alone.half_cycles.urms_v)


def test_a_drifting_frequency_is_followed_by_windows_measured_together() -> None:
    # 0.1 Hz a second is ten times what a network does; the phase is the frequency's integral.
    t_s = np.arange(round(4 * RATE_HZ)) / RATE_HZ
    turned = 2 * pi * (59.8 * t_s + 0.05 * t_s**2)
    steady = signal(4.0)
    moving = replace(
        steady,
        voltage_v=127 * sqrt(2) * np.sin(turned),
        current_a=10 * sqrt(2) * np.sin(turned - pi / 3),
    )
    for window in windows_of(moving)[:-1]:
        middle_s = window.end_ns / 1e9 - window.duration_s / 2
        assert window.frequency_hz == pytest.approx(59.8 + 0.1 * middle_s, abs=0.002)
        assert window.power_w == pytest.approx(635.0, rel=3e-4)


@pytest.mark.parametrize(("at_once", "latest_s"), [(1, 0.42), (5, 1.22)])
def test_a_window_comes_at_most_so_long_after_its_last_sample(
    at_once: int, latest_s: float
) -> None:
    # As many windows as are measured together less one, half a cycle, and the 0.2 s of a block.
    given_s = [0.0]

    def given() -> Iterator[Waveform]:
        for piece in cut_up(signal(5.0), 0.2):
            given_s[0] = (piece.start_ns / 1e9) + float(piece.t_s[-1])
            yield piece

    for window in calc.stream(given(), 60.0, mains_min_v=6.0, at_once=at_once):
        assert given_s[0] - window.end_ns / 1e9 <= latest_s
