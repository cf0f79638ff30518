"""Dips, swells and interruptions through ten bits: magnitude and duration (IEC 61000-4-30)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.accuracy import signals
from bench.accuracy.rows import Row, Table
from bench.accuracy.sampling import MAINS_MIN_V, direct, waveforms
from meterd import calc
from meterd.metrology.events import EventKind, Events, PowerQualityEvent, detect
from meterd.simulate.mains import Mains

SECONDS = 2.0
BEGINS_S = 0.7
CYCLES = (3.0, 40.0)
MAGNITUDE_PCT = 0.5
DURATION_CYCLES = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """One trial: how far magnitude and duration are off."""

    magnitude_pct: float  # of nominal
    duration_cycles: float


def table(trials: int, rng: np.random.Generator) -> Table:
    """Each kind at 50 and 60 Hz, at random phases and of random length."""
    cases = (
        (EventKind.DIP, 0.85),
        (EventKind.DIP, 0.4),
        (EventKind.SWELL, 1.2),
        (EventKind.INTERRUPTION, 0.0),
    )
    rows: list[Row] = []
    for kind, share in cases:
        for hertz in (50.0, 60.0):
            found = [trial(kind, share, hertz, rng) for _ in range(trials)]
            rows += _rows(f"{kind} to {100 * share:.0f} %, {hertz:g} Hz", found)
    method = (
        f"Direct, ten bits: a voltage with V3 1.5 % steps to its share of nominal and back, "
        f"{trials} times each, at random phases, for {CYCLES[0]:g} … {CYCLES[1]:g} cycles. The "
        "worst of them; an event that is not found, or one too many, counts as missed."
    )
    return Table("Dips, swells and interruptions", method, tuple(rows))


def trial(kind: EventKind, share: float, hertz: float, rng: np.random.Generator) -> Found | None:
    """One event; None where exactly this one was not found."""
    begin_s = BEGINS_S + rng.random() / hertz
    duration_s = float(rng.uniform(*CYCLES)) / hertz
    mains = stepping(hertz, share, begin_s, begin_s + duration_s)
    seen = [event for event in events_of(mains, hertz, rng) if event.kind is kind]
    if len(seen) != 1 or not seen[0].ended:
        return None
    off_v = seen[0].extreme_v - share * signals.VOLTAGE_V
    return Found(100 * off_v / signals.VOLTAGE_V, (seen[0].duration_s - duration_s) * hertz)


def stepping(hertz: float, share: float, begin_s: float, end_s: float) -> Mains:
    """A circuit whose voltage is ``share`` of nominal between two instants."""
    steady = signals.circuit(5.0, 1.0, frequency_hz=hertz, distorted=True)

    def at(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        volts, amps = steady.mains(t_s)
        # The lines' rms is above nominal by their distortion; the step is of the whole.
        volts = volts * (signals.VOLTAGE_V / steady.exact.voltage_v)
        return np.where((t_s >= begin_s) & (t_s < end_s), share * volts, volts), amps

    return at


def events_of(mains: Mains, hertz: float, rng: np.random.Generator) -> Iterator[PowerQualityEvent]:
    """The events that ended, then those still open."""
    still_open: Events = ()
    waves = waveforms(direct(mains, SECONDS, rng))
    for window in calc.stream(waves, hertz, mains_min_v=MAINS_MIN_V):
        if window.half_cycles is not None:
            ended, still_open = detect(still_open, window.half_cycles, signals.VOLTAGE_V)
            yield from ended
    yield from still_open


def _rows(name: str, trials: list[Found | None]) -> list[Row]:
    found = [one for one in trials if one is not None]
    lost = f"{len(trials) - len(found)} of {len(trials)} not found" if None in trials else ""
    if not found:
        return [Row(name, "none found", "all found", met=False)]
    magnitude = max((one.magnitude_pct for one in found), key=abs)
    duration = max((one.duration_cycles for one in found), key=abs)
    return [
        Row(
            f"{name}: magnitude",
            f"{magnitude:+.2f} % of nominal",
            f"≤ {MAGNITUDE_PCT:g} %",
            abs(magnitude) <= MAGNITUDE_PCT and not lost,
            lost,
        ),
        Row(
            f"{name}: duration",
            f"{duration:+.2f} cycles",
            f"≤ {DURATION_CYCLES:g} cycle",
            abs(duration) <= DURATION_CYCLES and not lost,
            lost,
        ),
    ]
