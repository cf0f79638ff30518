"""The display and its bus: a 16x4 HD44780 in 4-bit mode behind a PCF8574 backpack on I2C.

The usual backpack wires the expander's eight pins so (NXP PCF8574, "quasi-bidirectional I/O")::

    bit    7    6    5    4    3          2   1    0
    pin    D7   D6   D5   D4   backlight  E   R/W  RS

and the controller takes a nibble at each falling edge of E, the high one first (Hitachi
ADE-207-272, "Interfacing to the MPU"). Not modelled: the controller's answers (busy flag,
memory), which no backpack driver asks for, and the pixels of the built-in characters.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

COLUMNS = 16
ROW_ADDRESSES = (0x00, 0x40, 0x10, 0x50)
"""Where the four rows of a 16x4 panel begin in display memory."""
CGRAM_TEXT = "⓪①②③④⑤⑥⑦"
EXECUTION_NS = 37_000
HOME_NS = 1_520_000
RESET_NS = 10_000_000

_BIT_RS, _BIT_RW, _BIT_E, _BIT_BACKLIGHT = 1, 2, 4, 8
_LINE_CELLS = 40
# ROM A00 where it differs from ASCII, as far as a meter needs it.
_ROM_A00 = {0x5C: "¥", 0x7E: "→", 0x7F: "←", 0xDF: "°", 0xE4: "μ", 0xEE: "ñ", 0xF4: "Ω", 0xFF: "█"}


class I2cDevice(Protocol):
    """A chip that takes bytes from a two-wire bus."""

    def power_on(self, now_ns: int) -> None:
        """The supply comes up: everything is forgotten."""

    def write(self, value: int, now_ns: int) -> None:
        """One byte, acknowledged at ``now_ns``."""

    def read(self) -> int:
        """The byte that the chip gives when it is asked."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something a real controller would have missed or misread."""

    at_ns: int
    what: str


class Hd44780:
    """The controller: display memory, character generator, address counter, modes, busy time.

    ``cgram_text`` names the eight characters that the driver defines itself, for ``text``.
    ``violations`` collects what the driver did against the datasheet.
    """

    def __init__(self, cgram_text: str = CGRAM_TEXT) -> None:
        self._cgram_text = (cgram_text + CGRAM_TEXT[len(cgram_text) :])[:8]
        self.violations: list[Violation] = []
        self._reset(busy_until_ns=0)

    def power_on(self, now_ns: int) -> None:
        """Internal reset: 8-bit bus, display off, blank; busy for 10 ms."""
        self._reset(now_ns + RESET_NS)

    def _reset(self, busy_until_ns: int) -> None:
        self._ddram = bytearray(b" " * (2 * _LINE_CELLS))
        self.cgram = bytearray(64)
        self._address = 0
        self._to_cgram = False
        self._step = 1
        self._shift_on_write = False
        self._shift = 0
        self.display_on = False
        self.cursor_visible = False
        self._bus_bits = 8
        self._two_lines = False
        self._high_nibble: tuple[int, int] | None = None
        self._busy_until_ns = busy_until_ns

    def latch(self, rs: int, nibble: int, now_ns: int) -> None:
        """E falls: D7 to D4 are taken, ``rs`` 1 for data and 0 for an instruction."""
        if self._bus_bits == 8:
            self._execute(rs, nibble << 4, now_ns)  # D3 to D0 are not wired
        elif self._high_nibble is None:
            self._high_nibble = (rs, nibble)
        else:
            (rs, high), self._high_nibble = self._high_nibble, None
            self._execute(rs, high << 4 | nibble, now_ns)

    def text(self) -> tuple[str, str, str, str]:
        """The four rows as they can be read on the glass; blank while the display is off."""
        first, second, third, fourth = (self._row_text(address) for address in ROW_ADDRESSES)
        return first, second, third, fourth

    def _row_text(self, address: int) -> str:
        if not self.display_on or (address & 0x40 and not self._two_lines):
            return " " * COLUMNS
        line = _LINE_CELLS if address & 0x40 else 0
        cells = range(address & 0x3F, (address & 0x3F) + COLUMNS)
        row = (self._ddram[line + (cell + self._shift) % _LINE_CELLS] for cell in cells)
        return "".join(self._character(code) for code in row)

    def _character(self, code: int) -> str:
        if code < 0x10:
            return self._cgram_text[code & 7]
        if code in _ROM_A00:
            return _ROM_A00[code]
        return chr(code) if 0x20 <= code < 0x7E else "?"

    def _execute(self, rs: int, value: int, now_ns: int) -> None:
        if now_ns < self._busy_until_ns:
            late_us = (self._busy_until_ns - now_ns) / 1000
            self.violations.append(Violation(now_ns, f"0x{value:02x} while busy {late_us:.0f} µs"))
        slow = not rs and value in (1, 2, 3)
        self._busy_until_ns = now_ns + (HOME_NS if slow else EXECUTION_NS)
        if rs:
            self._store(value, now_ns)
        elif value >= 0x40:
            self._set_address(value)
        elif value >= 0x10:
            self._set_function_or_shift(value)
        else:
            self._set_mode(value)

    def _store(self, value: int, now_ns: int) -> None:
        if self._to_cgram:
            self.cgram[self._address & 0x3F] = value & 0x1F
            self._address = (self._address + self._step) & 0x3F
            return
        cell = self._address & 0x3F
        if cell < _LINE_CELLS:
            self._ddram[cell + (_LINE_CELLS if self._address & 0x40 else 0)] = value
        else:
            self.violations.append(Violation(now_ns, f"no memory at 0x{self._address:02x}"))
        self._move(self._step)
        if self._shift_on_write:
            self._shift = (self._shift + self._step) % _LINE_CELLS

    def _set_address(self, value: int) -> None:
        self._to_cgram = value < 0x80
        self._address = value & (0x3F if self._to_cgram else 0x7F)

    def _set_function_or_shift(self, value: int) -> None:
        if value & 0x20:
            self._bus_bits = 8 if value & 0x10 else 4
            self._two_lines = bool(value & 0x08)
            return
        step = 1 if value & 0x04 else -1
        if value & 0x08:
            self._shift = (self._shift - step) % _LINE_CELLS
        else:
            self._move(step)

    def _set_mode(self, value: int) -> None:
        if value & 0x08:
            self.display_on, self.cursor_visible = bool(value & 4), bool(value & 2)
        elif value & 0x04:
            self._step, self._shift_on_write = (1 if value & 2 else -1), bool(value & 1)
        elif value & 0x03:
            self._address, self._to_cgram, self._shift = 0, False, 0
            if value & 0x02 == 0:
                self._ddram[:] = b" " * len(self._ddram)
                self._step = 1

    def _move(self, step: int) -> None:
        """The address counter of two lines: 0x27 is followed by 0x40, 0x67 by 0x00."""
        line, cell = self._address >> 6, self._address & 0x3F
        place = (line * _LINE_CELLS + cell + step) % (2 * _LINE_CELLS)
        self._address = (place // _LINE_CELLS) << 6 | place % _LINE_CELLS


class Pcf8574:
    """The expander on the backpack: its eight pins follow the last byte written."""

    def __init__(self, display: Hd44780) -> None:
        self._display = display
        self._pins = 0xFF

    @property
    def backlight(self) -> bool:
        """Whether the panel is lit."""
        return bool(self._pins & _BIT_BACKLIGHT)

    def power_on(self, now_ns: int) -> None:
        """All pins high, as after a reset; the display comes up with the expander."""
        self._pins = 0xFF
        self._display.power_on(now_ns)

    def read(self) -> int:
        """The levels of the pins, which nothing but the last byte drives."""
        return self._pins

    def write(self, value: int, now_ns: int) -> None:
        """The pins change, all at once."""
        before, self._pins = self._pins, value
        rises = not before & _BIT_E and value & _BIT_E
        falls = before & _BIT_E and not value & _BIT_E
        if rises and (before ^ value) & (_BIT_RS | _BIT_RW):
            # Setup time tAS: RS and R/W must stand before E rises, not change with it.
            self._display.violations.append(Violation(now_ns, "RS or R/W changed as E rose"))
        if falls and not before & _BIT_RW:
            self._display.latch(before & _BIT_RS, before >> 4, now_ns)


class SimulatedI2cBus:
    """A two-wire bus in this process; ``write_byte`` has the shape of smbus2's.

    ``clock_ns`` is the time that the chips live in. ``transactions`` counts the bytes that were
    tried, answered or not.
    """

    def __init__(
        self, devices: Mapping[int, I2cDevice], clock_ns: Callable[[], int], *, plugged: bool = True
    ) -> None:
        self._devices = dict(devices)
        self._clock_ns = clock_ns
        self._plugged = plugged
        self.transactions = 0

    def write_byte(self, address: int, value: int, /) -> None:
        """Send one byte.

        Raises:
            OSError: errno 121 (EREMOTEIO), as Linux reports it, when nothing acknowledges.
        """
        self._device(address).write(value & 0xFF, self._clock_ns())

    def read_byte(self, address: int, /) -> int:
        """Receive one byte; raises OSError as ``write_byte`` does."""
        return self._device(address).read()

    def _device(self, address: int) -> I2cDevice:
        self.transactions += 1
        device = self._devices.get(address) if self._plugged else None
        if device is None:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        return device

    def unplug(self) -> None:
        """Pull the connector: supply and bus are gone."""
        self._plugged = False

    def plug(self) -> None:
        """Put it back: every chip starts from its power-on state."""
        self._plugged = True
        for device in self._devices.values():
            device.power_on(self._clock_ns())
