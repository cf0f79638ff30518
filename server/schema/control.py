"""The server's own settings and keys, meters' keys, and what meters are told."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from server.schema.base import BIG, METADATA

SERVER_SETTING = Table(
    "server_setting",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_strict=True,
)

SERVER_KEY = Table(
    "server_key",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("private_pem", Text, nullable=False),  # as secret as this database
    Column("created_utc_s", BIG, nullable=False),
    sqlite_strict=True,
)

METER_KEY = Table(
    "meter_key",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("ordinal", BIG, primary_key=True),  # 1, 2, …
    Column("fingerprint", Text, nullable=False),
    Column("public_key", Text, nullable=False),  # base64 of DER
    Column("source", Text, nullable=False),
    Column("enrolled_utc_s", BIG, nullable=False),
    Column("retired_utc_s", BIG),  # None: signs now
    CheckConstraint("source IN ('claim', 'rotation')", name="source"),
    Index(
        "uq_meter_key_meter_id_now",
        "meter_id",
        unique=True,
        sqlite_where=text("retired_utc_s IS NULL"),
        postgresql_where=text("retired_utc_s IS NULL"),
    ),
    sqlite_strict=True,
)

METER_SETTING = Table(
    "meter_setting",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("version", BIG, primary_key=True),
    Column("text", Text, nullable=False),  # as signed
    Column("key", Text, nullable=False),  # the server's, its fingerprint
    Column("signature", Text, nullable=False),
    Column("issued_utc_s", BIG, nullable=False),
    Column("who", Text, nullable=False),
    CheckConstraint("version >= 1", name="version"),
    sqlite_strict=True,
)

METER_COMMAND = Table(
    "meter_command",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("id", Text, primary_key=True),  # 32 hexadecimal digits
    Column("ordinal", BIG, nullable=False),  # 1, 2, …: the order of issue
    Column("command", Text, nullable=False),
    Column("arguments", Text, nullable=False),  # JSON
    Column("issued_utc_s", BIG, nullable=False),
    Column("expires_utc_s", BIG, nullable=False),
    Column("who", Text, nullable=False),
    Column("text", Text, nullable=False),  # as signed
    Column("key", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("result", Text),  # what the meter said, as JSON; None: nothing yet
    Column("answered_utc_s", BIG),  # when its last event came
    CheckConstraint(
        "state IN ('open', 'accepted', 'done', 'failed', 'refused', 'expired', 'interrupted', "
        "'cancelled')",
        name="state",
    ),
    UniqueConstraint("meter_id", "ordinal"),
    sqlite_strict=True,
)
