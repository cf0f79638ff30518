"""Waveforms put together and cut, all circuits of them alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from meterd.model import Waveform


def from_sample(waveform: Waveform, first: int, shift_ns: int = 0) -> Waveform:
    """The waveform from one sample on, its time counted from ``shift_ns`` later."""
    shift_s = shift_ns / 1e9
    return _part(waveform, slice(first, None), waveform.start_ns + shift_ns, shift_s)


def between(waveform: Waveform, from_s: float, to_s: float) -> Waveform:
    """The samples taken at from ≤ t ≤ to, counted on the same monotonic clock as ``start_ns``."""
    offset_s = waveform.start_ns / 1e9
    first, last = np.searchsorted(waveform.t_s, (from_s - offset_s, to_s - offset_s))
    return _part(waveform, slice(int(first), int(last)), waveform.start_ns, 0.0)


def _part(waveform: Waveform, samples: slice, start_ns: int, shift_s: float) -> Waveform:
    """Circuits are sampled in turn, so one slice cuts them all."""
    return replace(
        waveform,
        start_ns=start_ns,
        t_s=waveform.t_s[samples] - shift_s,
        voltage_v=waveform.voltage_v[samples],
        current_t_s=waveform.current_t_s[samples] - shift_s,
        current_a=waveform.current_a[samples],
        quality=waveform.quality[samples],
        others=tuple(_part(other, samples, start_ns, shift_s) for other in waveform.others),
    )
