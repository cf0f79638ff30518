"""Who is supplied where, on what terms, and which meter hangs there."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, LargeBinary, Table, Text, text

from server.schema.base import BIG, METADATA

CUSTOMER = Table(
    "customer",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_utc_s", BIG, nullable=False),
    Column("email", Text),
    Column("phone", Text),
    Index("ix_customer_name", "name"),
    sqlite_strict=True,
)

ACCOUNT = Table(
    "account",  # CIM CustomerAccount: what is owed and paid hangs here
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("customer_id", ForeignKey("customer.id"), nullable=False, index=True),
    Column("number", Text, nullable=False, unique=True),
    Column("opened_utc_s", BIG, nullable=False),
    Column("closed_utc_s", BIG),  # None: open
    sqlite_strict=True,
)

AREA = Table(
    "area",  # a tree: feeders in zones
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("parent_id", ForeignKey("area.id"), index=True),  # None: a root
    CheckConstraint("kind IN ('zone', 'feeder')", name="kind"),
    CheckConstraint("parent_id <> id", name="parent"),
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
    Column("service_number", Text, nullable=False, unique=True),
    Column("area_id", ForeignKey("area.id"), index=True),  # None: in no area
    Column("address", Text),
    Column("time_zone", Text, nullable=False),  # IANA name
    Column("nominal_v", BIG, nullable=False),
    Column("nominal_hz", BIG, nullable=False),
    Column("max_power_w", BIG),  # what the service can carry; None: see max_current_a
    Column("max_current_a", BIG),  # of the main fuse
    Column("connection_state", Text, nullable=False, server_default="connected"),
    CheckConstraint("connection_state IN ('connected', 'disconnected')", name="connection_state"),
    CheckConstraint("max_power_w > 0", name="max_power_w"),
    CheckConstraint("max_current_a > 0", name="max_current_a"),
    sqlite_strict=True,
)

SERVICE_AGREEMENT = Table(
    "service_agreement",  # CIM CustomerAgreement
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False, index=True),
    Column("usage_point_id", ForeignKey("usage_point.id"), nullable=False, index=True),
    Column("tariff_code", Text),  # None: not said yet, so it cannot be billed
    Column("regime", Text, nullable=False, server_default="none"),
    Column("cycle", Text, nullable=False, server_default="bimonthly"),
    Column("cycle_days", BIG),  # of a custom cycle
    Column("anchor_date", Text, nullable=False),  # ISO; the first period begins on it
    Column("summer_start_month", BIG),  # None: the tariff has no summer
    Column("iva_bp", BIG, nullable=False, server_default="1600"),  # hundredths of a percent
    Column("dap_bp", BIG),  # the municipality's lighting fee, as a share …
    Column("dap_centavos", BIG),  # … or fixed for a period
    Column("from_utc_s", BIG, nullable=False),
    Column("to_utc_s", BIG),  # None: in force
    CheckConstraint(
        "regime IN ('none', 'medicion_neta', 'facturacion_neta', 'venta_total')", name="regime"
    ),
    CheckConstraint("cycle IN ('monthly', 'bimonthly', 'custom')", name="cycle"),
    CheckConstraint(
        "(cycle = 'custom') = (cycle_days IS NOT NULL) AND (cycle_days IS NULL OR cycle_days > 0)",
        name="cycle_days",
    ),
    CheckConstraint("summer_start_month BETWEEN 2 AND 5", name="summer_start_month"),
    CheckConstraint("iva_bp BETWEEN 0 AND 10000", name="iva_bp"),
    CheckConstraint("dap_bp IS NULL OR dap_centavos IS NULL", name="dap"),
    CheckConstraint("dap_bp >= 0", name="dap_bp"),
    CheckConstraint("dap_centavos >= 0", name="dap_centavos"),
    CheckConstraint("to_utc_s IS NULL OR to_utc_s >= from_utc_s", name="period"),
    Index(
        "uq_service_agreement_usage_point_now",
        "usage_point_id",
        unique=True,
        sqlite_where=text("to_utc_s IS NULL"),
        postgresql_where=text("to_utc_s IS NULL"),
    ),
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
    Column("start_import_j", BIG),  # None: those of its first reading there
    Column("start_export_j", BIG),
    Column("final_import_j", BIG),  # None: hangs there, or was taken down before version 0003
    Column("final_export_j", BIG),
    Column("final_stream", Text),  # the reading that they are of; None: read by hand
    Column("final_seq", BIG),
    CheckConstraint("(start_import_j IS NULL) = (start_export_j IS NULL)", name="start_registers"),
    CheckConstraint(
        "(final_import_j IS NULL) = (final_export_j IS NULL) "
        "AND (final_import_j IS NULL OR to_utc_s IS NOT NULL) "
        "AND (final_stream IS NULL) = (final_seq IS NULL)",
        name="final_registers",
    ),
    CheckConstraint("to_utc_s IS NULL OR to_utc_s >= from_utc_s", name="period"),
    Index("ix_meter_install_usage_point_id_from_utc_s", "usage_point_id", "from_utc_s"),
    Index("ix_meter_install_meter_id_from_utc_s", "meter_id", "from_utc_s"),
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
