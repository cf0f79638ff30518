"""Sample blocks to waveforms to windows to registers (the paper's ``getParams``).

Numpy only: no clock, no bus, no log. What a window's quantities are and how spectra are had from
uneven samples is in :mod:`meterd.metrology`.

A window is 12 cycles at 60 Hz and 10 at 50 Hz (IEC 61000-4-30), begins at a rising zero crossing
of the voltage's fundamental, follows its measured frequency, and the next begins where it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meterd.errors import BadWindowError
from meterd.metrology.half_cycle import LastHalf, half_cycles
from meterd.metrology.locking import (
    CYCLES_MIN,
    EDGE_SAMPLES,
    SEARCH_HZ,
    SEARCH_S,
    Lock,
    find_lock,
)
from meterd.metrology.mean_squares import samples
from meterd.metrology.pending import Pending
from meterd.metrology.pieces import between, from_sample
from meterd.metrology.quantities import aggregate
from meterd.metrology.registers import accumulate, quadrant
from meterd.metrology.windows import measure, quantities
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

AT_ONCE = 5
"""Windows measured together: about a second's."""
NOISE_MAX_CODES2 = 1 + 1 / 12
"""An MCP3008 has half a code of noise and 1/12 code² of quantisation; twice that noise is believed
without a doubt. What seems more may be a load's edges, folded back by sampling."""
SKIP_MIN_S = 0.01
AHEAD_S = SEARCH_S
"""A window begun anew is looked for so far beyond what was waited for."""
KEPT_S = 1.25 / SEARCH_HZ[0]
"""The first Urms(1/2) of a window that begins anew looks back over a cycle."""


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
    first, second = (block.channels.index(channel) for channel in channels)
    codes, t_ns = block.codes, block.t_ns
    start_ns = int(t_ns[0, 0])
    if not block.valid.all():
        codes, t_ns = codes[block.valid], t_ns[block.valid]
    voltage_s = np.multiply(t_ns[:, first] - start_ns, 1e-9, dtype=np.float64)
    current_s = np.multiply(t_ns[:, second] - start_ns, 1e-9, dtype=np.float64)
    current_s -= calibration.current_delay_s
    quality = np.zeros(len(codes), np.uint16)
    if block.flags:
        quality |= int(block.flags)
    if codes.min(initial=1) == 0 or codes.max(initial=1) >= ADC_CODES - 1:
        mine = codes[:, (first, second)]
        quality[((mine == 0) | (mine >= ADC_CODES - 1)).any(axis=1)] |= int(Quality.CLIPPED)
    return Waveform(
        start_ns=start_ns,
        t_s=voltage_s,
        voltage_v=_scaled(
            codes[:, first], calibration.voltage_zero_code, calibration.voltage_v_per_code
        ),
        current_t_s=current_s,
        current_a=_scaled(
            codes[:, second], calibration.current_zero_code, calibration.current_a_per_code
        ),
        quality=quality,
        noise_max=(
            NOISE_MAX_CODES2 * calibration.voltage_v_per_code**2,
            NOISE_MAX_CODES2 * calibration.current_a_per_code**2,
        ),
    )


def _scaled(codes: NDArray[np.uint16], zero_code: float, per_code: float) -> NDArray[np.float64]:
    values = np.multiply(codes, per_code, dtype=np.float64)
    values -= zero_code * per_code
    return values


def window_cycles(frequency_hz: float) -> int:
    """12 cycles on a 60 Hz network, 10 on one of 50 Hz: about 200 ms (IEC 61000-4-30)."""
    return 12 if frequency_hz > 55.0 else 10


def stream(
    waveforms: Iterable[Waveform],
    nominal_hz: float,
    *,
    mains_min_v: float,
    at_once: int = AT_ONCE,
) -> Iterator[Quantities | Missed]:
    """Gapless windows from waveforms as they come; what could not be measured is a Missed.

    A window's ``duration_s`` reaches to the start of the next, so that all durations together are
    the time that passed. ``at_once`` windows are waited for and measured together: the first of
    them is as much older than the last, and each costs less. When the waveforms end, the whole
    cycles that are left come as windows marked short.
    """
    waiting: Pending | None = None
    lock = Lock(0.0, nominal_hz, mains=False)
    last: LastHalf | None = None
    for waveform in waveforms:
        if waiting is None:
            if not len(waveform.t_s):
                continue
            waiting = Pending(waveform)
            lock = replace(lock, start_s=float(waveform.t_s[0]))
        else:
            waiting.append(waveform)
        while waiting.last_s() - lock.start_s >= (needed_s := _needed_s(lock, at_once)):
            pending = waiting.waveform(lock.start_s, needed_s + AHEAD_S)
            results, lock, last = _step(pending, lock, last, nominal_hz, mains_min_v, at_once)
            yield from results
            shift_s = waiting.forget(lock.start_s - KEPT_S, lock.start_s)
            lock = replace(lock, start_s=lock.start_s - shift_s)
    if waiting is not None:
        yield from _tail(waiting.waveform(), lock, last, nominal_hz, mains_min_v)


def _needed_s(lock: Lock, at_once: int) -> float:
    """How much must be sampled behind the start of the next window to go on."""
    if not lock.mains:
        return SEARCH_S
    return (at_once * window_cycles(lock.frequency_hz) + 0.5) / lock.frequency_hz


def _step(
    pending: Waveform,
    lock: Lock,
    last: LastHalf | None,
    nominal_hz: float,
    mains_min_v: float,
    at_once: int,
    cycles_max: int = 12,
) -> tuple[Results, Lock, LastHalf | None]:
    """Find the mains if they are not known, and measure the windows there."""
    results: Results = []
    try:
        if not lock.mains:
            begin_s = lock.start_s
            since = from_sample(pending, int(np.searchsorted(pending.t_s, begin_s)))
            lock = find_lock(since, nominal_hz, mains_min_v=mains_min_v)
            if lock.start_s > begin_s + 1e-9:
                missed, last = _missed(pending, begin_s, lock, last, "finding the mains")
                results.append(missed)
            if lock.mains:
                return results, lock, last
        cycles = min(cycles_max, window_cycles(lock.frequency_hz))
        count = at_once if lock.mains else 1
        where = samples(pending.t_s) if len(pending.t_s) > 1 else None
        measured, following = measure(
            pending, lock, cycles, count, mains_min_v=mains_min_v, where=where
        )
    except BadWindowError as bad:
        resumed_s = _behind_the_hole(pending, lock.start_s)
        resumed = Lock(resumed_s, lock.frequency_hz, mains=False)
        missed, last = _missed(pending, lock.start_s, resumed, last, str(bad))
        return [*results, missed], resumed, last
    halves, last = half_cycles(
        pending,
        measured.edges_s,
        measured.timing.frequencies_hz,
        last,
        nominal_hz=lock.frequency_hz,
        where=where,
    )
    return [*results, *quantities(measured, halves)], following, last


def _missed(
    pending: Waveform, from_s: float, to: Lock, last: LastHalf | None, reason: str
) -> tuple[Missed, LastHalf | None]:
    """Time that is not measured; the voltage is watched in it all the same."""
    halves, last = half_cycles(
        pending, (from_s, to.start_s), [None], last, nominal_hz=to.frequency_hz
    )
    end_ns = pending.start_ns + round(to.start_s * 1e9)
    return Missed(end_ns, to.start_s - from_s, reason, halves[0]), last


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
    """The whole windows and cycles left when the samples end."""
    edge_s = EDGE_SAMPLES * float(np.median(np.diff(pending.t_s))) if len(pending.t_s) > 1 else 0.0
    while True:
        left_s = (float(pending.t_s[-1]) if len(pending.t_s) else 0.0) - lock.start_s + edge_s
        cycles = int(left_s * lock.frequency_hz)
        if cycles < CYCLES_MIN:
            return
        results, lock, last = _step(pending, lock, last, nominal_hz, mains_min_v, 1, cycles)
        short = cycles < window_cycles(lock.frequency_hz)
        for result in results:
            if short and isinstance(result, Quantities):
                result = replace(result, flags=result.flags | Quality.SHORT)
            yield result
