"""meterctl calibrate: the guided calibration, single quantities, and the history."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from meterd import calibrate, wiring
from meterd import config as configuration
from meterd.calibration import guide, history, uncertainty
from meterd.calibration.history import Adjustment, Change, Origin
from meterd.calibration.observation import Observation
from meterd.calibration_dialog import Bench, Wanted, guided, observed
from meterd.command import adc_alone, config_option, json_option, sentences, who
from meterd.errors import ConfigError
from meterd.model import Calibration

STOP_METERD = "systemctl stop meterd, and start it again after the calibration"
HISTORY_WIDTH = 110
seconds_option = click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(1, 600),
    help="How long to measure.",
)
circuit_option = click.option(
    "--circuit",
    "role",
    default="grid",
    show_default=True,
    type=click.Choice(["grid", "leg2", "solar", "load"]),
    help="Which circuit of the configuration.",
)
by_option = click.option("--by", help="Who calibrates; the login name where not given.")
Found = tuple[Calibration, dict[str, float], dict[str, float]]
"""The new calibration, the reference's values and the expanded uncertainties."""


@click.group("calibrate", invoke_without_command=True)
@config_option
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1, 600))
@click.option("--no-load", is_flag=True, help="With --yes: the first step, zeros and noise.")
@click.option("--voltage", help="What the reference voltmeter shows, such as 127.1.")
@click.option("--current", help="What the reference ammeter shows with the first load.")
@click.option("--second-current", help="What it shows with the second load.")
@click.option("--phase-deg", default=0.0, show_default=True, help="The first load's true angle.")
@click.option(
    "--reference-uncertainty-pct",
    type=click.FloatRange(0, 10),
    help="Expanded (k = 2) uncertainty of the reference, in % of reading, as certified.",
)
@click.option(
    "--wait",
    "wait_s",
    default=0.0,
    type=click.FloatRange(0, 3600),
    help="With --yes: seconds to wait in each step for conditions that are not refused.",
)
@circuit_option
@by_option
@click.option("--yes", is_flag=True, help="Ask nothing and write; conditions are checked.")
@click.pass_context
def calibrate_group(
    context: click.Context, /, path: Path, role: str, by: str | None, **chosen: Any
) -> None:
    """Make the meter agree with reference instruments, step by step.

    Without a subcommand: no load, a resistive load, a second load. Stop meterd before and start
    it after: it reads the calibration when it starts, and records the change.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context, context.invoked_subcommand)
        return
    wanted = Wanted(**chosen)
    if wanted.yes and not (wanted.no_load or wanted.voltage or wanted.current):
        raise click.UsageError("--yes needs --no-load, or --voltage and --current")
    if wanted.yes and bool(wanted.voltage) != bool(wanted.current):
        raise click.UsageError("--voltage and --current belong together")
    if wanted.yes and wanted.second_current and not wanted.current:
        raise click.UsageError("--second-current needs --voltage and --current")
    with sentences():
        config = configuration.load(path)
        place = configuration.calibration_path(path)
        old = history.load(place, role)
        circuit = _circuit(config, role)
        with adc_alone(config, STOP_METERD):
            converter = wiring.open_converter(config)
            try:
                read = wiring.block_reader(converter, config)
                bench = Bench(
                    config, circuit, old, read, converter.clock_ns, Console(highlight=False)
                )
                done = guided(bench, wanted)
            finally:
                converter.close()
        if done is None:
            click.echo("nothing was written")
            return
        origin = Origin(role, who(by, os.environ), "guided", done.reference, done.uncertainty)
        _write(place, old, done.new, origin)


def _refuse_options_before(context: click.Context, subcommand: str) -> None:
    """An option in front of a subcommand would be for another command, and be forgotten."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"write the options behind: meterctl calibrate {subcommand} …")


def _circuit(config: configuration.Config, role: str) -> configuration.Circuit:
    for circuit in config.circuits:
        if circuit.role == role:
            return circuit
    raise ConfigError(f'no [[circuit]] has role = "{role}": name one that the configuration has')


def _write(place: Path, old: Adjustment, new: Adjustment, origin: Origin) -> None:
    entry = history.change(place, old, new, origin, now_utc_s=int(time.time()))
    click.echo(f"change {entry.counter} by {entry.by} written to {place}; start meterd to use it")


@calibrate_group.command("voltage")
@click.argument("true_v")
@seconds_option
@circuit_option
@by_option
@config_option
def calibrate_voltage(true_v: str, seconds: float, role: str, by: str | None, path: Path) -> None:
    """Set the voltage gain: TRUE_V is what the reference voltmeter shows now."""

    def change(old: Calibration, seen: Observation) -> Found:
        shown = uncertainty.reference("voltage", "V", true_v)
        new = calibrate.voltage(old, seen, shown.value)
        sure = uncertainty.of_voltage(shown, seen, old)
        return new, {"voltage_v": shown.value}, {"voltage_pct": sure}

    _one(path, role, seconds, by, "voltage", change)


@calibrate_group.command("current")
@click.argument("true_a")
@seconds_option
@circuit_option
@by_option
@config_option
def calibrate_current(true_a: str, seconds: float, role: str, by: str | None, path: Path) -> None:
    """Set the current gain: TRUE_A is what the reference ammeter shows now."""

    def change(old: Calibration, seen: Observation) -> Found:
        shown = uncertainty.reference("current", "A", true_a)
        new = calibrate.current(old, seen, shown.value)
        sure = uncertainty.of_current(shown, seen, old)
        return new, {"current_a": shown.value}, {"current_pct": sure}

    _one(path, role, seconds, by, "current", change)


@calibrate_group.command("phase")
@click.option("--degrees", default=0.0, show_default=True, help="The load's true angle.")
@seconds_option
@circuit_option
@by_option
@config_option
def calibrate_phase(degrees: float, seconds: float, role: str, by: str | None, path: Path) -> None:
    """Set the current sensor's delay, with a resistive load (a heater, a kettle) connected."""

    def change(old: Calibration, seen: Observation) -> Found:
        new = calibrate.phase(old, seen, degrees)
        return new, {"phase_deg": degrees}, {"delay_s": uncertainty.of_delay_s(seen)}

    _one(path, role, seconds, by, "phase", change)


@calibrate_group.command("offset")
@seconds_option
@circuit_option
@by_option
@config_option
def calibrate_offset(seconds: float, role: str, by: str | None, path: Path) -> None:
    """Set the codes that stand for 0 V and 0 A; any load may be connected."""
    _one(path, role, seconds, by, "offset", lambda old, seen: (calibrate.offset(old, seen), {}, {}))


def _one(
    path: Path,
    role: str,
    seconds: float,
    by: str | None,
    method: str,
    change: Callable[[Calibration, Observation], Found],
) -> None:
    with sentences():
        config = configuration.load(path)
        place = configuration.calibration_path(path)
        old = history.load(place, role)
        circuit = _circuit(config, role)
        with adc_alone(config, STOP_METERD):
            converter = wiring.open_converter(config)
            try:
                read = wiring.block_reader(converter, config)
                console = Console(stderr=True, highlight=False)
                bench = Bench(config, circuit, old, read, converter.clock_ns, console)
                seen = observed(bench, seconds, "measuring")
            finally:
                converter.close()
        calibration, reference, sure = change(old.calibration, seen)
        new = guide.with_calibration(old, calibration)
        for name, before in asdict(old.calibration).items():
            after = getattr(calibration, name)
            shown = f" -> {after:.9g}" if after != before else ""
            click.echo(f"{name:22} {before:14.9g}{shown}")
        _write(place, old, new, Origin(role, who(by, os.environ), method, reference, sure))


@calibrate_group.command("history")
@json_option
@config_option
def calibrate_history(as_json: bool, path: Path) -> None:
    """Show every change of the calibration: when, who, how, from what to what."""
    with sentences():
        place = configuration.calibration_path(path)
        log = history.read(place)
        present = history.in_effect(log, place)
    for number in log.unreadable:
        click.echo(f"line {number} of {history.log_path(place)} cannot be read", err=True)
    for entry in log.changes if as_json else ():
        click.echo(json.dumps(msgspec.to_builtins(entry)))
    if as_json:
        return
    if not log.changes:
        click.echo("no change is recorded: this meter was never calibrated by meterctl")
        return
    Console(highlight=False, width=HISTORY_WIDTH).print(_table(log.changes))
    if not present:
        click.echo(f"{place} does not say what the last change made: it was changed by hand")


def _table(changes: tuple[Change, ...]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("no.", "when (UTC)", "by", "method", "circuit", "what", "old", "new"):
        table.add_column(name, justify="right" if name in ("old", "new") else "left")
    for entry in changes:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.utc_s))
        head = (str(entry.counter), when, entry.by, entry.method, entry.circuit)
        rows = [
            (name, _number(entry.old.get(name)), _number(entry.new[name]))
            for name in entry.new
            if entry.new[name] != entry.old.get(name)
        ]
        rows += [(f"reference {name}", "", _number(n)) for name, n in entry.reference.items()]
        rows += [(f"± {name} (k=2)", "", _number(n)) for name, n in entry.uncertainty.items()]
        for row in rows or [("nothing changed", "", "")]:
            table.add_row(*head, *row)
            head = ("", "", "", "", "")
    return table


def _number(number: float | None) -> str:
    return "—" if number is None else f"{number:.6g}"
