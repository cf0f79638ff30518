"""Waveforms put together and cut, all circuits of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meterd.model import Waveform


def joined(pieces: Sequence[Waveform]) -> Waveform:
    """One waveform of some that follow each other; time is counted from the first one's start."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    offsets_s = [(piece.start_ns - first.start_ns) / 1e9 for piece in pieces]
    return Waveform(
        start_ns=first.start_ns,
        t_s=_moved([piece.t_s for piece in pieces], offsets_s),
        voltage_v=np.concatenate([piece.voltage_v for piece in pieces]),
        current_t_s=_moved([piece.current_t_s for piece in pieces], offsets_s),
        current_a=np.concatenate([piece.current_a for piece in pieces]),
        quality=np.concatenate([piece.quality for piece in pieces]),
        others=tuple(joined(same) for same in zip(*(p.others for p in pieces), strict=True)),
    )


def _moved(instants_s: list[NDArray[np.float64]], offsets_s: list[float]) -> NDArray[np.float64]:
    pairs = zip(instants_s, offsets_s, strict=True)
    return np.concatenate([t_s + offset_s for t_s, offset_s in pairs])


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
