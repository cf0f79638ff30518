"""What meters sent, as it came, and how far it is held."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, LargeBinary, Table, Text

from server.schema.base import BIG, METADATA, NUMBER

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
