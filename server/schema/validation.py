"""What validation makes of the readings: intervals with a quality, exceptions, decisions.

Intervals and exceptions are never overwritten. A later revision supersedes an interval; a decision
is a row of its own. ``register_offset``, ``interval_hour`` and ``validation_due`` are derived and
may be made anew.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Table,
    Text,
    text,
)

from server.schema.base import BIG, METADATA

VALIDATION_DUE = Table(
    "validation_due",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("from_seq", BIG, nullable=False),  # readings from here …
    Column("to_seq", BIG, nullable=False),  # … to here are not validated as they are now
    sqlite_strict=True,
)

INTERVAL_READING = Table(
    "interval_reading",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("end_utc_s", BIG, primary_key=True),
    Column("revision", BIG, primary_key=True),  # 1, 2, …
    Column("usage_point_id", ForeignKey("usage_point.id"), nullable=False),
    Column("interval_s", BIG, nullable=False),
    Column("import_j", BIG, nullable=False),
    Column("export_j", BIG, nullable=False),
    Column("quality", BIG, nullable=False),  # ESPI QualityOfReading
    Column("made_utc_s", BIG, nullable=False),
    Column("superseded_utc_s", BIG),  # None: this revision holds
    CheckConstraint("revision >= 1 AND interval_s > 0", name="revision"),
    CheckConstraint("quality IN (0, 7, 8, 9, 10, 14, 17)", name="quality"),
    Index(
        "uq_interval_reading_meter_id_end_utc_s_now",
        "meter_id",
        "end_utc_s",
        unique=True,
        sqlite_where=text("superseded_utc_s IS NULL"),
        postgresql_where=text("superseded_utc_s IS NULL"),
    ),
    sqlite_strict=True,
)

INTERVAL_HOUR = Table(
    "interval_hour",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("start_utc_s", BIG, primary_key=True),
    Column("usage_point_id", ForeignKey("usage_point.id"), nullable=False),
    Column("import_j", BIG, nullable=False),
    Column("export_j", BIG, nullable=False),
    Column("covered_s", BIG, nullable=False),  # seconds with an interval
    Column("estimated_s", BIG, nullable=False),  # of these, estimated or edited
    Column("questionable_s", BIG, nullable=False),
    sqlite_strict=True,
)

REGISTER_OFFSET = Table(
    "register_offset",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("seq", BIG, primary_key=True),  # from this reading on …
    Column("import_j", BIG, nullable=False),  # … so much is added to the meter's registers
    Column("export_j", BIG, nullable=False),
    sqlite_strict=True,
)

VALIDATION_EXCEPTION = Table(
    "validation_exception",
    METADATA,
    Column("meter_id", ForeignKey("meter.id"), primary_key=True),
    Column("ordinal", BIG, primary_key=True),  # 1, 2, … of the meter
    Column("usage_point_id", ForeignKey("usage_point.id"), nullable=False),
    Column("rule", Text, nullable=False),
    Column("stream", Text, nullable=False),  # the reading that failed
    Column("seq", BIG, nullable=False),
    Column("from_utc_s", BIG, nullable=False),
    Column("to_utc_s", BIG, nullable=False),
    Column("import_j", BIG, nullable=False),  # what the registers say of that time; may be negative
    Column("export_j", BIG, nullable=False),
    Column("reason", Text, nullable=False),
    Column("found_utc_s", BIG, nullable=False),
    Column("resolved_utc_s", BIG),  # None: open
    CheckConstraint(
        "rule IN ('register_decrease', 'jump', 'gap', 'duplicate_interval', 'zero', 'inactive', "
        "'sum_mismatch')",
        name="rule",
    ),
    CheckConstraint("ordinal >= 1 AND to_utc_s >= from_utc_s", name="period"),
    Index(
        "ix_validation_exception_usage_point_id_open",
        "usage_point_id",
        "from_utc_s",
        sqlite_where=text("resolved_utc_s IS NULL"),
        postgresql_where=text("resolved_utc_s IS NULL"),
    ),
    Index("ix_validation_exception_meter_id_to_utc_s", "meter_id", "to_utc_s"),
    sqlite_strict=True,
)

EXCEPTION_RESOLUTION = Table(
    "exception_resolution",
    METADATA,
    Column("meter_id", BIG, primary_key=True),
    Column("ordinal", BIG, primary_key=True),
    Column("decision", Text, nullable=False),
    Column("method", Text),  # of an estimate
    Column("import_j", BIG),  # of an edit: the energy of that time
    Column("export_j", BIG),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("resolved_utc_s", BIG, nullable=False),
    ForeignKeyConstraint(
        ["meter_id", "ordinal"],
        ["validation_exception.meter_id", "validation_exception.ordinal"],
    ),
    CheckConstraint(
        "decision IN ('accepted', 'estimated', 'edited', 'withdrawn')", name="decision"
    ),
    CheckConstraint("(decision = 'estimated') = (method IS NOT NULL)", name="method"),
    CheckConstraint(
        "(decision = 'edited') = (import_j IS NOT NULL AND export_j IS NOT NULL)", name="edit"
    ),
    sqlite_strict=True,
)
