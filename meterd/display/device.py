"""The display on its bus: the cells that must change, and RPLCD's driver to write them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from meterd.display.pages import COLUMNS, GLYPHS
from meterd.errors import HardwareError
from meterd.model import Screen

POWER_ON_WAIT_S = 0.05
"""HD44780U, figure 24: more than 40 ms after the supply has reached 2.7 V."""
_GAP_MAX = 1  # moving the cursor costs one byte on the bus, as does one character
_TO_CGRAM = str.maketrans({glyph: chr(place) for place, glyph in enumerate(GLYPHS)})


def changed_cells(shown: Screen | None, wanted: Screen) -> list[tuple[int, int, str]]:
    """What to write, as (row, column, text), so that ``shown`` becomes ``wanted``.

    None stands for a display in an unknown state, which is written whole. Changed cells with one
    equal cell between them make one run: that cell costs no more than moving the cursor over it.
    """
    if shown is None:
        return [(row, 0, line) for row, line in enumerate(wanted.lines)]
    runs = []
    for row, (before, after) in enumerate(zip(shown.lines, wanted.lines, strict=True)):
        for first, last in _changed_spans(before, after):
            runs.append((row, first, after[first : last + 1]))
    return runs


def _changed_spans(before: str, after: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for column, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            continue
        if spans and column - spans[-1][1] - 1 <= _GAP_MAX:
            spans[-1] = (spans[-1][0], column)
        else:
            spans.append((column, column))
    return spans


class I2cBus(Protocol):
    """The one call made on a two-wire bus; smbus2's has this shape."""

    def write_byte(self, address: int, value: int, /) -> None:
        """Send one byte; raises OSError when nothing acknowledges."""


class Display(Protocol):
    """An initialised display; both calls raise HardwareError when it does not answer."""

    def write(self, row: int, column: int, text: str) -> None:
        """Show ``text``, of ``CHARSET``, from this cell on."""

    def close(self) -> None:
        """Release the bus; what is shown stays."""


class CharacterDisplay:
    """RPLCD's driver with errors that say which display and what to do."""

    def __init__(self, lcd: Any, name: str, close: Callable[[], None]) -> None:
        self._lcd, self._name, self._close = lcd, name, close

    def write(self, row: int, column: int, text: str) -> None:
        """Move the cursor and write; raises HardwareError."""
        try:
            self._lcd.cursor_pos = (row, column)
            self._lcd.write_string(text.translate(_TO_CGRAM))
        except OSError as error:
            raise _no_answer(self._name, error) from error

    def close(self) -> None:
        """Release the bus if it is ours."""
        self._close()


def _no_answer(name: str, error: OSError) -> HardwareError:
    return HardwareError(
        f"the display at {name} does not answer: {error.strerror} (errno {error.errno}); check its "
        "four wires and its address (i2cdetect -y lists those that answer)"
    )


def open_display(port: int, address: int, bus: I2cBus | None = None) -> Display:
    """Initialise the display at ``address`` on /dev/i2c-``port``, or on a ``bus`` that is given.

    Initialising also resynchronises a controller that was left in the middle of a byte. Takes
    about 0.1 s, most of it waits that the datasheet asks for; each byte on the bus is bounded by
    the kernel's own timeout.

    Raises:
        HardwareError: there is no such bus, it may not be opened, or nothing answers.
    """
    name = f"0x{address:02x} on /dev/i2c-{port}"
    if bus is not None:
        return CharacterDisplay(_initialise(bus, address, name), name, lambda: None)
    from smbus2 import SMBus

    try:
        own_bus = SMBus(port)
    except OSError as error:
        raise HardwareError(
            f"cannot open /dev/i2c-{port} for the display: {error.strerror}; enable I2C with "
            "raspi-config (Interface Options) and let the user be in the group i2c"
        ) from error
    try:
        return CharacterDisplay(_initialise(own_bus, address, name), name, own_bus.close)
    except HardwareError:
        own_bus.close()
        raise


def _initialise(bus: I2cBus, address: int, name: str) -> Any:
    from RPLCD.i2c import CharLCD

    class CharLcdOnBus(CharLCD):  # type: ignore[misc]  # RPLCD has no types
        """RPLCD opens a bus by its number alone, and prefers another library to smbus2."""

        def _init_connection(self) -> None:
            self.bus = bus
            time.sleep(POWER_ON_WAIT_S)

    try:
        lcd = CharLcdOnBus(
            "PCF8574", address, cols=COLUMNS, rows=4, charmap="A00", auto_linebreaks=False
        )
        for place, rows in enumerate(GLYPHS.values()):
            lcd.create_char(place, rows)
    except OSError as error:
        raise _no_answer(name, error) from error
    return lcd
