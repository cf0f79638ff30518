"""A service manager's end of sd_notify: a real datagram socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Manager:
    """Receives what a service says."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def said(self, within_s: float = 0.0) -> str | None:
        """The next message, or None when none comes in time."""
        self._socket.settimeout(within_s or 0.001)
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return None

    def all_said(self) -> list[str]:
        """What has come already."""
        return list(iter(self.said, None))

    def wait_for(self, wanted: str, within_s: float) -> list[str]:
        """All messages up to ``wanted``."""
        said: list[str] = []
        end_s = time.monotonic() + within_s
        while wanted not in said:
            message = self.said(max(0.001, end_s - time.monotonic()))
            assert message is not None, f"{wanted} did not come in {within_s} s, but {said}"
            said.append(message)
        return said

    def close(self) -> None:
        """Nobody listens any more."""
        self._socket.close()


@contextmanager
def manager(folder: Path) -> Iterator[Manager]:
    """A manager with a socket in a folder."""
    listening = Manager(str(folder / "notify"))
    try:
        yield listening
    finally:
        listening.close()
