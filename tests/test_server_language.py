"""Two languages, complete, with the reader's numbers and times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from server import language
from server.language import Language, choose, load_languages

FOLDER = Path(language.__file__).parent


def messages() -> Iterator[str]:
    found = extract_from_dir(
        FOLDER,
        method_map=[("templates/**.html", "jinja2.ext.babel_extract"), ("**.py", "python")],
        keywords={"_": None, "ngettext": (1, 2), "say": None},
    )
    for _, _, message, _, _ in found:
        yield message[0] if isinstance(message, tuple) else message


@pytest.fixture(scope="module")
def languages() -> dict[str, Language]:
    return load_languages()


@pytest.mark.parametrize("locale", ["es_MX", "en"])
def test_every_message_is_translated_and_no_other(locale: str) -> None:
    with (FOLDER / "locale" / locale / "messages.po").open("rb") as file:
        catalog = read_po(file, locale=locale, abort_invalid=True)
    translated = {}
    for entry in catalog:
        if entry.id:
            name = entry.id[0] if isinstance(entry.id, tuple) else entry.id
            translated[name] = entry.string
            assert not entry.fuzzy, name
            strings = entry.string if isinstance(entry.string, tuple) else (entry.string,)
            assert all(strings), name
    assert set(translated) == set(messages())


def test_spanish_comes_first() -> None:
    assert language.LANGUAGES[0] == "es-MX"
    assert choose(None, None, []) == "es-MX"


def test_what_is_asked_for_goes_before_what_was_and_that_before_the_browser() -> None:
    assert choose("en", "es-MX", ["es"]) == "en"
    assert choose(None, "en", ["es"]) == "en"
    assert choose("xx", "yy", ["zz", "en"]) == "en"
    assert choose("", "../../etc", ["*"]) == "es-MX"


def test_a_kilowatt_hour_is_shown_like_a_counter(languages: dict[str, Language]) -> None:
    spanish = languages["es-MX"]
    assert language.kwh(spanish, 3_600_000) == "1.000"
    assert language.kwh(spanish, 3_599_999) == "0.999"  # a counter does not run ahead
    assert language.kwh(spanish, 2**63 - 1) == "2,562,047,788,015.215"
    assert language.kwh(spanish, 0) == "0.000"
    assert language.kwh(spanish, None) == "—"


def test_numbers_have_as_many_decimals_as_asked(languages: dict[str, Language]) -> None:
    spanish = languages["es-MX"]
    assert language.number(spanish, 1234.5, 1) == "1,234.5"
    assert language.number(spanish, -0.953, 3) == "−0.953"
    assert language.number(spanish, -0.01, 1) == "0.0"
    assert language.number(spanish, None, 1) == "—"


def test_ages_are_words(languages: dict[str, Language]) -> None:
    assert language.age(languages["es-MX"], 3) == "hace 3 segundos"
    assert language.age(languages["en"], 7200) == "2 hours ago"
    assert language.age(languages["es-MX"], 0) == "hace 1 segundo"
    assert language.age(languages["es-MX"], -5) == "hace 1 segundo"


def test_times_are_of_the_place(languages: dict[str, Language]) -> None:
    utc_s = 1_763_838_000  # 2025-11-22 19:00:00 UTC
    hermosillo, mexico = ZoneInfo("America/Hermosillo"), ZoneInfo("America/Mexico_City")
    spanish = languages["es-MX"]
    assert language.date_and_time(spanish, utc_s, hermosillo) == "22 nov 2025, 12:00:00"
    assert language.clock_time(spanish, utc_s, mexico) == "13:00"
