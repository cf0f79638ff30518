"""The utility's users and tokens, the audit log, and the order of changes that programs follow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0010"
branch_labels = None
depends_on = None

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHANGES_OF = (  # table, action, the object's kind, and where its number stands
    ("customer", "INSERT", "customer", "NEW.id"),
    ("customer", "UPDATE", "customer", "NEW.id"),
    ("account_login", "INSERT", "customer", "NEW.customer_id"),
    ("account_login", "UPDATE OF user_name, customer_id", "customer", "NEW.customer_id"),
    ("meter", "INSERT", "meter", "NEW.id"),
    ("meter", "UPDATE OF serial, status", "meter", "NEW.id"),
    ("meter_install", "INSERT", "meter", "NEW.meter_id"),
    ("meter_install", "UPDATE", "meter", "NEW.meter_id"),
    ("meter_key", "INSERT", "meter", "NEW.meter_id"),
    ("meter_key", "UPDATE", "meter", "NEW.meter_id"),
)


def upgrade() -> None:
    _create_staff()
    _create_api_token()
    _create_audit_entry()
    _create_changes()
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_entry_no_{action.lower()} BEFORE {action} ON audit_entry "
            "BEGIN SELECT raise(ABORT, 'audit_entry is append-only'); END"
        )
    for table, other in (("staff_user", "account_login"), ("account_login", "staff_user")):
        op.execute(_name_is_free(table, other))
    for table, action, kind, number in CHANGES_OF:
        op.execute(_follow(table, action, kind, number))
    op.execute(_follow_place())
    for kind in ("customer", "meter"):
        op.execute(_follow_deletion(kind))
    op.execute(_follow_reading("reading", "INSERT"))
    for action in ("INSERT", "UPDATE"):
        op.execute(_follow_reading("reading_date", action))
    _number_what_is_there()


def _name_is_free(table: str, other: str) -> str:
    """One form takes both in, so a user name is one person's."""
    return (
        f"CREATE TRIGGER {table}_name_is_free BEFORE INSERT ON {table} WHEN EXISTS "
        f"(SELECT 1 FROM {other} WHERE user_name = NEW.user_name) "
        f"BEGIN SELECT raise(ABORT, 'the user name is taken in {other}'); END"
    )


def _noted(kind: str, number: str, deleted: int) -> str:
    return (
        "INSERT INTO object_change (kind, object_id, position, revision, deleted) VALUES "
        f"('{kind}', {number}, (SELECT coalesce(max(position), 0) + 1 FROM object_change "
        f"WHERE kind = '{kind}'), 1, {deleted}) ON CONFLICT (kind, object_id) DO UPDATE SET "
        "position = excluded.position, revision = revision + 1, deleted = excluded.deleted"
    )


def _follow(table: str, action: str, kind: str, number: str) -> str:
    name = f"{table}_{action.split()[0].lower()}_is_a_change"
    return f"CREATE TRIGGER {name} AFTER {action} ON {table} BEGIN {_noted(kind, number, 0)}; END"


def _follow_deletion(kind: str) -> str:
    return (
        f"CREATE TRIGGER {kind}_delete_is_a_change AFTER DELETE ON {kind} "
        f"BEGIN {_noted(kind, 'OLD.id', 1)}; END"
    )


def _follow_place() -> str:
    """A change of a place is one of the meter that hangs there: one at a time (a unique index)."""
    hangs = "SELECT meter_id FROM meter_install WHERE usage_point_id = NEW.id AND to_utc_s IS NULL"
    return (
        f"CREATE TRIGGER usage_point_update_is_a_change AFTER UPDATE ON usage_point "
        f"WHEN EXISTS ({hangs}) BEGIN {_noted('meter', f'({hangs})', 0)}; END"
    )


def _follow_reading(table: str, action: str) -> str:
    return (
        f"CREATE TRIGGER {table}_{action.lower()}_is_a_change AFTER {action} ON {table} BEGIN "
        "INSERT INTO reading_change (meter_id, stream, seq, position, revision) VALUES "
        "(NEW.meter_id, NEW.stream, NEW.seq, "
        "(SELECT coalesce(max(position), 0) + 1 FROM reading_change), 1) "
        "ON CONFLICT (meter_id, stream, seq) DO UPDATE SET "
        "position = excluded.position, revision = revision + 1; END"
    )


def _number_what_is_there() -> None:
    for kind in ("customer", "meter"):
        op.execute(
            "INSERT INTO object_change (kind, object_id, position, revision, deleted) "
            f"SELECT '{kind}', id, row_number() OVER (ORDER BY id), 1, 0 FROM {kind}"
        )
    op.execute(
        "INSERT INTO reading_change (meter_id, stream, seq, position, revision) "
        "SELECT meter_id, stream, seq, "
        "row_number() OVER (ORDER BY received_utc_s, meter_id, stream, seq), 1 FROM reading"
    )


def _create_staff() -> None:
    op.create_table(
        "staff_user",
        sa.Column("id", BIG, nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.Column("disabled_utc_s", BIG, nullable=True),
        sa.CheckConstraint(
            "role IN ('operator', 'billing', 'admin')", name=op.f("ck_staff_user_role")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_user")),
        sa.UniqueConstraint("user_name", name=op.f("uq_staff_user_user_name")),
        sqlite_strict=True,
    )
    op.create_table(
        "staff_session",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("staff_user_id", BIG, nullable=False),
        sa.Column("csrf_token", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.Column("used_utc_s", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["staff_user_id"], ["staff_user.id"], name=op.f("fk_staff_session_staff_user_id")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_staff_session")),
        sqlite_strict=True,
    )
    for column in ("staff_user_id", "used_utc_s"):
        op.create_index(op.f(f"ix_staff_session_{column}"), "staff_session", [column])


def _create_api_token() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_utc_s", BIG, nullable=False),
        sa.Column("expires_utc_s", BIG, nullable=False),
        sa.Column("revoked_utc_s", BIG, nullable=True),
        sa.CheckConstraint("scope IN ('utility_sync')", name=op.f("ck_api_token_scope")),
        sa.CheckConstraint("expires_utc_s > created_utc_s", name=op.f("ck_api_token_period")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
        sqlite_strict=True,
    )


def _create_audit_entry() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at_utc_s", BIG, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_kind", sa.Text(), nullable=False),
        sa.Column("object_name", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
        sqlite_strict=True,
    )
    for column in ("at_utc_s", "action"):
        op.create_index(op.f(f"ix_audit_entry_{column}"), "audit_entry", [column])
    op.create_index("ix_audit_entry_object", "audit_entry", ["object_kind", "object_name"])


def _create_changes() -> None:
    op.create_table(
        "object_change",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("object_id", BIG, nullable=False),
        sa.Column("position", BIG, nullable=False),
        sa.Column("revision", BIG, nullable=False),
        sa.Column("deleted", BIG, nullable=False),
        sa.PrimaryKeyConstraint("kind", "object_id", name=op.f("pk_object_change")),
        sa.UniqueConstraint("kind", "position", name=op.f("uq_object_change_kind_position")),
        sqlite_strict=True,
    )
    op.create_table(
        "reading_change",
        sa.Column("meter_id", BIG, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("position", BIG, nullable=False),
        sa.Column("revision", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["meter.id"], name=op.f("fk_reading_change_meter_id")
        ),
        sa.PrimaryKeyConstraint("meter_id", "stream", "seq", name=op.f("pk_reading_change")),
        sa.UniqueConstraint("position", name=op.f("uq_reading_change_position")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
