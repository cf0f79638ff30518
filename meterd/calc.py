"""Sample blocks to waveforms to windows to registers (the paper's ``getParams``).

Numpy only: no clock, no bus, no log. What a window's quantities are and how spectra are had from
uneven samples is in :mod:`meterd.metrology`.

A window is 12 cycles at 60 Hz and 10 at 50 Hz (IEC 61000-4-30), begins at a rising zero crossing
of the voltage's fundamental, follows its measured frequency, and the next begins where it ends.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from meterd.errors import BadWindowError
from meterd.metrology.half_cycle import LastHalf, half_cycles
from meterd.metrology.pieces import between, from_sample, joined
from meterd.metrology.quantities import MEAN_SQUARE, aggregate, quantify
from meterd.metrology.registers import accumulate, quadrant
from meterd.metrology.resample import Spectra, spectra
from meterd.model import (
    ADC_CODES,
    Calibration,
    Missed,
    Quality,
    Quantities,
    SampleBlock,
    Waveform,
)

__all__ = [
    "Lock",
    "accumulate",
    "aggregate",
    "align",
    "align_circuits",
    "between",
    "find_lock",
    "measure",
    "quadrant",
    "stream",
    "window_cycles",
]

Results = list[Quantities | Missed]

SEARCH_HZ = (40.0, 70.0)
SEARCH_S = 0.35
RETUNE = 1e-4
"""A window whose frequency was off by more than this is measured again at the right one."""
RETUNE_MAX = 4
EDGE_SAMPLES = 1.5
CYCLES_MIN = 2
SKIP_MIN_S = 0.01


@dataclass(frozen=True, slots=True)
class Lock:
    """Where the next window begins and how long its cycles are."""

    start_s: float  # from the waveform's start
    frequency_hz: float
    mains: bool  # False: no voltage to follow, windows run at the nominal frequency


def align_circuits(
    block: SampleBlock, circuits: Sequence[tuple[tuple[int, int], Calibration]]
) -> Waveform:
    """The first circuit, which windows are locked to, with the others in its ``others``."""
    first, *rest = (align(block, channels, calibration) for channels, calibration in circuits)
    return replace(first, others=tuple(rest)) if rest else first


def align(block: SampleBlock, channels: tuple[int, int], calibration: Calibration) -> Waveform:
    """Volts and amperes of one circuit, each sample at the instant it was taken.

    ``channels`` are the circuit's voltage and current channel. The skew between them, the
    current sensor's delay taken off, stays in the instants; nothing is moved here.
    """
    columns = [block.channels.index(channel) for channel in channels]
    valid = slice(None) if block.valid.all() else block.valid
    codes = block.codes[valid]
    t_ns = block.t_ns[valid]
    start_ns = int(block.t_ns[0, 0])
    voltage_s, current_s = (
        np.multiply(t_ns[:, column] - start_ns, 1e-9, dtype=np.float64) for column in columns
    )
    quality = np.full(len(codes), int(block.flags), np.uint16)
    if codes.min(initial=1) == 0 or codes.max(initial=1) >= ADC_CODES - 1:
        mine = codes[:, columns]
        quality[((mine == 0) | (mine >= ADC_CODES - 1)).any(axis=1)] |= int(Quality.CLIPPED)
    return Waveform(
        start_ns=start_ns,
        t_s=voltage_s,
        voltage_v=_scaled(
            codes[:, columns[0]], calibration.voltage_zero_code, calibration.voltage_v_per_code
        ),
        current_t_s=current_s - calibration.current_delay_s,
        current_a=_scaled(
            codes[:, columns[1]], calibration.current_zero_code, calibration.current_a_per_code
        ),
        quality=quality,
    )


def _scaled(codes: NDArray[np.uint16], zero_code: float, per_code: float) -> NDArray[np.float64]:
    values = np.multiply(codes, per_code, dtype=np.float64)
    values -= zero_code * per_code
    return values


def window_cycles(frequency_hz: float) -> int:
    """12 cycles on a 60 Hz network, 10 on one of 50 Hz: about 200 ms (IEC 61000-4-30)."""
    return 12 if frequency_hz > 55.0 else 10


def measure(
    waveform: Waveform, lock: Lock, cycles: int, *, mains_min_v: float
) -> tuple[Quantities, Lock]:
    """Measure one window and say where the next begins.

    The window's ``duration_s`` reaches to the next, so that all of them are the time that passed.

    Raises:
        BadWindowError: the samples do not cover the window.
    """
    for _ in range(RETUNE_MAX):
        spectrum = spectra(waveform, lock.start_s, cycles / lock.frequency_hz, cycles)
        if sqrt(MEAN_SQUARE) * abs(spectrum.lines[0, cycles]) < mains_min_v:
            start_s = lock.start_s + cycles / lock.frequency_hz
            elapsed_s = cycles / lock.frequency_hz
            following = Lock(start_s, lock.frequency_hz, mains=False)
            return quantify(spectrum, cycles, None, elapsed_s), following
        frequency_hz = _refined_frequency(spectrum, lock.frequency_hz)
        if abs(frequency_hz / lock.frequency_hz - 1) < RETUNE:
            break
        lock = replace(lock, frequency_hz=frequency_hz)
    # The voltage's phase at the window's start, 0 at a rising zero crossing: what is left of it
    # moves the next window back onto the crossing.
    phase = cmath.phase(1j * complex(spectrum.lines[0, cycles]))
    elapsed_s = cycles / frequency_hz - phase / (2 * pi * frequency_hz)
    following = Lock(lock.start_s + elapsed_s, frequency_hz, mains=True)
    measured = quantify(spectrum, cycles, frequency_hz, elapsed_s)
    reference = complex(spectrum.lines[0, cycles])
    return _with_others(measured, waveform, lock, cycles, reference, mains_min_v), following


def _with_others(
    measured: Quantities,
    waveform: Waveform,
    lock: Lock,
    cycles: int,
    reference: complex,
    mains_min_v: float,
) -> Quantities:
    """The window's other circuits, over the very same cycles, each with its own frequency."""
    if not waveform.others:
        return measured
    others = []
    for other in waveform.others:
        spectrum = spectra(other, lock.start_s, cycles / lock.frequency_hz, cycles)
        alive = sqrt(MEAN_SQUARE) * abs(spectrum.lines[0, cycles]) >= mains_min_v
        frequency_hz = _refined_frequency(spectrum, lock.frequency_hz) if alive else None
        others.append(quantify(spectrum, cycles, frequency_hz, measured.duration_s, reference))
    return replace(measured, others=tuple(others))


def _refined_frequency(spectrum: Spectra, frequency_hz: float) -> float:
    """From the slope of the fundamental's phase over the cycles that were wholly sampled.

    A cycle that was filled in from the others would only repeat the frequency assumed so far.
    """
    phasor = spectrum.cycle_phasor
    if spectrum.gap_s == 0.0:
        return frequency_hz * (1 + _mean_turn(phasor) / (2 * pi))
    sampled = np.flatnonzero(spectrum.cycle_sampled)
    if len(sampled) < CYCLES_MIN:
        return frequency_hz
    phase = np.unwrap(np.angle(phasor[sampled]))
    place = sampled - sampled.mean()
    slope = float(place @ phase / (place @ place))  # radians a cycle
    return frequency_hz * (1 + slope / (2 * pi))


def _mean_turn(phasor: NDArray[np.complex128]) -> float:
    """The least-squares slope of the phase, from its steps, in radians a cycle."""
    count = len(phasor)
    step = np.angle(phasor[1:] * phasor[:-1].conj())
    place = np.arange(1, count)
    weight = place * (count - place)
    return float(weight @ step) / float(weight.sum())


def find_lock(waveform: Waveform, nominal_hz: float, *, mains_min_v: float) -> Lock:
    """The first rising zero crossing of the voltage's fundamental, and its frequency.

    Looks between 40 and 70 Hz at up to ``SEARCH_S`` of the waveform. Without mains voltage the
    windows begin at once and run at the nominal frequency.
    """
    begin_s = float(waveform.t_s[0])
    frequency_hz = _coarse_frequency(waveform, mains_min_v)
    if frequency_hz is None:
        return Lock(begin_s, nominal_hz, mains=False)
    span_s = min(SEARCH_S, float(waveform.t_s[-1]) - begin_s)
    for _ in range(RETUNE_MAX):
        cycles = max(2, int(span_s * frequency_hz))
        spectrum = spectra(waveform, begin_s, cycles / frequency_hz, cycles)
        refined_hz = _refined_frequency(spectrum, frequency_hz)
        if not SEARCH_HZ[0] < refined_hz < SEARCH_HZ[1]:
            return Lock(begin_s, nominal_hz, mains=False)
        settled = abs(refined_hz / frequency_hz - 1) < RETUNE
        frequency_hz = refined_hz
        if settled:
            break
    phase = float(np.angle(1j * spectrum.lines[0, cycles]))
    # A crossing just before the first sample is as good: the window's edge is filled in.
    edge = EDGE_SAMPLES * frequency_hz / spectrum.sampling_hz
    wait = (-phase / (2 * pi) + edge) % 1.0 - edge
    return Lock(begin_s + wait / frequency_hz, frequency_hz, mains=True)


def _coarse_frequency(waveform: Waveform, mains_min_v: float) -> float | None:
    """The strongest line between 40 and 70 Hz, or None when it is no mains voltage."""
    span_s = min(SEARCH_S, float(waveform.t_s[-1] - waveform.t_s[0]))
    count = min(4096, int(np.searchsorted(waveform.t_s, waveform.t_s[0] + span_s)))
    if count < 16:
        return None
    at_s = waveform.t_s[0] + np.arange(count) * (span_s / count)
    v = np.interp(at_s, waveform.t_s, waveform.voltage_v)
    padded = 16 * count
    window = np.hanning(count)
    lines = np.abs(np.fft.rfft((v - v.mean()) * window, padded)) * 2 / window.sum()
    low, high = (int(np.ceil(hz * padded * span_s / count)) for hz in SEARCH_HZ)
    strongest = low + int(np.argmax(lines[low : high + 1]))
    if lines[strongest] * sqrt(MEAN_SQUARE) < mains_min_v:
        return None
    return float(strongest * count / (padded * span_s))


def stream(
    waveforms: Iterable[Waveform], nominal_hz: float, *, mains_min_v: float
) -> Iterator[Quantities | Missed]:
    """Gapless windows from waveforms as they come; what could not be measured is a Missed.

    A window's ``duration_s`` reaches to the start of the next, so that all durations together are
    the time that passed. When the waveforms end, the whole cycles that are left come as windows
    marked short.
    """
    pending: Waveform | None = None
    lock: Lock | None = None
    last: LastHalf | None = None
    for waveform in waveforms:
        pending = waveform if pending is None else joined(pending, waveform)
        while len(pending.t_s):
            if lock is None:
                lock = Lock(float(pending.t_s[0]), nominal_hz, mains=False)
            left_s = float(pending.t_s[-1]) - lock.start_s
            cycles = window_cycles(lock.frequency_hz)
            if left_s < ((cycles + 0.5) / lock.frequency_hz if lock.mains else SEARCH_S):
                break
            results, following = _step(pending, lock, nominal_hz, mains_min_v)
            results, last = _with_half_cycles(results, pending, lock, last)
            yield from results
            pending, lock = _trimmed(pending, following)
    if pending is not None and lock is not None:
        yield from _tail(pending, lock, last, nominal_hz, mains_min_v)


def _with_half_cycles(
    results: Results, pending: Waveform, lock: Lock, last: LastHalf | None
) -> tuple[Results, LastHalf | None]:
    """Each result with the values of Urms(1/2) that end in it, time that was missed included."""
    found: Results = []
    begin_s = lock.start_s
    for result in results:
        frequency_hz = result.frequency_hz if isinstance(result, Quantities) else None
        known_v2 = result.half_square_v2 if isinstance(result, Quantities) else None
        span_s = (begin_s, begin_s + result.duration_s)
        halves, last = half_cycles(
            pending,
            span_s,
            frequency_hz,
            last,
            nominal_hz=lock.frequency_hz,
            known_v2=known_v2,
        )
        found.append(replace(result, half_cycles=halves))
        begin_s += result.duration_s
    return found, last


def _step(
    pending: Waveform, lock: Lock, nominal_hz: float, mains_min_v: float, cycles_max: int = 12
) -> tuple[Results, Lock]:
    """Find the mains if they are not known, and measure the window there."""
    results: Results = []
    try:
        if not lock.mains:
            begin_s = lock.start_s
            since = from_sample(pending, int(np.searchsorted(pending.t_s, begin_s)))
            lock = find_lock(since, nominal_hz, mains_min_v=mains_min_v)
            if lock.start_s > begin_s + 1e-9:
                results.append(_missed(pending, begin_s, lock.start_s, "finding the mains"))
            if lock.mains:
                return results, lock
        cycles = min(cycles_max, window_cycles(lock.frequency_hz))
        quantities, following = measure(pending, lock, cycles, mains_min_v=mains_min_v)
    except BadWindowError as bad:
        resumed_s = _behind_the_hole(pending, lock.start_s)
        missed = _missed(pending, lock.start_s, resumed_s, str(bad))
        return [*results, missed], Lock(resumed_s, lock.frequency_hz, mains=False)
    return [*results, quantities], following


def _missed(pending: Waveform, from_s: float, to_s: float, reason: str) -> Missed:
    return Missed(pending.start_ns + round(to_s * 1e9), to_s - from_s, reason)


def _behind_the_hole(waveform: Waveform, start_s: float) -> float:
    """The first sample after the longest hole that begins within a search's length of the start.

    At least half a cycle later than the start, so that whoever goes on from there gets on.
    """
    first, last = np.searchsorted(waveform.t_s, (start_s, start_s + SEARCH_S))
    around = waveform.t_s[max(0, int(first) - 1) : int(last) + 2]
    if len(around) < 2:
        return start_s + SEARCH_S
    behind_s = float(around[int(np.argmax(np.diff(around))) + 1])
    return max(behind_s, start_s + SKIP_MIN_S)


def _tail(
    pending: Waveform,
    lock: Lock,
    last: LastHalf | None,
    nominal_hz: float,
    mains_min_v: float,
) -> Iterator[Quantities | Missed]:
    """The whole cycles left when the samples end."""
    edge_s = EDGE_SAMPLES * float(np.median(np.diff(pending.t_s))) if len(pending.t_s) > 1 else 0.0
    while True:
        left_s = (float(pending.t_s[-1]) if len(pending.t_s) else 0.0) - lock.start_s + edge_s
        cycles = int(left_s * lock.frequency_hz)
        if cycles < CYCLES_MIN:
            return
        results, following = _step(pending, lock, nominal_hz, mains_min_v, cycles)
        results, last = _with_half_cycles(results, pending, lock, last)
        lock = following
        short = cycles < window_cycles(lock.frequency_hz)
        for result in results:
            if short and isinstance(result, Quantities):
                result = replace(result, flags=result.flags | Quality.SHORT)
            yield result


def _trimmed(waveform: Waveform, lock: Lock) -> tuple[Waveform, Lock]:
    """Forget what the next window does not need; count time from what is left."""
    first = max(0, int(np.searchsorted(waveform.t_s, lock.start_s)) - 4)
    shift_ns = round(lock.start_s * 1e9)
    kept = from_sample(waveform, first, shift_ns)
    return kept, replace(lock, start_s=lock.start_s - shift_ns / 1e9)
