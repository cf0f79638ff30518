"""The words of the meter: every value that travels from the ADC to the server.

All values are frozen; arrays say their dtype and shape; units stand last in the names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, auto
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the sender, which knows readings alone, does without: 15 MiB
    import numpy as np
    from numpy.typing import NDArray

ADC_CODES = 1024
"""The MCP3008 has ten bits."""


class Quality(IntFlag):
    """What a user of a value must know before trusting it."""

    GOOD = 0
    GAP = auto()
    """Part of the time was not sampled."""
    PREEMPTED = auto()
    """A batch took much longer than its bus time, its instants are unknown and it was left out."""
    CLIPPED = auto()
    """The ADC stood at the end of its range."""
    MAINS_LOST = auto()
    """No mains voltage: frequency, angle and power factor are unknown."""
    SHORT = auto()
    """Fewer than the standard's 10 or 12 cycles were measured."""
    CLOCK_UNSET = auto()
    """The date is a guess: no time source had set the clock."""
    VOLTAGE_EVENT = auto()
    """A dip, swell or interruption lies in it (flagging of IEC 61000-4-30)."""
    RESTARTED = auto()
    """The first reading after the program started."""


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """Conversions as they came from the ADC, in the order they were made."""

    channels: tuple[int, ...]  # (c,) the MCP3008's channels, in the order they are converted
    codes: NDArray[np.uint16]  # (n, c) 0 to 1023
    t_ns: NDArray[np.int64]  # (n, c) monotonic instant of each sample-and-hold
    valid: NDArray[np.bool_]  # (n,) False where a preempted batch left the instants unknown
    flags: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True)
class Calibration:
    """How one circuit's codes become volts and amperes."""

    voltage_v_per_code: float
    voltage_zero_code: float
    current_a_per_code: float
    current_zero_code: float
    current_delay_s: float
    """How much later than the voltage's the current's sensor answers; a time, not an angle,
    so that it holds at 50 and at 60 Hz and for every harmonic."""


@dataclass(frozen=True, slots=True)
class Waveform:
    """One circuit's voltage and current at known instants."""

    start_ns: int
    """Monotonic instant that ``t_s`` counts from."""
    t_s: NDArray[np.float64]  # (n,) instants of the voltage samples, rising
    voltage_v: NDArray[np.float64]  # (n,)
    current_t_s: NDArray[np.float64]  # (n,) instants of the current samples, sensor's delay off
    current_a: NDArray[np.float64]  # (n,)
    quality: NDArray[np.uint16]  # (n,) bits of Quality
    others: tuple[Waveform, ...] = ()
    """Further circuits of the same rows, sampled in the same turns."""
    noise_max: tuple[float, float] = (inf, inf)
    """The most that one sample's white noise is believed to have, V² and A² (mean squares)."""


@dataclass(frozen=True, slots=True)
class HalfCycles:
    """Values of Urms(1/2) (IEC 61000-4-30) in the order of time.

    A cycle that was not wholly sampled has none.
    """

    begin_ns: NDArray[np.int64]  # (n,) monotonic instant at which the cycle begins
    end_ns: NDArray[np.int64]  # (n,) and ends, half a cycle later than the value's before
    urms_v: NDArray[np.float64]  # (n,)


def _no_lines() -> NDArray[np.complex128]:
    import numpy as np

    return np.zeros(0, np.complex128)


@dataclass(frozen=True, slots=True)
class Quantities:
    """What one measuring window says; definitions of IEEE 1459 and IEC 61000-4-30.

    Unknown is None: without mains there is no frequency, without current no angle.
    """

    end_ns: int  # monotonic instant
    duration_s: float
    gap_s: float  # how much of the duration was not sampled
    cycles: float
    frequency_hz: float | None
    voltage_v: float  # rms without DC
    current_a: float  # rms without DC
    power_w: float  # positive = imported from the network
    apparent_va: float
    reactive_var: float  # of the fundamental, positive = inductive while importing
    nonactive_var: float  # sqrt(S² − P²)
    power_factor: float | None  # signed by the power
    phase_deg: float | None  # angle(V1) − angle(I1), in (−180, 180]
    thd_voltage_pct: float | None  # harmonics 2…40 against the fundamental
    thd_current_pct: float | None
    harmonic_voltage_v2: NDArray[np.float64]  # (h,) mean squares of lines 1…h; with the noise
    harmonic_current_a2: NDArray[np.float64]  # (h,) taken out, an empty line scatters around 0
    flags: Quality = Quality.GOOD
    harmonic_va: NDArray[np.complex128] = field(default_factory=_no_lines)
    """(h,) P + jQ of lines 1…h."""
    voltage_phasor_v: NDArray[np.complex128] = field(default_factory=_no_lines)
    """(h,) rms phasors of lines 1…h, the time counted from the rising zero crossing of the
    voltage's fundamental, whose own angle is 0."""
    current_phasor_a: NDArray[np.complex128] = field(default_factory=_no_lines)  # (h,)
    half_cycles: HalfCycles | None = None  # that end in this window; None in an average
    others: tuple[Quantities, ...] = ()
    """Further circuits over the same cycles, in their order."""

    @property
    def harmonic_voltage_v(self) -> NDArray[np.float64]:
        """(h,) rms of lines 1…h."""
        import numpy as np

        return np.sqrt(np.maximum(0.0, self.harmonic_voltage_v2))

    @property
    def harmonic_current_a(self) -> NDArray[np.float64]:
        """(h,) rms of lines 1…h."""
        import numpy as np

        return np.sqrt(np.maximum(0.0, self.harmonic_current_a2))


@dataclass(frozen=True, slots=True)
class Missed:
    """Time that could not be measured; no energy is invented for it."""

    end_ns: int  # monotonic instant
    duration_s: float
    reason: str
    half_cycles: HalfCycles | None = None


@dataclass(frozen=True, slots=True)
class Registers:
    """Energy counted since the meter was new; never falls.

    OBIS 1-0:1.8.0 (import), 2.8.0 (export) and 5.8.0 to 8.8.0 (reactive energy of the quadrants I
    to IV). The part of a joule or var·s that is not yet counted is carried, so that nothing is
    rounded away.
    """

    import_j: int = 0
    export_j: int = 0
    import_carry_j: float = 0.0  # [0, 1)
    export_carry_j: float = 0.0  # [0, 1)
    reactive_vars: tuple[int, int, int, int] = (0, 0, 0, 0)  # var·s of quadrants I, II, III, IV
    reactive_carry_vars: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Demand:
    """The running block, the last whole one and the highest since the last reset."""

    block_end_utc_s: int | None = None
    energy_j: float = 0.0
    elapsed_s: float = 0.0  # measured in the running block
    last_w: float | None = None
    max_w: float | None = None
    max_end_utc_s: int | None = None


NO_DEMAND = Demand()


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A power-quality event or an outage as it is stored and sent."""

    kind: str  # dip, swell, interruption or outage
    start_utc_s: float
    duration_s: float
    extreme_v: float | None  # None: nobody measured


@dataclass(frozen=True, slots=True)
class CircuitRecord:
    """A further circuit in a reading; the role "house" is derived from grid and solar."""

    role: str  # leg2, solar, load or house
    voltage_v: float | None
    current_a: float | None
    power_w: float
    reactive_var: float | None
    power_factor: float | None
    thd_current_pct: float | None


@dataclass(frozen=True, slots=True)
class Stamp:
    """When something happened, as well as this machine can tell; docs/protocol.md, "Dates"."""

    boot: int  # counts the starts of the kernel
    boottime_ms: int  # CLOCK_BOOTTIME
    utc_s: float
    clock: str  # synced, relative, informative or unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One interval as it is stored and sent; docs/protocol.md describes each field."""

    schema: str
    kind: str = "reading"
    meter: str
    stream: str
    seq: int
    boot: int = 0  # 0: a line of schema 1.0, which did not tell
    boottime_ms: int = 0
    clock: str
    end_utc_s: int
    interval_s: int
    measured_s: float
    coverage_pct: float
    flags: list[str]
    frequency_hz: float | None
    voltage_v: float | None
    current_a: float | None
    power_w: float | None
    apparent_va: float | None
    reactive_var: float | None
    nonactive_var: float | None
    power_factor: float | None
    phase_deg: float | None
    thd_voltage_pct: float | None
    thd_current_pct: float | None
    import_j: int
    export_j: int
    reactive_q1_vars: int = 0
    reactive_q2_vars: int = 0
    reactive_q3_vars: int = 0
    reactive_q4_vars: int = 0
    voltage_min_v: float | None = None
    voltage_max_v: float | None = None
    current_max_a: float | None = None
    power_min_w: float | None = None
    power_max_w: float | None = None
    demand_w: float | None = None
    demand_max_w: float | None = None
    demand_max_end_utc_s: int | None = None
    events: list[EventRecord] = field(default_factory=list)
    circuits: list[CircuitRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Status:
    """How the meter itself is doing, for the display and for ``meterctl status``."""

    serial: str
    unsent: int | None  # None: the synchronisation has never told
    clock: str  # synced, unsynced or unknown
    server: str  # ok, late, refused or unknown
    flags: Quality = Quality.GOOD
    key: str | None = None  # fingerprint of the meter's key; None: it has none
    claimed: bool = True  # whether a server knows the key
    alarms: tuple[str, ...] = ()  # disk, adc, server, relay: what is wrong now
    demand_w: float | None = None  # of the running block, so far
    predicted_w: float | None = None  # of the running block at its end, at the power now
    limit_w: float | None = None
    tariff_text: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What the server wants shown, between two monotonic instants."""

    text: str
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Screen:
    """What the 16x4 display shows: four lines of sixteen characters."""

    lines: tuple[str, str, str, str]
