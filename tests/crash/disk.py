"""A disk whose power can be cut: ext4 in a file, on a loop device, shut down by its own ioctl.

FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH stops the file system at once: what was not flushed
stays in memory and is dropped. What was, is on the device. Mounting again replays the journal.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .ending import folder_name

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
SIZE_BYTES = 32 * 1024 * 1024
JOURNAL_MIB = 4
COMMAND_TIMEOUT_S = 60.0
UNMOUNT_TRIES = 100


class Disk:
    """A small disk that is mounted at ``folder`` while it is in use."""

    def __init__(self, place: Path, size_bytes: int = SIZE_BYTES) -> None:
        self.folder = place / folder_name()
        self._image, self._size_bytes = place / "image", size_bytes
        self.folder.mkdir(parents=True)

    def format(self) -> None:
        """Begin with an empty file system."""
        self._image.unlink(missing_ok=True)
        with self._image.open("wb") as image:
            image.truncate(self._size_bytes)
        now = "lazy_itable_init=0,lazy_journal_init=0"
        journal = ["-J", f"size={JOURNAL_MIB}"] if self._size_bytes > 16 << 20 else []
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", now, *journal, str(self._image))

    def mount(self) -> None:
        """Put it in; what the journal holds is replayed."""
        _run("mount", "-o", "loop", str(self._image), str(self.folder))

    def cut_power(self) -> None:
        """From this call on, nothing more reaches the disk."""
        place = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flags = ctypes.c_uint32(NO_LOG_FLUSH)
            fcntl.ioctl(place, FS_IOC_SHUTDOWN, bytes(flags))
        finally:
            os.close(place)

    def unmount(self) -> None:
        """Take it out; a process that was killed a moment ago may still hold it."""
        for _ in range(UNMOUNT_TRIES):
            tried = subprocess.run(
                ["umount", str(self.folder)], capture_output=True, check=False, timeout=60
            )
            if tried.returncode == 0:
                return
            time.sleep(0.02)
        raise RuntimeError(tried.stderr.decode())

    def remove(self) -> None:
        """Leave nothing mounted, whatever happened."""
        while os.path.ismount(self.folder):
            _run("umount", "--lazy", str(self.folder))


@contextlib.contextmanager
def inserted(disk: Disk) -> Iterator[Path]:
    """The disk's folder while it is mounted."""
    disk.mount()
    try:
        yield disk.folder
    finally:
        disk.unmount()


@functools.cache
def cannot_cut_power(place: Path) -> str | None:
    """Why this machine cannot do it; None: it can."""
    if os.geteuid() != 0:
        return "needs root: a file system is mounted and shut down"
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            return f"needs {program}: apt install e2fsprogs mount"
    disk = Disk(place)
    try:
        disk.format()
        with inserted(disk):
            disk.cut_power()
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        return f"needs loop devices and ext4: {error} {said.decode().strip()}"
    finally:
        disk.remove()
    return None


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=COMMAND_TIMEOUT_S)
