"""The line: what the protocol's page says, byte for byte."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterd import wire
from meterd.errors import NotAReadingError
from meterd.model import EventRecord, Reading

WIRE = Path(__file__).parent / "wire"
GOLDEN = (WIRE / "readings-1.1.ndjson").read_bytes().splitlines()
EARLIER = (WIRE / "readings.ndjson").read_bytes().splitlines()
PROTOCOL = Path(__file__).parent.parent / "docs" / "protocol.md"

HALF_LOAD = Reading(
    schema="1.1",
    meter="MX-000001",
    stream="8c5a0a5e4a5b4f0c9f6f0d8a4d1b2c3e",
    seq=2,
    boot=7,
    boottime_ms=141_230,
    end_utc_s=1763846460,
    interval_s=60,
    measured_s=60.0,
    coverage_pct=100.0,
    clock="synced",
    flags=[],
    frequency_hz=59.9871,
    voltage_v=128.4,
    current_a=10.0,
    power_w=-1284.0,
    apparent_va=1284.0,
    reactive_var=-0.01,
    nonactive_var=0.01,
    power_factor=-1.0,
    phase_deg=180.0,
    thd_voltage_pct=1.5,
    thd_current_pct=0.0,
    import_j=28807,
    export_j=77040,
    reactive_q1_vars=13950,
    reactive_q3_vars=1,
    voltage_min_v=128.2,
    voltage_max_v=128.6,
    current_max_a=10.02,
    power_min_w=-1286.6,
    power_max_w=-1281.4,
    demand_w=412.5,
    demand_max_w=980.25,
    demand_max_end_utc_s=1763845200,
    events=[EventRecord("dip", 1763846431.25, 0.0917, 85.94)],
)


@pytest.mark.parametrize("line", GOLDEN)
def test_a_golden_line_comes_back_byte_for_byte(line: bytes) -> None:
    assert wire.encode(wire.decode(line)) == line


def test_a_line_of_the_first_schema_is_a_reading_that_does_not_know_its_boot() -> None:
    for earlier, line in zip(EARLIER, GOLDEN, strict=True):
        reading = wire.decode(earlier)
        assert (reading.schema, reading.kind, reading.boot, reading.boottime_ms) == (
            "1.0",
            "reading",
            0,
            0,
        )
        now = wire.decode(line)
        assert (reading.seq, reading.import_j, reading.power_w) == (
            now.seq,
            now.import_j,
            now.power_w,
        )


def test_a_reading_written_by_hand_is_the_golden_export_line() -> None:
    assert wire.encode(HALF_LOAD) == GOLDEN[1]
    assert wire.decode(GOLDEN[1]) == HALF_LOAD


def test_unknown_quantities_are_null_and_come_back_as_none() -> None:
    reading = wire.decode(GOLDEN[3])
    assert reading.voltage_v is None
    assert reading.power_w is None
    assert json.loads(wire.encode(reading))["voltage_v"] is None


def test_the_protocol_page_shows_a_line_this_code_makes() -> None:
    page = PROTOCOL.read_text(encoding="utf-8")
    example = next(line for line in page.splitlines() if line.startswith('{"schema"'))
    assert wire.encode(wire.decode(example.encode())).decode() == example


def test_the_fields_stand_in_the_order_of_the_protocol() -> None:
    assert list(json.loads(GOLDEN[0])) == [field.name for field in fields(Reading)]


def test_values_are_rounded_to_the_decimals_of_the_wire() -> None:
    reading = replace(HALF_LOAD, voltage_v=127.00049, current_a=1.23456, power_w=-0.0049)
    line = json.loads(wire.encode(reading))
    assert line["voltage_v"] == 127.0
    assert line["current_a"] == 1.2346
    assert str(line["power_w"]) == "0.0"


def test_numpy_scalars_are_written_as_plain_numbers() -> None:
    reading = replace(HALF_LOAD, voltage_v=np.float64(128.4))
    assert wire.encode(reading) == GOLDEN[1]


@pytest.mark.parametrize("quantity", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", sorted(wire.DECIMALS))
def test_a_value_json_cannot_say_is_refused_by_name(name: str, quantity: float) -> None:
    wrong: dict[str, Any] = {name: quantity}
    with pytest.raises(NotAReadingError, match=name):
        wire.encode(replace(HALF_LOAD, **wrong))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("schema", "2.0"),
        ("meter", "MX 1"),
        ("meter", "M" * 33),
        ("meter", "MX-000001\n"),
        ("stream", "8C5A"),
        ("seq", 0),
        ("interval_s", 0),
        ("interval_s", 3601),
        ("measured_s", -0.1),
        ("coverage_pct", 100.001),
        ("clock", "good"),
        ("kind", "event"),
        ("boot", -1),
        ("boottime_ms", -1),
        ("flags", ["GOOD ENOUGH"]),
        ("import_j", -1),
        ("export_j", 2**63),
    ],
)
def test_what_the_protocol_does_not_allow_is_neither_written_nor_read(
    name: str, wrong: object
) -> None:
    reading = replace(HALF_LOAD, **{name: wrong})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(NotAReadingError, match=name):
        wire.encode(reading)
    with pytest.raises(NotAReadingError, match=name):
        wire.decode(json.dumps(json.loads(GOLDEN[1]) | {name: wrong}).encode())


def test_a_register_that_is_no_plain_integer_is_refused() -> None:
    with pytest.raises(NotAReadingError, match="reading 2"):
        wire.encode(replace(HALF_LOAD, import_j=np.int64(7)))  # type: ignore[arg-type]  # on purpose


def test_fields_of_a_newer_minor_version_are_left_out() -> None:
    newer = GOLDEN[1].replace(b'"schema":"1.1"', b'"schema":"1.7","signature":"abc"')
    assert wire.decode(newer) == replace(HALF_LOAD, schema="1.7")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        GOLDEN[1][:-1],
        GOLDEN[1].replace(b"128.4", b"NaN"),
        GOLDEN[1].replace(b"128.4", b"1e999"),
        GOLDEN[1].replace(b"128.4", b'"128.4"'),
        GOLDEN[1].replace(b'"seq":2', b'"seq":2.5'),
        GOLDEN[1].replace(b"MX-000001", b"MX-\xff"),
        GOLDEN[1].replace(b"1763846460", b"99999999999999999999"),
        GOLDEN[1][:-1] + b',"padding":"' + b"x" * 9000 + b'"}',
    ],
)
def test_bytes_that_are_no_reading_are_an_error_of_ours(line: bytes) -> None:
    with pytest.raises(NotAReadingError):
        wire.decode(line)


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(power_w=finite, phase_deg=st.none() | finite, import_j=st.integers(0, 2**63 - 1))
def test_any_finite_reading_is_one_line_that_comes_back_within_half_a_last_digit(
    power_w: float, phase_deg: float | None, import_j: int
) -> None:
    line = wire.encode(replace(HALF_LOAD, power_w=power_w, phase_deg=phase_deg, import_j=import_j))
    back = wire.decode(line)
    assert b"\n" not in line
    assert back.import_j == import_j
    assert back.power_w == pytest.approx(power_w, rel=1e-15, abs=0.00501)
    assert (back.phase_deg is None) == (phase_deg is None)
