"""Areas, accounts, agreements, registers of installs, and what validation makes of readings."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op

from server.migrations import validation_0003

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NO_AREA = "-"


def upgrade() -> None:
    for column in ("email", "phone"):
        op.add_column("customer", sa.Column(column, sa.Text(), nullable=True))
    op.create_index("ix_customer_name", "customer", ["name"])
    _create_account()
    _create_area()
    _create_usage_point()
    _create_service_agreement()
    _keep_customers_and_areas()
    _replace_usage_point_and_install()
    validation_0003.create()
    # What was received before is validated too.
    op.execute(
        "INSERT INTO validation_due (meter_id, stream, from_seq, to_seq) "
        "SELECT meter_id, stream, 1, last_seq FROM stream_head WHERE last_seq IS NOT NULL"
    )


def _reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}"))


def _create_account() -> None:
    op.create_table(
        "account",
        sa.Column("id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("opened_utc_s", BIG, nullable=False),
        sa.Column("closed_utc_s", BIG, nullable=True),
        _reference("account", "customer_id", "customer"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("number", name=op.f("uq_account_number")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_account_customer_id"), "account", ["customer_id"])


def _create_area() -> None:
    op.create_table(
        "area",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parent_id", BIG, nullable=True),
        sa.CheckConstraint("kind IN ('zone', 'feeder')", name=op.f("ck_area_kind")),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_area_parent")),
        _reference("area", "parent_id", "area"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_area")),
        sa.UniqueConstraint("name", name=op.f("uq_area_name")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_area_parent_id"), "area", ["parent_id"])


def _create_usage_point() -> None:
    """Beside the old one, which meters hang at: SQLite cannot drop a column that is a key."""
    op.create_table(
        "usage_point_new",
        sa.Column("id", BIG, nullable=False),
        sa.Column("service_number", sa.Text(), nullable=False),
        sa.Column("area_id", BIG, nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("nominal_v", BIG, nullable=False),
        sa.Column("nominal_hz", BIG, nullable=False),
        sa.Column("max_power_w", BIG, nullable=True),
        sa.Column("max_current_a", BIG, nullable=True),
        sa.Column("connection_state", sa.Text(), nullable=False, server_default="connected"),
        sa.CheckConstraint(
            "connection_state IN ('connected', 'disconnected')",
            name=op.f("ck_usage_point_connection_state"),
        ),
        sa.CheckConstraint("max_power_w > 0", name=op.f("ck_usage_point_max_power_w")),
        sa.CheckConstraint("max_current_a > 0", name=op.f("ck_usage_point_max_current_a")),
        _reference("usage_point", "area_id", "area"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_point")),
        sa.UniqueConstraint("service_number", name=op.f("uq_usage_point_service_number")),
        sqlite_strict=True,
    )


def _create_service_agreement() -> None:
    op.create_table(
        "service_agreement",
        sa.Column("id", BIG, nullable=False),
        sa.Column("account_id", BIG, nullable=False),
        sa.Column("usage_point_id", BIG, nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=True),
        sa.Column("regime", sa.Text(), nullable=False, server_default="none"),
        sa.Column("cycle", sa.Text(), nullable=False, server_default="bimonthly"),
        sa.Column("cycle_days", BIG, nullable=True),
        sa.Column("anchor_date", sa.Text(), nullable=False),
        sa.Column("summer_start_month", BIG, nullable=True),
        sa.Column("iva_bp", BIG, nullable=False, server_default="1600"),
        sa.Column("dap_bp", BIG, nullable=True),
        sa.Column("dap_centavos", BIG, nullable=True),
        sa.Column("from_utc_s", BIG, nullable=False),
        sa.Column("to_utc_s", BIG, nullable=True),
        *_agreement_checks(),
        _reference("service_agreement", "account_id", "account"),
        _reference("service_agreement", "usage_point_id", "usage_point_new"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_agreement")),
        sqlite_strict=True,
    )
    for column in ("account_id", "usage_point_id"):
        op.create_index(op.f(f"ix_service_agreement_{column}"), "service_agreement", [column])
    _unique_now("service_agreement", "usage_point")


def _agreement_checks() -> list[sa.CheckConstraint]:
    checks = {
        "regime": "regime IN ('none', 'medicion_neta', 'facturacion_neta', 'venta_total')",
        "cycle": "cycle IN ('monthly', 'bimonthly', 'custom')",
        "cycle_days": "(cycle = 'custom') = (cycle_days IS NOT NULL) "
        "AND (cycle_days IS NULL OR cycle_days > 0)",
        "summer_start_month": "summer_start_month BETWEEN 2 AND 5",
        "iva_bp": "iva_bp BETWEEN 0 AND 10000",
        "dap": "dap_bp IS NULL OR dap_centavos IS NULL",
        "dap_bp": "dap_bp >= 0",
        "dap_centavos": "dap_centavos >= 0",
        "period": "to_utc_s IS NULL OR to_utc_s >= from_utc_s",
    }
    return [
        sa.CheckConstraint(condition, name=op.f(f"ck_service_agreement_{name}"))
        for name, condition in checks.items()
    ]


def _unique_now(table: str, of: str) -> None:
    op.create_index(
        f"uq_{table}_{of}_now",
        table,
        [f"{of}_id"],
        unique=True,
        sqlite_where=sa.text("to_utc_s IS NULL"),
        postgresql_where=sa.text("to_utc_s IS NULL"),
    )


def _keep_customers_and_areas() -> None:
    """Each customer gets an account, each usage point an agreement without a tariff, each text
    that named an area an area. An agreement is in force as long as a meter hangs there."""
    op.execute(
        "INSERT INTO account (customer_id, number, opened_utc_s) "
        "SELECT id, printf('%06d-1', id), created_utc_s FROM customer ORDER BY id"
    )
    op.execute(
        "INSERT INTO area (name, kind) SELECT DISTINCT area, 'zone' FROM usage_point "
        f"WHERE area <> '{NO_AREA}' ORDER BY area"
    )
    op.execute(
        "INSERT INTO usage_point_new "
        "(id, service_number, area_id, time_zone, nominal_v, nominal_hz) "
        "SELECT p.id, p.service_number, a.id, p.time_zone, p.nominal_v, p.nominal_hz "
        "FROM usage_point p LEFT JOIN area a ON a.name = p.area"
    )
    connection = op.get_bind()
    points = connection.exec_driver_sql(
        "SELECT p.id, p.time_zone, a.id, min(coalesce(i.from_utc_s, a.opened_utc_s)), "
        "CASE WHEN count(i.id) > count(i.to_utc_s) OR count(i.id) = 0 THEN NULL "
        "ELSE max(i.to_utc_s) END "
        "FROM usage_point p JOIN account a ON a.customer_id = p.customer_id "
        "LEFT JOIN meter_install i ON i.usage_point_id = p.id GROUP BY p.id, p.time_zone, a.id"
    ).all()
    for point_id, time_zone, account_id, from_utc_s, to_utc_s in points:
        begun = datetime.fromtimestamp(from_utc_s, UTC).astimezone(ZoneInfo(time_zone))
        connection.exec_driver_sql(
            "INSERT INTO service_agreement "
            "(account_id, usage_point_id, anchor_date, from_utc_s, to_utc_s) "
            "VALUES (?, ?, ?, ?, ?)",
            (account_id, point_id, begun.date().isoformat(), from_utc_s, to_utc_s),
        )


def _replace_usage_point_and_install() -> None:
    op.create_table(
        "meter_install_new",
        sa.Column("id", BIG, nullable=False),
        sa.Column("usage_point_id", BIG, nullable=False),
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("from_utc_s", BIG, nullable=False),
        sa.Column("to_utc_s", BIG, nullable=True),
        *(
            sa.Column(name, BIG, nullable=True)
            for name in ("start_import_j", "start_export_j", "final_import_j", "final_export_j")
        ),
        sa.Column("final_stream", sa.Text(), nullable=True),
        sa.Column("final_seq", BIG, nullable=True),
        sa.CheckConstraint(
            "(start_import_j IS NULL) = (start_export_j IS NULL)",
            name=op.f("ck_meter_install_start_registers"),
        ),
        sa.CheckConstraint(
            "(final_import_j IS NULL) = (final_export_j IS NULL) "
            "AND (final_import_j IS NULL OR to_utc_s IS NOT NULL) "
            "AND (final_stream IS NULL) = (final_seq IS NULL)",
            name=op.f("ck_meter_install_final_registers"),
        ),
        sa.CheckConstraint(
            "to_utc_s IS NULL OR to_utc_s >= from_utc_s", name=op.f("ck_meter_install_period")
        ),
        _reference("meter_install", "meter_id", "meter"),
        _reference("meter_install", "usage_point_id", "usage_point_new"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_install")),
        sqlite_strict=True,
    )
    columns = "id, usage_point_id, meter_id, from_utc_s, to_utc_s"
    op.execute(f"INSERT INTO meter_install_new ({columns}) SELECT {columns} FROM meter_install")
    op.drop_table("meter_install")
    op.drop_table("usage_point")
    op.rename_table("usage_point_new", "usage_point")
    op.rename_table("meter_install_new", "meter_install")
    op.create_index(op.f("ix_usage_point_area_id"), "usage_point", ["area_id"])
    for of in ("usage_point", "meter"):
        op.create_index(
            f"ix_meter_install_{of}_id_from_utc_s", "meter_install", [f"{of}_id", "from_utc_s"]
        )
        _unique_now("meter_install", of)
