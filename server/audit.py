"""The audit log: what was changed, by whom, from where; written with the change or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert

from server.roles import Role
from server.schema import AUDIT_ENTRY

SHELL = "shell"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, and from which address."""

    who: str
    role: Role
    address: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object; ``before`` and ``after`` hold no secret, for they are kept."""

    action: str
    object_kind: str
    object_name: str
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None


def note(connection: Connection, actor: Actor, change: Change, now_utc_s: int) -> None:
    """Add an entry in the transaction that makes the change."""
    values = {
        "at_utc_s": now_utc_s,
        "who": actor.who,
        "role": str(actor.role),
        "address": actor.address,
        "action": change.action,
        "object_kind": change.object_kind,
        "object_name": change.object_name,
        "before": _json(change.before),
        "after": _json(change.after),
    }
    connection.execute(insert(AUDIT_ENTRY).values(values))


def _json(content: Mapping[str, object] | None) -> str | None:
    return None if content is None else json.dumps(content, ensure_ascii=False, sort_keys=True)
