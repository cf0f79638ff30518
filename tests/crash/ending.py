"""Nothing outlives pytest: no process, no mounted disk, however it ended.

SIGTERM runs the fixtures' ends. SIGKILL runs nothing: the kernel ends the programs, and the next
run takes out the disks.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

PR_SET_PDEATHSIG = 1
WITH_PARENT = f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}); "
"""Python code that lets a program end when what started it does."""
FOLDER = re.compile(r" (\S*/meterd-disk-(\d+)) ")
MOUNTS = Path("/proc/self/mounts")


def end_with_parent() -> None:
    """As :data:`WITH_PARENT`; a fork must ask again."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def folder_name() -> str:
    """Of a disk that belongs to this process."""
    return f"meterd-disk-{os.getpid()}"


def take_out_forgotten_disks() -> list[str]:
    """Unmount what processes that are gone have left; the folders."""
    forgotten = [
        folder
        for folder, pid in FOLDER.findall(MOUNTS.read_text())
        if not Path("/proc", pid).exists()
    ]
    for folder in forgotten:
        subprocess.run(["umount", "--lazy", folder], check=False, timeout=60)
    return forgotten


@contextmanager
def sigterm_runs_the_ends() -> Iterator[None]:
    """SIGTERM ends pytest as Ctrl-C does, not at once."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        pytest.exit("ended by SIGTERM", 128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
