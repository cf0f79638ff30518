"""A thread that keeps the display at the latest screen, whatever happens to the display.

What the pages say is in :mod:`meterd.display.pages` and pure; the controller behind its I2C
expander is in :mod:`meterd.display.device`. A display that is absent, wrongly wired or pulled out
in the middle of a byte costs the meter one line in the log and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from meterd.display.device import Display, I2cBus, changed_cells, open_display
from meterd.display.pages import CHARSET, COLUMNS, GLYPHS, PAGES, Language, render, render_message
from meterd.errors import HardwareError
from meterd.model import Screen

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
    "render_message",
    "start_display",
    "step",
]

log = logging.getLogger(__name__)

RETRY_S = 10.0
REFRESH_S = 3600.0
PERIOD_S = 0.2


class LatestScreen:
    """A slot for one screen: the meter puts, the display's thread looks, nobody waits."""

    def __init__(self) -> None:
        self._screen: Screen | None = None

    def put(self, screen: Screen) -> None:
        """Replace what is wanted."""
        self._screen = screen

    def get(self) -> Screen | None:
        """What is wanted now; None before the first ``put``."""
        return self._screen


@dataclass(frozen=True, slots=True)
class Shown:
    """What the display's thread knows about the display."""

    display: Display | None = None
    screen: Screen | None = None  # None: unknown, to be written whole
    opened_ns: int = 0
    retry_ns: int | None = None  # not to be tried before
    failing: bool = False  # and the log says so already


def step(
    shown: Shown,
    wanted: Screen | None,
    open_display: Callable[[], Display],
    *,
    now_ns: int,
    retry_s: float = RETRY_S,
    refresh_s: float = REFRESH_S,
) -> Shown:
    """Bring the display to ``wanted`` if it can be done now; never raises HardwareError.

    Every ``refresh_s`` the display is initialised and written anew, because a disturbance can
    garble it while it goes on acknowledging.
    """
    if wanted is None or (shown.retry_ns is not None and now_ns < shown.retry_ns):
        return shown
    stale = shown.display is not None and now_ns - shown.opened_ns >= refresh_s * 1e9
    try:
        if shown.display is None or stale:
            _close(shown.display)
            shown = replace(shown, display=None)
            shown = replace(shown, display=open_display(), screen=None, opened_ns=now_ns)
        assert shown.display is not None
        for row, column, text in changed_cells(shown.screen, wanted):
            shown.display.write(row, column, text)
    except HardwareError as error:
        if not shown.failing:
            log.warning("%s; metering goes on, tried again every %g s", error, retry_s)
        _close(shown.display)
        return Shown(retry_ns=now_ns + round(retry_s * 1e9), failing=True)
    if shown.failing:
        log.warning("the display answers again and was written anew")
    return replace(shown, screen=wanted, retry_ns=None, failing=False)


def _close(display: Display | None) -> None:
    if display is not None:
        with contextlib.suppress(OSError, HardwareError):  # it is being given up in any case
            display.close()


def start_display(
    open_display: Callable[[], Display],
    wanted: LatestScreen,
    stop: threading.Event,
    *,
    retry_s: float = RETRY_S,
    refresh_s: float = REFRESH_S,
    period_s: float = PERIOD_S,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> threading.Thread:
    """Keep the display at what ``wanted`` holds, in a daemon thread, until ``stop`` is set.

    The last screen put before ``stop`` is still written. Join the thread with a timeout: a bus
    that hangs ends with the program, not before.
    """

    def keep() -> None:
        shown = Shown()
        ended = False
        while not ended:
            ended = stop.wait(period_s)
            shown = step(
                shown,
                wanted.get(),
                open_display,
                now_ns=clock_ns(),
                retry_s=retry_s,
                refresh_s=refresh_s,
            )
        _close(shown.display)

    thread = threading.Thread(target=keep, name="display", daemon=True)
    thread.start()
    return thread
