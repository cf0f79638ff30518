"""Settings of the server come into effect whole, or are refused with a sentence that says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meterd import config
from meterd.config import Config
from meterd.control import settings
from meterd.errors import NotSignedError, SettingRefusedError
from tests import signed_texts
from tests.signed_texts import SERIAL, SERVER

FILE = Config(
    meter=config.Meter(serial=SERIAL),
    circuits=(config.Circuit(voltage_channel=0, current_channel=1),),
)
ALL = {
    "interval_s": 900,
    "sync_every_s": 300,
    "display_language": "en",
    "display_pages": ["demand", "tariff"],
    "display_page_s": 7.5,
    "demand_block_min": 30,
    "demand_limit_w": 5000,
    "tariff_text": "Tarifa 1C",
}


def test_every_setting_of_the_protocol_takes_the_place_of_the_files() -> None:
    chosen = settings.lay_over(FILE, ALL)
    assert (chosen.meter.interval_s, chosen.sync.every_s) == (900, 300)
    assert (chosen.display.language, chosen.display.pages) == ("en", ("demand", "tariff"))
    assert (chosen.display.page_s, chosen.display.tariff_text) == (7.5, "Tarifa 1C")
    assert (chosen.demand.block_min, chosen.demand.limit_w) == (30, 5000.0)


def test_the_table_of_the_protocol_names_these_settings_and_no_others() -> None:
    page = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = page.partition("| setting | allowed |")[2].partition("\n\n")[0]
    named = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    assert named == list(ALL)
    assert settings.Values.__struct_fields__ == tuple(ALL)


def test_what_is_absent_stays_as_the_file_says() -> None:
    assert settings.lay_over(FILE, {}) == FILE
    assert settings.lay_over(FILE, {"interval_s": 5}).sync == FILE.sync
    limited = settings.lay_over(FILE, {"demand_limit_w": 10})
    assert settings.lay_over(limited, {"demand_limit_w": None}).demand.limit_w is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval_s", 4),
        ("interval_s", 3601),
        ("interval_s", 7),
        ("interval_s", 60.5),
        ("interval_s", "60"),
        ("interval_s", None),
        ("sync_every_s", 0),
        ("sync_every_s", 3601),
        ("display_language", "de"),
        ("display_pages", []),
        ("display_pages", ["power", "power"]),
        ("display_pages", ["key"]),
        ("display_page_s", 0.5),
        ("display_page_s", 61),
        ("demand_block_min", 7),
        ("demand_block_min", 0),
        ("demand_limit_w", -1),
        ("demand_limit_w", True),
        ("tariff_text", "x" * 49),
        ("tariff_text", "two\nlines"),
        ("serial", "MX-000002"),
    ],
)
def test_a_setting_that_is_not_allowed_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(SettingRefusedError, match=name):
        settings.lay_over(FILE, {"sync_every_s": 10, name: value})


def test_signed_settings_say_their_version_and_values() -> None:
    told = settings.verify(signed_texts.settings(7, ALL), SERVER.public, SERIAL)
    assert told == settings.Applied(7, json.loads(json.dumps(ALL)))


def test_settings_of_a_stranger_or_for_another_meter_are_not_the_servers() -> None:
    for said in (
        signed_texts.settings(7, ALL, key=signed_texts.STRANGER),
        signed_texts.settings(7, ALL, meter="MX-000002"),
    ):
        with pytest.raises(NotSignedError):
            settings.verify(said, SERVER.public, SERIAL)
