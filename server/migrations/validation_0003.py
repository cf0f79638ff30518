"""The tables of validation, as version 0003 made them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEPT = ("interval_reading", "validation_exception", "exception_resolution")
"""Nothing is deleted from these."""


def create() -> None:
    _create_validation_due()
    _create_interval_reading()
    _create_interval_hour()
    _create_register_offset()
    _create_validation_exception()
    _create_exception_resolution()
    for table in KEPT:
        op.execute(_refusal(table, "DELETE"))
    op.execute(_refusal("exception_resolution", "UPDATE"))
    op.execute(
        _refusal(
            "interval_reading",
            "UPDATE OF meter_id, end_utc_s, revision, usage_point_id, interval_s, import_j, "
            "export_j, quality, made_utc_s",
        )
    )
    op.execute(
        _refusal(
            "validation_exception",
            "UPDATE OF meter_id, ordinal, usage_point_id, rule, stream, seq, from_utc_s, "
            "to_utc_s, import_j, export_j, reason, found_utc_s",
        )
    )


def _refusal(table: str, action: str) -> str:
    name = action.lower().split()[0]
    return (
        f"CREATE TRIGGER {table}_no_{name} BEFORE {action} ON {table} "
        f"BEGIN SELECT raise(ABORT, '{table} is append-only'); END"
    )


def _reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}"))


def _create_validation_due() -> None:
    op.create_table(
        "validation_due",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("from_seq", BIG, nullable=False),
        sa.Column("to_seq", BIG, nullable=False),
        _reference("validation_due", "meter_id", "meter"),
        sa.PrimaryKeyConstraint("meter_id", "stream", name=op.f("pk_validation_due")),
        sqlite_strict=True,
    )


def _create_interval_reading() -> None:
    op.create_table(
        "interval_reading",
        *(
            sa.Column(name, BIG, nullable=False)
            for name in (
                "meter_id",
                "end_utc_s",
                "revision",
                "usage_point_id",
                "interval_s",
                "import_j",
                "export_j",
                "quality",
                "made_utc_s",
            )
        ),
        sa.Column("superseded_utc_s", BIG, nullable=True),
        sa.CheckConstraint(
            "revision >= 1 AND interval_s > 0", name=op.f("ck_interval_reading_revision")
        ),
        sa.CheckConstraint(
            "quality IN (0, 7, 8, 9, 10, 14, 17)", name=op.f("ck_interval_reading_quality")
        ),
        _reference("interval_reading", "meter_id", "meter"),
        _reference("interval_reading", "usage_point_id", "usage_point"),
        sa.PrimaryKeyConstraint(
            "meter_id", "end_utc_s", "revision", name=op.f("pk_interval_reading")
        ),
        sqlite_strict=True,
    )
    op.create_index(
        "uq_interval_reading_meter_id_end_utc_s_now",
        "interval_reading",
        ["meter_id", "end_utc_s"],
        unique=True,
        sqlite_where=sa.text("superseded_utc_s IS NULL"),
        postgresql_where=sa.text("superseded_utc_s IS NULL"),
    )


def _create_interval_hour() -> None:
    op.create_table(
        "interval_hour",
        *(
            sa.Column(name, BIG, nullable=False)
            for name in (
                "meter_id",
                "start_utc_s",
                "usage_point_id",
                "import_j",
                "export_j",
                "covered_s",
                "estimated_s",
                "questionable_s",
            )
        ),
        _reference("interval_hour", "meter_id", "meter"),
        _reference("interval_hour", "usage_point_id", "usage_point"),
        sa.PrimaryKeyConstraint("meter_id", "start_utc_s", name=op.f("pk_interval_hour")),
        sqlite_strict=True,
    )


def _create_register_offset() -> None:
    op.create_table(
        "register_offset",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("import_j", BIG, nullable=False),
        sa.Column("export_j", BIG, nullable=False),
        _reference("register_offset", "meter_id", "meter"),
        sa.PrimaryKeyConstraint("meter_id", "stream", "seq", name=op.f("pk_register_offset")),
        sqlite_strict=True,
    )


def _create_validation_exception() -> None:
    op.create_table(
        "validation_exception",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("usage_point_id", BIG, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        *(
            sa.Column(name, BIG, nullable=False)
            for name in ("seq", "from_utc_s", "to_utc_s", "import_j", "export_j")
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("found_utc_s", BIG, nullable=False),
        sa.Column("resolved_utc_s", BIG, nullable=True),
        sa.CheckConstraint(
            "rule IN ('register_decrease', 'jump', 'gap', 'duplicate_interval', 'zero', "
            "'inactive', 'sum_mismatch')",
            name=op.f("ck_validation_exception_rule"),
        ),
        sa.CheckConstraint(
            "ordinal >= 1 AND to_utc_s >= from_utc_s", name=op.f("ck_validation_exception_period")
        ),
        _reference("validation_exception", "meter_id", "meter"),
        _reference("validation_exception", "usage_point_id", "usage_point"),
        sa.PrimaryKeyConstraint("meter_id", "ordinal", name=op.f("pk_validation_exception")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_validation_exception_usage_point_id_open",
        "validation_exception",
        ["usage_point_id", "from_utc_s"],
        sqlite_where=sa.text("resolved_utc_s IS NULL"),
        postgresql_where=sa.text("resolved_utc_s IS NULL"),
    )
    op.create_index(
        "ix_validation_exception_meter_id_to_utc_s",
        "validation_exception",
        ["meter_id", "to_utc_s"],
    )


def _create_exception_resolution() -> None:
    op.create_table(
        "exception_resolution",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("import_j", BIG, nullable=True),
        sa.Column("export_j", BIG, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("resolved_utc_s", BIG, nullable=False),
        sa.CheckConstraint(
            "decision IN ('accepted', 'estimated', 'edited', 'withdrawn')",
            name=op.f("ck_exception_resolution_decision"),
        ),
        sa.CheckConstraint(
            "(decision = 'estimated') = (method IS NOT NULL)",
            name=op.f("ck_exception_resolution_method"),
        ),
        sa.CheckConstraint(
            "(decision = 'edited') = (import_j IS NOT NULL AND export_j IS NOT NULL)",
            name=op.f("ck_exception_resolution_edit"),
        ),
        sa.ForeignKeyConstraint(
            ["meter_id", "ordinal"],
            ["validation_exception.meter_id", "validation_exception.ordinal"],
            name=op.f("fk_exception_resolution_meter_id_ordinal"),
        ),
        sa.PrimaryKeyConstraint("meter_id", "ordinal", name=op.f("pk_exception_resolution")),
        sqlite_strict=True,
    )
