"""The folder that a run of the demonstration lives in, new each time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.errors import DemoError

LOCK_NAME = "demo.lock"
"""Held while a demonstration runs; that it is there also says that the folder is ours to empty."""


@contextmanager
def fresh(folder: Path) -> Iterator[bool]:
    """Hold ``folder`` for one run, empty; the value says whether an earlier run's was emptied.

    Raises:
        DemoError: the folder holds something else, another run has it, or the disk refuses.
    """
    try:
        _refuse_strangers(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DemoError(f"cannot use the folder {folder}: {error.strerror}") from error
    try:
        _hold(lock, folder)
        yield _empty(folder)
    finally:
        os.close(lock)


def _refuse_strangers(folder: Path) -> None:
    if folder.exists() and not (folder / LOCK_NAME).exists() and any(folder.iterdir()):
        raise DemoError(
            f"{folder} holds something that is not of a demonstration, and would be emptied: "
            "name another folder with --state-dir"
        )


def _hold(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DemoError(
            f"another demonstration runs in {folder}: end it, or name another folder with "
            "--state-dir"
        ) from error


def _empty(folder: Path) -> bool:
    earlier = [path for path in folder.iterdir() if path.name != LOCK_NAME]
    for path in earlier:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return bool(earlier)
