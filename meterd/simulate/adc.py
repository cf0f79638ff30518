"""The simulated converter with its bus and its clock: what ``acquire`` reads in place of spidev."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meterd.simulate.mcp3008 import Mcp3008

CONVERSION_NS = 34_000
"""27 clocks at 1.35 MHz and 10 µs of chip select, as a Pi's driver takes."""
CALL_NS = 25_000
HOLD_NS = 11_000
"""From the start of a conversion to its sample-and-hold: 14 to 15 clocks."""
SLEEP_MIN_NS = 2_000_000


class SimulatedClock:
    """Time as the simulated hardware knows it.

    Paced, it follows the real one: advancing waits until that much time has really passed. Not
    paced, a day passes as fast as it can be computed. Either way nothing is ever late, so a busy
    computer does not tear holes into the waveform.
    """

    def __init__(self, *, paced: bool, start_ns: int = 0, start_utc_s: float = 0.0) -> None:
        self._paced, self._start_ns, self._start_utc_s = paced, start_ns, start_utc_s
        self._now_ns = start_ns
        self._origin_ns = time.monotonic_ns() - start_ns
        self._stop = threading.Event()

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        return self._now_ns

    def utc_s(self) -> float:
        """UTC seconds."""
        return self._start_utc_s + (self._now_ns - self._start_ns) / 1e9

    def advance(self, by_ns: int) -> None:
        """Let time pass."""
        self._now_ns += by_ns
        ahead_ns = self._now_ns - (time.monotonic_ns() - self._origin_ns)
        if self._paced and ahead_ns > SLEEP_MIN_NS:
            self._stop.wait(ahead_ns / 1e9)


class SimulatedAdc:
    """An MCP3008 on a bus that takes time: (n, 3) bytes in, (n, 3) bytes out.

    ``late_ns`` may delay each call, as a busy system does; it is asked once a call.
    """

    def __init__(
        self, chip: Mcp3008, clock: SimulatedClock, *, late_ns: Callable[[], int] = lambda: 0
    ) -> None:
        self._chip, self._clock, self._late_ns = chip, clock, late_ns

    def transfer(self, tx: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Convert each frame in its turn, then let the bus time pass."""
        start_ns = self._clock.now_ns() + CALL_NS + self._late_ns()
        held_ns = start_ns + HOLD_NS + np.arange(len(tx)) * CONVERSION_NS
        received = self._chip.frames(tx, held_ns / 1e9)
        self._clock.advance(start_ns + len(tx) * CONVERSION_NS - self._clock.now_ns())
        return received
