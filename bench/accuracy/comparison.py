"""The tables of ours beside the peers', and of CPU time."""

from __future__ import annotations

from bench.accuracy.beside import OURS, Line
from bench.accuracy.load_points import LoadPoint
from bench.accuracy.rows import Row, Table, markdown

CPU_MS = 1.0
CPU_RATIO = 6.0
HEADER = (
    "method",
    "P at 10 A, PF 0.97",
    "P at 10 A, PF 0.5",
    "Q1",
    "φ",
    "Irms at 0.6 A",
    "THD I at 0.6 A",
    "Irms with no load",
    "CPU, ms per s",
)
NOTES = """\
Mean errors: P, Q1 and Irms in % of the reading, φ in degrees, THD in points. All methods are given
the same samples: 10 kS/s of each channel in turn, 60 Hz, V3 1.5 %, I3 8 %, I5 5 %, half a code of
noise. – means that a method has no such quantity, or that its CPU time here would tell nothing
about the program.

- **pqopen-lib** is the package, one phase, 12 cycles at nominally 60 Hz, 40 harmonics, everything
  else its default, without numba. It has no way to be told that the current is sampled half an
  interval later, which it was not made for: 50 µs are 1.08° at 60 Hz, and that is its error.
- **EmonLib's method** is its published algorithm written anew with arrays: 20 crossings, offsets by
  a low-pass of 1/1024, PHASECAL 1.7, the value of its examples. PHASECAL can be tuned for one
  frequency and would then do better at this one.
- **rpi-power-monitor's method** likewise: variances and covariance of bursts of 500 samples. It
  shows the power factor as 0 where the current spans less than 20 codes: below 0.86 A here.
- **FFT peak bin** is the plain method of a prototype on a PC: half a second, the largest bin is the
  fundamental. Its power is of the fundamental alone; away from 60.00 Hz it leaks.
- **enerpi** 0.9.7 was tried and is left out: it stops while it is imported where the Spanish locale
  is not installed, and it measures current alone, so it has none of these columns but Irms.
"""


def peers_markdown(lines: dict[str, Line]) -> str:
    """The table and what to know about it."""
    rows = [
        (
            f"**{name}**" if name == OURS else name,
            _signed(line.power_097_pct, 3),
            _signed(line.power_05_pct, 3),
            _signed(line.reactive_pct, 3),
            _signed(line.phase_deg, 3),
            _signed(line.small_current_pct, 2),
            _signed(line.small_thd_points, 2),
            "–" if line.idle_a is None else f"{1e3 * line.idle_a:.1f} mA",
            "–" if line.cpu_ms is None else f"{line.cpu_ms:.2f}",
        )
        for name, line in lines.items()
    ]
    return markdown(HEADER, rows) + "\n" + NOTES


def _signed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:+.{digits}f}"


def points_markdown(points: list[LoadPoint]) -> str:
    """Errors of power at the load points, one column a method."""
    compared = [point for point in points if len(point.method_pct) > 1]
    names = list(compared[0].method_pct)
    rows = [
        (point.name, f"{point.current_a:g}", *(f"{point.method_pct[n]:+.3f}" for n in names))
        for point in compared
    ]
    return markdown(("load", "A", *names), rows)


def cpu_table(lines: dict[str, Line]) -> Table:
    """CPU time of ours, and against pqopen-lib in the same run."""
    ours_ms, theirs_ms = lines[OURS].cpu_ms, lines["pqopen-lib"].cpu_ms
    assert ours_ms is not None
    assert theirs_ms is not None
    ratio = theirs_ms / ours_ms
    rows = (
        Row(
            "CPU per second of signal",
            f"{ours_ms:.2f} ms",
            f"≤ {CPU_MS:g} ms",
            ours_ms <= CPU_MS,
            "alignment, windows and all quantities; depends on the machine",
        ),
        Row(
            "pqopen-lib / ours, in the same run",
            f"{ratio:.1f}",
            f"≥ {CPU_RATIO:g}",
            ratio >= CPU_RATIO,
            f"pqopen-lib {theirs_ms:.2f} ms",
        ),
    )
    return Table("CPU time", "Best of three rounds, taken in turn, 10 kS/s of each channel.", rows)
