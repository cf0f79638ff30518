"""A recorded waveform measured by the meter's own code, as it is or through the whole chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from meterd import calc
from meterd.errors import RecordingError
from meterd.interval import MEASURED
from meterd.metrology.events import Events, detect
from meterd.metrology.half_cycle import half_cycles
from meterd.metrology.ieee1459 import components
from meterd.model import Calibration, HalfCycles, Missed, Quality, Quantities, Registers, Waveform
from meterd.recording import Recording
from meterd.simulate.frontend import FrontEnd
from meterd.wiring import ANALYSIS_MAINS_MIN_V, NOMINAL_HZ, fitting_scales, through_the_chain

CHAIN_LEAD_S = 0.1
NOISE_CODES = 0.5
NOMINAL_V_60_HZ = (120, 127, 208, 220, 240, 277, 440, 480, 7967, 13279, 13800, 19919, 23000, 34500)
"""Mexico's preferred voltages (NMX-J-098): low voltage; 13.8, 23 and 34.5 kV to earth and between
phases. 120, 208 and 240 V also serve North America."""
NOMINAL_V_50_HZ = (230, 400, 690, 5774, 6351, 10000, 11000, 11547, 12702, 20000, 22000, 33000)
"""IEC 60038: low voltage; 10, 11, 20 and 22 kV to earth and between phases."""
NOMINAL_SHARE = 0.1
"""Supply voltages stay within a tenth of the nominal one: further away none is taken."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a recording says, averaged over all whole windows and the whole cycles after them."""

    quantities: Quantities
    registers: Registers
    windows: int
    remarks: tuple[str, ...]
    scales: tuple[float, float] | None
    """Volts and amperes of the recording for one at the socket; None without the chain."""
    waveform: Waveform  # what was measured, in the recording's seconds and size
    half_cycles: HalfCycles  # nanoseconds from the recording's second 0
    nominal_v: float | None  # None: there was no voltage to tell it by
    events: Events  # by their start


def analyze(
    recording: Recording,
    *,
    from_s: float | None = None,
    to_s: float | None = None,
    chain: bool = False,
    nominal_v: float | None = None,
    seed: int = 1,
) -> Analysis:
    """Measure a recording or a part of it; ``chain``: through front end, MCP3008, acquisition.

    A recording beyond the front end's range is put on the socket at 127 V and at most 40 A, as
    another transformer ratio would, and the results are given in the recording's own size.
    Events are measured against ``nominal_v``; without it, against the nominal voltage that the
    recording seems to be of.

    Raises:
        RecordingError: there is no whole cycle to measure.
    """
    part = recording.between(from_s, to_s)
    scales, origin_s, waveforms = None, 0.0, [part.waveform()]
    if chain:
        scales = fitting_scales(part)
        # The converter runs before and after the part, so that no cycle at its ends is lost.
        begin_s = float(part.t_s[0]) if from_s is None else from_s
        end_s = float(part.t_s[-1]) if to_s is None else to_s
        around = recording.between(begin_s - CHAIN_LEAD_S, end_s + CHAIN_LEAD_S)
        origin_s = float(around.t_s[0])
        waveforms = _chain_waveforms(around, scales, seed, begin_s, end_s)
    return _analysis(waveforms, origin_s, scales, nominal_v)


def _analysis(
    waveforms: list[Waveform],
    origin_s: float,
    scales: tuple[float, float] | None,
    nominal_v: float | None,
) -> Analysis:
    waveform = _joined(waveforms, origin_s)
    results = list(calc.stream(waveforms, NOMINAL_HZ, mains_min_v=ANALYSIS_MAINS_MIN_V))
    windows = [result for result in results if isinstance(result, Quantities)]
    missed_s = sum(result.duration_s for result in results if isinstance(result, Missed))
    if not windows:
        raise RecordingError(
            f"{waveform.t_s[-1] - waveform.t_s[0]:.4g} s hold no two whole cycles to measure"
        )
    registers = Registers()
    for window in windows:
        registers = calc.accumulate(registers, window.power_w, window.duration_s)
    whole = sum(1 for window in windows if not window.flags & Quality.SHORT)
    quantities = calc.aggregate(windows)
    halves = _half_cycles(waveform, results)
    remarks = _remarks(windows, whole, missed_s, scales)
    if nominal_v is None:
        nominal_v, remark = _nominal_v(halves, quantities.frequency_hz)
        remarks = (*remarks, remark)
    ended, still_open = detect((), halves, nominal_v) if nominal_v else ((), ())
    events = tuple(sorted(ended + still_open, key=lambda event: event.start_ns))
    return Analysis(
        quantities=quantities,
        registers=registers,
        windows=whole,
        remarks=remarks,
        scales=scales,
        waveform=waveform,
        half_cycles=halves,
        nominal_v=nominal_v,
        events=events,
    )


def _joined(waveforms: list[Waveform], origin_s: float) -> Waveform:
    """All pieces as one, whose time is the recording's; ``origin_s`` is where theirs begins."""
    offsets_s = [origin_s + piece.start_ns / 1e9 for piece in waveforms]
    pairs = list(zip(waveforms, offsets_s, strict=True))
    return Waveform(
        start_ns=0,
        t_s=np.concatenate([piece.t_s + offset_s for piece, offset_s in pairs]),
        voltage_v=np.concatenate([piece.voltage_v for piece in waveforms]),
        current_t_s=np.concatenate([piece.current_t_s + offset_s for piece, offset_s in pairs]),
        current_a=np.concatenate([piece.current_a for piece in waveforms]),
        quality=np.concatenate([piece.quality for piece in waveforms]),
        noise_max=waveforms[0].noise_max,
    )


def _half_cycles(waveform: Waveform, results: list[Quantities | Missed]) -> HalfCycles:
    """Urms(1/2) over all windows, the time missed between them, and what follows the last."""
    spans: list[tuple[float, float | None]] = [
        (result.duration_s, result.frequency_hz if isinstance(result, Quantities) else None)
        for result in results
    ]
    # What comes before the mains are found is cut by the frequency that they then have.
    known_hz = next((hertz for _, hertz in spans if hertz is not None), NOMINAL_HZ)
    begin_s = float(waveform.t_s[0])
    rest_s = float(waveform.t_s[-1]) - begin_s - sum(duration_s for duration_s, _ in spans)
    spans.append((max(0.0, rest_s), None))
    edges_s = begin_s + np.cumsum([0.0, *(duration_s for duration_s, _ in spans)])
    frequencies_hz = [hertz for _, hertz in spans]
    pieces, _ = half_cycles(waveform, edges_s, frequencies_hz, None, nominal_hz=known_hz)
    return HalfCycles(
        begin_ns=np.concatenate([piece.begin_ns for piece in pieces]),
        end_ns=np.concatenate([piece.end_ns for piece in pieces]),
        urms_v=np.concatenate([piece.urms_v for piece in pieces]),
    )


def _nominal_v(halves: HalfCycles, frequency_hz: float | None) -> tuple[float | None, str]:
    """The nominal voltage a recording seems to be of, and a sentence that says so.

    The standard voltage nearest to the median of Urms(1/2); the median where none is near.
    """
    median_v = float(np.median(halves.urms_v)) if len(halves.urms_v) else 0.0
    if frequency_hz is None or median_v < ANALYSIS_MAINS_MIN_V:
        return None, "no events looked for: no nominal voltage was given and none can be seen"
    standard = NOMINAL_V_60_HZ if frequency_hz > 55.0 else NOMINAL_V_50_HZ
    nearest_v = float(min(standard, key=lambda volts: abs(np.log(volts / median_v))))
    fits = abs(median_v / nearest_v - 1) <= NOMINAL_SHARE
    nominal_v = nearest_v if fits else float(f"{median_v:.3g}")
    how = "the standard voltage nearest to" if fits else "no standard voltage is near"
    return nominal_v, (
        f"events: nominal voltage taken as {nominal_v:g} V, {how} the median of "
        f"{median_v:.5g} V; --nominal-v sets another"
    )


def _remarks(
    windows: list[Quantities], whole: int, missed_s: float, scales: tuple[float, float] | None
) -> tuple[str, ...]:
    remarks = []
    if whole == 0:
        remarks.append(
            f"shorter than one window: measured over its {windows[0].cycles:g} whole cycles"
        )
    elif whole < len(windows):
        remarks.append(
            f"rms values, powers and energy also cover the {windows[-1].cycles:g} whole cycles "
            "after the last window"
        )
    if missed_s > 1 / NOMINAL_HZ:
        remarks.append(f"{missed_s:.3f} s could not be measured")
    if scales is not None and scales != (1.0, 1.0):
        remarks.append(
            f"put on the socket at 1/{scales[0]:.6g} of its voltage and 1/{scales[1]:.6g} of its "
            "current to fit the front end"
        )
    flags = windows[-1].flags
    for window in windows:
        flags |= window.flags
    if Quality.MAINS_LOST in flags:
        remarks.append("part or all of it holds no mains voltage")
    if Quality.CLIPPED in flags:
        remarks.append("the ADC was at the end of its range: rms values are too low")
    return tuple(remarks)


def _chain_waveforms(
    recording: Recording, scales: tuple[float, float], seed: int, begin_s: float, end_s: float
) -> list[Waveform]:
    scaled = Recording(
        recording.t_s, recording.voltage_v / scales[0], recording.current_a / scales[1]
    )
    front_end = FrontEnd()
    calibration = nominal_calibration(front_end, scales)
    blocks = through_the_chain(scaled, front_end=front_end, noise_codes=NOISE_CODES, seed=seed)
    origin_s = float(recording.t_s[0])
    waveforms = (calc.align(block, (0, 1), calibration) for block in blocks)
    return [calc.between(w, begin_s - origin_s, end_s - origin_s) for w in waveforms]


def nominal_calibration(front_end: FrontEnd, scales: tuple[float, float]) -> Calibration:
    """What a perfect calibration of this front end would find."""
    lsb_v = front_end.vref_v / 1024
    volts = front_end.voltage_pin_v(np.array([0.0, 1.0]))
    amps = front_end.current_pin_v(np.array([0.0, 1.0]))
    return Calibration(
        voltage_v_per_code=scales[0] * lsb_v / float(volts[1] - volts[0]),
        voltage_zero_code=512.0,
        current_a_per_code=scales[1] * lsb_v / float(amps[1] - amps[0]),
        current_zero_code=512.0,
        current_delay_s=front_end.current_delay_s,
    )


def as_json(analysis: Analysis) -> dict[str, Any]:
    """The analysis for a program: the keys of docs/units.md."""
    parts = components(analysis.quantities)
    return {
        "duration_s": analysis.quantities.duration_s,
        "windows": analysis.windows,
        "cycles": analysis.quantities.cycles,
        **{name: getattr(analysis.quantities, name) for name in MEASURED},
        "import_j": analysis.registers.import_j,
        "export_j": analysis.registers.export_j,
        "harmonics": _harmonics_json(analysis.quantities),
        "ieee1459": None if parts is None else asdict(parts),
        "nominal_v": analysis.nominal_v,
        "events": [
            {
                "kind": str(event.kind),
                "start_s": event.start_ns / 1e9,
                "duration_s": event.duration_s,
                "extreme_v": event.extreme_v,
                "ended": event.ended,
            }
            for event in analysis.events
        ],
        "flags": [flag.name for flag in Quality if flag in analysis.quantities.flags and flag],
        "remarks": list(analysis.remarks),
    }


def _harmonics_json(quantities: Quantities) -> dict[str, list[float]]:
    """Line by line, the fundamental first; angles from the voltage's rising zero crossing."""
    # A sine of order h that begins at the crossing has a phasor of e^jwt turned by h quarters.
    quarters = 1j ** (1 - np.arange(1, len(quantities.voltage_phasor_v) + 1))
    return {
        "voltage_v": quantities.harmonic_voltage_v.tolist(),
        "current_a": quantities.harmonic_current_a.tolist(),
        "voltage_angle_deg": np.degrees(np.angle(quantities.voltage_phasor_v * quarters)).tolist(),
        "current_angle_deg": np.degrees(np.angle(quantities.current_phasor_a * quarters)).tolist(),
        "power_w": quantities.harmonic_va.real.tolist(),
        "reactive_var": quantities.harmonic_va.imag.tolist(),
    }


def as_words(analysis: Analysis) -> Iterator[str]:
    """The analysis for a person."""
    q = analysis.quantities
    yield f"{q.duration_s:.3f} s, {analysis.windows} windows, {q.cycles:g} cycles"
    yield f"frequency     {_number(q.frequency_hz, 4)} Hz"
    yield f"voltage       {q.voltage_v:.3f} V     THD {_number(q.thd_voltage_pct, 2)} %"
    yield f"current       {q.current_a:.4f} A     THD {_number(q.thd_current_pct, 2)} %"
    direction = "exported" if q.power_w < 0 else "imported"
    yield f"power         {q.power_w:.2f} W ({direction})"
    yield f"apparent      {q.apparent_va:.2f} VA"
    yield f"reactive      {q.reactive_var:.2f} var (fundamental)"
    yield f"nonactive     {q.nonactive_var:.2f} var"
    yield f"power factor  {_number(q.power_factor, 4)}"
    yield f"angle         {_number(q.phase_deg, 3)}°"
    yield f"energy        {analysis.registers.import_j} J in, {analysis.registers.export_j} J out"
    yield from _event_words(analysis)
    yield from analysis.remarks


def _event_words(analysis: Analysis) -> Iterator[str]:
    if analysis.nominal_v is None:
        return
    yield f"events        {len(analysis.events) or 'none'} (nominal {analysis.nominal_v:g} V)"
    for event in analysis.events:
        share_pct = 100 * event.extreme_v / analysis.nominal_v
        yield (
            f"  {event.kind:13} from {event.start_ns / 1e9:.4f} s for {event.duration_s:.4f} s, "
            f"to {event.extreme_v:.5g} V = {share_pct:.2f} %"
            + ("" if event.ended else ", not ended")
        )


def _number(value: float | None, decimals: int) -> str:
    return "—" if value is None else f"{value:.{decimals}f}"
