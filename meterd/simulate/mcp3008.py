"""The MCP3008 as its pins see it: clock by clock, so that a wrong command gives a wrong answer.

One conversion in three bytes, most significant bit first, SPI mode 0 (Microchip DS21295,
sections 5 and 6)::

    byte        0          1          2
    MOSI     00000001   SDDDxxxx   xxxxxxxx     S: 1 single-ended, 0 pseudo-differential
    MISO     11111111   111110BB   BBBBBBBB     D: channel, or pair; B: the code, B9 first
                    ^       ^ ^
                    start   | null bit
                            the sample is held at the end of this clock

Before the null bit DOUT floats; here it reads as ones, the worst case for a driver that
forgets to mask. Clocks after B0 repeat the code from B1 up to B9, then zeros, until chip
select rises: a new start bit is not seen before that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meterd.model import ADC_CODES

Analog = Callable[[NDArray[np.uint8], NDArray[np.float64]], NDArray[np.float64]]
"""Volts at the pins: channels (n,) and instants in seconds (n,) in, volts (n,) out."""

HOLD_BYTE = 1
"""The byte of a well-formed frame in which the sample is held …"""
HOLD_CLOCK = 5
"""… at the end (falling edge) of this many clocks of it: the fifth clock after the start bit."""

_HIGH_IMPEDANCE = 1
_SINGLE_ENDED = 0b1000
_IDLE = -1
_COMMAND_CLOCKS = 4
_SAMPLE_CLOCK = 5
_NULL_CLOCK = 6
_LAST_MSB_FIRST_CLOCK = 16
_LAST_LSB_FIRST_CLOCK = 25


class Mcp3008:
    """One chip; ``analog`` gives the volts at its pins, ``vref_v`` its reference.

    ``noise_codes`` is the standard deviation of a Gaussian noise referred to the input, in codes;
    it is drawn from ``rng``, one draw a conversion, in the order of the conversions.

    Raises:
        ValueError: ``vref_v`` is not positive, or there is noise but no ``rng`` to draw it from.
    """

    def __init__(
        self,
        analog: Analog,
        *,
        vref_v: float,
        noise_codes: float = 0.0,
        rng: np.random.Generator | None,
    ) -> None:
        if not vref_v > 0:
            raise ValueError(f"the reference must be above 0 V, not {vref_v}")
        if noise_codes and rng is None:
            raise ValueError("noise needs a random generator: pass rng")
        self._analog = analog
        self._vref_v = vref_v
        self._noise_codes = noise_codes
        self._rng = rng
        self._clock = _IDLE  # clocks since the start bit
        self._command = 0  # SGL/DIFF, D2, D1, D0
        self._code = 0

    def deselect(self) -> None:
        """Chip select rises: the conversion ends, the next start bit will be seen."""
        self._clock = _IDLE
        self._command = 0
        self._code = 0

    def exchange(self, byte: int, t_s: float, bit_s: float) -> int:
        """Eight clocks with chip select low: MOSI ``byte`` in, MISO byte out.

        The first clock's cell begins at ``t_s``; each cell lasts ``bit_s``, rising in its middle
        and falling at its end.
        """
        answer = 0
        for cell in range(8):
            data_in = byte >> (7 - cell) & 1
            answer = answer << 1 | self._tick(data_in, t_s + (cell + 1) * bit_s)
        return answer

    def frames(self, tx: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Frames of three bytes, chip select rising after each; the same as ``exchange``, faster.

        ``tx`` is (n, 3), ``t_s`` (n,) the instants at which the samples are held; the answer is
        (n, 3). A frame whose start bit is not where the picture above has it goes through the
        chip bit by bit, and holds its sample at the same instant, if it holds one at all.
        """
        self.deselect()
        well_formed = tx[:, 0] == 1
        rx = np.empty((len(tx), 3), np.uint8)
        for first, last in _runs(well_formed):
            run = slice(first, last)
            convert = self._convert_frames if well_formed[first] else self._exchange_frames
            rx[run] = convert(tx[run], t_s[run])
        return rx

    def _convert_frames(self, tx: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.uint8]:
        codes = self._codes(tx[:, 1] >> 4, t_s)
        rx = np.empty((len(tx), 3), np.uint8)
        rx[:, 0] = 0xFF
        rx[:, 1] = 0b1111_1000 | codes >> 8
        rx[:, 2] = codes & 0xFF
        return rx

    def _exchange_frames(
        self, tx: NDArray[np.uint8], t_s: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        rx = np.empty((len(tx), 3), np.uint8)
        for row, frame in enumerate(tx):
            rx[row] = [self.exchange(int(byte), float(t_s[row]), 0.0) for byte in frame]
            self.deselect()
        return rx

    def _tick(self, data_in: int, falls_s: float) -> int:
        """One clock: DIN as it is at the rising edge in, DOUT as the master reads it out."""
        if self._clock == _IDLE:
            if data_in:
                self._clock = 0
            return _HIGH_IMPEDANCE
        self._clock += 1
        if self._clock <= _COMMAND_CLOCKS:
            self._command = self._command << 1 | data_in
            return _HIGH_IMPEDANCE
        if self._clock == _SAMPLE_CLOCK:
            self._code = int(self._codes(np.array([self._command]), np.array([falls_s]))[0])
            return _HIGH_IMPEDANCE
        return self._data_out()

    def _data_out(self) -> int:
        if self._clock == _NULL_CLOCK:
            return 0
        if self._clock <= _LAST_MSB_FIRST_CLOCK:
            return self._code >> (_LAST_MSB_FIRST_CLOCK - self._clock) & 1
        if self._clock <= _LAST_LSB_FIRST_CLOCK:
            return self._code >> (self._clock - _LAST_MSB_FIRST_CLOCK) & 1
        return 0

    def _codes(self, command: NDArray[np.integer], t_s: NDArray[np.float64]) -> NDArray[np.uint16]:
        """Convert: code = 1024 · Vin / Vref (DS21295 equation 4-2), held inside 0 to 1023.

        In a pseudo-differential command the channel is IN+ and its neighbour in the pair IN−.
        """
        channels = (command & 0b111).astype(np.uint8)
        volts = np.array(self._analog(channels, t_s), np.float64)
        pairs = (command & _SINGLE_ENDED) == 0
        if pairs.any():
            volts[pairs] -= self._analog(channels[pairs] ^ np.uint8(1), t_s[pairs])
        codes = volts * (ADC_CODES / self._vref_v)
        if self._noise_codes and self._rng is not None:
            codes += self._noise_codes * self._rng.standard_normal(len(codes))
        return np.clip(np.floor(codes), 0, ADC_CODES - 1).astype(np.uint16)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where equal flags stand together, as [first, last) pairs in order."""
    if not len(flags):
        return []
    cuts = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    edges = [0, *cuts.tolist(), len(flags)]
    return list(itertools.pairwise(edges))
