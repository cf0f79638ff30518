"""Words, numbers and times as the reader writes them: Spanish of Mexico first, and English."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime, format_time, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import Translations

LANGUAGES = ("es-MX", "en")
UNKNOWN = "—"
FOLDER = Path(__file__).parent / "locale"
JOULES_PER_KWH = 3_600_000
MINUS = "−"


@dataclass(frozen=True, slots=True)
class Language:
    """One language with its catalogue."""

    tag: str
    locale: Locale
    translations: Translations

    def say(self, message: str) -> str:
        """The translation of an English message."""
        return str(self.translations.gettext(message))


def load_languages() -> dict[str, Language]:
    """Every catalogue, compiled in memory from its .po file; by language tag."""
    return {tag: _load(tag) for tag in LANGUAGES}


def choose(asked: str | None, kept: str | None, accepted: Iterable[str]) -> str:
    """The tag of the language to answer in: asked for now, asked for before, or the browser's.

    ``accepted`` is in the browser's order. What is not spoken here is passed over.
    """
    for wish in (asked, kept, *accepted):
        tag = _spoken(wish or "")
        if tag is not None:
            return tag
    return LANGUAGES[0]


def number(language: Language, quantity: float | Decimal | None, digits: int) -> str:
    """With exactly ``digits`` decimals, or a dash for what is not known."""
    if quantity is None:
        return UNKNOWN
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    shown = format_decimal(quantity, format=pattern, locale=language.locale)
    if not any(digit in shown for digit in "123456789"):
        shown = shown.lstrip("-")  # no minus zero
    return shown.replace("-", MINUS)


def kwh(language: Language, energy_j: int | None, digits: int = 3) -> str:
    """Joules as kilowatt-hours, cut like a meter's counter and not rounded up."""
    if energy_j is None:
        return UNKNOWN
    exact = Decimal(energy_j) / JOULES_PER_KWH
    return number(language, exact.quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR), digits)


def date_and_time(language: Language, utc_s: int, zone: ZoneInfo) -> str:
    """Such as ``22 nov 2026, 14:05:09``, in that zone."""
    instant = datetime.fromtimestamp(utc_s, UTC)
    return str(format_datetime(instant, "d MMM y, HH:mm:ss", tzinfo=zone, locale=language.locale))


def clock_time(language: Language, utc_s: int, zone: ZoneInfo) -> str:
    """Such as ``14:05``."""
    instant = datetime.fromtimestamp(utc_s, UTC)
    return str(format_time(instant, "HH:mm", tzinfo=zone, locale=language.locale))


def age(language: Language, age_s: int) -> str:
    """Such as ``hace 3 minutos``; what is new, or dated by a clock ahead of ours, is a second old.

    Of no time at all the library would say ``dentro de 0 segundos``.
    """
    span = timedelta(seconds=-max(1, age_s))
    return str(format_timedelta(span, threshold=1, add_direction=True, locale=language.locale))


def _spoken(wish: str) -> str | None:
    primary = wish.split("-")[0].split("_")[0].lower()
    return {tag.split("-")[0]: tag for tag in LANGUAGES}.get(primary)


def _load(tag: str) -> Language:
    locale = Locale.parse(tag, sep="-")
    with (FOLDER / str(locale) / "messages.po").open("rb") as file:
        catalog = read_po(file, locale=locale, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Language(tag, locale, Translations(compiled))
