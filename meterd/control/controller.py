"""The server's word in the meter's loop: read, judged, recorded, done, and answered by the record.

Nothing here waits: the other program's database is asked every 5 s, one command is acted on at
most each time, and the contact is looked at once a window. A command is on the disk as accepted
before it is acted on; where the disk refuses it is not acted on, and tried again until it expires.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meterd.config import Config
from meterd.control import commands, recorded, settings
from meterd.control.commands import Decision, Fate
from meterd.control.contact import Contact, Outcome
from meterd.control.recorded import ACCEPTED, COMMAND, DONE, FAILED, SETTING, Recalled
from meterd.control.relay import Relay
from meterd.control.signed import Command
from meterd.database.downlink import Downlink, SignedCommand, SignedSettings, SignedText
from meterd.errors import MeterdError, NotSignedError, SettingRefusedError, StoreError
from meterd.model import Message, Missed, Quantities
from meterd.record.signing import PublicKey

POLL_S = 5.0
MESSAGES_MAX = 4
"""A newer message takes the oldest one's place."""
REFUSAL_CHARACTERS_MAX = 300

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """What the controller asks of the program around it; none of it may wait."""

    record: Callable[[str, Mapping[str, object]], None]
    """Write an event durably before returning; raises StoreError."""
    read_downlink: Callable[[], Downlink | None]
    """What meterd-sync has put down; raises StoreError."""
    self_test: Callable[[], dict[str, object]]
    sure_utc_s: Callable[[], float | None]
    """The date; None unless a time source has set the clock since the machine's start."""
    clock_ns: Callable[[], int]  # monotonic, the windows' own
    boottime_ns: Callable[[], int]  # CLOCK_BOOTTIME
    boot_id: str


class Controller:
    """Settings in effect, commands under way, messages to show.

    ``config`` is the file's; without ``server_key`` nothing of the server's is believed.
    Commands that the record has as accepted without a result are recorded as interrupted.
    """

    def __init__(
        self,
        config: Config,
        server_key: PublicKey | None,
        relay: Relay | None,
        recalled: Recalled,
        world: World,
    ) -> None:
        self._file, self._key, self._world = config, server_key, world
        self._known = dict(recalled.commands)
        self._unsaved: list[Outcome] = []
        self._messages: list[Message] = []
        self._not_ours: set[SignedText] = set()
        self._said: dict[str, str] = {}
        self._polled_ns: int | None = None
        self._applied, self._seen = recalled.settings, recalled.settings_seen
        if server_key is not None and server_key.fingerprint != recalled.settings_key:
            self._applied, self._seen = settings.NONE_APPLIED, 0  # claimed by another server
        self.config = self._recalled_config()
        self.contact = Contact(config, relay, recalled.connected, world.clock_ns)
        self._answer(
            [
                Outcome(name, recalled.names[name], recorded.INTERRUPTED)
                for name, state in recalled.commands.items()
                if state == ACCEPTED
            ]
        )

    @property
    def messages(self) -> tuple[Message, ...]:
        """The server's messages that are to be shown now, the newest first."""
        now_ns = self._world.clock_ns()
        self._messages = [message for message in self._messages if now_ns < message.until_ns]
        return tuple(reversed(self._messages))

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong here, as :class:`meterd.model.Status` names it."""
        return ("relay",) if self.contact.broken else ()

    def step(self, window: Quantities | Missed) -> Config:
        """One window: go on with what is under way, look for what is new.

        Returns the configuration in effect: the same object unless new settings came.

        Raises:
            Nothing of a database, a pin or a text: those are logged once and tried again.
        """
        self._answer(self.contact.step(window))
        now_ns = self._world.clock_ns()
        if self._polled_ns is None or now_ns - self._polled_ns >= POLL_S * 1e9:
            self._polled_ns = now_ns
            self._poll()
        return self.config

    def _poll(self) -> None:
        self._answer([])
        try:
            downlink = self._world.read_downlink()
        except StoreError as error:
            self._tell("downlink", f"{error}; nothing of the server is heard until then")
            return
        self._said.pop("downlink", None)
        if downlink is None:
            return
        if self._key is None:
            if downlink.commands or downlink.settings:
                self._tell("key", "this meter knows no key of its server: claim it again")
            return
        if downlink.settings is not None:
            self._take_settings(downlink.settings, self._key)
        self._take_a_command(downlink, self._key)

    def _recalled_config(self) -> Config:
        try:
            return settings.lay_over(self._file, self._applied.settings)
        except SettingRefusedError as error:  # another version of this program took them
            _log.error("settings of version %d: %s; not used", self._applied.version, error)
            return self._file

    def _take_settings(self, said: SignedSettings, key: PublicKey) -> None:
        if said.version <= self._seen or said.signed in self._not_ours:
            return
        try:
            told = settings.verify(said, key, self._file.meter.serial)
        except NotSignedError as error:
            self._ignore(said.signed, error)
            return
        if told.version <= self._seen:
            return
        detail: dict[str, object] = {"version": told.version, "key": key.fingerprint}
        try:
            config = settings.lay_over(self._file, told.settings)
            detail |= {"old": dict(self._applied.settings), "new": dict(told.settings)}
        except SettingRefusedError as error:
            config = None
            detail["refused"] = str(error)[:REFUSAL_CHARACTERS_MAX]
        if not self._record(SETTING, detail):
            return
        self._seen = told.version
        if config is None:
            _log.error("settings of version %d are refused: %s", told.version, detail["refused"])
            return
        _log.info("settings of version %d are in effect", told.version)
        self._applied, self.config = told, config

    def _take_a_command(self, downlink: Downlink, key: PublicKey) -> None:
        """Act on the oldest one that is not known."""
        self._not_ours &= {command.signed for command in downlink.commands} | (
            {downlink.settings.signed} if downlink.settings else set()
        )
        now_utc_s = self._date(downlink)
        for waiting in downlink.commands:
            if waiting.id in self._known or waiting.signed in self._not_ours:
                continue
            decision = self._decide(waiting, key, now_utc_s)
            if decision is not None and decision.fate not in (Fate.KNOWN, Fate.WAIT):
                self._settle(decision)
                return

    def _decide(
        self, waiting: SignedCommand, key: PublicKey, now_utc_s: float | None
    ) -> Decision | None:
        try:
            return commands.decide(
                waiting.signed,
                key,
                self._file.meter.serial,
                self._known,
                now_utc_s=now_utc_s,
                refusals=self.contact.refusals(),
            )
        except NotSignedError as error:
            self._ignore(waiting.signed, error)
            return None

    def _date(self, downlink: Downlink) -> float | None:
        """The later of what this machine and the server say, for an expiry; None: nobody does."""
        dates = [self._world.sure_utc_s()]
        told = downlink.time
        if told is not None and told.boot_id == self._world.boot_id:
            passed_s = (self._world.boottime_ns() - told.boottime_ns) / 1e9
            dates.append(told.server_utc_s + passed_s)
        return max((date for date in dates if date is not None), default=None)

    def _settle(self, decision: Decision) -> None:
        command = decision.command
        if decision.fate is Fate.REFUSE:
            self._record_state(command.id, command.command, recorded.REFUSED, decision.because)
        elif decision.fate is Fate.EXPIRED:
            self._record_state(command.id, command.command, recorded.EXPIRED, None)
        elif self._record_state(command.id, command.command, ACCEPTED, None):
            self._answer(self._act(command))

    def _act(self, command: Command) -> list[Outcome]:
        """Do an accepted command; no outcome yet where it goes on."""
        if command.command == "disconnect":
            return self.contact.disconnect(command.id)
        if command.command == "reconnect":
            return self.contact.reconnect(command.id)
        if command.command == "message":
            self._show(commands.message_of(command.arguments))
            return [Outcome(command.id, command.command, DONE)]
        assert command.command == "self_test"
        try:
            return [Outcome(command.id, command.command, DONE, self._world.self_test())]
        except (MeterdError, OSError) as error:
            return [Outcome(command.id, command.command, FAILED, str(error))]

    def _show(self, asked: commands.Message) -> None:
        now_ns = self._world.clock_ns()
        message = Message(asked.text, now_ns, now_ns + asked.minutes * 60 * 1_000_000_000)
        self._messages = [*self._messages, message][-MESSAGES_MAX:]

    def _answer(self, ended: list[Outcome]) -> None:
        """Record how commands ended, those first that the disk refused before."""
        self._unsaved += ended
        while self._unsaved:
            first = self._unsaved[0]
            if not self._record_state(first.id, first.command, first.state, first.result):
                return
            del self._unsaved[0]

    def _record_state(self, name: str, command: str, state: str, result: Any) -> bool:
        detail = {"id": name, "command": command, "state": state, "result": result}
        if not self._record(COMMAND, detail):
            return False
        self._known[name] = state
        _log.warning("command %s (%s): %s %s", command, name[:8], state, result or "")
        return True

    def _record(self, event: str, detail: Mapping[str, object]) -> bool:
        try:
            self._world.record(event, detail)
        except StoreError as error:
            self._tell("record", f"{error}; the server's word is not acted on until then")
            return False
        self._said.pop("record", None)
        return True

    def _ignore(self, signed: SignedText, error: NotSignedError) -> None:
        _log.error("ALARM: ignored: %s", error)
        self._not_ours.add(signed)

    def _tell(self, about: str, sentence: str) -> None:
        """Log a sentence about something once, until it changes or is over."""
        if self._said.get(about) != sentence:
            self._said[about] = sentence
            _log.error("ALARM: %s", sentence)
