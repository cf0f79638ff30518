"""Reading a request's body, which may come as slowly as its sender likes.

A thread waits for the body, and a wait for it cannot be cut short. So only some of the threads may
wait for senders who have not said who they are, and some for meters; the rest always serve pages.
"""

from __future__ import annotations

import threading

from werkzeug.wrappers import Request

from server.errors import BusyError

WAIT_S = 0.2


def read_body(turns: threading.BoundedSemaphore, request: Request, bytes_max: int) -> bytes:
    """The whole body, at most ``bytes_max``.

    Raises:
        BusyError: as many bodies as there may be are being waited for.
        RequestEntityTooLarge: it is longer.
    """
    request.max_content_length = bytes_max
    if not turns.acquire(timeout=WAIT_S):
        raise BusyError("too many requests are being received at once; try again later")
    try:
        return request.get_data()
    finally:
        turns.release()
