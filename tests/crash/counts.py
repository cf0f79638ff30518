"""How often each thing is done to the meter: a few times in `make test`, as promised in torture.

``pytest --torture`` sets METERD_TORTURE (tests/conftest.py).
"""

from __future__ import annotations

import os

TORTURE = os.environ.get("METERD_TORTURE", "") not in ("", "0")


def count(name: str, *, quick: int, torture: int) -> int:
    """``METERD_<NAME>`` where it is set, else by whether the long run was asked for."""
    given = os.environ.get(f"METERD_{name}")
    if given:
        return int(given)
    return torture if TORTURE else quick


def seed() -> int:
    """Where all chances begin; METERD_SEED repeats a run."""
    return int(os.environ.get("METERD_SEED", "1"))
