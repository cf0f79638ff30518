"""What Linux does between a driver's system call and the pins: spidev, i2c-dev, their adapters.

Each entry takes bytes and gives (result, bytes); a negative result is -errno, as in the kernel.
Facts from drivers/spi/spidev.c, spi.c, spi-bcm2835.c and drivers/i2c/i2c-dev.c, i2c-core-smbus.c.
"""

from __future__ import annotations

import errno
import mmap
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meterd.simulate.hd44780 import SimulatedI2cBus
from meterd.simulate.mcp3008 import HOLD_BYTE, HOLD_CLOCK, Mcp3008

Answer = tuple[int, bytes]

SPI_TRANSFER = np.dtype(  # struct spi_ioc_transfer, 32 bytes
    [
        ("tx_buf", "u8"),
        ("rx_buf", "u8"),
        ("len", "u4"),
        ("speed_hz", "u4"),
        ("delay_usecs", "u2"),
        ("bits_per_word", "u1"),
        ("cs_change", "u1"),
        ("rest", "u4"),
    ]
)
SPI_READ_MODE, SPI_WRITE_MODE = 0x80016B01, 0x40016B01
SPI_READ_LSB_FIRST, SPI_WRITE_LSB_FIRST = 0x80016B02, 0x40016B02
SPI_READ_BITS, SPI_WRITE_BITS = 0x80016B03, 0x40016B03
SPI_READ_SPEED, SPI_WRITE_SPEED = 0x80046B04, 0x40046B04
SPI_READ_MODE32, SPI_WRITE_MODE32 = 0x80046B05, 0x40046B05
SPI_LSB_FIRST = 0x08

CORE_HZ = 250e6
CLOCKS_PER_BYTE = 9  # spi-bcm2835 leaves one clock between bytes
CS_CHANGE_S = 10e-6  # the SPI core's delay while chip select is high
MESSAGE_S = 25e-6

I2C_SLAVE, I2C_FUNCS, I2C_SLAVE_FORCE = 0x703, 0x705, 0x706
I2C_HARMLESS = {0x701, 0x702, 0x704, 0x708}  # retries, timeout, ten bits, PEC
I2C_FUNCTIONS = 0x0EFF0009  # plain I2C and emulated SMBus, as i2c-bcm2835
SMBUS_QUICK, SMBUS_BYTE = 0, 1
I2C_BYTE_S = 20 / 100e3  # start, address, byte, stop at 100 kHz


class BusClock:
    """Real time plus the time that buses would have taken."""

    def __init__(self) -> None:
        self._ahead_ns = 0

    def now_ns(self) -> int:
        return time.monotonic_ns() + self._ahead_ns

    def advance_to(self, at_ns: int) -> None:
        self._ahead_ns += max(0, at_ns - self.now_ns())


class PublishedClock:
    """Time that only a bus moves, to be read by another process from eight bytes of a file.

    A program that dates its samples by it is never late, however busy the computer is.
    """

    def __init__(self, path: Path, start_ns: int) -> None:
        path.write_bytes(start_ns.to_bytes(8, sys.byteorder))
        with path.open("r+b") as file:
            self._published = mmap.mmap(file.fileno(), 8)
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance_to(self, at_ns: int) -> None:
        self._now_ns = max(self._now_ns, at_ns)
        self._published[:] = self._now_ns.to_bytes(8, sys.byteorder)

    def close(self) -> None:
        self._published.close()


@dataclass
class Spidev:
    """/dev/spidev0.0 on the adapter of a Raspberry Pi, with one chip.

    ``faults`` are errnos for the next messages, ``message_sizes`` the transfers of each message
    that was carried out.
    """

    chip: Mcp3008
    clock: BusClock | PublishedClock
    bufsiz: int = 4096
    dma_alignment: int = 128  # ARCH_DMA_MINALIGN of arm64; 64 on 32-bit ARM
    faults: deque[int] = field(default_factory=deque)
    message_sizes: list[int] = field(default_factory=list)
    selected: bool = False
    mode: int = 0
    speed_hz: int = 125_000_000

    def setting(self, request: int, given: bytes) -> Answer:
        value = int.from_bytes(given, "little")
        readable = {
            SPI_READ_MODE: bytes([self.mode & 0xFF]),
            SPI_READ_MODE32: self.mode.to_bytes(4, "little"),
            SPI_READ_LSB_FIRST: bytes(1),
            SPI_READ_BITS: bytes([8]),
            SPI_READ_SPEED: self.speed_hz.to_bytes(4, "little"),
        }
        if request in readable:
            return 0, readable[request]
        if request in (SPI_WRITE_MODE, SPI_WRITE_MODE32) and not value & SPI_LSB_FIRST:
            self.mode = value
            return 0, b""
        if request == SPI_WRITE_SPEED and value:
            self.speed_hz = value
            return 0, b""
        if (request, value) in ((SPI_WRITE_LSB_FIRST, 0), (SPI_WRITE_BITS, 0), (SPI_WRITE_BITS, 8)):
            return 0, b""
        return (-errno.EINVAL if request >> 8 & 0xFF == 0x6B else -errno.ENOTTY), b""

    def message(self, transfers: NDArray[np.void], tx: bytes) -> Answer:
        """SPI_IOC_MESSAGE(n); n = 0, as 512 encodes itself, does nothing and says so with 0."""
        if not len(transfers):
            return 0, b""
        if self._needs_more_than_bufsiz(transfers):
            return -errno.EMSGSIZE, b""
        if self.faults:
            return -self.faults.popleft(), b""
        self.message_sizes.append(len(transfers))
        bit_s = self._bit_s(transfers["speed_hz"])
        taken_s = transfers["len"] * CLOCKS_PER_BYTE * bit_s + transfers["delay_usecs"] * 1e-6
        taken_s[:-1] += np.where(transfers["cs_change"][:-1], CS_CHANGE_S, 0.0)
        ends_s = self.clock.now_ns() / 1e9 + MESSAGE_S + np.cumsum(taken_s)
        starts_s = ends_s - taken_s
        rx = bytearray()
        if self._conversions_alone(transfers):
            held_s = starts_s + (HOLD_BYTE * CLOCKS_PER_BYTE + HOLD_CLOCK) * bit_s
            frames = np.frombuffer(tx[:-3], np.uint8).reshape(-1, 3)
            rx += self.chip.frames(frames, held_s[:-1]).tobytes()
        for place in range(len(rx) // 3, len(transfers)):
            size = int(transfers["len"][place])
            sent = tx[len(rx) : len(rx) + size]
            rx += self._shift(sent, float(starts_s[place]), float(bit_s[place]))
            # cs_change pulses chip select between transfers; on the last it keeps it low instead.
            if bool(transfers["cs_change"][place]) != (place == len(transfers) - 1):
                self.chip.deselect()
                self.selected = False
        self.clock.advance_to(round(float(ends_s[-1]) * 1e9))
        return len(rx), bytes(rx)

    def _shift(self, sent: bytes, start_s: float, bit_s: float) -> bytes:
        self.selected = True
        byte_s = CLOCKS_PER_BYTE * bit_s
        return bytes(
            self.chip.exchange(byte, start_s + at * byte_s, bit_s) for at, byte in enumerate(sent)
        )

    def _conversions_alone(self, transfers: NDArray[np.void]) -> bool:
        """Whether all but the last are three bytes with chip select raised after them.

        Those take the chip's fast path, which its own tests show to equal the bits one by one.
        """
        before_last = transfers[:-1]
        three_bytes, raised = (before_last["len"] == 3).all(), before_last["cs_change"].all()
        return not self.selected and bool(three_bytes and raised)

    def plain(self, tx: bytes) -> Answer:
        """read(2) and write(2): one transfer, chip select released after it."""
        if len(tx) > self.bufsiz:
            return -errno.EMSGSIZE, b""
        transfer = np.zeros(1, SPI_TRANSFER)
        transfer["len"], transfer["speed_hz"] = len(tx), self.speed_hz
        return self.message(transfer, tx)

    def _needs_more_than_bufsiz(self, transfers: NDArray[np.void]) -> bool:
        """Every transfer takes whole DMA cache lines of the bounce buffers, one for each way."""
        lines = -(-transfers["len"].astype(np.int64) // self.dma_alignment)
        return any(
            int(lines[transfers[buffer] != 0].sum()) * self.dma_alignment > self.bufsiz
            for buffer in ("tx_buf", "rx_buf")
        )

    def _bit_s(self, wanted_hz: NDArray[np.uint32]) -> NDArray[np.float64]:
        """The core clock over the next even divisor."""
        limited_hz = np.where(wanted_hz == 0, self.speed_hz, np.minimum(wanted_hz, self.speed_hz))
        divisor = np.maximum(2, 2 * np.ceil(CORE_HZ / limited_hz / 2))
        return np.asarray(divisor / CORE_HZ, np.float64)


@dataclass
class I2cDev:
    """/dev/i2c-1: ``bus`` behind Linux; ``faults`` are errnos for the next bytes."""

    bus: SimulatedI2cBus
    clock: BusClock
    faults: deque[int] = field(default_factory=deque)

    def value(self, request: int, argument: int) -> Answer:
        """The ioctls with a number; choosing the address is checked, remembered by the caller."""
        if request in (I2C_SLAVE, I2C_SLAVE_FORCE):
            return (0 if argument <= 0x7F else -errno.EINVAL), b""
        if request == I2C_FUNCS:
            return 0, I2C_FUNCTIONS.to_bytes(8, "little")
        return (0 if request in I2C_HARMLESS else -errno.ENOTTY), b""

    def smbus(self, address: int, reads: bool, size: int, command: int) -> Answer:
        """SMBus "send byte", "receive byte" and the quick write that i2cdetect probes with."""
        if size == SMBUS_BYTE and reads:
            result, received = self.read(address, 1)
            return min(result, 0), received
        if size == SMBUS_BYTE:
            return min(self.write(address, bytes([command]))[0], 0), b""
        if size == SMBUS_QUICK:
            return min(self.read(address, 1)[0], 0), b""
        return -errno.EOPNOTSUPP, b""

    def write(self, address: int, sent: bytes) -> Answer:
        try:
            for byte in sent:
                self._take_time_or_fail()
                self.bus.write_byte(address, byte)
        except OSError as error:
            return -(error.errno or errno.EIO), b""
        return len(sent), b""

    def read(self, address: int, size: int) -> Answer:
        received = bytearray()
        try:
            for _ in range(size):
                self._take_time_or_fail()
                received.append(self.bus.read_byte(address))
        except OSError as error:
            return -(error.errno or errno.EIO), b""
        return size, bytes(received)

    def _take_time_or_fail(self) -> None:
        self.clock.advance_to(self.clock.now_ns() + round(I2C_BYTE_S * 1e9))
        if self.faults:
            raise OSError(self.faults.popleft(), "injected")
