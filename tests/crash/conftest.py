"""Disks and programs that are gone when the test is, however it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardware.conftest import board, shim

from . import ending
from .disk import Disk, cannot_cut_power
from .programs import Programs
from .writers import Writers

__all__ = ["board", "shim"]


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays() -> Iterator[None]:
    with ending.sigterm_runs_the_ends():
        yield


@pytest.fixture(scope="session")
def _power(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    if os.geteuid() == 0:
        ending.take_out_forgotten_disks()
    return cannot_cut_power(tmp_path_factory.mktemp("probe"))


@pytest.fixture
def disk(_power: str | None, tmp_path: Path) -> Iterator[Disk]:
    if _power is not None:
        pytest.skip(_power)
    disk = Disk(tmp_path / "disk")
    disk.format()
    yield disk
    disk.remove()


@pytest.fixture
def writers() -> Iterator[Writers]:
    started = Writers()
    yield started
    started.close()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    started = Programs(tmp_path)
    yield started
    started.kill_all()
