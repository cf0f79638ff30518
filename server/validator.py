"""The thread that validates what came: one small step at a time, never in a request's way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from server.db import Database, writing
from server.errors import ServerError
from server.validation import work
from server.validation.due import Due

LOG = logging.getLogger(__name__)
IDLE_S = 5.0
REST = 4
"""After a step it rests four times as long: others have the write lock four fifths of the time."""


def start(database: Database, clock_utc_s: Callable[[], int]) -> None:
    """Validate until the process ends."""
    threading.Thread(
        target=run, args=(database, clock_utc_s, threading.Event()), daemon=True, name="validator"
    ).start()


def run(database: Database, clock_utc_s: Callable[[], int], stop: threading.Event) -> None:
    """Validate until ``stop``: stream after stream, so that one that fails holds up no other."""
    after: Due | None = None
    while not stop.is_set():
        begun_s = time.monotonic()
        try:
            with writing(database) as connection:
                after = work.step(connection, clock_utc_s(), after=after)
        except ServerError as error:
            LOG.warning("validation waits: %s", error)
            stop.wait(IDLE_S)
        except work.StepError as error:
            LOG.exception("ALARM: readings of %s cannot be validated", error.due)
            after = error.due
            stop.wait(IDLE_S)
        else:
            rest_s = REST * (time.monotonic() - begun_s)
            stop.wait(IDLE_S if after is None else rest_s)
