"""MCP3008 frames to sample blocks: the only module that talks SPI (the paper's ``daq.py``).

One conversion is three bytes each way::

    byte        0         1         2
    sent     00000001  1CCCxxxx  xxxxxxxx     start bit, single-ended, channel
    received ????????  ?????0BB  BBBBBBBB     ten bits, the ones above them float

A Python loop over ``xfer2`` keeps a core busy at 25 thousand conversions a second with tens of
microseconds of jitter. The kernel takes up to 511 conversions in one ``SPI_IOC_MESSAGE``, so that
is what :class:`SpidevAdc` sends wherever the driver's buffer allows it.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meterd.errors import BatchRefusedError, HardwareError
from meterd.model import Quality, SampleBlock

log = logging.getLogger(__name__)

BUFSIZ_PATH = Path("/sys/module/spidev/parameters/bufsiz")
BATCH_MAX = 511
"""512 transfers would encode a size of 0 in the ioctl's number, which silently does nothing."""
FRAME_BYTES = 3
PREEMPTED_FACTOR = 1.1
PREEMPTED_EXTRA_NS = 200_000
TIMING_REPEATS = 25
TIMING_CONVERSIONS = 2500
"""Short batches are timed more often: the error of the period goes with 1 / batch."""
RETRY_MAX = 5
RETRY_WAIT_S = 0.2

# struct spi_ioc_transfer of linux/spi/spidev.h
_TRANSFER = np.dtype(
    [
        ("tx_buf", "u8"),
        ("rx_buf", "u8"),
        ("len", "u4"),
        ("speed_hz", "u4"),
        ("delay_usecs", "u2"),
        ("bits_per_word", "u1"),
        ("cs_change", "u1"),
        ("tx_nbits", "u1"),
        ("rx_nbits", "u1"),
        ("word_delay_usecs", "u1"),
        ("pad", "u1"),
    ]
)


class Adc(Protocol):
    """The one call made on an analogue-to-digital converter."""

    def transfer(self, tx: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Exchange (n, 3) bytes, one conversion a row; raises HardwareError."""


@dataclass(frozen=True, slots=True)
class BusTiming:
    """How long the bus takes, measured on the bus itself."""

    period_ns: float
    """From one conversion of a batch to the next."""
    batch_ns: float
    """A whole batch, the system call included."""


def frames(channels: Sequence[int], conversions: int) -> NDArray[np.uint8]:
    """The bytes that ask for ``conversions`` conversions of ``channels`` in turn, (n, 3)."""
    assert all(0 <= channel <= 7 for channel in channels)
    tx = np.zeros((conversions, FRAME_BYTES), np.uint8)
    tx[:, 0] = 1
    tx[:, 1] = (8 | np.resize(np.asarray(channels, np.uint8), conversions)) << 4
    return tx


def codes(rx: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The ten bits of each received frame, (n,)."""
    high = (rx[:, 1] & 3).astype(np.uint16)
    return (high << np.uint16(8)) | rx[:, 2].astype(np.uint16)


class SpidevAdc:
    """The real converter behind /dev/spidevB.C, many conversions in one system call.

    ``batch_size`` says how many; 1 means that the kernel refused batches and each conversion is
    a call of ``xfer2``.
    """

    def __init__(self, spi: Any, name: str, speed_hz: int, batch_size: int) -> None:
        self._spi, self._name, self._speed_hz = spi, name, speed_hz
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._rx = np.zeros((batch_size, FRAME_BYTES), np.uint8)
        self._tx = np.zeros((batch_size, FRAME_BYTES), np.uint8)
        self._message = np.zeros(batch_size, _TRANSFER)
        self.batch_size = batch_size
        self._lay_out_message()

    def _lay_out_message(self) -> None:
        offset = np.arange(len(self._message), dtype=np.uint64) * FRAME_BYTES
        self._message["tx_buf"] = self._tx.ctypes.data + offset
        self._message["rx_buf"] = self._rx.ctypes.data + offset
        self._message["len"] = FRAME_BYTES
        self._message["speed_hz"] = self._speed_hz
        self._message["bits_per_word"] = 8

    def transfer(self, tx: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Exchange (n, 3) bytes in as few system calls as the kernel allows."""
        while self.batch_size > 1:
            try:
                parts = [
                    self._exchange(tx[first : first + self.batch_size])
                    for first in range(0, len(tx), self.batch_size)
                ]
                return parts[0] if len(parts) == 1 else np.concatenate(parts)
            except BatchRefusedError as refusal:
                self.batch_size //= 2
                log.warning("%s; going on with %d a call", refusal, self.batch_size)
        return self._exchange_plain(tx)

    def _exchange(self, tx: NDArray[np.uint8]) -> NDArray[np.uint8]:
        n = len(tx)
        self._tx[:n] = tx
        self._message["cs_change"][: n - 1] = 1
        # Left at 1 on the last transfer it would keep the chip selected after the message, and
        # the next conversion would begin in the middle of this one.
        self._message["cs_change"][n - 1] = 0
        request = 0x40006B00 | (n * _TRANSFER.itemsize) << 16
        # ctypes lets other threads run during the call; fcntl.ioctl does not for 1 KiB and more.
        done = self._libc.ioctl(
            self._spi.fileno(),
            ctypes.c_ulong(request),
            ctypes.c_void_p(self._message.ctypes.data),
        )
        if done == n * FRAME_BYTES:
            return self._rx[:n].copy()
        code = ctypes.get_errno()
        if done < 0 and code in (errno.EMSGSIZE, errno.ENOTTY, errno.EINVAL):
            raise BatchRefusedError(
                f"{self._name} takes no batch of {n} conversions ({os.strerror(code)})"
            )
        what = os.strerror(code) if done < 0 else f"{done} of {n * FRAME_BYTES} bytes exchanged"
        raise HardwareError(f"{self._name}: {what}; check the wiring of the MCP3008")

    def _exchange_plain(self, tx: NDArray[np.uint8]) -> NDArray[np.uint8]:
        try:
            received = [self._spi.xfer2(frame) for frame in tx.tolist()]
        except OSError as error:
            raise HardwareError(
                f"{self._name}: {error.strerror or error}; check the wiring of the MCP3008"
            ) from error
        return np.array(received, np.uint8)

    def close(self) -> None:
        """Close the device."""
        self._spi.close()


def batch_limit(bufsiz: int, *, bits: int = 64) -> int:
    """How many conversions fit into one message of a driver with this ``bufsiz``.

    The driver rounds each transfer up to the size of a DMA cache line: 128 bytes on 64-bit ARM,
    64 on 32-bit. The default of 4096 bytes therefore takes 32 conversions on a 64-bit system.
    """
    return max(1, min(BATCH_MAX, bufsiz // (128 if bits == 64 else 64)))


def open_spidev(
    bus: int, chip_select: int, speed_hz: int, *, bufsiz_path: Path = BUFSIZ_PATH
) -> SpidevAdc:
    """Open /dev/spidevB.C for an MCP3008, with the largest batch its driver takes.

    Raises:
        HardwareError: the device is not there or may not be opened.
    """
    import spidev

    name = f"/dev/spidev{bus}.{chip_select}"
    spi = spidev.SpiDev()
    try:
        spi.open(bus, chip_select)
        spi.mode = 0
        spi.max_speed_hz = speed_hz
    except OSError as error:
        raise HardwareError(
            f"cannot open {name}: {error.strerror or error}; enable SPI with raspi-config "
            "(Interface Options) and let the user be in the group spi"
        ) from error
    try:
        bufsiz = int(bufsiz_path.read_text())
    except (OSError, ValueError):
        bufsiz = 4096  # the kernel's own default, when it does not say
    bits = 8 * ctypes.sizeof(ctypes.c_void_p)
    return SpidevAdc(spi, name, speed_hz, batch_limit(bufsiz, bits=bits))


def measure_timing(
    adc: Adc, channels: Sequence[int], batch: int, clock_ns: Callable[[], int]
) -> BusTiming:
    """Time whole and half batches; their difference is bus time without the call's own cost.

    The period decides the skew between the channels, so it is measured, not assumed.
    """

    def taken_ns(tx: NDArray[np.uint8]) -> list[int]:
        taken = []
        for _ in range(max(TIMING_REPEATS, TIMING_CONVERSIONS // batch)):
            before = clock_ns()
            adc.transfer(tx)
            taken.append(clock_ns() - before)
        return taken

    whole = taken_ns(frames(channels, batch))
    usual_ns = float(np.median(whole))
    if batch < 4:
        return BusTiming(usual_ns / batch, usual_ns)
    # What disturbs a call only makes it longer: the shortest ones are the bus itself.
    half = taken_ns(frames(channels, batch // 2))
    return BusTiming((min(whole) - min(half)) / (batch - batch // 2), usual_ns)


def read_block(
    adc: Adc,
    channels: Sequence[int],
    *,
    batches: int,
    batch: int,
    timing: BusTiming,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> SampleBlock:
    """Read ``batches`` batches of ``batch`` conversions, each with its instant.

    Conversions stand evenly around the middle of their batch. A batch that took much longer than
    usual was preempted, nobody knows where in it: its samples are marked invalid.
    """
    assert batch % len(channels) == 0
    tx = frames(channels, batch)
    spread_ns = np.rint((np.arange(batch) - (batch - 1) / 2) * timing.period_ns).astype(np.int64)
    limit_ns = timing.batch_ns * PREEMPTED_FACTOR + PREEMPTED_EXTRA_NS
    rx = np.empty((batches, batch, FRAME_BYTES), np.uint8)
    t_ns = np.empty((batches, batch), np.int64)
    valid = np.ones(batches, np.bool_)
    for number in range(batches):
        before_ns = clock_ns()
        rx[number] = adc.transfer(tx)
        after_ns = clock_ns()
        t_ns[number] = (before_ns + after_ns) // 2 + spread_ns
        valid[number] = after_ns - before_ns <= limit_ns
    turns = batch // len(channels)
    return SampleBlock(
        channels=tuple(channels),
        codes=codes(rx.reshape(-1, FRAME_BYTES)).reshape(-1, len(channels)),
        t_ns=t_ns.reshape(-1, len(channels)),
        valid=np.repeat(valid, turns),
        flags=Quality.GOOD if valid.all() else Quality.PREEMPTED,
    )


def whole_batch(channels: Sequence[int], batch_max: int) -> int:
    """The largest batch up to ``batch_max`` that asks each channel equally often."""
    return max(len(channels), batch_max // len(channels) * len(channels))


class Acquisition:
    """Gapless reading in a thread of its own, into a bounded queue.

    Iterating yields blocks in order. When the reader is so slow that the queue is full, the
    newest block is given up and counted in ``lost_blocks``; the hole shows in the instants, so
    whoever measures flags it. An ADC that fails ``RETRY_MAX`` times in a row ends the thread, and
    the iteration raises its HardwareError.
    """

    def __init__(
        self,
        read: Callable[[], SampleBlock],
        *,
        capacity: int = 64,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read, self._wait = read, wait
        self._queue: queue.Queue[SampleBlock] = queue.Queue(capacity)
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="acquire", daemon=True)
        self.lost_blocks = 0

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def request_stop(self) -> None:
        """End reading after the block at hand; the blocks read so far can still be taken."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end after a request to stop."""
        self._thread.join(timeout_s)

    def __iter__(self) -> Iterator[SampleBlock]:
        while True:
            try:
                yield self._queue.get(timeout=0.2)
            except queue.Empty:
                if self._thread.is_alive() or not self._queue.empty():
                    continue
                if self._failure is not None:
                    raise self._failure from None
                return

    def _run(self) -> None:
        try:
            self._read_until_stopped()
        except Exception as failure:  # noqa: BLE001  the reader of the queue raises it
            self._failure = failure

    def _read_until_stopped(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._offer(self._read())
                failures = 0
            except HardwareError as error:
                failures += 1
                log.warning("%s (try %d of %d)", error, failures, RETRY_MAX)
                if failures == RETRY_MAX:
                    raise
                self._wait(RETRY_WAIT_S * failures)

    def _offer(self, block: SampleBlock) -> None:
        try:
            self._queue.put_nowait(block)
        except queue.Full:
            self.lost_blocks += 1
            log.warning("measuring is too slow: %d blocks given up", self.lost_blocks)
