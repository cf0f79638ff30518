"""The server's settings laid over the meter's own file: a whole new configuration, or a refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from meterd.config import DAY_S, TARIFF_CHARACTERS_MAX, Config, PageName
from meterd.control import signed
from meterd.database.downlink import SignedSettings
from meterd.errors import SettingRefusedError
from meterd.record.signing import PublicKey


class Values(Struct, frozen=True, forbid_unknown_fields=True):
    """The table of docs/protocol.md; what is absent stays as the meter's own file says."""

    interval_s: Annotated[int, Meta(ge=5, le=3600)] | UnsetType = UNSET
    sync_every_s: Annotated[int, Meta(ge=1, le=3600)] | UnsetType = UNSET
    display_language: Literal["es", "en"] | UnsetType = UNSET
    display_pages: Annotated[tuple[PageName, ...], Meta(min_length=1, max_length=5)] | UnsetType = (
        UNSET
    )
    display_page_s: Annotated[float, Meta(ge=1, le=60)] | UnsetType = UNSET
    demand_block_min: Annotated[int, Meta(ge=1, le=60)] | UnsetType = UNSET
    demand_limit_w: Annotated[float, Meta(ge=0)] | UnsetType | None = UNSET
    tariff_text: Annotated[str, Meta(max_length=TARIFF_CHARACTERS_MAX)] | UnsetType = UNSET


_PLACES = {
    "interval_s": ("meter", "interval_s"),
    "sync_every_s": ("sync", "every_s"),
    "display_language": ("display", "language"),
    "display_pages": ("display", "pages"),
    "display_page_s": ("display", "page_s"),
    "demand_block_min": ("demand", "block_min"),
    "demand_limit_w": ("demand", "limit_w"),
    "tariff_text": ("display", "tariff_text"),
}
"""Table and key of meterd.toml for each setting."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A version of settings and what it says, as it is recorded."""

    version: int
    settings: Mapping[str, Any]


NONE_APPLIED = Applied(0, {})


def verify(said: SignedSettings, key: PublicKey, serial: str) -> Applied:
    """The server's settings for this meter; whether they are allowed is :func:`lay_over`'s.

    Raises:
        NotSignedError: they are not the server's, or not this meter's.
    """
    told = signed.verified(said.signed, signed.Settings, key, serial)
    return Applied(told.version, told.settings)


def lay_over(config: Config, settings: Mapping[str, Any]) -> Config:
    """The file's ``config`` with the settings in place of what it says.

    Raises:
        SettingRefusedError: one is unknown or not allowed; none of them is used.
    """
    for table, changed in _by_table(_values(settings)).items():
        config = replace(config, **{table: replace(getattr(config, table), **changed)})
    return config


def _values(settings: Mapping[str, Any]) -> Values:
    """The settings checked, each by itself."""
    try:
        values = msgspec.convert(dict(settings), Values, strict=True)
    except msgspec.ValidationError as error:
        raise SettingRefusedError(f"the settings cannot be: {error}") from error
    for name, fine, allowed in (
        ("interval_s", lambda found: DAY_S % found == 0, "divides a day"),
        ("demand_block_min", lambda found: 60 % found == 0, "divides an hour"),
        ("demand_limit_w", lambda found: found is None or math.isfinite(found), "is finite"),
        ("display_pages", lambda found: len(set(found)) == len(found), "names each page once"),
        ("tariff_text", str.isprintable, "is printable"),
    ):
        found = getattr(values, name)
        if found is not UNSET and not fine(found):
            raise SettingRefusedError(f"the setting {name} = {found!r} is none that {allowed}")
    return values


def _by_table(values: Values) -> dict[str, dict[str, object]]:
    tables: dict[str, dict[str, object]] = {}
    for name, (table, key) in _PLACES.items():
        found = getattr(values, name)
        if found is not UNSET:
            tables.setdefault(table, {})[key] = found
    return tables
