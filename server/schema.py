"""The tables, named as in IEC CIM 61968-9 and Green Button (ESPI) where they have a name for it.

Times are UTC seconds, energy integer joules; units stand last in the names. Each unique key of a
table that grows with the readings begins with ``meter_id``, so that the tables can be spread over
machines by meter. SQLite checks the types (STRICT); other databases do so by nature.
"""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

BIG: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
NUMBER: TypeEngine[float] = Double().with_variant(REAL, "sqlite")

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

CUSTOMER = Table(
    "customer",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_utc_s", BIG, nullable=False),
    sqlite_strict=True,
)

ACCOUNT_LOGIN = Table(
    "account_login",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("customer_id", ForeignKey("customer.id"), nullable=False, index=True),
    Column("user_name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),  # argon2id, with its parameters
    Column("created_utc_s", BIG, nullable=False),
    sqlite_strict=True,
)

SESSION = Table(
    "session",
    METADATA,
    Column("token_hash", LargeBinary, primary_key=True),  # SHA-256 of the cookie's token
    Column("login_id", ForeignKey("account_login.id"), nullable=False, index=True),
    Column("csrf_token", Text, nullable=False),
    Column("created_utc_s", BIG, nullable=False),
    Column("used_utc_s", BIG, nullable=False, index=True),
    sqlite_strict=True,
)

USAGE_POINT = Table(
    "usage_point",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("customer_id", ForeignKey("customer.id"), nullable=False, index=True),
    Column("service_number", Text, nullable=False, unique=True),
    Column("area", Text, nullable=False),
    Column("time_zone", Text, nullable=False),  # IANA name
    Column("nominal_v", BIG, nullable=False),
    Column("nominal_hz", BIG, nullable=False),
    sqlite_strict=True,
)

METER = Table(
    "meter",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("serial", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    Column("created_utc_s", BIG, nullable=False),
    Column("last_seen_utc_s", BIG),  # None: never
    CheckConstraint("status IN ('registered', 'active', 'retired')", name="status"),
    sqlite_strict=True,
)

METER_INSTALL = Table(
    "meter_install",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("usage_point_id", ForeignKey("usage_point.id"), nullable=False),
    Column("meter_id", ForeignKey("meter.id"), nullable=False),
    Column("from_utc_s", BIG, nullable=False),
    Column("to_utc_s", BIG),  # None: hangs there now
    CheckConstraint("to_utc_s IS NULL OR to_utc_s >= from_utc_s", name="period"),
    # A meter hangs in one place at a time, and a place has one meter at a time.
    Index(
        "uq_meter_install_meter_now",
        "meter_id",
        unique=True,
        sqlite_where=text("to_utc_s IS NULL"),
        postgresql_where=text("to_utc_s IS NULL"),
    ),
    Index(
        "uq_meter_install_usage_point_now",
        "usage_point_id",
        unique=True,
        sqlite_where=text("to_utc_s IS NULL"),
        postgresql_where=text("to_utc_s IS NULL"),
    ),
    sqlite_strict=True,
)

CLAIM_CODE = Table(
    "claim_code",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("meter_id", ForeignKey("meter.id"), nullable=False, index=True),
    Column("code_hash", Text, nullable=False),  # argon2id: eight characters are few
    Column("expires_utc_s", BIG, nullable=False),
    Column("used_utc_s", BIG),  # None: still good
    sqlite_strict=True,
)

METER_CREDENTIAL = Table(
    "meter_credential",
    METADATA,
    Column("credential_hash", LargeBinary, primary_key=True),  # SHA-256 of 256 random bits
    Column("meter_id", ForeignKey("meter.id"), nullable=False, index=True),
    Column("created_utc_s", BIG, nullable=False),
    Column("revoked_utc_s", BIG),  # None: good
    sqlite_strict=True,
)

READING = Table(
    "reading",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("seq", BIG, primary_key=True),
    Column("end_utc_s", BIG, nullable=False),
    Column("interval_s", BIG, nullable=False),
    Column("measured_s", NUMBER, nullable=False),
    Column("coverage_pct", NUMBER, nullable=False),
    Column("clock", Text, nullable=False),
    Column("flags", Text, nullable=False),  # separated by spaces
    Column("frequency_hz", NUMBER),
    Column("voltage_v", NUMBER),
    Column("current_a", NUMBER),
    Column("power_w", NUMBER),
    Column("apparent_va", NUMBER),
    Column("reactive_var", NUMBER),
    Column("nonactive_var", NUMBER),
    Column("power_factor", NUMBER),
    Column("phase_deg", NUMBER),
    Column("thd_voltage_pct", NUMBER),
    Column("thd_current_pct", NUMBER),
    Column("import_j", BIG, nullable=False),  # OBIS 1-0:1.8.0
    Column("export_j", BIG, nullable=False),  # OBIS 1-0:2.8.0
    Column("boot", BIG),  # counts the starts of the meter's kernel; None: schema 1.0
    Column("boottime_ms", BIG),  # since that start; None: schema 1.0
    Column("received_utc_s", BIG, nullable=False),
    Column("line", LargeBinary, nullable=False),  # the bytes as they came
    CheckConstraint("seq >= 1", name="seq"),
    Index("ix_reading_meter_id_end_utc_s", "meter_id", "end_utc_s"),
    sqlite_strict=True,
)

RECORD_ROW = Table(
    "record_row",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("seq", BIG, primary_key=True),
    Column("kind", Text, nullable=False),  # event, checkpoint, or one that is newer than we are
    Column("event", Text),  # None: not an event
    Column("utc_s", BIG),  # None: a newer kind without a date
    Column("boot", BIG),
    Column("boottime_ms", BIG),
    Column("received_utc_s", BIG, nullable=False),
    Column("line", LargeBinary, nullable=False),  # the bytes as they came
    CheckConstraint("seq >= 1 AND kind <> 'reading'", name="not_reading"),
    Index("ix_record_row_meter_id_event_utc_s", "meter_id", "event", "utc_s"),
    Index("ix_record_row_meter_id_stream_event_seq", "meter_id", "stream", "event", "seq"),
    sqlite_strict=True,
)

READING_DATE = Table(
    "reading_date",  # derived from anchors, so it may be made anew; the readings stay as they came
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("seq", BIG, primary_key=True),
    Column("dated_utc_s", BIG, nullable=False),
    Index("ix_reading_date_meter_id_dated_utc_s", "meter_id", "dated_utc_s"),
    sqlite_strict=True,
)

QUARANTINE = Table(
    "quarantine",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("seq", BIG, primary_key=True),
    Column("line_hash", LargeBinary, primary_key=True),  # SHA-256, so that a repeat adds nothing
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_utc_s", BIG, nullable=False),
    Column("line", LargeBinary, nullable=False),
    CheckConstraint("kind IN ('invalid', 'conflict')", name="kind"),
    sqlite_strict=True,
)

STREAM_HEAD = Table(
    "stream_head",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("hwm", BIG, nullable=False),  # every number up to here is held
    Column("last_seq", BIG),  # the highest reading; None: none yet
    Column("first_seen_utc_s", BIG, nullable=False),
    Column("ordinal", BIG, nullable=False),  # 1, 2, …: the order the meter's streams appeared in
    # The chain over the rows 1 … chain_seq; behind hwm where only quarantine holds a number.
    Column("chain_seq", BIG, nullable=False, server_default="0"),
    Column("chain_hash", LargeBinary),  # None: nothing hashed yet
    Column("chain_state", Text, nullable=False, server_default="unsigned"),
    Column("chain_reason", Text),  # why it is broken, in words
    Column("chain_broken_seq", BIG),
    Column("chain_import_j", BIG),  # the registers of the newest row that has some
    Column("chain_export_j", BIG),
    Column("checkpoint_seq", BIG),  # the last that was verified; None: none yet
    Column("key_fingerprint", Text),  # of the key that signs the stream now
    CheckConstraint("hwm >= 0", name="hwm"),
    sqlite_strict=True,
)

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
