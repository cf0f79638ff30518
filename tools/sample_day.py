"""A made-up day of a house with panels on its roof, as the readings its meter would store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import acos, cos, degrees, exp, pi, sin, sqrt, tan

import numpy as np
from numpy.typing import NDArray

from meterd import calc, wire
from meterd.model import Reading, Registers, Stamp
from meterd.record.chain import genesis, link
from meterd.record.rows import CHECKPOINT_ROWS, Place, checkpoint_row, event_row
from meterd.record.signing import SigningKey

STREAM = "8c5a0a5e4a5b4f0c9f6f0d8a4d1b2c3e"
INTERVAL_S = 60
DAY_S = 86_400
PANELS_W = 3300.0
SUNRISE_H, SUNSET_H = 5.6, 19.2
START = Registers(import_j=15_169_866_806, export_j=3_911_238_733)


@dataclass(frozen=True, slots=True)
class Loads:
    """What runs in the house, in watt, minute by minute."""

    hour: NDArray[np.float64]  # (n,) local time of day, 0 to 24
    consumed_w: NDArray[np.float64]  # (n,)
    produced_w: NDArray[np.float64]  # (n,)


def lines(
    serial: str, end_utc_s: int, utc_offset_s: int, key: SigningKey, seed: int = 7
) -> list[bytes]:
    """A day and an hour of rows up to ``end_utc_s``, oldest first, as the wire has them: the
    start, readings, and a signature behind each fifteen."""
    rng = np.random.default_rng(seed)
    count = (DAY_S + 3600) // INTERVAL_S
    ends = end_utc_s - INTERVAL_S * np.arange(count - 1, -1, -1)
    loads = _loads(((ends + utc_offset_s) % DAY_S) / 3600, rng)
    registers, chain = START, _Chain(serial, key)
    chain.start(int(ends[0]) - INTERVAL_S, registers)
    for place in range(count):
        net_w = float(loads.consumed_w[place] - loads.produced_w[place])
        registers = calc.accumulate(registers, net_w, INTERVAL_S)
        made = _reading(loads, place, net_w, registers, rng)
        chain.add(replace(made, meter=serial, end_utc_s=int(ends[place])))
    chain.seal(int(ends[-1]), registers)
    return chain.rows


class _Chain:
    """Rows as a meter's record would hold them."""

    def __init__(self, serial: str, key: SigningKey) -> None:
        self._serial, self._key = serial, key
        self._head = genesis(serial, STREAM)
        self._begin_utc_s = 0
        self.rows: list[bytes] = []

    def start(self, utc_s: int, registers: Registers) -> None:
        """The row of the meter's start, and the signature behind it."""
        self._begin_utc_s = utc_s - 20
        said = {"version": "0.1.0", "key": self._key.public.fingerprint}
        self._append(event_row(self._place(), self._stamp(utc_s), "boot", said).line)
        self.seal(utc_s, registers)

    def add(self, reading: Reading) -> None:
        """A reading, and the signature that is due after it."""
        stamp = self._stamp(reading.end_utc_s)
        numbered = replace(
            reading, seq=len(self.rows) + 1, boot=stamp.boot, boottime_ms=stamp.boottime_ms
        )
        self._append(wire.encode(numbered))
        if len(self.rows) % (CHECKPOINT_ROWS + 1) == 0:
            counted = Registers(reading.import_j, reading.export_j)
            self.seal(reading.end_utc_s, counted)

    def seal(self, utc_s: int, registers: Registers) -> None:
        """A checkpoint."""
        counted_j = (registers.import_j, registers.export_j)
        row = checkpoint_row(self._place(), self._stamp(utc_s), self._head, counted_j, self._key)
        self._append(row.line)

    def _append(self, line: bytes) -> None:
        self.rows.append(line)
        self._head = link(self._head, line)

    def _place(self) -> Place:
        return Place(self._serial, STREAM, len(self.rows) + 1)

    def _stamp(self, utc_s: int) -> Stamp:
        return Stamp(1, 1000 * (utc_s - self._begin_utc_s), utc_s, "synced")


def _loads(hour: NDArray[np.float64], rng: np.random.Generator) -> Loads:
    minute = np.arange(len(hour))
    consumed_w = 140 + 12 * rng.standard_normal(len(hour))
    consumed_w += np.where(minute % 47 < 19, 118.0, 0.0)  # a refrigerator
    for begin, end, watt, on, every in (
        (5.9, 7.4, 620, 3, 4),  # breakfast
        (13.3, 14.2, 1450, 5, 7),  # cooking
        (18.7, 22.6, 340, 1, 1),  # lights, television
        (15.0, 17.6, 900, 11, 20),  # air conditioning, the compressor cycles
        (20.2, 24.0, 900, 12, 20),
        (0.0, 2.5, 900, 9, 20),
        (19.6, 20.3, 1700, 4, 6),  # supper
    ):
        running = (hour >= begin) & (hour < end) & (minute % every < on)
        consumed_w += np.where(running, watt, 0.0)
    cloud = np.clip(
        np.convolve(rng.standard_normal(len(hour) + 24), np.ones(25) / 9, "valid"), 0, 1
    )
    light = np.clip((hour - SUNRISE_H) / (SUNSET_H - SUNRISE_H), 0, 1)
    cloudy = np.where((hour > 10.2) & (hour < 12.4), 0.75, 0.12)
    produced_w = PANELS_W * np.sin(pi * light) ** 1.4 * (1 - cloudy * cloud)
    return Loads(hour, np.maximum(consumed_w, 60.0), produced_w)


def _reading(
    loads: Loads, place: int, net_w: float, registers: Registers, rng: np.random.Generator
) -> Reading:
    """Quantities that belong together: S from P and the distortion, I from S and V."""
    hour = float(loads.hour[place])
    voltage_v = 127.4 - net_w / 1400 + 0.9 * cos(2 * pi * (hour - 4) / 24)
    voltage_v += 0.15 * float(rng.standard_normal())
    displacement = 0.97 - 0.08 * exp(-abs(net_w) / 400)
    phase_deg = degrees(acos(displacement))
    reactive_var = abs(net_w) * tan(acos(displacement))
    thd_current_pct = 3.0 + 1900 / (abs(net_w) + 60)
    distortion_va = sqrt(net_w**2 + reactive_var**2) * thd_current_pct / 100
    apparent_va = sqrt(net_w**2 + reactive_var**2 + distortion_va**2)
    return Reading(
        schema=wire.SCHEMA,
        meter="",
        stream=STREAM,
        seq=1,
        end_utc_s=0,
        interval_s=INTERVAL_S,
        measured_s=float(INTERVAL_S),
        coverage_pct=100.0,
        clock="synced",
        flags=[],
        frequency_hz=60.0 + 0.012 * sin(place / 9) + 0.004 * float(rng.standard_normal()),
        voltage_v=voltage_v,
        current_a=apparent_va / voltage_v,
        power_w=net_w,
        apparent_va=apparent_va,
        reactive_var=reactive_var,
        nonactive_var=sqrt(apparent_va**2 - net_w**2),
        power_factor=net_w / apparent_va,
        phase_deg=phase_deg if net_w >= 0 else 180 - phase_deg,
        thd_voltage_pct=1.8 + 0.2 * sin(place / 60),
        thd_current_pct=thd_current_pct,
        import_j=registers.import_j,
        export_j=registers.export_j,
    )
