"""The 16x4 display: what it says, which cells must change, and a thread that keeps it so.

:func:`render` is pure. :func:`start_display` owns the hardware: a display that is absent, wrongly
wired or pulled out in the middle of a byte costs the meter one line in the log and nothing else.
"""

from meterd.lcd.display import Display, I2cBus, changed_cells, open_display
from meterd.lcd.pages import CHARSET, COLUMNS, GLYPHS, PAGES, Language, render
from meterd.lcd.refresh import LatestScreen, Shown, start_display, step

__all__ = [
    "CHARSET",
    "COLUMNS",
    "GLYPHS",
    "PAGES",
    "Display",
    "I2cBus",
    "Language",
    "LatestScreen",
    "Shown",
    "changed_cells",
    "open_display",
    "render",
    "start_display",
    "step",
]
