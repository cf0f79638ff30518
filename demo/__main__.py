"""``python -m demo``, which ``make demo`` calls."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.live import Live

from demo import customer, desk, folder, programs, terminal
from demo.desk import Desk
from demo.errors import DemoError, EndedError
from demo.programs import Program

LOOK_EVERY_S = 0.1
LISTENING_WITHIN_S = 60.0
READING_EXPECTED_S = 20.0
MAINS_DEFAULT = "voltage=127 current=6 pf=0.95 i3=8 v5=1.5 vary=90"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Ended = Callable[[], bool]
FirstReading = Future[tuple[float, str] | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The command's options."""

    folder: Path
    port: int | None
    seconds: float | None
    mains: str
    waveform: Path | None


@click.command()
@click.option("--state-dir", type=click.Path(path_type=Path), default=Path("demo-state"))
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 8080, or a free one.")
@click.option("--seconds", type=click.FloatRange(1, 86_400), help="End by itself after so long.")
@click.option("--mains", default=MAINS_DEFAULT, show_default=True, help="What the socket gives.")
@click.option("--waveform", type=click.Path(path_type=Path), help="A recording, .csv or .npz.")
def main(
    state_dir: Path, port: int | None, seconds: float | None, mains: str, waveform: Path | None
) -> None:
    """Server, meter and synchronisation on this machine, with a simulated mains socket."""
    wanted = Wanted(
        state_dir.absolute(), port, seconds, mains, waveform.absolute() if waveform else None
    )
    console = Console()
    signals: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        run(wanted, console, lambda: bool(signals))
    except EndedError:
        say(console, "Ended.")
    except DemoError as error:
        say(Console(stderr=True), f"Error: {error}")
        sys.exit(1)
    except OSError as gone:
        if gone.errno not in (errno.EIO, errno.EPIPE):
            raise
        # Nobody listens any more. What is still buffered for the terminal must not fail again
        # while Python ends, or the exit status would be another one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def run(wanted: Wanted, console: Console, ended: Ended) -> None:
    """The whole demonstration.

    Raises:
        DemoError: something cannot be used, a program ended by itself, or no reading reached the
            page within ``wanted.seconds``.
        EndedError: ``ended`` said so.
    """
    with folder.fresh(wanted.folder) as emptied:
        again = ", emptied of an earlier demonstration" if emptied else ""
        say(console, f"State folder: {wanted.folder}{again}")
        place = Desk(wanted.folder, desk.free_port(wanted.port))
        desk.write_configuration(place, wanted.mains, wanted.waveform)
        _step(console, ended, "Checking the configuration with meterctl check")
        desk.check(place)
        _step(console, ended, "Creating a customer and a meter with meterd-server")
        registered = desk.register(place)
        started: list[Program] = []
        try:
            _step(console, ended, "Starting meterd-server, meterd and meterd-sync")
            began_s = time.monotonic()
            _start(place, registered.claim_code, started, ended)
            _introduce(console, place, registered.password)
            with _looking(place, registered.password) as first:
                watch(wanted, console, started, first, began_s, ended)
        finally:
            _stop(console, started)


def _start(place: Desk, claim_code: str, started: list[Program], ended: Ended) -> None:
    """Start the programs into ``started``, so that whoever called can end them whatever happens."""
    at = ("--config", desk.CONFIGURATION)
    started.append(
        programs.start(
            place.folder,
            "meterd-server",
            *("run", "--database", place.database, "--host", desk.HOST, "--json"),
            *("--port", str(place.port), "--url-scheme", "http", "--proxies", "0"),
        )
    )
    started.append(programs.start(place.folder, "meterd", *at, "--print-screens"))
    _wait_until_listening(started, ended)
    desk.claim(place, claim_code)
    started.append(programs.start(place.folder, "meterd-sync", *at))


def _wait_until_listening(started: Sequence[Program], ended: Ended) -> None:
    server = started[0]
    while not server.answers:
        _go_on(started, ended)
        if time.monotonic() - server.started_s > LISTENING_WITHIN_S:
            raise DemoError(f"{server.name} did not listen within {LISTENING_WITHIN_S:.0f} s")
        time.sleep(LOOK_EVERY_S)


def _go_on(started: Sequence[Program], ended: Ended) -> None:
    if ended():
        raise EndedError
    programs.require_running(started)


def _introduce(console: Console, place: Desk, password: str) -> None:
    say(console, "")
    say(console, f"  Address:  {place.address}")
    say(console, f"  Login:    {desk.USER}")
    say(console, f"  Password: {password}")
    say(console, "")


@contextmanager
def _looking(place: Desk, password: str) -> Iterator[FirstReading]:
    """Look at the page in a thread of its own: an answer may take longer than a redrawing."""
    stop = threading.Event()
    look = partial(customer.first_reading, place.address, desk.USER, password, stop=stop)
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(look)
        finally:
            stop.set()


def watch(
    wanted: Wanted,
    console: Console,
    started: Sequence[Program],
    first: FirstReading,
    began_s: float,
    ended: Ended,
) -> None:
    """Draw what server, meter and the others do, until the end.

    Raises:
        DemoError: a program ended by itself, or no reading reached the page within
            ``wanted.seconds``.
        EndedError: ``ended`` said so.
    """
    glass, told = terminal.Glass(), Told()
    with _drawn(console) as drawer:
        while wanted.seconds is None or time.monotonic() - began_s < wanted.seconds:
            _go_on(started, ended)
            _tell(console, first, began_s, told)
            screens = map(terminal.screen_of, reversed(tuple(started[1].answers)))
            glass.look(next((screen for screen in screens if screen), terminal.BLANK))
            drawer.draw(glass.shown, terminal.states_of(started))
            time.sleep(LOOK_EVERY_S)
    if not told.reading:
        raise DemoError(f"no reading was on the customer's page after {wanted.seconds:g} s")
    say(console, f"Ended after {wanted.seconds:g} s, as asked.")


@dataclass(slots=True)
class Told:
    """What the watcher of the page has said already."""

    reading: bool = False
    late: bool = False


def _tell(console: Console, first: FirstReading, began_s: float, told: Told) -> None:
    if told.reading:
        return
    if first.done():
        found = first.result()
        assert found is not None  # it is stopped after the watching alone
        found_s, power = found
        say(console, f"First reading on the page after {found_s - began_s:.1f} s: {power}")
        told.reading = True
    elif not told.late and time.monotonic() - began_s > READING_EXPECTED_S:
        say(console, f"No reading on the page after {READING_EXPECTED_S:.0f} s yet; waiting.")
        told.late = True


@contextmanager
def _drawn(console: Console) -> Iterator[terminal.Redrawn | terminal.Appended]:
    if not console.is_terminal:
        yield terminal.Appended(console)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield terminal.Redrawn(live)


def _step(console: Console, ended: Ended, sentence: str) -> None:
    if ended():
        raise EndedError
    say(console, f"{sentence} ...")


def _stop(console: Console, started: Sequence[Program]) -> None:
    if not started:
        return
    try:
        say(console, "Ending the programs ...")
    finally:  # nobody may be listening: the terminal was closed, the pipe has broken
        killed = programs.stop(started)
    for name in killed:
        say(console, f"{name} did not end within {programs.STOP_TIMEOUT_S:.0f} s: killed")


def say(console: Console, sentence: str) -> None:
    """A line as it is: no colours, no wrapping, no interpretation."""
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
