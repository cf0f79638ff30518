"""What `make wheels` asks pip for; the answer itself needs the network and is CI's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import wheels

SETUP = """
[options]
install_requires =
    numpy>=1.26
    spidev>=3.6
    # a remark
    apscheduler>=3.10,<4
[options.extras_require]
relay =
    lgpio
    gpiozero>=2
test =
    pytest
"""


def test_all_that_a_meter_may_install_is_asked_for_but_what_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_text(SETUP)
    asked = wheels.device_requirements(tmp_path / "setup.cfg")
    assert asked == ["numpy>=1.26", "apscheduler>=3.10,<4", "gpiozero>=2"]


def test_the_projects_own_file_is_understood() -> None:
    names = {wheels.name(line) for line in wheels.device_requirements(wheels.ROOT / "setup.cfg")}
    assert {"numpy", "rplcd", "cryptography", "logging-journald"} <= names
    assert not names & set(wheels.COMPILED)


def test_wheels_for_older_c_libraries_run_and_for_newer_ones_do_not() -> None:
    tags = wheels.platforms(wheels.PYTHONS["3.11"])
    assert {"manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_36_aarch64"} <= {*tags}
    assert "manylinux_2_37_aarch64" not in tags
    assert not [tag for tag in tags if not tag.endswith("_aarch64")]


def test_a_dependency_without_a_wheel_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "onlysource-1.0.tar.gz"
    source.write_bytes(b"")
    with pytest.raises(subprocess.CalledProcessError):
        wheels.resolve([str(source)], "3.11")
