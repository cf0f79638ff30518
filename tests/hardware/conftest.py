"""The shim, built once, and a fresh board for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .board import Board

SOURCE = Path(__file__).with_name("shim.c")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux":
        pytest.skip("the devices are Linux's, and so is LD_PRELOAD")
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C compiler: apt install gcc libc6-dev")
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [*compiler, *flags, "-o", built, SOURCE, "-ldl", "-lpthread"], check=True, timeout=60
    )
    return built


@pytest.fixture
def board(shim: Path) -> Iterator[Board]:
    # A socket's path may have 107 bytes, which pytest's own folders can exceed.
    with tempfile.TemporaryDirectory(prefix="meterd") as folder:
        board = Board(shim, Path(folder))
        yield board
        board.close()
