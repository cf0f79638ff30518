"""The programs meterd and meterd-sync, each with only what it needs in memory.

Each imports its own part when it starts: the meter has no library of the network in it, the sender
none of measuring, and neither those of meterctl. On a Raspberry Pi that is 15 MiB and a second.
"""

from __future__ import annotations

import logging
from pathlib import Path

import click

import meterd_journal
from meterd import __version__
from meterd.command import config_option, sentences
from meterd.model import Screen


@click.command()
@config_option
@click.option(
    "--print-screens",
    is_flag=True,
    help="Print what a simulated display shows, four lines joined by |, whenever it changes.",
)
@click.version_option(__version__)
def meterd(path: Path, print_screens: bool) -> None:
    """Measure, count, store and show, until SIGTERM.

    Exit status 78 means that the configuration must be corrected first.
    """
    from meterd import daemon

    meterd_journal.log_to_journal_or_stderr()

    def print_screen(screen: Screen) -> None:
        click.echo("LCD|" + "|".join(screen.lines))

    with sentences():
        daemon.main(path, print_screen if print_screens else None)


@click.command()
@config_option
@click.version_option(__version__)
def meterd_sync(path: Path) -> None:
    """Send what the server does not have yet, until SIGTERM."""
    from meterd import config, sync

    meterd_journal.log_to_journal_or_stderr()
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    with sentences():
        chosen = config.load(path)
        meterd_journal.always(METER=chosen.meter.serial)
        sync.run(chosen)
