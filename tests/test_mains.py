"""The simulated socket and front end against what the words and the parts say."""

from __future__ import annotations

from math import cos, pi, sqrt

import numpy as np
import pytest

from meterd.errors import ConfigError
from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import Socket, parse, recorded, synthetic

SECOND = np.arange(60_000) / 60_000.0


def test_words_describe_a_socket() -> None:
    socket = parse("voltage=120 current=4.2 pf=0.9 frequency=50 export lead v5=1.5 i3=8 vary=60")
    assert socket == Socket(
        voltage_v=120.0,
        current_a=4.2,
        power_factor=0.9,
        frequency_hz=50.0,
        leading=True,
        exporting=True,
        vary_s=60.0,
        voltage_harmonics={5: 0.015},
        current_harmonics={3: 0.08},
    )


@pytest.mark.parametrize(
    "words", ["volts=1", "pf=2", "pf=x", "i1=5", "x3=2", "voltage=", "=", "current=-1", "vary=0"]
)
def test_words_that_mean_nothing_are_refused_by_name(words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(f"voltage=127 {words}")
    assert repr(words) in str(refusal.value)


def test_the_socket_has_the_rms_values_and_the_power_it_was_asked_for() -> None:
    socket = Socket(127.0, 4.2, 0.9, 60.0, voltage_harmonics={5: 0.1}, current_harmonics={3: 0.3})
    volts, amps = synthetic(socket)(SECOND)
    assert sqrt(np.mean(volts**2)) == pytest.approx(127.0)
    assert sqrt(np.mean(amps**2)) == pytest.approx(4.2)
    fundamentals = 127.0 / sqrt(1.01) * 4.2 / sqrt(1.09)
    assert np.mean(volts * amps) == pytest.approx(fundamentals * 0.9)


def test_export_turns_the_current_round() -> None:
    import_a = synthetic(Socket())(SECOND)[1]
    export_a = synthetic(Socket(exporting=True))(SECOND)[1]
    assert export_a == pytest.approx(-import_a)


def test_a_varying_house_imports_and_exports() -> None:
    at_s = np.arange(0.0, 200.0, 0.001)
    volts, amps = synthetic(Socket(power_factor=1.0, vary_s=60.0))(at_s)
    power = (volts * amps).reshape(-1, 1000).mean(axis=1)
    assert power.max() > 400.0
    assert power.min() < -300.0


def test_a_loop_of_a_recording_begins_again_where_it_ends() -> None:
    points = np.sin(2 * pi * 3 * np.arange(3000) / 3000)
    mains = recorded(points, -points, 0.05)
    at_s = np.array([0.0123, 0.0123 + 0.05, 0.0123 + 7 * 0.05])
    volts, amps = mains(at_s)
    assert volts == pytest.approx(np.sin(2 * pi * 60 * 0.0123), abs=1e-4)
    assert amps == pytest.approx(-volts)


def test_the_pins_see_what_the_parts_make_of_the_mains() -> None:
    front_end = FrontEnd(vref_v=3.3)
    # 250 V peak: 25 V behind the 10:1 transformer, the end of the ADC's range at its pin.
    assert front_end.voltage_pin_v(np.array([0.0, 250.0, -250.0])) == pytest.approx(
        [1.65, 3.3, 0.0]
    )
    # ACS758: 2.5 V ± 40 mV/A of a 5 V supply, divided down to 3.3 V.
    assert front_end.current_pin_v(np.array([0.0, 50.0, -50.0])) == pytest.approx(
        [1.65, 4.5 * 0.66, 0.5 * 0.66]
    )


def test_a_delayed_current_lags_and_an_unwired_pin_is_0_v() -> None:
    mains = synthetic(Socket(current_a=10.0, power_factor=1.0))
    wiring = Wiring(mains, FrontEnd(current_delay_s=1 / 60 / 4), (3, 6))
    t_s = np.zeros(3)
    pins = wiring(np.array([3, 6, 1], np.uint8), t_s)
    assert pins[0] == pytest.approx(1.65)
    # A quarter of a cycle late: at the voltage's crossing the current is at its negative peak.
    assert pins[1] == pytest.approx(1.65 - 10.0 * sqrt(2) * cos(0.0) * 0.04 * 0.66)
    assert pins[2] == 0.0
