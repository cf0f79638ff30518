"""The tables of those who administer: the utility's users, tokens, the audit log, what changed.

``object_change`` and ``reading_change`` hold one row for each object that programs may fetch: where
its newest change stands in the order of changes. Triggers of the database keep them, so that no way
of writing goes past them; the single writer's transaction makes the order the order of commits.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from server.schema.base import BIG, METADATA

STAFF_USER = Table(
    "staff_user",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("user_name", Text, nullable=False, unique=True),  # no customer has the same
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),  # argon2id, with its parameters
    Column("created_utc_s", BIG, nullable=False),
    Column("disabled_utc_s", BIG),  # None: may log in
    CheckConstraint("role IN ('operator', 'billing', 'admin')", name="role"),
    sqlite_strict=True,
)

STAFF_SESSION = Table(
    "staff_session",
    METADATA,
    Column("token_hash", LargeBinary, primary_key=True),  # SHA-256 of the cookie's token
    Column("staff_user_id", ForeignKey("staff_user.id"), nullable=False, index=True),
    Column("csrf_token", Text, nullable=False),
    Column("created_utc_s", BIG, nullable=False),
    Column("used_utc_s", BIG, nullable=False, index=True),
    sqlite_strict=True,
)

API_TOKEN = Table(
    "api_token",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("name", Text, nullable=False),  # which program has it
    Column("token_hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of 256 random bits
    Column("scope", Text, nullable=False),
    Column("created_utc_s", BIG, nullable=False),
    Column("expires_utc_s", BIG, nullable=False),
    Column("revoked_utc_s", BIG),  # None: good until it expires
    CheckConstraint("scope IN ('utility_sync')", name="scope"),
    CheckConstraint("expires_utc_s > created_utc_s", name="period"),
    sqlite_strict=True,
)

AUDIT_ENTRY = Table(
    "audit_entry",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("at_utc_s", BIG, nullable=False, index=True),
    Column("who", Text, nullable=False),  # user name, or the shell's user
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),  # where the request came from
    Column("action", Text, nullable=False, index=True),
    Column("object_kind", Text, nullable=False),
    Column("object_name", Text, nullable=False),
    Column("before", Text),  # JSON; None: there was nothing
    Column("after", Text),  # JSON; None: nothing is left
    Index("ix_audit_entry_object", "object_kind", "object_name"),
    sqlite_strict=True,
)

OBJECT_CHANGE = Table(
    "object_change",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("object_id", BIG, primary_key=True),
    Column("position", BIG, nullable=False),  # in the order of changes of this kind
    Column("revision", BIG, nullable=False),  # 1, 2, …
    Column("deleted", BIG, nullable=False),  # 1: the object is gone, this is its tombstone
    UniqueConstraint("kind", "position"),
    sqlite_strict=True,
)

READING_CHANGE = Table(
    "reading_change",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("seq", BIG, primary_key=True),
    Column("position", BIG, nullable=False, unique=True),
    Column("revision", BIG, nullable=False),  # 2 and more: its date was found
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
