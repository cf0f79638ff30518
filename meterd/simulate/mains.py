"""What comes out of the wall: a synthetic mains socket, or a recorded one looped for ever."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from math import acos, pi, radians, sqrt

import numpy as np
from numpy.typing import NDArray

from meterd.errors import ConfigError

Mains = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Seconds (n,) to volts and amperes (n,) at those instants."""

WORD = re.compile(r"(?P<key>[a-z_]+)=(?P<number>[-+0-9.eE]+)$")
HARMONIC = re.compile(r"(?P<channel>[vi])(?P<order>[0-9]+)=(?P<percent>[0-9.]+)$")
HARMONIC_MAX = 100
VARIATION_PARTS = ((1.0, 0.7), (2.7, 0.3))  # of its period, and how much each swings


@dataclass(frozen=True, slots=True)
class Socket:
    """A steady mains socket with something plugged into it.

    ``voltage_v`` and ``current_a`` are the rms values of everything, harmonics included;
    ``power_factor`` is the displacement's, cos φ1. With ``vary_s`` the current swings slowly
    between that value and its opposite, so that the house imports and exports in turn.
    ``angle_deg`` is how far this voltage is ahead of another socket's.
    """

    voltage_v: float = 127.0
    current_a: float = 4.2
    power_factor: float = 0.9
    frequency_hz: float = 60.0
    leading: bool = False
    exporting: bool = False
    vary_s: float = 0.0
    angle_deg: float = 0.0
    voltage_harmonics: dict[int, float] = field(default_factory=dict)  # order: share of the first
    current_harmonics: dict[int, float] = field(default_factory=dict)


KEYS = {
    "voltage": ("voltage_v", 0.0, 1000.0),
    "current": ("current_a", 0.0, 1000.0),
    "pf": ("power_factor", 0.0, 1.0),
    "frequency": ("frequency_hz", 40.0, 70.0),
    "vary": ("vary_s", 1.0, 86400.0),
    "angle": ("angle_deg", -360.0, 360.0),
}
SWITCHES = {"lag": ("leading", False), "lead": ("leading", True), "import": ("exporting", False)}
SWITCHES["export"] = ("exporting", True)


def parse(words: str) -> Socket:
    """A socket from words such as ``voltage=127 current=4.2 pf=0.9 lag export i3=8 v5=1.5``.

    ``v3=1.5`` is a third harmonic of 1.5 % of the fundamental's voltage.

    Raises:
        ConfigError: a word that means nothing, or a number out of its range.
    """
    found: dict[str, float | bool | dict[int, float]] = {}
    harmonics: dict[str, dict[int, float]] = {"v": {}, "i": {}}
    for word in words.split():
        named, harmonic = WORD.match(word), HARMONIC.match(word)
        if word in SWITCHES:
            name, on = SWITCHES[word]
            found[name] = on
        elif harmonic and 2 <= int(harmonic["order"]) <= HARMONIC_MAX:
            order, percent = int(harmonic["order"]), float(harmonic["percent"])
            harmonics[harmonic["channel"]][order] = percent / 100
        elif named and named["key"] in KEYS:
            name, low, high = KEYS[named["key"]]
            found[name] = _in_range(word, named["number"], low, high)
        else:
            raise ConfigError(
                f"mains: {word!r} is not understood; words are {', '.join(f'{k}=' for k in KEYS)}, "
                f"{', '.join(SWITCHES)}, and harmonics in percent such as v3=1.5 or i5=20"
            )
    assert {f.name for f in fields(Socket)} >= found.keys()
    return Socket(
        **found,  # type: ignore[arg-type]  # KEYS and SWITCHES name its fields
        voltage_harmonics=harmonics["v"],
        current_harmonics=harmonics["i"],
    )


def _in_range(word: str, number: str, low: float, high: float) -> float:
    try:
        value = float(number)
    except ValueError:
        raise ConfigError(f"mains: {word!r}: {number!r} is not a number") from None
    if not low <= value <= high:
        raise ConfigError(f"mains: {word!r}: must be between {low:g} and {high:g}")
    return value


def synthetic(socket: Socket) -> Mains:
    """The socket's voltage and current as functions of time; voltage rises through 0 at t = 0."""
    angle = acos(socket.power_factor) * (-1 if socket.leading else 1)
    direction = -1.0 if socket.exporting else 1.0
    volt_lines = _lines(socket.voltage_v, socket.voltage_harmonics)
    amp_lines = _lines(socket.current_a, socket.current_harmonics)

    def at(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        turned = 2 * pi * socket.frequency_hz * t_s + radians(socket.angle_deg)
        volts = _sum_of(volt_lines, turned)
        amps = direction * _sum_of(amp_lines, turned - angle)
        return volts, amps * _variation(t_s, socket.vary_s) if socket.vary_s else amps

    return at


def _lines(rms: float, shares: dict[int, float]) -> list[tuple[int, float]]:
    """Orders and peak amplitudes, together of this rms value."""
    fundamental = sqrt(2) * rms / sqrt(1 + sum(share**2 for share in shares.values()))
    return [(1, fundamental), *((order, fundamental * share) for order, share in shares.items())]


def _sum_of(lines: list[tuple[int, float]], turned: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros_like(turned)
    for order, amplitude in lines:
        total += amplitude * np.sin(order * turned)
    return total


def _variation(t_s: NDArray[np.float64], period_s: float) -> NDArray[np.float64]:
    """Between −1 and 1, like a house under drifting clouds."""
    total = np.zeros_like(t_s)
    for periods, share in VARIATION_PARTS:
        total += share * np.cos(2 * pi * t_s / (period_s * periods))
    return total


def recorded(volts: NDArray[np.float64], amps: NDArray[np.float64], duration_s: float) -> Mains:
    """One loop of whole cycles, repeated; (n,) evenly spaced points over ``duration_s``.

    Between the points it interpolates linearly, so they should be many to a cycle.
    """
    place_s = np.arange(len(volts) + 1, dtype=np.float64) * (duration_s / len(volts))
    closed_v, closed_a = np.append(volts, volts[0]), np.append(amps, amps[0])

    def at(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        within_s = np.mod(t_s, duration_s)
        return np.interp(within_s, place_s, closed_v), np.interp(within_s, place_s, closed_a)

    return at
