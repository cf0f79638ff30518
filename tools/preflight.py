"""Name what the running Python lacks to build and hold this project, one thing a line.

A line is the apt package, a space, and what it brings. Called by preflight.sh.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

TIMEOUT_S = 60
SYSTEM_PYTHON = "/usr/bin/python3"


def main() -> None:
    """Print every missing package once."""
    prefix = package_prefix()
    for line in dict.fromkeys([*missing_modules(prefix), *missing_for_c(prefix)]):
        print(line)


def package_prefix() -> str:
    """``python3`` for the distribution's own Python, ``python3.X`` for another beside it.

    Debian names them so: python3-venv brings that of its one python3, python3.13-venv another's.
    """
    release = f"{sys.version_info.major}.{sys.version_info.minor}"
    ask = [SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    if not Path(SYSTEM_PYTHON).exists():
        return f"python{release}"
    own = subprocess.run(ask, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return "python3" if own.stdout.strip() == release else f"python{release}"


def missing_modules(prefix: str) -> Iterator[str]:
    """Debian takes ensurepip, which venv needs, out of Python's own package."""
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        yield f"{prefix}-venv the modules venv and ensurepip of {sys.executable}"


def missing_for_c(prefix: str) -> Iterator[str]:
    """A compiler, the C library's headers and this Python's: spidev comes as C source."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    headers = sysconfig.get_path("include")
    found = shutil.which(compiler[0]) is not None
    if not found:
        yield f"gcc a C compiler ({compiler[0]})"
    if not found or not compiles(compiler, "#include <stdlib.h>\n"):
        yield "libc6-dev the headers of the C library"
    if not Path(headers, "Python.h").exists():
        yield f"{prefix}-dev Python.h of {sys.executable} (looked in {headers})"


def compiles(compiler: list[str], source: str) -> bool:
    """Whether the compiler finds what the source includes."""
    command = [*compiler, "-fsyntax-only", "-x", "c", "-"]
    done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=TIMEOUT_S)
    return done.returncode == 0


if __name__ == "__main__":
    main()
