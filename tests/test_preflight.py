"""What a machine lacks is named with its package, before anything is built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PREFLIGHT = Path(__file__).parents[1] / "tools" / "preflight.sh"
ASKED_OF_A_PYTHON = ("dirname", "sh")


def machine(folder: Path, *, pythons: dict[str, str], commands: tuple[str, ...] = ()) -> Path:
    """A folder for PATH with these commands alone; ``pythons`` are shell scripts by their name."""
    for name in (*ASKED_OF_A_PYTHON, *commands):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    for name, script in pythons.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def preflight(
    path: Path | str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PREFLIGHT), *arguments],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def this_python(more: str = "") -> str:
    return f'{more}exec {sys.executable} "$@"'


def apt_line(answer: subprocess.CompletedProcess[str]) -> list[str]:
    lines = [line for line in answer.stderr.splitlines() if "apt-get" in line]
    assert len(lines) == 1, answer.stderr
    return lines[0].split()


def test_a_machine_without_a_compiler_is_told_gcc(tmp_path: Path) -> None:
    path = machine(tmp_path, pythons={"python3": this_python()})
    answer = preflight(path)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert apt_line(answer)[:3] == ["sudo", "apt-get", "install"]
    assert {"gcc", "libc6-dev"} <= set(apt_line(answer))


def test_a_compiler_that_is_named_but_absent_is_named_in_the_message(tmp_path: Path) -> None:
    path = machine(tmp_path, pythons={"python3": this_python()})
    answer = preflight(path, CC="arm-gcc -O2")
    assert "arm-gcc" in answer.stderr


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_or_ensurepip_is_told_its_venv_package(
    tmp_path: Path, module: str
) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    hook.joinpath("sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "found = u.find_spec\n"
        f"u.find_spec = lambda name, *more: None if name == {module!r} else found(name, *more)\n"
    )
    path = machine(tmp_path, pythons={"python3": this_python(f"PYTHONPATH={hook} ")})
    packages = preflight(path, "--packages").stdout.split()
    assert [package for package in packages if package.endswith("-venv")], packages


def test_a_python_without_its_header_is_told_its_dev_package(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    hook.joinpath("sitecustomize.py").write_text(
        f"import sysconfig\nsysconfig.get_path = lambda name: {str(tmp_path)!r}\n"
    )
    path = machine(tmp_path, pythons={"python3": this_python(f"PYTHONPATH={hook} ")})
    answer = preflight(path)
    assert [word for word in apt_line(answer) if word.endswith("-dev") and "python3" in word]
    assert "Python.h" in answer.stderr


def test_a_machine_whose_python_is_too_old_is_told_one_that_is_not(tmp_path: Path) -> None:
    path = machine(tmp_path, pythons={"python3": "exit 1"})
    answer = preflight(path)
    assert answer.returncode == 1
    assert {"python3.11", "python3.11-venv", "python3.11-dev"} <= set(apt_line(answer))


def test_a_machine_without_python_is_told_the_distributions(tmp_path: Path) -> None:
    answer = preflight(machine(tmp_path, pythons={}))
    assert {"python3", "python3-venv", "python3-dev", "gcc"} <= set(apt_line(answer))


def test_a_launcher_that_only_pretends_is_passed_over(tmp_path: Path) -> None:
    pythons = {"python3.13": "exit 127", "python3.12": this_python(), "python3": "exit 127"}
    path = machine(tmp_path, pythons=pythons)
    answer = preflight(path, CC=f"{sys.executable} -c pass")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "python3.12\n"


def test_a_complete_python_is_taken_before_a_newer_one_that_lacks_something(
    tmp_path: Path,
) -> None:
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    lacking.joinpath("sitecustomize.py").write_text(
        f"import sysconfig\nsysconfig.get_path = lambda name: {str(tmp_path)!r}\n"
    )
    pythons = {"python3.13": this_python(f"PYTHONPATH={lacking} "), "python3.11": this_python()}
    path = machine(tmp_path, pythons=pythons)
    answer = preflight(path, CC=f"{sys.executable} -c pass")
    assert answer.stdout == "python3.11\n", answer.stderr


def test_the_machine_that_runs_the_tests_lacks_nothing() -> None:
    answer = preflight(os.environ["PATH"], PYTHON=sys.executable)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"{sys.executable}\n"
