"""Events and checkpoints, the chain, keys, settings and commands: schema 1.1 of the protocol."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNCHANGED = ("record_row", "meter_setting")
STAYS = ("meter_key", "meter_command", "server_key")
COMMAND_PROMISED = (
    "id, meter_id, ordinal, command, arguments, issued_utc_s, expires_utc_s, who, text, key, "
    "signature"
)


def upgrade() -> None:
    for column in ("boot", "boottime_ms"):
        op.add_column("reading", sa.Column(column, BIG, nullable=True))
    _create_record_row()
    _create_reading_date()
    _extend_stream_head()
    _create_server_key()
    _create_meter_key()
    _create_meter_setting()
    _create_meter_command()
    for table in UNCHANGED:
        op.execute(_refusal(table, "UPDATE"))
    for table in (*UNCHANGED, *STAYS):
        op.execute(_refusal(table, "DELETE"))
    op.execute(_refusal("meter_command", f"UPDATE OF {COMMAND_PROMISED}"))
    op.execute(_refusal("meter_key", "UPDATE OF meter_id, ordinal, fingerprint, public_key"))
    for table, other in (("reading", "record_row"), ("record_row", "reading")):
        op.execute(_one_number_one_row(table, other))


def _refusal(table: str, action: str) -> str:
    """Evidence: the database itself refuses to change or drop it."""
    name = action.lower().split()[0]
    return (
        f"CREATE TRIGGER {table}_no_{name} BEFORE {action} ON {table} "
        f"BEGIN SELECT raise(ABORT, '{table} is append-only'); END"
    )


def _one_number_one_row(table: str, other: str) -> str:
    """A number of a stream is a reading or another row, never both."""
    return (
        f"CREATE TRIGGER {table}_number_is_free BEFORE INSERT ON {table} WHEN EXISTS "
        f"(SELECT 1 FROM {other} WHERE meter_id = NEW.meter_id AND stream = NEW.stream "
        "AND seq = NEW.seq) "
        f"BEGIN SELECT raise(ABORT, 'the number is held by {other}'); END"
    )


def _meter(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["meter_id"], ["meter.id"], name=op.f(f"fk_{table}_meter_id"))


def _create_record_row() -> None:
    op.create_table(
        "record_row",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=True),
        sa.Column("utc_s", BIG, nullable=True),
        sa.Column("boot", BIG, nullable=True),
        sa.Column("boottime_ms", BIG, nullable=True),
        sa.Column("received_utc_s", BIG, nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "seq >= 1 AND kind <> 'reading'", name=op.f("ck_record_row_not_reading")
        ),
        _meter("record_row"),
        sa.PrimaryKeyConstraint("meter_id", "stream", "seq", name=op.f("pk_record_row")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_record_row_meter_id_event_utc_s", "record_row", ["meter_id", "event", "utc_s"]
    )
    op.create_index(
        "ix_record_row_meter_id_stream_event_seq",
        "record_row",
        ["meter_id", "stream", "event", "seq"],
    )


def _create_reading_date() -> None:
    op.create_table(
        "reading_date",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("dated_utc_s", BIG, nullable=False),
        _meter("reading_date"),
        sa.PrimaryKeyConstraint("meter_id", "stream", "seq", name=op.f("pk_reading_date")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_reading_date_meter_id_dated_utc_s", "reading_date", ["meter_id", "dated_utc_s"]
    )


def _extend_stream_head() -> None:
    """Chains of streams that are there already are followed from their beginning."""
    for column in (
        sa.Column("chain_seq", BIG, nullable=False, server_default="0"),
        sa.Column("chain_hash", sa.LargeBinary(), nullable=True),
        sa.Column("chain_state", sa.Text(), nullable=False, server_default="unsigned"),
        sa.Column("chain_reason", sa.Text(), nullable=True),
        sa.Column("chain_broken_seq", BIG, nullable=True),
        sa.Column("chain_import_j", BIG, nullable=True),
        sa.Column("chain_export_j", BIG, nullable=True),
        sa.Column("checkpoint_seq", BIG, nullable=True),
        sa.Column("key_fingerprint", sa.Text(), nullable=True),
    ):
        op.add_column("stream_head", column)


def _create_server_key() -> None:
    op.create_table(
        "server_key",
        sa.Column("id", BIG, nullable=False),
        sa.Column("private_pem", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_key")),
        sqlite_strict=True,
    )


def _create_meter_key() -> None:
    op.create_table(
        "meter_key",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("enrolled_utc_s", BIG, nullable=False),
        sa.Column("retired_utc_s", BIG, nullable=True),
        sa.CheckConstraint("source IN ('claim', 'rotation')", name=op.f("ck_meter_key_source")),
        _meter("meter_key"),
        sa.PrimaryKeyConstraint("meter_id", "ordinal", name=op.f("pk_meter_key")),
        sqlite_strict=True,
    )
    op.create_index(
        "uq_meter_key_meter_id_now",
        "meter_key",
        ["meter_id"],
        unique=True,
        sqlite_where=sa.text("retired_utc_s IS NULL"),
        postgresql_where=sa.text("retired_utc_s IS NULL"),
    )


def _create_meter_setting() -> None:
    op.create_table(
        "meter_setting",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("issued_utc_s", BIG, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_meter_setting_version")),
        _meter("meter_setting"),
        sa.PrimaryKeyConstraint("meter_id", "version", name=op.f("pk_meter_setting")),
        sqlite_strict=True,
    )


def _create_meter_command() -> None:
    op.create_table(
        "meter_command",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("issued_utc_s", BIG, nullable=False),
        sa.Column("expires_utc_s", BIG, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("answered_utc_s", BIG, nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'accepted', 'done', 'failed', 'refused', 'expired', "
            "'interrupted', 'cancelled')",
            name=op.f("ck_meter_command_state"),
        ),
        _meter("meter_command"),
        sa.PrimaryKeyConstraint("meter_id", "id", name=op.f("pk_meter_command")),
        sa.UniqueConstraint("meter_id", "ordinal", name=op.f("uq_meter_command_meter_id_ordinal")),
        sqlite_strict=True,
    )
