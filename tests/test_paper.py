"""The figures printed in the source paper come out of the simulated chain."""

from __future__ import annotations

import pytest

from meterd.simulate.mains import Socket
from tests.chain import measured

# Vrms, Irms, S, P (Table 1: lamps; their printed angle is acos(P/S), 8.9° to 16.5°)
TABLE_1 = [
    (125.82, 0.59, 74.33, 71.83),
    (125.49, 1.01, 127.17, 125.63),
    (124.35, 0.6, 74.16, 71.08),
    (126.7, 1.03, 130.52, 125.63),
]
# Vrms, Irms, P (Table 2: one to six resistive bulbs; S = P)
TABLE_2 = [
    (128.88, 3.45, 444.98),
    (128.97, 2.87, 370.15),
    (128.88, 2.31, 297.58),
    (128.79, 1.73, 222.33),
    (129.15, 1.14, 147.71),
    (129.33, 0.56, 72.56),
]


@pytest.mark.parametrize(("voltage_v", "current_a", "apparent_va", "power_w"), TABLE_1)
def test_table_1_of_the_paper(
    voltage_v: float, current_a: float, apparent_va: float, power_w: float
) -> None:
    # The printed current has two digits; the printed S and V tell it better.
    socket = Socket(voltage_v, apparent_va / voltage_v, power_w / apparent_va)
    seen = measured(socket, 3.0)
    assert seen.voltage_v == pytest.approx(voltage_v, rel=0.002)
    assert seen.current_a == pytest.approx(apparent_va / voltage_v, rel=0.002)
    assert seen.current_a == pytest.approx(current_a, abs=0.005 + 0.002)
    assert seen.apparent_va == pytest.approx(apparent_va, rel=0.002)
    assert seen.power_w == pytest.approx(power_w, rel=0.002)


@pytest.mark.parametrize(("voltage_v", "current_a", "power_w"), TABLE_2)
def test_table_2_of_the_paper(voltage_v: float, current_a: float, power_w: float) -> None:
    seen = measured(Socket(voltage_v, power_w / voltage_v, power_factor=1.0), 3.0)
    assert seen.voltage_v == pytest.approx(voltage_v, rel=0.002)
    assert seen.current_a == pytest.approx(power_w / voltage_v, rel=0.002)
    assert seen.current_a == pytest.approx(current_a, abs=0.01)
    assert seen.apparent_va == pytest.approx(power_w, rel=0.002)
    assert seen.power_w == pytest.approx(power_w, rel=0.002)
    assert seen.power_factor is not None
    assert round(seen.power_factor, 2) == 1.0
    assert seen.phase_deg == pytest.approx(0.0, abs=0.3)
