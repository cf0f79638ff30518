"""Recordings on the simulated socket."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest

from meterd import wiring
from meterd.errors import RecordingError
from meterd.recording import Recording


def tone(volts: float, amps: float, seconds: float = 1.013, rate_hz: float = 6000.0) -> Recording:
    t_s = np.arange(round(seconds * rate_hz)) / rate_hz
    turned = 2 * pi * 50.0 * t_s + 1.0
    return Recording(
        t_s, volts * sqrt(2) * np.sin(turned), amps * sqrt(2) * np.sin(turned - pi / 3)
    )


def test_a_recording_is_looped_over_whole_cycles_without_a_step() -> None:
    mains = wiring.looped(tone(120.0, 5.0))
    t_s = np.arange(0.0, 5.0, 1e-4)
    volts, amps = mains(t_s)
    assert np.abs(np.diff(volts)).max() <= 120.0 * sqrt(2) * 2 * pi * 50.0 * 1e-4 * 1.001
    assert np.mean(volts * amps) == pytest.approx(120.0 * 5.0 * 0.5, rel=1e-3)
    assert volts[0] == pytest.approx(0.0, abs=0.1)


def test_a_230_v_recording_is_put_on_the_socket_at_127_v() -> None:
    volts, amps = wiring.looped(tone(230.0, 5.0))(np.arange(0.0, 1.0, 1e-4))
    assert sqrt(np.mean(volts**2)) == pytest.approx(127.0, rel=5e-3)
    assert sqrt(np.mean(amps**2)) == pytest.approx(5.0, rel=1e-3)


def test_a_recording_without_mains_cannot_be_looped() -> None:
    with pytest.raises(RecordingError, match="no two whole cycles"):
        wiring.looped(tone(1.0, 5.0))
