"""The priority of the one thread that must not be late: docs/decisions/realtime.md."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger(__name__)

Read = TypeVar("Read")

PRIORITY = 10
"""Of 1 to 99: above everything ordinary, below the kernel's interrupt threads at 50."""


def prefer_this_thread(priority: int = PRIORITY) -> bool:
    """Put the calling thread under SCHED_FIFO; False, and a line in the log, where that is refused.

    Refused is no reason to stop: a sample that is late is flagged, one not taken is lost.
    """
    try:
        # 0 is the calling thread alone. What it starts later is ordinary again.
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError as error:
        allowed, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
        log.warning(
            "sampling has no real-time priority (%s; RLIMIT_RTPRIO is %d)", error.strerror, allowed
        )
        return False
    return True


def preferred(
    read: Callable[[], Read], prefer: Callable[[], bool] = prefer_this_thread
) -> Callable[[], Read]:
    """``read`` for the thread that first calls it, which is preferred from then on."""
    asked = False

    def read_preferred() -> Read:
        nonlocal asked
        if not asked:
            asked = True
            prefer()
        return read()

    return read_preferred
