"""The date as well as a machine without a clock of its own can tell it.

Elapsed time is CLOCK_BOOTTIME and exact; the date is that plus an offset. The offset is taken from
the system's clock while a time source holds it, from the server where the system has none, and is
kept otherwise. A date before the program was made, or before the last row whose date was sure, is
refused: a meter does not go back behind what it has signed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

from meterd import BUILT_UTC_S
from meterd.model import Stamp

ANCHOR_S = 3600.0
SERVER_S = 5.0
"""The server's word is looked for this often."""
STEP_S = 1.0
"""A smaller difference is a clock being steered."""
KERNEL_UNCERTAINTY_MS = 100
HAND_UNCERTAINTY_MS = 60_000
TIME_ERROR = 5
SURE = ("synced", "relative")


@dataclass(frozen=True, slots=True)
class ServerTime:
    """What the server said the time was."""

    utc_s: float
    boottime_s: float  # when the answer came
    uncertainty_s: float


@dataclass(frozen=True, slots=True)
class Clocks:
    """What this machine's clocks say."""

    boottime_s: Callable[[], float]
    system_utc_s: Callable[[], float]
    kernel_state: Callable[[], str]  # synced, unsynced or unknown
    server_time: Callable[[], ServerTime | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Known:
    """What the record says of the time before this start."""

    boot: int
    last_sure_utc_s: int = 0
    last_utc_s: int = 0
    built_utc_s: int = BUILT_UTC_S


Happening = tuple[str, dict[str, object]]


class Timekeeper:
    """The meter's date; :meth:`follow` is called about once a second."""

    def __init__(self, clocks: Clocks, known: Known) -> None:
        self._clocks, self._boot = clocks, known.boot
        self._floor_utc_s = float(max(known.built_utc_s, known.last_sure_utc_s))
        boottime_s, system_utc_s = clocks.boottime_s(), clocks.system_utc_s()
        self._system_offset_s = system_utc_s - boottime_s
        self._anchored_s: float | None = None
        self._refused = False
        self._server_s: float | None = None
        self._asked_s: float | None = None
        if system_utc_s >= self._floor_utc_s:
            self._offset_s, self._clock = self._system_offset_s, "informative"
        else:
            guess_utc_s = max(self._floor_utc_s, float(known.last_utc_s))
            self._offset_s, self._clock = guess_utc_s - boottime_s, "unknown"

    def utc_s(self) -> float:
        """The date now, seconds since 1970."""
        return self._clocks.boottime_s() + self._offset_s

    def stamp(self, ago_s: float = 0.0) -> Stamp:
        """The moment ``ago_s`` before now, with how good its date is."""
        boottime_s = self._clocks.boottime_s() - ago_s
        return Stamp(self._boot, int(boottime_s * 1000), boottime_s + self._offset_s, self._clock)

    def follow(self) -> list[Happening]:
        """Look at the clocks again; what the record should say of it."""
        if self._clock in SURE:
            self._floor_utc_s = max(self._floor_utc_s, self.utc_s() - 2 * STEP_S)
        state = self._clocks.kernel_state()
        boottime_s, system_utc_s = self._clocks.boottime_s(), self._clocks.system_utc_s()
        offset_s = system_utc_s - boottime_s
        was_s, self._system_offset_s = self._system_offset_s, offset_s
        if state == "synced":
            return self._take(offset_s, "synced", "kernel", KERNEL_UNCERTAINTY_MS)
        if self._clock == "synced":
            self._clock = "relative"
        found = self._server_offset()
        if found is not None:
            offset_s, uncertainty_s = found
            return self._take(offset_s, "relative", "server", round(1000 * uncertainty_s))
        by_hand = abs(offset_s - was_s) > STEP_S and self._clock not in SURE
        if by_hand or (self._clock == "unknown" and system_utc_s >= self._floor_utc_s):
            return self._take(offset_s, "informative", "system", HAND_UNCERTAINTY_MS)
        return []

    def _server_offset(self) -> tuple[float, float] | None:
        """A newer word of the server, where the system itself has no time source."""
        boottime_s = self._clocks.boottime_s()
        if self._asked_s is not None and boottime_s - self._asked_s < SERVER_S:
            return None
        self._asked_s = boottime_s
        said = self._clocks.server_time()
        if said is None or said.boottime_s == self._server_s:
            return None
        if said.boottime_s > boottime_s:
            return None  # of another start of the machine
        self._server_s = said.boottime_s
        offset_s = said.utc_s - said.boottime_s
        close = abs(offset_s - self._offset_s) <= max(said.uncertainty_s, STEP_S)
        return None if self._clock == "relative" and close else (offset_s, said.uncertainty_s)

    def _take(
        self, offset_s: float, clock: str, source: str, uncertainty_ms: int
    ) -> list[Happening]:
        boottime_s = self._clocks.boottime_s()
        utc_s = boottime_s + offset_s
        if utc_s < self._floor_utc_s:
            return self._refuse(utc_s, source)
        self._refused = False
        stepped_s = offset_s - self._offset_s
        better = clock != self._clock
        self._offset_s, self._clock = offset_s, clock
        due = self._anchored_s is None or boottime_s - self._anchored_s >= ANCHOR_S
        if not (better or due or abs(stepped_s) > STEP_S):
            return []
        self._anchored_s = boottime_s
        return [
            (
                "anchor",
                {
                    "utc_ms": round(1000 * utc_s),
                    "boottime_ms": round(1000 * boottime_s),
                    "uncertainty_ms": uncertainty_ms,
                    "source": source,
                    "stepped_ms": round(1000 * stepped_s),
                },
            )
        ]

    def _refuse(self, utc_s: float, source: str) -> list[Happening]:
        if self._clock == "synced":
            self._clock = "relative"
        if self._refused:
            return []
        self._refused = True
        detail = {
            "said_utc_s": round(utc_s),
            "not_before_utc_s": round(self._floor_utc_s),
            "source": source,
        }
        return [("clock_refused", detail)]


def kernel_state() -> str:
    """Whether a time source has set the system's clock: synced, unsynced or unknown."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(256)  # struct timex is 208 bytes; all zero asks only
    state = int(libc.adjtimex(timex))
    if state < 0:
        return "unknown"
    return "unsynced" if state == TIME_ERROR else "synced"
