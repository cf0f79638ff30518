"""Customers, usage points, meters and readings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NUMBER: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
IMMUTABLE = ("reading", "quarantine")


def upgrade() -> None:
    _create_customer()
    _create_meter()
    _create_server_setting()
    _create_account_login()
    _create_claim_code()
    _create_meter_credential()
    _create_quarantine()
    _create_reading()
    _create_stream_head()
    _create_usage_point()
    _create_meter_install()
    _create_session()
    for table in IMMUTABLE:
        for action in ("UPDATE", "DELETE"):
            op.execute(_refusal(table, action))


def _refusal(table: str, action: str) -> str:
    """What a meter sent is evidence: the database itself refuses to change or drop it."""
    return (
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
        f"BEGIN SELECT raise(ABORT, '{table} is append-only'); END"
    )


def _create_customer() -> None:
    op.create_table(
        "customer",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer")),
        sqlite_strict=True,
    )


def _create_meter() -> None:
    op.create_table(
        "meter",
        sa.Column("id", BIG, nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.Column("last_seen_utc_s", BIG, nullable=True),
        sa.CheckConstraint(
            "status IN ('registered', 'active', 'retired')", name=op.f("ck_meter_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter")),
        sa.UniqueConstraint("serial", name=op.f("uq_meter_serial")),
        sqlite_strict=True,
    )


def _create_server_setting() -> None:
    op.create_table(
        "server_setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_setting")),
        sqlite_strict=True,
    )


def _create_account_login() -> None:
    op.create_table(
        "account_login",
        sa.Column("id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_account_login_customer_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_login")),
        sa.UniqueConstraint("user_name", name=op.f("uq_account_login_user_name")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_account_login_customer_id"), "account_login", ["customer_id"], unique=False
    )


def _create_claim_code() -> None:
    op.create_table(
        "claim_code",
        sa.Column("id", BIG, nullable=False),
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("expires_utc_s", BIG, nullable=False),
        sa.Column("used_utc_s", BIG, nullable=True),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_claim_code_meter_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim_code")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_claim_code_meter_id"), "claim_code", ["meter_id"], unique=False)


def _create_meter_credential() -> None:
    op.create_table(
        "meter_credential",
        sa.Column("credential_hash", sa.LargeBinary(), nullable=False),
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.Column("revoked_utc_s", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["meter.id"], name=op.f("fk_meter_credential_meter_id")
        ),
        sa.PrimaryKeyConstraint("credential_hash", name=op.f("pk_meter_credential")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_meter_credential_meter_id"), "meter_credential", ["meter_id"], unique=False
    )


def _create_quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("line_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("received_utc_s", BIG, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('invalid', 'conflict')", name=op.f("ck_quarantine_kind")),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_quarantine_meter_id")),
        sa.PrimaryKeyConstraint(
            "meter_id", "stream", "seq", "line_hash", name=op.f("pk_quarantine")
        ),
        sqlite_strict=True,
    )


def _create_reading() -> None:
    op.create_table(
        "reading",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("end_utc_s", BIG, nullable=False),
        sa.Column("interval_s", BIG, nullable=False),
        sa.Column("measured_s", NUMBER, nullable=False),
        sa.Column("coverage_pct", NUMBER, nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("frequency_hz", NUMBER, nullable=True),
        sa.Column("voltage_v", NUMBER, nullable=True),
        sa.Column("current_a", NUMBER, nullable=True),
        sa.Column("power_w", NUMBER, nullable=True),
        sa.Column("apparent_va", NUMBER, nullable=True),
        sa.Column("reactive_var", NUMBER, nullable=True),
        sa.Column("nonactive_var", NUMBER, nullable=True),
        sa.Column("power_factor", NUMBER, nullable=True),
        sa.Column("phase_deg", NUMBER, nullable=True),
        sa.Column("thd_voltage_pct", NUMBER, nullable=True),
        sa.Column("thd_current_pct", NUMBER, nullable=True),
        sa.Column("import_j", BIG, nullable=False),
        sa.Column("export_j", BIG, nullable=False),
        sa.Column("received_utc_s", BIG, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_reading_seq")),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_reading_meter_id")),
        sa.PrimaryKeyConstraint("meter_id", "stream", "seq", name=op.f("pk_reading")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_reading_meter_id_end_utc_s", "reading", ["meter_id", "end_utc_s"], unique=False
    )


def _create_stream_head() -> None:
    op.create_table(
        "stream_head",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("hwm", BIG, nullable=False),
        sa.Column("last_seq", BIG, nullable=True),
        sa.Column("first_seen_utc_s", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.CheckConstraint("hwm >= 0", name=op.f("ck_stream_head_hwm")),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_stream_head_meter_id")),
        sa.PrimaryKeyConstraint("meter_id", "stream", name=op.f("pk_stream_head")),
        sqlite_strict=True,
    )


def _create_usage_point() -> None:
    op.create_table(
        "usage_point",
        sa.Column("id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("service_number", sa.Text(), nullable=False),
        sa.Column("area", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("nominal_v", BIG, nullable=False),
        sa.Column("nominal_hz", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_usage_point_customer_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_point")),
        sa.UniqueConstraint("service_number", name=op.f("uq_usage_point_service_number")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_usage_point_customer_id"), "usage_point", ["customer_id"], unique=False
    )


def _create_meter_install() -> None:
    op.create_table(
        "meter_install",
        sa.Column("id", BIG, nullable=False),
        sa.Column("usage_point_id", BIG, nullable=False),
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("from_utc_s", BIG, nullable=False),
        sa.Column("to_utc_s", BIG, nullable=True),
        sa.CheckConstraint(
            "to_utc_s IS NULL OR to_utc_s >= from_utc_s", name=op.f("ck_meter_install_period")
        ),
        sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f("fk_meter_install_meter_id")),
        sa.ForeignKeyConstraint(
            ["usage_point_id"], ["usage_point.id"], name=op.f("fk_meter_install_usage_point_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_install")),
        sqlite_strict=True,
    )
    op.create_index(
        "uq_meter_install_meter_now",
        "meter_install",
        ["meter_id"],
        unique=True,
        sqlite_where=sa.text("to_utc_s IS NULL"),
        postgresql_where=sa.text("to_utc_s IS NULL"),
    )
    op.create_index(
        "uq_meter_install_usage_point_now",
        "meter_install",
        ["usage_point_id"],
        unique=True,
        sqlite_where=sa.text("to_utc_s IS NULL"),
        postgresql_where=sa.text("to_utc_s IS NULL"),
    )


def _create_session() -> None:
    op.create_table(
        "session",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("login_id", BIG, nullable=False),
        sa.Column("csrf_token", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.Column("used_utc_s", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["login_id"], ["account_login.id"], name=op.f("fk_session_login_id")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_session")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_session_login_id"), "session", ["login_id"], unique=False)
    op.create_index(op.f("ix_session_used_utc_s"), "session", ["used_utc_s"], unique=False)
