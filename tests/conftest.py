"""What all tests share: the long runs are asked for by name."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="Run the long counts of docs/reliability.md."
    )


def pytest_configure(config: pytest.Config) -> None:
    # tests/crash takes its counts while it is imported
    if config.getoption("--torture"):
        os.environ["METERD_TORTURE"] = "1"


@pytest.fixture(scope="session")
def torture(request: pytest.FixtureRequest) -> bool:
    """Whether the long runs are asked for."""
    return bool(request.config.getoption("--torture"))
