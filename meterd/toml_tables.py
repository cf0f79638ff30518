"""TOML files to frozen structs; what does not fit is refused with a sentence for its writer.

A key that does not exist, a wrong type or a value out of range is an error that names the file, the
table, the key, the value and what is allowed.
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from meterd.errors import ConfigError

_T = TypeVar("_T")


def read(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"{path} is not TOML: {error}") from error


def convert(tables: dict[str, Any], into: type[_T], path: Path) -> _T:
    """``tables`` as ``into``; msgspec's refusal becomes a sentence with the value and the range."""
    _refuse_non_finite(tables, path)
    try:
        return msgspec.convert(tables, into, strict=True, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_sentence(str(error), tables, into)}") from error


def _path(kind: type, found: object) -> Path:
    assert kind is Path
    if not isinstance(found, str):
        raise TypeError("a path is a string")
    return Path(found)


def _refuse_non_finite(tables: dict[str, Any], path: Path) -> None:
    """TOML knows nan and inf, and a comparison with nan never tells."""
    for name, table in tables.items():
        for key, found in table.items() if isinstance(table, dict) else ():
            if isinstance(found, float) and not math.isfinite(found):
                raise refusal(path, f"[{name}]", key, found, "a finite number")


def _sentence(refusal: str, tables: dict[str, Any], into: type) -> str:
    """msgspec says what it expected and where (``$.meter.interval_s``), but not what it found."""
    reason, _, place = refusal.partition(" - at `")
    steps = re.findall(r"[A-Za-z_]\w*|\d+", place)
    names = [step for step in steps if not step.isdigit()]
    table = f"[{names[0]}]" if names else "the top of the file"
    table = f"[{table}]" if steps[1:2] and steps[1].isdigit() else table
    owner = _struct_of(into, names[0]) if names else into
    if len(names) < 2:
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(owner))
        return f"{table}: {reason}; its keys are {keys}"
    found: Any = tables
    for step in steps:
        found = found[int(step) if step.isdigit() else step]
    return f"{table} {names[1]} = {found!r}: must be {allowed(owner, names[1]) or reason}"


def _struct_of(owner: type, key: str) -> type:
    """The struct under ``key`` of ``owner``, or ``owner`` where there is none."""
    hint = _hint(owner, key)
    while hint is not None and not (isinstance(hint, type) and issubclass(hint, Struct)):
        inner = [part for part in get_args(hint) if part not in (type(None), Ellipsis)]
        hint = inner[0] if inner else None
    return owner if hint is None else hint


def allowed(owner: type, key: str) -> str:
    """What the declaration of ``key`` says is allowed."""
    notes = (note for note in get_args(_hint(owner, key)) if isinstance(note, Meta))
    return next((note.description for note in notes if note.description), "")


def _hint(owner: type, key: str) -> Any:
    hints = get_type_hints(owner, include_extras=True)
    names = {field.encode_name: field.name for field in msgspec.structs.fields(owner)}
    return hints.get(names.get(key, key))


def refusal(path: Path, table: str, key: str, found: object, allowed: str) -> ConfigError:
    """The sentence for a value that is not allowed."""
    return ConfigError(f"{path}: {table} {key} = {found!r}: must be {allowed}")
