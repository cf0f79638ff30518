"""A Raspberry Pi's two buses with their chips, served to programs that run under the shim."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meterd.lcd import GLYPHS
from meterd.simulate.hd44780 import Hd44780, Pcf8574, SimulatedI2cBus
from meterd.simulate.mcp3008 import Mcp3008

from .kernel import SPI_TRANSFER, Answer, BusClock, I2cDev, Spidev

REPOSITORY = Path(__file__).parents[2]
DISPLAY_ADDRESS = 0x27
VREF_V = 3.3
CHILD_TIMEOUT_S = 60.0

_QUESTION = struct.Struct("=4I")  # kind, request, count, argument: struct question of shim.c
_RESULT = struct.Struct("=q")
_ASK_OPEN, _ASK_SETTING, _ASK_SPI, _ASK_SMBUS, _ASK_RDWR, _ASK_READ, _ASK_WRITE = range(1, 8)
_PACKET_MAX = 1 << 18


def steady(channels: NDArray[np.uint8], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Channel k stands in the middle of code 100·k + 23 for ever."""
    return (100.0 * channels + 23.5) * VREF_V / 1024


class Board:
    """The models, their kernel front ends, and ``run`` for programs that shall see them.

    Change a model at any time, while a program runs as well.
    """

    python = sys.executable

    def __init__(self, shim: Path, folder: Path) -> None:
        self.clock = BusClock()
        self.chip = Mcp3008(steady, vref_v=VREF_V, rng=None)
        self.display = Hd44780("".join(GLYPHS))
        self.expander = Pcf8574(self.display)
        self.bus = SimulatedI2cBus({DISPLAY_ADDRESS: self.expander}, self.clock.now_ns)
        self.spi = Spidev(self.chip, self.clock)
        self.i2c = I2cDev(self.bus, self.clock)
        self.missing: set[str] = set()
        self._shim, self._socket_path, self._bufsiz = shim, folder / "board", folder / "bufsiz"
        self._stop = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self._socket_path))
        self._listener.listen(8)
        self._listener.settimeout(0.05)
        self._connections: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="board")
        self._accepting.start()

    def environment(self) -> dict[str, str]:
        """What makes a program see this board in place of the machine's own devices."""
        self._bufsiz.write_text(f"{self.spi.bufsiz}\n")
        return os.environ | {
            "LD_PRELOAD": str(self._shim),
            "METERD_BOARD_SOCKET": str(self._socket_path),
            "METERD_BOARD_BUFSIZ": str(self._bufsiz),
            "PYTHONPATH": str(REPOSITORY),
        }

    def run(self, program: str | Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run Python source, or a command, to its end."""
        return subprocess.run(
            self._command(program),
            env=self.environment(),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=CHILD_TIMEOUT_S,
            check=False,
        )

    @contextlib.contextmanager
    def start(self, program: str | Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """Run beside the test, which writes lines to it and reads its lines; killed at the end."""
        with subprocess.Popen(
            self._command(program),
            env=self.environment(),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            try:
                yield child
            finally:
                child.kill()

    @staticmethod
    def _command(program: str | Sequence[str]) -> list[str]:
        return [Board.python, "-c", program] if isinstance(program, str) else list(program)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        """Whether ``condition`` came true in time; for programs that run beside the test."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._stop.wait(0.005)
        return True

    def close(self) -> None:
        """End the service; programs still running see their devices vanish."""
        self._stop.set()
        self._accepting.join(5)
        for connection in self._connections:
            connection.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(0.05)
            thread = threading.Thread(target=self._serve, args=(connection,), name="device")
            self._connections.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        device: OpenSpidev | OpenI2cDev | None = None
        with connection, contextlib.suppress(ConnectionError):  # a program may end at any time
            while not self._stop.is_set():
                try:
                    packet = connection.recv(_PACKET_MAX)
                except TimeoutError:
                    continue
                if not packet:
                    return
                kind, request, count, argument = _QUESTION.unpack_from(packet)
                given = packet[_QUESTION.size :]
                if kind == _ASK_OPEN:
                    device = self._open(given.decode())
                    result, out = (0 if device else -errno.ENOENT), b""
                else:
                    assert device is not None
                    result, out = device.answer(kind, request, count, argument, given)
                connection.send(_RESULT.pack(result) + out)

    def _open(self, path: str) -> OpenSpidev | OpenI2cDev | None:
        if path in self.missing:
            return None
        return OpenSpidev(self.spi) if path == "/dev/spidev0.0" else OpenI2cDev(self.i2c)


class OpenSpidev:
    """One open file on /dev/spidev0.0."""

    def __init__(self, device: Spidev) -> None:
        self._device = device

    def answer(self, kind: int, request: int, count: int, argument: int, given: bytes) -> Answer:
        """One system call."""
        if kind == _ASK_SPI:
            headers = count * SPI_TRANSFER.itemsize
            transfers = np.frombuffer(given[:headers], SPI_TRANSFER)
            return self._device.message(transfers, given[headers:])
        if kind == _ASK_READ:
            return self._device.plain(bytes(count))
        if kind == _ASK_WRITE:
            return self._device.plain(given)[0], b""
        return self._device.setting(request, given)


class OpenI2cDev:
    """One open file on /dev/i2c-1, with the address that it has chosen."""

    def __init__(self, device: I2cDev) -> None:
        self._device = device
        self._address = 0

    def answer(self, kind: int, request: int, count: int, argument: int, given: bytes) -> Answer:
        """One system call."""
        if kind == _ASK_SMBUS:
            return self._device.smbus(self._address, bool(request), count, argument)
        if kind == _ASK_RDWR and request:
            return self._device.read(argument, count)
        if kind == _ASK_RDWR:
            return self._device.write(argument, given)
        if kind == _ASK_READ:
            return self._device.read(self._address, count)
        if kind == _ASK_WRITE:
            return self._device.write(self._address, given)
        result, out = self._device.value(request, argument)
        if request in (0x703, 0x706) and result == 0:
            self._address = argument
        return result, out
