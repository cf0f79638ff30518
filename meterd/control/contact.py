"""The contact as commands use it: opened at once, closed when both sides allow it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from meterd import config
from meterd.config import Config
from meterd.control import reconnect
from meterd.control.reconnect import Closing
from meterd.control.recorded import DONE, FAILED
from meterd.control.relay import Relay
from meterd.errors import HardwareError
from meterd.model import Missed, Quantities

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    id: str
    command: str
    state: str
    result: object = None


def at_start(chosen: config.Relay, connected: bool) -> bool:
    """The contact's state as the program starts, ``connected`` being the one to come back to.

    A contact that is open at rest stays open until the voltages were compared.
    """
    return connected and chosen.at_rest == "connected"


class Contact:
    """The state of the contact and the reconnection under way.

    ``connected`` is the state to come back to after a start.
    """

    def __init__(
        self,
        chosen: Config,
        relay: Relay | None,
        connected: bool,
        clock_ns: Callable[[], int],
    ) -> None:
        self._config, self._relay, self._clock_ns = chosen, relay, clock_ns
        self._closing: Closing | None = None
        self._for: str | None = None  # the command that is closing it; None: the start
        self.connected = connected
        self.broken = False  # whether the pin refused the last time
        if relay is not None and chosen.relay is not None:
            self._start(chosen.relay, relay)

    def _start(self, chosen: config.Relay, relay: Relay) -> None:
        wanted, self.connected = self.connected, at_start(chosen, self.connected)
        try:
            relay.set_connected(self.connected)
        except HardwareError as error:
            self.broken = True
            _log.error("ALARM: %s; metering goes on without the relay", error)
            self._relay = None
            return
        if wanted and not self.connected:
            self._closing = Closing(self._clock_ns())

    def refusals(self) -> dict[str, str]:
        """Why relay commands cannot be done now, by their names."""
        chosen = self._config.relay
        why = None
        if self._relay is None or chosen is None:
            why = "this meter has no relay that works"
        elif not chosen.allow_remote:
            why = "the meter's owner has not allowed it ([relay] allow_remote)"
        if why is not None:
            return {"disconnect": why, "reconnect": why}
        never = reconnect.impossible(self._config)
        if never is None and self._for is not None:
            never = "a reconnection is under way"
        return {} if never is None else {"reconnect": never}

    def disconnect(self, command_id: str) -> list[Outcome]:
        """Open it at once; a reconnection under way ends by that."""
        assert self._relay is not None
        ended = self._ended(FAILED, "overtaken by a disconnect")
        self._closing = self._for = None
        try:
            self._relay.set_connected(False)
        except HardwareError as error:
            self.broken = True
            return [*ended, Outcome(command_id, "disconnect", FAILED, str(error))]
        self.connected = self.broken = False
        return [*ended, Outcome(command_id, "disconnect", DONE)]

    def reconnect(self, command_id: str) -> list[Outcome]:
        """Begin to close it; how that ended comes from :meth:`step`."""
        if self.connected:
            return [Outcome(command_id, "reconnect", DONE, "it was connected")]
        if self._closing is None:
            self._closing = Closing(self._clock_ns())
        self._for = command_id
        return []

    def step(self, window: Quantities | Missed) -> list[Outcome]:
        """Look whether it can be closed in this window."""
        if self._closing is None or self._relay is None or self._config.relay is None:
            return []
        now_ns = self._clock_ns()
        self._closing, close = reconnect.advance(self._closing, window, self._config, now_ns)
        if close:
            return self._close()
        if self._for is None or not reconnect.given_up(self._closing, self._config.relay, now_ns):
            return []
        ended = self._ended(FAILED, f"given up: {self._closing.because or 'not long enough'}")
        self._closing = self._for = None
        return ended

    def _close(self) -> list[Outcome]:
        assert self._relay is not None
        try:
            self._relay.set_connected(True)
        except HardwareError as error:
            self.broken = True
            _log.error("ALARM: %s", error)
            ended = self._ended(FAILED, str(error))
        else:
            self.connected, self.broken = True, False
            _log.warning("the relay has closed: the service is connected")
            ended = self._ended(DONE, None)
        self._closing = self._for = None
        return ended

    def _ended(self, state: str, result: object) -> list[Outcome]:
        return [] if self._for is None else [Outcome(self._for, "reconnect", state, result)]
