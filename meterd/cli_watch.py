"""meterctl watch: frames on a terminal until q or Ctrl-C, or one after another into a pipe."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from meterd import config as configuration
from meterd import watch, wiring
from meterd.acquire import Acquisition
from meterd.command import adc_alone, config_option, sentences
from meterd.config import Config

REFRESH_S = 1.0
PIPE_WIDTH = 80
READ_INSTEAD = "stop it first (systemctl stop meterd), or look with meterctl watch --from-database"


@click.command("watch")
@config_option
@click.option("--from-database", is_flag=True, help="Show the last stored reading; meterd may run.")
@click.option("--once", is_flag=True, help="Print one frame and end.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after so long.")
@click.option(
    "--limit-w",
    type=click.FloatRange(min=0, min_open=True),
    help="Where the bar of the power ends; 20 A of nominal voltage where not given.",
)
def watch_command(
    path: Path, from_database: bool, once: bool, seconds: float | None, limit_w: float | None
) -> None:
    """Show live what the meter measures: values, power, harmonics, waveform.

    It reads the ADC itself, which meterd must not do at the same time. q or Ctrl-C ends it.
    """
    with sentences(), ExitStack() as stack:
        config = configuration.load(path)
        console = Console(highlight=False)
        width = console.width if console.is_terminal else PIPE_WIDTH
        limit = watch.limit_of(limit_w, config.meter.nominal_v)
        if from_database:
            frames = _from_database(config, width, limit)
        else:
            stack.enter_context(adc_alone(config, READ_INSTEAD))
            frames = _from_adc(path, config, width, limit, stack)
        try:
            _show(frames, console, once, seconds, REFRESH_S if from_database else 0.0)
        except KeyboardInterrupt:
            return


def _from_adc(
    path: Path, config: Config, width: int, limit_w: float, stack: ExitStack
) -> Iterator[Text]:
    place = configuration.calibration_path(path)
    calibrations = [
        configuration.load_calibration(place, circuit.role) for circuit in config.in_order
    ]
    converter = wiring.open_converter(config)
    stack.callback(converter.close)
    acquisition = Acquisition(wiring.block_reader(converter, config))
    stack.callback(acquisition.join, 1.0)
    stack.callback(acquisition.request_stop)
    acquisition.start()
    energy = watch.energy_if_any(config)  # nobody counts while meterd stands still
    for quantities, cycle in watch.measured(iter(acquisition), config, calibrations):
        yield watch.frame(
            quantities,
            cycle,
            energy,
            width,
            title=config.meter.serial,
            limit_w=limit_w,
            roles=config.further_roles,
        )


def _from_database(config: Config, width: int, limit_w: float) -> Iterator[Text]:
    """The last stored reading, each time it is asked for."""
    while True:
        reading, energy = watch.stored(config)
        title = f"{config.meter.serial}   no reading is stored yet"
        if reading is not None:
            ended = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(reading.end_utc_s))
            title = f"{config.meter.serial}   mean of the interval to {ended} UTC"
        yield watch.frame(reading, None, energy, width, title=title, limit_w=limit_w)


def _show(
    frames: Iterator[Text],
    console: Console,
    once: bool,
    seconds: float | None,
    pause_s: float,
) -> None:
    """Show frames until they end, ``seconds`` have passed or q is pressed."""
    until_s = None if seconds is None else time.monotonic() + seconds

    def over() -> bool:
        return once or (until_s is not None and time.monotonic() >= until_s)

    if once or not console.is_terminal:
        for number, picture in enumerate(frames):
            click.echo(("\n" if number else "") + picture.plain)
            if over():
                return
            time.sleep(pause_s)
        return
    with (
        _quit_key() as pressed_within,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        for picture in frames:
            live.update(picture, refresh=True)
            if over() or pressed_within(pause_s):
                return


@contextmanager
def _quit_key() -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds for the key q; the terminal is put back after."""
    if not sys.stdin.isatty():
        yield _nothing_pressed
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed_within(pause_s: float) -> bool:
        ready, _, _ = select.select([keyboard], [], [], pause_s)
        return bool(ready) and b"q" in os.read(keyboard, 64).lower()

    try:
        tty.setcbreak(keyboard)
        yield pressed_within
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _nothing_pressed(pause_s: float) -> bool:
    time.sleep(pause_s)
    return False
