"""The display says what was measured, in sixteen columns that tell the truth."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from RPLCD.codecs import A00Codec

from meterd import lcd
from meterd.display.pages import energy_text, number_text
from meterd.model import Quality, Quantities, Registers, Status

TABLE = Quantities(
    duration_s=0.2,
    end_ns=0,
    gap_s=0.0,
    cycles=12.0,
    frequency_hz=60.012,
    voltage_v=127.04,
    current_a=4.2,
    power_w=-480.3,
    apparent_va=533.6,
    reactive_var=230.0,
    nonactive_var=232.4,
    power_factor=-0.9,
    phase_deg=-154.2,
    thd_voltage_pct=1.24,
    thd_current_pct=12.3,
    harmonic_voltage_v2=np.zeros(40),
    harmonic_current_a2=np.zeros(40),
)
REGISTERS = Registers(import_j=1_234_567_890_000, export_j=3_599_999)
STATUS = Status(serial="MX-0042", unsent=12, clock="synced", server="late")


def test_the_first_page_says_direction_power_and_both_registers() -> None:
    assert lcd.render(TABLE, REGISTERS, STATUS, "power").lines == (
        "Casa → red      ",
        "P        480.3 W",
        "Ent 342935.5 kWh",  # 1 234 567.89 MJ / 3.6 = 342 935.525 kWh
        "Sal     0.99 kWh",  # one joule short of 1 kWh is not yet 1 kWh
    )


def test_the_first_page_in_english_says_the_same() -> None:
    imported = replace(TABLE, power_w=12_345.6)
    assert lcd.render(imported, REGISTERS, STATUS, "power", "en").lines == (
        "Grid → home     ",
        "P      12.346 kW",
        "In  342935.5 kWh",
        "Out     0.99 kWh",
    )


def test_the_second_page_says_the_quality_of_supply() -> None:
    assert lcd.render(TABLE, REGISTERS, STATUS, "supply").lines == (
        "127.0 V   4.20 A",
        "FP-0.900  φ-154°",
        "THD V 1.2 I12.3%",
        "60.01 Hz  534 VA",
    )


@pytest.mark.parametrize(
    ("apparent_va", "text"), [(9_999.4, "9999 VA"), (9_999.5, "10.0kVA"), (50_000.0, "50.0kVA")]
)
def test_apparent_power_changes_to_kilovoltamperes_where_its_digits_end(
    apparent_va: float, text: str
) -> None:
    busy = replace(TABLE, apparent_va=apparent_va)
    assert lcd.render(busy, REGISTERS, STATUS, "supply").lines[3].endswith(" " + text)


def test_the_third_page_says_how_the_meter_is() -> None:
    assert lcd.render(TABLE, REGISTERS, STATUS, "meter").lines == (
        "Medidor  MX-0042",
        "Sin enviar    12",
        "Reloj    en hora",
        "Servidor   tarde",
    )


def test_without_a_reading_everything_measured_is_unknown_and_energy_is_not() -> None:
    assert lcd.render(None, REGISTERS, STATUS, "power", "en").lines[:3] == (
        "No reading      ",
        "P           -- W",
        "In  342935.5 kWh",
    )
    assert lcd.render(None, REGISTERS, STATUS, "supply").lines == (
        "-- V        -- A",
        "FP    --    φ--°",
        "THD V  -- I  --%",
        "-- Hz      -- VA",
    )


def test_without_mains_no_direction_is_claimed() -> None:
    dark = replace(TABLE, flags=Quality.MAINS_LOST, power_factor=None, phase_deg=None)
    assert lcd.render(dark, REGISTERS, STATUS, "power").lines[0] == "Sin tensión     "


@pytest.mark.parametrize("power_w", [0.0, -0.0, 0.049, -0.049])
def test_power_that_shows_as_zero_flows_nowhere(power_w: float) -> None:
    still = replace(TABLE, power_w=power_w)
    assert lcd.render(still, REGISTERS, STATUS, "power").lines[:2] == (
        "Sin flujo       ",
        "P          0.0 W",
    )


def test_a_clipped_window_is_marked() -> None:
    clipped = replace(TABLE, flags=Quality.CLIPPED)
    assert lcd.render(clipped, REGISTERS, STATUS, "power").lines[0] == "Casa → red     !"


def test_unsent_that_was_never_told_is_unknown() -> None:
    assert (
        lcd.render(TABLE, REGISTERS, replace(STATUS, unsent=None), "meter").lines[1].endswith(" --")
    )


def test_a_long_serial_keeps_its_end_and_foreign_characters_are_marked() -> None:
    status = replace(STATUS, serial="planta-baja-é-000042")
    assert lcd.render(TABLE, REGISTERS, status, "meter").lines[0] == "..-baja-?-000042"


measured = st.one_of(st.none(), st.floats(-1e6, 1e6), st.floats())
rms = st.one_of(st.floats(0, 1e6), st.floats())
any_quantities = st.builds(
    Quantities,
    duration_s=st.just(0.2),
    end_ns=st.just(0),
    gap_s=st.just(0.0),
    cycles=st.just(12.0),
    frequency_hz=measured,
    voltage_v=rms,
    current_a=rms,
    power_w=st.one_of(st.floats(-50_000, 50_000), st.floats()),
    apparent_va=rms,
    reactive_var=rms,
    nonactive_var=rms,
    power_factor=st.one_of(st.none(), st.floats(-1, 1)),
    phase_deg=st.one_of(st.none(), st.floats(-180, 180)),
    thd_voltage_pct=measured,
    thd_current_pct=measured,
    harmonic_voltage_v2=st.just(np.zeros(40)),
    harmonic_current_a2=st.just(np.zeros(40)),
    flags=st.sampled_from([Quality.GOOD, Quality.CLIPPED, Quality.MAINS_LOST, ~Quality.GOOD]),
)
any_registers = st.builds(
    Registers, import_j=st.integers(0, 2**63 - 1), export_j=st.integers(0, 2**63 - 1)
)
any_status = st.builds(
    Status,
    serial=st.text(max_size=30),
    unsent=st.one_of(st.none(), st.integers(0, 10**9)),
    clock=st.sampled_from(["synced", "unsynced", "unknown", "a word that nobody knows"]),
    server=st.sampled_from(["ok", "late", "refused", "unknown", ""]),
    key=st.one_of(st.none(), st.text("0123456789abcdef", max_size=64)),
    claimed=st.booleans(),
    alarms=st.lists(st.sampled_from(["disk", "adc", "server", "relay", "ñandú é"])).map(tuple),
    demand_w=measured,
    predicted_w=measured,
    limit_w=st.one_of(st.none(), st.floats(0)),
    tariff_text=st.text(max_size=48),
)


@given(
    st.one_of(st.none(), any_quantities),
    any_registers,
    any_status,
    st.sampled_from(lcd.PAGES),
    st.sampled_from(["es", "en"]),
)
def test_every_line_is_sixteen_characters_that_the_display_has(
    quantities: Quantities | None,
    registers: Registers,
    status: Status,
    page: str,
    language: lcd.Language,
) -> None:
    codec = A00Codec()
    for line in lcd.render(quantities, registers, status, page, language).lines:
        assert len(line) == 16
        for character in line:
            in_rom = character == " " or codec.encode(character) != [0x20]
            assert in_rom or character in lcd.GLYPHS


JOULES_PER_UNIT = {"kWh": 3_600_000, "MWh": 3_600_000_000, "GWh": 3_600_000_000_000}


@given(st.integers(0, 99_999_999 * 3_600_000 + 3_599_999))
@example(99_999_999 * 3_600_000 + 3_599_999)
def test_a_register_never_shows_energy_that_was_not_counted(energy_j: int) -> None:
    text = energy_text(energy_j, 12)
    number, unit = text.split()
    digit = Fraction(1, 10 ** len(number.partition(".")[2]))
    counted = Fraction(energy_j, JOULES_PER_UNIT[unit])
    assert len(text) <= 12
    assert unit == "kWh"
    assert Fraction(number) <= counted < Fraction(number) + digit


@given(st.integers(0, 2**63 - 1))
def test_a_register_beyond_eight_digits_changes_its_unit_and_still_tells_the_truth(
    energy_j: int,
) -> None:
    number, unit = energy_text(energy_j, 12).split()
    digit = Fraction(1, 10 ** len(number.partition(".")[2]))
    assert 0 <= Fraction(energy_j, JOULES_PER_UNIT[unit]) - Fraction(number) < digit


@given(st.floats(-1e7, 1e7), st.integers(3, 8), st.integers(0, 3))
def test_a_number_fits_and_is_rounded_to_its_last_digit_or_is_a_true_bound(
    value: float, width: int, decimals: int
) -> None:
    text = number_text(value, width, decimals)
    assert len(text) <= width
    assert not re.fullmatch(r"-0(\.0*)?", text)
    if text.startswith(">"):
        assert value > float(text[1:])
    elif text.startswith("<"):
        assert value < float(text[1:])
    else:
        places = len(text.partition(".")[2])
        assert places <= decimals
        assert abs(Fraction(text) - Fraction(value)) <= Fraction(1, 2 * 10**places)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_unknown(value: float | None) -> None:
    assert number_text(value, 6, 2) == "--"


DEMAND = replace(STATUS, demand_w=3_412.0, predicted_w=5_120.0, limit_w=5_000.0)


def test_the_demand_page_marks_a_block_that_heads_over_the_limit() -> None:
    assert lcd.render(TABLE, REGISTERS, DEMAND, "demand").lines == (
        "Demanda        !",
        "        3412.0 W",
        "Ira a   5120.0 W",
        "Limite  5000.0 W",
    )
    under = replace(DEMAND, predicted_w=5_000.0)
    assert lcd.render(TABLE, REGISTERS, under, "demand", "en").lines[0] == "Demand          "


def test_without_a_limit_or_a_measured_block_the_demand_page_says_so() -> None:
    assert lcd.render(TABLE, REGISTERS, STATUS, "demand", "en").lines == (
        "Demand          ",
        "            -- W",
        "Heading     -- W",
        "No limit        ",
    )


def test_the_tariff_page_gives_the_text_the_room_that_it_needs() -> None:
    short = replace(STATUS, tariff_text="Tarifa 1C, verano")
    assert lcd.render(TABLE, REGISTERS, short, "tariff").lines == (
        "Tarifa 1C,      ",
        "verano          ",
        "Ent 342935.5 kWh",
        "Sal     0.99 kWh",
    )
    long = replace(STATUS, tariff_text="Punta 18 a 22 h 2.10, base 0 a 6 h 0.90")
    assert lcd.render(TABLE, REGISTERS, long, "tariff").lines == (
        "Punta 18 a 22 h ",
        "2.10, base 0 a 6",
        "h 0.90          ",
        "Ent 342935.5 kWh",
    )


def test_the_key_page_shows_sixteen_digits_to_compare() -> None:
    unclaimed = replace(STATUS, key="3f2a91c077de0b14" + "0" * 48, claimed=False)
    assert lcd.render(TABLE, REGISTERS, unclaimed, "key").lines == (
        "Medidor  MX-0042",
        "Clave  3F2A 91C0",
        "       77DE 0B14",
        "Falta registro  ",
    )


def test_the_alarms_page_names_what_is_wrong() -> None:
    wrong = replace(STATUS, alarms=("disk", "server"))
    assert lcd.render(TABLE, REGISTERS, wrong, "alarms").lines == (
        "ALARMA         !",
        "Disco lleno     ",
        "Servidor rechaza",
        "                ",
    )


def test_a_message_is_broken_between_words_and_keeps_every_character() -> None:
    assert lcd.render_message("Corte programado mañana de 8 a 10 h, \u00a1prepárese!").lines == (
        "Corte programado",
        "mañana de 8 a 10",
        "h, ?preparese!  ",
        "                ",
    )
    full = "x" * 9 + " " + "y" * 9 + " " + "z" * 9 + " " + "w" * 9 + " " + "v" * 9 + " " + "u" * 14
    assert "".join(lcd.render_message(full).lines) == full


@given(st.text(min_size=1, max_size=64))
def test_any_message_fits_the_display(text: str) -> None:
    assert all(len(line) == 16 for line in lcd.render_message(text).lines)
