"""What meterd tells systemd: ready, stopping, how it is doing, and that it still measures.

The protocol is sd_notify(3): one datagram of ``NAME=value`` lines to the socket that systemd names
in the environment. Without that socket nothing is sent, so the programs run alike by hand.
Why this is written here: docs/decisions/sd-notify.md.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping

from meterd.model import Quantities, Registers

log = logging.getLogger(__name__)

PINGS_IN_A_TIMEOUT = 2
"""systemd asks for at least two; see sd_watchdog_enabled(3)."""


class Notifier:
    """Sends to the service manager. Never raises and never waits: the meter comes first."""

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._told = False

    def send(self, *assignments: str) -> bool:
        """Send ``NAME=value`` lines; False where there is nobody to send to, or it failed."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except (OSError, ValueError) as error:
            if not self._told:
                self._told = True
                log.warning("cannot tell systemd %s: %s", assignments[0], error)
            return False
        return True

    def ready(self) -> None:
        """Started: what waits for this unit may go on, and the watchdog begins to count."""
        self.send("READY=1")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``."""
        self.send("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        """The end has begun."""
        self.send("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for this long, from now, before a start or a stop counts as failed."""
        self.send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")


class Watchdog:
    """Says that the loop goes on, as seldom as systemd allows.

    ``ping`` belongs into the loop that has just measured or stored, and nowhere else: a ping from
    a timer or a thread of its own would go on while the meter hangs.
    """

    def __init__(self, notifier: Notifier, timeout_us: int, clock_ns: Callable[[], int]) -> None:
        self._notifier, self._clock_ns = notifier, clock_ns
        self._every_ns = 1000 * timeout_us // PINGS_IN_A_TIMEOUT
        self._pinged_ns: int | None = None

    def ping(self) -> None:
        """Tell systemd, if half of its timeout has passed since it was last told."""
        if not self._every_ns:
            return
        now_ns = self._clock_ns()
        due = self._pinged_ns is None or now_ns - self._pinged_ns >= self._every_ns
        if due and self._notifier.send("WATCHDOG=1"):
            self._pinged_ns = now_ns


def watchdog_timeout_us(environment: Mapping[str, str], pid: int) -> int:
    """How long systemd waits for a ping; 0: it does not, or it waits for another process."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0
    word = environment.get("WATCHDOG_USEC", "")
    return int(word) if word.isascii() and word.isdigit() else 0


class Supervision:
    """The measuring loop as systemd sees it: ready with the first window, alive with each."""

    def __init__(
        self, environment: Mapping[str, str], clock_ns: Callable[[], int], pid: int | None = None
    ) -> None:
        self.notifier = Notifier(environment.get("NOTIFY_SOCKET"))
        timeout_us = watchdog_timeout_us(environment, os.getpid() if pid is None else pid)
        self._watchdog = Watchdog(self.notifier, timeout_us, clock_ns)
        self._ready = False

    def measured(self) -> None:
        """A window was measured, counted, and stored if it was time to."""
        if not self._ready:
            self._ready = True
            self.notifier.ready()
        self._watchdog.ping()

    def after(
        self, show: Callable[[Quantities | None, Registers], None]
    ) -> Callable[[Quantities | None, Registers], None]:
        """``show``, the last block of the loop, and then the word that the loop went round."""

        def shown(window: Quantities | None, registers: Registers) -> None:
            show(window, registers)
            self.measured()

        return shown
