"""What the meter's own record says of commands and settings: where a start goes on from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meterd.control.settings import NONE_APPLIED, Applied

ACCEPTED, DONE, FAILED, INTERRUPTED = "accepted", "done", "failed", "interrupted"
REFUSED, EXPIRED = "refused", "expired"
COMMAND, SETTING = "command", "setting"
"""The kinds of events."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """The state at the end of the record."""

    commands: Mapping[str, str] = field(default_factory=dict)
    """The last state of each command by its id."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What each command was, by its id."""
    connected: bool = True
    settings: Applied = NONE_APPLIED
    settings_seen: int = 0
    """The newest version that came into effect or was refused."""
    settings_key: str = ""
    """Fingerprint of the server's key that signed it: another server counts anew."""


def recall(events: Iterable[tuple[str, Mapping[str, Any]]]) -> Recalled:
    """Fold the record's events of the kinds ``command`` and ``setting``, oldest first.

    A ``disconnect`` without a result counts as done: whether the contact opened is not known,
    and only a ``reconnect`` closes it with a check.
    """
    commands: dict[str, str] = {}
    names: dict[str, str] = {}
    connected, applied, seen, key = True, NONE_APPLIED, 0, ""
    for event, detail in events:
        if event == COMMAND:
            commands[detail["id"]], names[detail["id"]] = detail["state"], detail["command"]
            connected = _connected_after(connected, detail["command"], detail["state"])
        elif event == SETTING:
            seen = detail["version"] if detail["key"] != key else max(seen, detail["version"])
            if detail["key"] != key:
                applied = NONE_APPLIED
            key = detail["key"]
            if "refused" not in detail:
                applied = Applied(detail["version"], detail["new"])
    return Recalled(commands, names, connected, applied, seen, key)


def _connected_after(connected: bool, command: str, at: str) -> bool:
    if command == "disconnect" and at in (ACCEPTED, DONE, INTERRUPTED):
        return False
    return True if command == "reconnect" and at == DONE else connected
