"""What all tests share: the long runs are asked for by name."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", action="store_true", help="Run the long counts of docs/reliability.md."
    )


@pytest.fixture(scope="session")
def torture(request: pytest.FixtureRequest) -> bool:
    """Whether the long runs are asked for."""
    return bool(request.config.getoption("--torture"))
