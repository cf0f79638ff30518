"""Where the log goes: to systemd's journal with fields, or to standard error as lines.

Meter and server share this and the protocol, nothing else. An ``extra`` whose name is in capitals
becomes a field of the journal: ``log.warning("...", extra={"EVENT": "outage"})`` is found again by
``journalctl EVENT=outage``. Why so: docs/decisions/sd-notify.md.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from logging_journald import JournaldTransport

__all__ = ["JournalHandler", "always", "is_journal", "log_to_journal_or_stderr"]

LINE_FORMAT = "%(name)s: %(message)s"


def log_to_journal_or_stderr(
    *, line_format: str = LINE_FORMAT, socket_path: Path = JournaldTransport.SOCKET_PATH
) -> None:
    """Set up this process's log, once, before anything is logged."""
    handler: logging.Handler | None = None
    if is_journal(os.environ, sys.stderr):
        try:
            handler = JournalHandler(socket_path)
        except OSError:  # no descriptor left; standard error is there already
            handler = None
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(line_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def is_journal(environment: Mapping[str, str], stream: TextIO) -> bool:
    """Whether a stream leads to the journal: systemd's own test, by device and inode.

    The variable alone says nothing: it is inherited by what a user starts from a service.
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file at all
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def always(**fields: str) -> None:
    """From now on every entry of this process carries these fields, such as METER."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, JournalHandler):
            handler.fields.update(fields)


def priority(level: int) -> int:
    """The syslog priority of a level of the module logging."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((number for least, number in steps if level >= least), 7)


class JournalHandler(logging.Handler):
    """Entries with PRIORITY, LOGGER, CODE_FILE, CODE_LINE, CODE_FUNC and what ``extra`` adds.

    Never waits: while the journal takes nothing more, entries are counted, and the next that gets
    through says how many were lost. Measuring does not stop for a log.
    """

    def __init__(self, socket_path: Path = JournaldTransport.SOCKET_PATH) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self.fields: dict[str, str] = {}
        self._lost = 0
        # Not connected: the path is looked up each time, so a journal that was restarted is found.
        self._transport = JournaldTransport(socket_path, connected=False)
        self._transport.socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry."""
        try:
            self._transport.send(self._entry(record))
        except OSError:
            self._lost += 1
        except (TypeError, ValueError, KeyError):  # the message does not fit its arguments
            self.handleError(record)
        else:
            self._lost = 0

    def close(self) -> None:
        """Let go of the socket."""
        self._transport.socket.close()
        super().close()

    def _entry(self, record: logging.LogRecord) -> Iterator[tuple[str, str | int]]:
        yield "MESSAGE", self.format(record)
        yield "PRIORITY", priority(record.levelno)
        yield "SYSLOG_IDENTIFIER", Path(sys.argv[0]).name
        yield "LOGGER", record.name
        yield "CODE_FILE", record.pathname
        yield "CODE_LINE", record.lineno
        yield "CODE_FUNC", record.funcName
        if self._lost:
            yield "ENTRIES_LOST_BEFORE", self._lost
        yield from self.fields.items()
        for name, value in record.__dict__.items():
            if name.isupper() and name.isidentifier() and not name.startswith("_"):
                yield name, str(value)
