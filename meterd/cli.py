"""The command meterctl, and the two programs of the meter beside it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from meterd import (
    __version__,
    analyze,
    condition,
    plot,
    recording,
    store,
    sync,
    wire,
)
from meterd import config as configuration
from meterd.cli_calibrate import calibrate_group
from meterd.cli_record import events_command, export_command, key_group, verify_command
from meterd.cli_watch import watch_command
from meterd.command import EXIT_CONFIG, config_option, json_option, sentences
from meterd.model import Reading
from meterd.programs import meterd, meterd_sync

__all__ = ["EXIT_CONFIG", "meterctl", "meterd", "meterd_sync"]


@click.group()
@click.version_option(__version__)
def meterctl() -> None:
    """Look after a meter: how it is, what it measured, its calibration, its record as evidence."""


meterctl.add_command(calibrate_group)
meterctl.add_command(watch_command)
meterctl.add_command(verify_command)
meterctl.add_command(export_command)
meterctl.add_command(events_command)
meterctl.add_command(key_group)


@meterctl.command()
@config_option
@json_option
def status(path: Path, as_json: bool) -> None:
    """Say how the meter is doing and what to do about it.

    Exit status 1 when something is wrong.
    """
    with sentences():
        config = configuration.load(path)
        now_utc_s = time.time()
        found = condition.find_out(config, now_utc_s)
    if as_json:
        click.echo(json.dumps(condition.status_json(config, found, now_utc_s)))
    else:
        for line in condition.status_words(config, found, now_utc_s):
            click.echo(line)
    sys.exit(1 if found.problems else 0)


@meterctl.command()
@config_option
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True, help="Print the stored lines as they are.")
def readings(path: Path, count: int, as_json: bool) -> None:
    """Show the last stored readings, oldest first."""
    with sentences():
        config = configuration.load(path)
        reader = store.open_reader(config.meter.readings_path)
        try:
            rows = store.recent(reader, count)
        finally:
            store.close_reader(reader)
        if as_json:
            for _, line in rows:
                click.echo(line)
        else:
            Console().print(_table([wire.decode(line) for _, line in rows]))


def _table(rows: list[Reading]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in (
        "seq",
        "end (UTC)",
        "V",
        "A",
        "W",
        "PF",
        "Hz",
        "import kWh",
        "export kWh",
        "flags",
    ):
        table.add_column(name, justify="left" if name in ("end (UTC)", "flags") else "right")
    for row in rows:
        table.add_row(
            str(row.seq),
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.end_utc_s)),
            *(
                "—" if value is None else f"{value:.{decimals}f}"
                for value, decimals in (
                    (row.voltage_v, 2),
                    (row.current_a, 3),
                    (row.power_w, 1),
                    (row.power_factor, 3),
                    (row.frequency_hz, 3),
                    (row.import_j / 3.6e6, 4),
                    (row.export_j / 3.6e6, 4),
                )
            ),
            " ".join(row.flags),
        )
    return table


@meterctl.command()
@config_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Try the configuration, the ADC, the display and the state folder.

    Stop meterd first: both would read the same ADC.
    """
    with sentences():
        config = configuration.load(path)
        place = configuration.calibration_path(path)
        calibrations = tuple(
            configuration.load_calibration(place, circuit.role) for circuit in config.in_order
        )
        findings = list(condition.check(config, calibrations))
    if as_json:
        click.echo(json.dumps([{"what": f.what, "ok": f.fine, "said": f.said} for f in findings]))
    else:
        click.echo(f"ok      configuration: {path}")
        for finding in findings:
            click.echo(f"{'ok' if finding.fine else 'FAILED':7} {finding.what}: {finding.said}")
    sys.exit(0 if all(finding.fine for finding in findings) else 1)


@meterctl.command()
@config_option
@click.argument("code")
def claim(path: Path, code: str) -> None:
    """Make this meter known to its server with the operator's claim CODE, such as K7QM-2XWD."""
    with sentences():
        config = configuration.load(path)
        sync.claim_over_http(config, code)
    click.echo(f"meter {config.meter.serial} is claimed at {config.sync.server}")


@meterctl.command("analyze")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "from_s", type=float, help="Begin here, in the recording's seconds.")
@click.option("--to", "to_s", type=float, help="End here.")
@click.option("--adc", "chain", is_flag=True, help="Through front end, MCP3008 and acquisition.")
@click.option(
    "--nominal-v",
    type=click.FloatRange(min=0, min_open=True),
    help="Events are measured against it; without it, against what the recording seems to be of.",
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Draw waveform, Urms(1/2), spectrum and phasors into this .png or .svg.",
)
@json_option
def analyze_file(
    file: Path,
    from_s: float | None,
    to_s: float | None,
    chain: bool,
    nominal_v: float | None,
    plot_path: Path | None,
    as_json: bool,
) -> None:
    """Measure a recorded waveform with the meter's own code.

    FILE is CSV with the columns time_s, voltage_v, current_a, or .npz with fs, volts, amps.
    """
    with sentences():
        if plot_path is not None:
            plot.check(plot_path)
        whole = recording.load(file)
        result = analyze.analyze(whole, from_s=from_s, to_s=to_s, chain=chain, nominal_v=nominal_v)
        if plot_path is not None:
            plot.draw(
                plot_path,
                plot.Picture(
                    name=file.name,
                    waveform=result.waveform,
                    quantities=result.quantities,
                    half_cycles=result.half_cycles,
                    nominal_v=result.nominal_v,
                    events=result.events,
                ),
            )
    if as_json:
        click.echo(json.dumps(analyze.as_json(result), allow_nan=False))
    else:
        for line in analyze.as_words(result):
            click.echo(line)
