"""The guided calibration as a conversation with a technician, or with a script.

A step measures, checks its conditions, asks for the reference's readings and says what it found
and how sure that is. What is refused can be tried again; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from meterd import wiring
from meterd.calibration import conditions, guide, uncertainty
from meterd.calibration.guide import FirstLoad, Gain, SecondLoad
from meterd.calibration.history import Adjustment
from meterd.calibration.observation import Observation, Progress, observe
from meterd.calibration.uncertainty import Reference
from meterd.config import Circuit, Config
from meterd.errors import CalibrationRefusedError
from meterd.model import Quantities, SampleBlock

_T = TypeVar("_T")
BAR_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Bench:
    """The meter being calibrated, with the calibration it had at the beginning."""

    config: Config
    circuit: Circuit
    old: Adjustment
    read: Callable[[], SampleBlock]
    clock_ns: Callable[[], int]
    console: Console


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was given on the command line; readings as they were written."""

    seconds: float
    no_load: bool
    voltage: str | None
    current: str | None
    second_current: str | None
    phase_deg: float
    reference_uncertainty_pct: float | None
    wait_s: float
    yes: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What is to be written, and what it stands on."""

    new: Adjustment
    reference: dict[str, float]
    uncertainty: dict[str, float]


class Answer(Enum):
    """What a technician decides before or after a step."""

    MEASURE = "m"
    SKIP = "s"
    QUIT = "q"


def guided(bench: Bench, wanted: Wanted) -> Done | None:
    """The three steps, the table and the last question; None when nothing is to be written.

    Raises:
        CalibrationRefusedError: with ``yes``, when conditions stay bad for ``wait_s``.
        HardwareError: the ADC does not answer.
    """
    start: Adjustment | None = None
    if not wanted.yes or wanted.no_load:
        start = _step(bench, wanted, _NO_LOAD, lambda seen: _no_load(bench, seen))
    base = start or bench.old
    first = second = None
    if not wanted.yes or wanted.current:
        first = _step(bench, wanted, _FIRST, lambda seen: _first(bench, wanted, seen))
    if first is not None and (not wanted.yes or wanted.second_current):
        known = first
        second = _step(bench, wanted, _SECOND, lambda seen: _second(bench, wanted, known, seen))
    if start is None and first is None:
        return None
    new = guide.adjusted(base, first, second)
    bench.console.print(_before_after(bench.old, new, first, second))
    if not wanted.yes and not click.confirm("Write this calibration?", default=False):
        return None
    return Done(new, _references(wanted, first, second), _uncertainties(first, second))


_NO_LOAD = (
    "Step 1 of 3: no load",
    "Disconnect every load behind the current sensor and leave the mains voltage on.",
)
_FIRST = (
    "Step 2 of 3: a resistive load",
    "Connect a heater or a kettle, 5 A or more, and the reference instruments. Let it warm up.",
)
_SECOND = (
    "Step 3 of 3: a second load",
    "Connect another steady load, with a current at least 1.5 times smaller or larger.",
)


def _step(
    bench: Bench, wanted: Wanted, words: tuple[str, str], found: Callable[[Observation], _T]
) -> _T | None:
    """Measure until ``found`` accepts the conditions; None when the step is skipped."""
    bench.console.print(f"\n[bold]{words[0]}[/bold]\n{words[1]}", soft_wrap=True)
    begun_ns = bench.clock_ns()
    while True:
        if not wanted.yes and _ask("measure") is Answer.SKIP:
            return None
        try:
            return found(observed(bench, wanted.seconds, "measuring"))
        except CalibrationRefusedError as refusal:
            waited_s = (bench.clock_ns() - begun_ns) / 1e9
            if wanted.yes and waited_s >= wanted.wait_s:
                raise
            bench.console.print(f"[red]refused:[/red] {refusal}", soft_wrap=True)


def _ask(what: str) -> Answer:
    """``what``, skip or quit; quitting ends the program with nothing written."""
    letter = click.prompt(
        f"[m] {what}, [s] skip this step, [q] quit",
        type=click.Choice([answer.value for answer in Answer]),
        default=Answer.MEASURE.value,
        show_choices=False,
    )
    answer = Answer(letter)
    if answer is Answer.QUIT:
        raise click.Abort
    return answer


def observed(bench: Bench, seconds: float, label: str) -> Observation:
    """Measure for ``seconds`` behind a progress bar with what is measured beside it.

    Raises:
        CalibrationRefusedError: nothing could be measured.
        HardwareError: the ADC does not answer.
    """
    steps = observe(
        bench.read,
        bench.circuit,
        bench.old.calibration,
        seconds,
        nominal_hz=bench.config.meter.nominal_hz,
        mains_min_v=wiring.MAINS_MIN_SHARE * bench.config.meter.nominal_v,
    )
    columns = (TextColumn(label), BarColumn(bar_width=24), TimeRemainingColumn())
    live = TextColumn("{task.fields[live]}")
    with Bar(*columns, live, console=bench.console, transient=True) as bar:
        task = bar.add_task("", total=BAR_STEPS, live="")
        for step in steps:
            if isinstance(step, Progress):
                done = round(step.share * BAR_STEPS)
                bar.update(task, completed=done, live=live_words(step.window))
            else:
                return step
    raise CalibrationRefusedError("nothing was measured; look at meterctl check")


def live_words(window: Quantities | None) -> str:
    """One window in a line: with the calibration before."""
    if window is None:
        return ""
    if window.frequency_hz is None:
        return "no mains voltage"
    power_factor = "—" if window.power_factor is None else f"{window.power_factor:.3f}"
    return (
        f"{window.voltage_v:.2f} V  {window.current_a:.3f} A  {window.power_w:.1f} W  "
        f"PF {power_factor}  {window.frequency_hz:.3f} Hz"
    )


def _no_load(bench: Bench, seen: Observation) -> Adjustment:
    found = guide.no_load(bench.old, seen, bench.config.meter.nominal_hz)
    bench.console.print(
        f"zeros {seen.voltage_zero_code:.2f} and {seen.current_zero_code:.2f} codes; noise of a "
        f"sample {seen.voltage_noise_v:.3f} V and {seen.current_noise_a:.4f} A rms",
        soft_wrap=True,
    )
    return found


def _first(bench: Bench, wanted: Wanted, seen: Observation) -> FirstLoad:
    guide.loaded(seen, bench.config.meter.nominal_hz)
    conditions.need_known_angle(seen, wanted.phase_deg)
    _say_measured(bench, seen)
    volts = _reading(wanted, wanted.voltage, "voltage", "V")
    amps = _reading(wanted, wanted.current, "current", "A")
    first = guide.first_load(
        bench.old,
        seen,
        volts,
        amps,
        nominal_hz=bench.config.meter.nominal_hz,
        true_deg=wanted.phase_deg,
        reference_uncertainty_pct=wanted.reference_uncertainty_pct,
    )
    _say_gain(bench, "voltage", "V", first.voltage)
    _say_gain(bench, "current", "A", first.current)
    bench.console.print(
        f"angle   {first.phase_deg:+.3f}°, should be {first.true_deg:+.3f}°: the sensor is "
        f"{first.delay_s * 1e6:.2f} µs late, ±{first.delay_uncertainty_s * 1e6:.2f} µs (k=2)",
        soft_wrap=True,
    )
    return first


def _second(bench: Bench, wanted: Wanted, first: FirstLoad, seen: Observation) -> SecondLoad:
    guide.loaded(seen, bench.config.meter.nominal_hz)
    guide.need_apart(seen, first)
    _say_measured(bench, seen)
    second = guide.second_load(
        bench.old,
        seen,
        _reading(wanted, wanted.second_current, "current", "A"),
        first,
        nominal_hz=bench.config.meter.nominal_hz,
        reference_uncertainty_pct=wanted.reference_uncertainty_pct,
    )
    _say_gain(bench, "current", "A", second.current)
    bench.console.print(
        f"linear  the two gains differ by {second.disagreement_pct:+.3f} %, at most "
        f"{second.allowed_pct:.3f} % are explained; together ±{second.uncertainty_pct:.3f} % (k=2)",
        soft_wrap=True,
    )
    return second


def _say_measured(bench: Bench, seen: Observation) -> None:
    bench.console.print(
        f"mean of {seen.windows} windows: {live_words(seen.mean)}; they scatter by "
        f"{seen.voltage_spread:.3%} and {seen.current_spread:.3%}",
        soft_wrap=True,
    )


def _say_gain(bench: Bench, what: str, unit: str, gain: Gain) -> None:
    known = "" if gain.budget.reference is not None else ", reference's own not counted"
    bench.console.print(
        f"{what} {gain.measured:.4g} {unit}, should be {gain.shown.value:g} {unit}: "
        f"{gain.ratio - 1:+.3%}, ±{gain.budget.expanded_pct:.3f} % (k=2{known})",
        soft_wrap=True,
    )


def _reading(wanted: Wanted, given: str | None, what: str, unit: str) -> Reference:
    """The reference's reading, as given or asked for until it is a number."""
    if given is not None or wanted.yes:
        return uncertainty.reference(what, unit, given or "")
    while True:
        written = click.prompt(f"Reference {what}, mean while measuring, with all digits [{unit}]")
        try:
            return uncertainty.reference(what, unit, written)
        except CalibrationRefusedError as refusal:
            click.echo(str(refusal))


def _references(
    wanted: Wanted, first: FirstLoad | None, second: SecondLoad | None
) -> dict[str, float]:
    found: dict[str, float] = {}
    if first is not None:
        found = {
            "voltage_v": first.voltage.shown.value,
            "current_a": first.current.shown.value,
            "phase_deg": first.true_deg,
        }
    if second is not None:
        found["second_current_a"] = second.current.shown.value
    if wanted.reference_uncertainty_pct is not None:
        found["reference_uncertainty_pct"] = wanted.reference_uncertainty_pct
    return found


def _uncertainties(first: FirstLoad | None, second: SecondLoad | None) -> dict[str, float]:
    if first is None:
        return {}
    current_pct = first.current.budget.expanded_pct if second is None else second.uncertainty_pct
    return {
        "voltage_pct": first.voltage.budget.expanded_pct,
        "current_pct": current_pct,
        "delay_s": first.delay_uncertainty_s,
    }


def _before_after(
    old: Adjustment, new: Adjustment, first: FirstLoad | None, second: SecondLoad | None
) -> Table:
    sure = _uncertainties(first, second)
    rows = (
        ("voltage gain", "V/code", "voltage_v_per_code", 1.0, sure.get("voltage_pct"), "%"),
        ("current gain", "A/code", "current_a_per_code", 1.0, sure.get("current_pct"), "%"),
        ("voltage zero", "codes", "voltage_zero_code", 1.0, None, ""),
        ("current zero", "codes", "current_zero_code", 1.0, None, ""),
        ("sensor's delay", "µs", "current_delay_s", 1e6, sure.get("delay_s"), "µs"),
    )
    table = Table(box=None, header_style="bold", title="Before and after")
    for name in ("what", "unit", "before", "after", "change", "± (k=2)"):
        table.add_column(name, justify="left" if name in ("what", "unit") else "right")
    for what, unit, name, scale, expanded, of in rows:
        before, after = (scale * getattr(one.calibration, name) for one in (old, new))
        change = f"{after / before - 1:+.3%}" if of == "%" else f"{after - before:+.3f} {unit}"
        shown = "—" if expanded is None else f"{expanded * scale:.3f} {of}"
        table.add_row(what, unit, f"{before:.6g}", f"{after:.6g}", change, shown)
    for what, unit, was, became in (
        ("voltage noise", "V rms", old.noise.voltage_noise_v, new.noise.voltage_noise_v),
        ("current noise", "A rms", old.noise.current_noise_a, new.noise.current_noise_a),
    ):
        table.add_row(what, unit, _or_dash(was), _or_dash(became), "", "")
    return table


def _or_dash(number: float | None) -> str:
    return "—" if number is None else f"{number:.4g}"
