"""What the commands share: where the configuration is, how an error ends them, who has the ADC."""

from __future__ import annotations

import fcntl
import getpass
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from meterd import config as configuration
from meterd.config import Config
from meterd.errors import ConfigError, HardwareError, MeterdError

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd is told not to retry it."""

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=configuration.DEFAULT_PATH,
    show_default=True,
    help="The meter's configuration, a TOML file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")


@contextmanager
def sentences() -> Iterator[None]:
    """Let an error of ours end the command with its sentence and an exit status."""
    try:
        yield
    except MeterdError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError) else 1)


def who(given: str | None, environment: Mapping[str, str]) -> str:
    """The person at the keyboard: as given, or who called sudo, or whose login it is."""
    return given or environment.get("SUDO_USER") or getpass.getuser()


@contextmanager
def adc_alone(config: Config, otherwise: str) -> Iterator[None]:
    """Hold the lock that meterd holds while it measures: two readers of one ADC spoil both.

    ``otherwise`` says what to do when meterd runs. Where meterd never ran there is nothing to
    hold; the lock is not made here, because meterd's user could not open one of root's.

    Raises:
        HardwareError: meterd runs, or nobody may know whether it does.
    """
    path = config.meter.readings_path
    beside = path.with_name(path.name + ".lock")
    if not beside.exists():
        yield
        return
    try:
        lock = os.open(beside, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HardwareError(
            f"cannot tell whether meterd is running: {beside}: {error.strerror}; run this as root "
            "or as meterd's user"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HardwareError(f"meterd is running and reads this ADC: {otherwise}") from error
        yield
    finally:
        os.close(lock)
