"""What the 16x4 display says: quantities, registers and status as pages of four lines."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from meterd.model import Quality, Quantities, Registers, Screen, Status

Language = Literal["es", "en"]

COLUMNS = 16
ROWS = 4
PAGES = ("power", "supply", "meter", "demand", "tariff", "key", "alarms")
GLYPHS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "φ": (0x04, 0x04, 0x0E, 0x15, 0x15, 0x0E, 0x04, 0x04),
        "ó": (0x02, 0x04, 0x0E, 0x11, 0x11, 0x11, 0x0E, 0x00),
    }
)
"""Characters that ROM A00 lacks, as rows of five pixels; the n-th becomes character n of eight."""
CHARSET = frozenset(map(chr, range(0x20, 0x7E))) - {"\\"} | set("→←°ñ") | set(GLYPHS)
"""What a line consists of. ROM A00 (HD44780U, table 4) has ¥ for the backslash, → for the tilde."""
UNKNOWN = "--"

_KWH_J = 3_600_000
_ENERGY_UNITS = (("kWh", _KWH_J), ("MWh", _KWH_J * 10**3), ("GWh", _KWH_J * 10**6))


@dataclass(frozen=True, slots=True)
class _Words:
    imports: str
    exports: str
    no_flow: str
    no_voltage: str
    no_reading: str
    energy_in: str
    energy_out: str
    power_factor: str
    meter: str
    unsent: str
    clock: str
    server: str
    demand: str
    predicted: str
    limit: str
    no_limit: str
    no_tariff: str
    key: str
    unclaimed: str
    alarm: str
    alarms: Mapping[str, str]
    states: Mapping[str, str]


_WORDS: Mapping[str, _Words] = MappingProxyType(
    {
        "es": _Words(
            imports="Red → casa",
            exports="Casa → red",
            no_flow="Sin flujo",
            no_voltage="Sin tensión",
            no_reading="Sin medición",
            energy_in="Ent",
            energy_out="Sal",
            power_factor="FP",
            meter="Medidor",
            unsent="Sin enviar",
            clock="Reloj",
            server="Servidor",
            demand="Demanda",
            predicted="Irá a",
            limit="Límite",
            no_limit="Sin límite",
            no_tariff="Sin tarifa",
            key="Clave",
            unclaimed="Falta registro",
            alarm="ALARMA",
            alarms=MappingProxyType(
                {
                    "disk": "Disco lleno",
                    "adc": "ADC al límite",
                    "server": "Servidor rechaza",
                    "relay": "Falla el relé",
                }
            ),
            states=MappingProxyType(
                {
                    "synced": "en hora",
                    "unsynced": "sin hora",
                    "ok": "bien",
                    "late": "tarde",
                    "refused": "rechaza",
                    "unknown": UNKNOWN,
                }
            ),
        ),
        "en": _Words(
            imports="Grid → home",
            exports="Home → grid",
            no_flow="No flow",
            no_voltage="No voltage",
            no_reading="No reading",
            energy_in="In",
            energy_out="Out",
            power_factor="PF",
            meter="Meter",
            unsent="Unsent",
            clock="Clock",
            server="Server",
            demand="Demand",
            predicted="Heading",
            limit="Limit",
            no_limit="No limit",
            no_tariff="No tariff",
            key="Key",
            unclaimed="Not claimed",
            alarm="ALARM",
            alarms=MappingProxyType(
                {
                    "disk": "Disk full",
                    "adc": "ADC at its end",
                    "server": "Server refuses",
                    "relay": "Relay fails",
                }
            ),
            states=MappingProxyType({"unsynced": "not set", "unknown": UNKNOWN}),
        ),
    }
)


def render(
    quantities: Quantities | None,
    registers: Registers,
    status: Status,
    page: str,
    language: Language = "es",
) -> Screen:
    """One of ``PAGES``, which is four lines.

    ``power`` shows the power without a sign under the words for its direction, and the two
    registers, cut off after the last digit that fits, never rounded up. An exclamation mark ends
    its first line while the ADC is clipped and the values are too low. Other values are rounded
    to the decimals that fit; what is unknown is ``--``.
    """
    words = _WORDS[language]
    if page == "power":
        lines = _power_page(quantities, registers, words)
    elif page == "supply":
        lines = _supply_page(quantities, words)
    else:
        lines = {
            "meter": lambda: _status_page(status, words),
            "demand": lambda: _demand_page(status, words),
            "tariff": lambda: _tariff_page(registers, status, words),
            "key": lambda: _key_page(status, words),
            "alarms": lambda: _alarms_page(status, words),
        }[page]()
    return _screen(lines)


def render_message(text: str) -> Screen:
    """The server's message over the whole display, broken between words where they fit."""
    return _screen(_block(text, ROWS))


def _screen(lines: Sequence[str]) -> Screen:
    first, second, third, fourth = lines
    assert all(len(line) == COLUMNS and set(line) <= CHARSET for line in lines)
    return Screen((first, second, third, fourth))


def _demand_page(status: Status, words: _Words) -> tuple[str, str, str, str]:
    over = (
        status.predicted_w is not None
        and status.limit_w is not None
        and status.predicted_w > status.limit_w
    )
    limit = (
        _line(_readable(words.no_limit), "")
        if status.limit_w is None
        else _line(_readable(words.limit), _demand_text(status.limit_w))
    )
    return (
        _line(words.demand, "!" if over else ""),
        _line("", _demand_text(status.demand_w)),
        _line(_readable(words.predicted), _demand_text(status.predicted_w)),
        limit,
    )


def _tariff_page(registers: Registers, status: Status, words: _Words) -> tuple[str, str, str, str]:
    """The first two lines of the tariff's text; a third is only there while it is longer."""
    first, second, third = _block(status.tariff_text or words.no_tariff, 3)
    imported = _line(words.energy_in, energy_text(registers.import_j, 12))
    if third.strip():
        return first, second, third, imported
    return first, second, imported, _line(words.energy_out, energy_text(registers.export_j, 12))


def _key_page(status: Status, words: _Words) -> tuple[str, str, str, str]:
    """Sixteen digits in groups of four, as people compare them."""
    digits = (status.key or "").upper()[:COLUMNS]
    halves = [
        " ".join((digits[at : at + 4], digits[at + 4 : at + 8])).strip() or UNKNOWN for at in (0, 8)
    ]
    return (
        _serial_line(words.meter, status.serial),
        _line(words.key, halves[0]),
        _line("", halves[1]),
        _line("" if status.claimed else words.unclaimed, ""),
    )


def _alarms_page(status: Status, words: _Words) -> tuple[str, str, str, str]:
    """The first three of what is wrong."""
    said = [_readable(words.alarms.get(alarm, alarm))[:COLUMNS] for alarm in status.alarms]
    first, second, third = (line.ljust(COLUMNS) for line in [*said, "", "", ""][: ROWS - 1])
    return (_line(words.alarm, "!"), first, second, third)


def _block(text: str, rows: int) -> list[str]:
    """A text in exactly ``rows`` lines; cut between words where that fits, else anywhere."""
    text = _readable(text)
    lines = textwrap.wrap(text, COLUMNS)
    if len(lines) > rows:
        lines = [text[at : at + COLUMNS] for at in range(0, rows * COLUMNS, COLUMNS)]
    return [line.ljust(COLUMNS) for line in [*lines, *[""] * rows][:rows]]


def _readable(text: str) -> str:
    """A text with the display's characters: letters lose the accents that it lacks."""
    plain = (c if c in CHARSET else unicodedata.normalize("NFD", c)[0] for c in text)
    return _clean("".join(plain))


def _power_page(
    quantities: Quantities | None, registers: Registers, words: _Words
) -> tuple[str, str, str, str]:
    power_w = None if quantities is None else quantities.power_w
    clipped = quantities is not None and Quality.CLIPPED in quantities.flags
    return (
        _line(_direction(quantities, words), "!" if clipped else ""),
        _line("P", _power_text(power_w)),
        _line(words.energy_in, energy_text(registers.import_j, 12)),
        _line(words.energy_out, energy_text(registers.export_j, 12)),
    )


def _supply_page(quantities: Quantities | None, words: _Words) -> tuple[str, str, str, str]:
    if quantities is None:
        voltage_v = current_a = apparent_va = power_factor = phase_deg = None
        frequency_hz = thd_voltage_pct = thd_current_pct = None
    else:
        voltage_v, current_a = quantities.voltage_v, quantities.current_a
        apparent_va, frequency_hz = quantities.apparent_va, quantities.frequency_hz
        power_factor, phase_deg = quantities.power_factor, quantities.phase_deg
        thd_voltage_pct = quantities.thd_voltage_pct
        thd_current_pct = quantities.thd_current_pct
    thd_voltage, thd_current = (
        number_text(thd_voltage_pct, 4, 1),
        number_text(thd_current_pct, 4, 1),
    )
    return (
        _line(f"{number_text(voltage_v, 5, 1)} V", f"{number_text(current_a, 6, 2)} A"),
        _line(
            f"{words.power_factor}{number_text(power_factor, 6, 3):>6}",
            f"φ{number_text(phase_deg, 5, 1)}°",
        ),
        f"THD V{thd_voltage:>4} I{thd_current:>4}%",
        _line(f"{number_text(frequency_hz, 5, 2)} Hz", _apparent_text(apparent_va)),
    )


def _status_page(status: Status, words: _Words) -> tuple[str, str, str, str]:
    return (
        _serial_line(words.meter, status.serial),
        _line(words.unsent, number_text(status.unsent, 5, 0)),
        _state_line(words.clock, status.clock, words),
        _state_line(words.server, status.server, words),
    )


def _line(left: str, right: str) -> str:
    """Left and right justified in sixteen characters; a number is never cut to fit."""
    assert len(left) + len(right) <= COLUMNS
    return left + right.rjust(COLUMNS - len(left))


def _state_line(label: str, state: str, words: _Words) -> str:
    """A state in the reader's words; one that has none is shown as it is, as far as it fits."""
    return _line(label, _clean(words.states.get(state, state))[: COLUMNS - 1 - len(label)])


def _clean(text: str) -> str:
    return "".join(character if character in CHARSET else "?" for character in text)


def _serial_line(label: str, serial: str) -> str:
    serial = _clean(serial)
    if len(label) + 1 + len(serial) <= COLUMNS:
        return _line(label, serial)
    if len(serial) > COLUMNS:
        serial = ".." + serial[2 - COLUMNS :]  # its end tells meters apart
    return _line(serial, "")


def _direction(quantities: Quantities | None, words: _Words) -> str:
    if quantities is None or not math.isfinite(quantities.power_w):
        return words.no_reading
    if Quality.MAINS_LOST in quantities.flags:
        return words.no_voltage
    if abs(quantities.power_w) < 0.05:  # shown as 0.0 W, which flows nowhere
        return words.no_flow
    return words.imports if quantities.power_w > 0 else words.exports


def _power_text(power_w: float | None) -> str:
    if power_w is None or abs(power_w) < 9_999.95:
        return f"{number_text(None if power_w is None else abs(power_w), 6, 1)} W"
    return f"{number_text(abs(power_w) / 1000, 8, 3)} kW"


def _demand_text(power_w: float | None) -> str:
    """In nine characters at most, which leaves seven for the words before it."""
    if power_w is None or power_w < 9_999.95:
        return f"{number_text(power_w, 6, 1)} W"
    return f"{number_text(power_w / 1000, 6, 3)} kW"


def _apparent_text(apparent_va: float | None) -> str:
    if apparent_va is None or apparent_va < 9_999.5:
        return f"{number_text(apparent_va, 4, 0)} VA"
    return f"{number_text(apparent_va / 1000, 4, 1)}kVA"


def number_text(value: float | None, width: int, decimals: int) -> str:
    """``value`` in at most ``width`` characters, with up to ``decimals`` decimals.

    Unknown (None or not finite) is ``--``; a value with too many digits is shown as the bound
    that it exceeds, such as ``>999``.
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    for places in range(decimals, -1, -1):
        text = f"{value:z.{places}f}"
        if len(text) <= width:
            return text
    return ">" + "9" * (width - 1) if value > 0 else "<-" + "9" * (width - 2)


def energy_text(energy_j: int, width: int) -> str:
    """A register with its unit in at most ``width`` characters: cut off, never rounded up.

    A billing register must not show a unit that has not been counted whole.
    """
    for unit, unit_j in _ENERGY_UNITS:
        for places in (2, 1, 0):
            counted = energy_j * 10**places // unit_j
            whole, part = divmod(counted, 10**places)
            text = f"{whole}.{part:0{places}d} {unit}" if places else f"{whole} {unit}"
            if len(text) <= width:
                return text
    return UNKNOWN
