"""What a meter is set to from here: numbered versions, signed, each whole and kept for good."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlalchemy import Connection, insert, select

from server import identity, signing
from server.errors import SettingError
from server.schema import METER_SETTING
from server.signing import ServerKey, Signed

VERSIONS_PER_RESTORE = 1_000_000
"""After a restore the numbers go on here: those given out since the backup are not used again."""
DAY_S = 24 * 3600
LANGUAGES = ("es", "en")
PAGES = ("power", "supply", "meter", "demand", "tariff")
TARIFF_CHARACTERS_MAX = 48


def _is_whole(found: object, low: int, high: int) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and low <= found <= high


def _is_number(found: object, low: float, high: float) -> bool:
    number = isinstance(found, int | float) and not isinstance(found, bool)
    return number and math.isfinite(found) and low <= found <= high  # type: ignore[arg-type,operator]


def _divides(found: object, low: int, high: int, whole: int) -> bool:
    return _is_whole(found, low, high) and whole % found == 0  # type: ignore[operator]


def _is_pages(found: object) -> bool:
    if not isinstance(found, list) or not found:
        return False
    return all(page in PAGES for page in found) and len(set(found)) == len(found)


def _is_tariff(found: object) -> bool:
    return isinstance(found, str) and len(found) <= TARIFF_CHARACTERS_MAX and found.isprintable()


ALLOWED: Mapping[str, tuple[Callable[[object], bool], str]] = MappingProxyType(
    {
        "interval_s": (
            lambda found: _divides(found, 5, 3600, DAY_S),
            "5 to 3600 whole seconds that divide a day",
        ),
        "sync_every_s": (lambda found: _is_number(found, 1, 3600), "1 to 3600"),
        "display_language": (lambda found: found in LANGUAGES, "es or en"),
        "display_pages": (_is_pages, f"one or more of {', '.join(PAGES)}, each once"),
        "display_page_s": (lambda found: _is_number(found, 1, 60), "1 to 60"),
        "demand_block_min": (
            lambda found: _divides(found, 1, 60, 60),
            "1 to 60 whole minutes that divide an hour",
        ),
        "demand_limit_w": (
            lambda found: found is None or _is_number(found, 0, math.inf),
            "a number from 0 on, or none",
        ),
        "tariff_text": (_is_tariff, f"up to {TARIFF_CHARACTERS_MAX} printable characters"),
    }
)


def read(key: str, written: str) -> object:
    """What an operator wrote behind ``key=``, as docs/protocol.md has it.

    Raises:
        SettingError: no such setting, or not a value of it.
    """
    if key not in ALLOWED:
        raise SettingError(f"there is no setting {key!r}; there are {', '.join(ALLOWED)}")
    found = _as_written(key, written)
    fits, allowed = ALLOWED[key]
    if not fits(found):
        raise SettingError(f"{key} is {allowed}, not {written!r}")
    return found


def newest(connection: Connection, meter_id: int) -> tuple[int, dict[str, object], Signed | None]:
    """The newest version's number, its settings, and as it was signed; 0 without one."""
    query = (
        select(METER_SETTING)
        .where(METER_SETTING.c.meter_id == meter_id)
        .order_by(METER_SETTING.c.version.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return 0, {}, None
    settings: dict[str, object] = json.loads(row.text)["settings"]
    return row.version, settings, Signed(row.text, row.key, row.signature)


def change(
    connection: Connection,
    meter: tuple[int, str],
    changes: Mapping[str, object],
    removed: frozenset[str],
    *,
    key: ServerKey,
    who: str,
    now_utc_s: int,
) -> int:
    """Issue a new version: the newest with ``changes`` and without ``removed``; its number."""
    meter_id, serial = meter
    version, before, _ = newest(connection, meter_id)
    settings = {name: before[name] for name in before if name not in removed} | dict(changes)
    first = VERSIONS_PER_RESTORE * identity.restores(connection) + 1
    following = max(version + 1, first)
    content = {
        "type": "settings",
        "meter": serial,
        "version": following,
        "issued_utc_s": now_utc_s,
        "settings": settings,
    }
    signed = signing.signed(key, content)
    values = {
        "meter_id": meter_id,
        "version": following,
        "text": signed.text,
        "key": signed.key,
        "signature": signed.signature,
        "issued_utc_s": now_utc_s,
        "who": who,
    }
    connection.execute(insert(METER_SETTING).values(values))
    return following


def _as_written(key: str, written: str) -> object:
    if key == "display_pages":
        return [page.strip() for page in written.split(",")]
    if key in ("display_language", "tariff_text"):
        return written
    if key == "demand_limit_w" and written == "none":
        return None
    try:
        return int(written)
    except ValueError:
        pass
    try:
        return float(written)
    except ValueError:
        return written
