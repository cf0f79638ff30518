"""Tariff versions, bills, and the ledger, whose sums the database checks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNCHANGED = (
    "ledger_txn",
    "ledger_entry",
    "ledger_closed",
    "tariff_version",
    "bill",
    "energy_price",
)
BALANCED = (
    "CREATE TRIGGER ledger_txn_is_balanced BEFORE INSERT ON ledger_txn WHEN "
    "coalesce((SELECT sum(cents) FROM ledger_entry WHERE txn_key = NEW.key), 1) <> 0 "
    "OR EXISTS (SELECT 1 FROM ledger_entry WHERE txn_key = NEW.key "
    "AND account_id <> NEW.account_id) "
    "BEGIN SELECT raise(ABORT, 'the entries of a transaction sum to zero'); END"
)
SEALED = (
    "CREATE TRIGGER ledger_entry_is_in_time BEFORE INSERT ON ledger_entry WHEN EXISTS "
    "(SELECT 1 FROM ledger_txn WHERE key = NEW.txn_key) "
    "BEGIN SELECT raise(ABORT, 'the transaction is complete'); END"
)
CLOSED = (
    "CREATE TRIGGER ledger_txn_period_is_open BEFORE INSERT ON ledger_txn WHEN EXISTS "
    "(SELECT 1 FROM ledger_closed WHERE period >= NEW.period) "
    "BEGIN SELECT raise(ABORT, 'the period is closed'); END"
)


def upgrade() -> None:
    _create_ledger()
    _create_tariff_version()
    _create_bill()
    _create_energy_price()
    _create_billing_terms()
    for table in UNCHANGED:
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT raise(ABORT, '{table} is append-only'); END"
            )
    for trigger in (BALANCED, SEALED, CLOSED):
        op.execute(trigger)


def _account(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["account_id"], ["account.id"], name=op.f(f"fk_{table}_account_id")
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger_txn",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("account_id", BIG, nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("booked_on", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("posted_utc_s", BIG, nullable=False),
        sa.Column("ordinal", BIG, nullable=False),
        sa.CheckConstraint(
            "kind IN ('bill', 'payment', 'deposit', 'correction', 'reversal')",
            name=op.f("ck_ledger_txn_kind"),
        ),
        _account("ledger_txn"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_ledger_txn")),
        sa.UniqueConstraint("account_id", "ordinal", name=op.f("uq_ledger_txn_account_id_ordinal")),
        sqlite_strict=True,
    )
    _create_ledger_entry()
    op.create_table(
        "ledger_closed",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("closed_utc_s", BIG, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("period", name=op.f("pk_ledger_closed")),
        sqlite_strict=True,
    )


def _create_ledger_entry() -> None:
    op.create_table(
        "ledger_entry",
        sa.Column("account_id", BIG, nullable=False),
        sa.Column("txn_key", sa.Text(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("cents", BIG, nullable=False),
        sa.CheckConstraint("cents <> 0", name=op.f("ck_ledger_entry_cents")),
        sa.CheckConstraint(
            "book IN ('receivable', 'cash', 'revenue', 'tax', 'dap', 'export', 'deposit', "
            "'adjustment')",
            name=op.f("ck_ledger_entry_book"),
        ),
        sa.ForeignKeyConstraint(
            ["txn_key"],
            ["ledger_txn.key"],
            name=op.f("fk_ledger_entry_txn_key"),
            deferrable=True,
            initially="DEFERRED",
        ),
        _account("ledger_entry"),
        sa.PrimaryKeyConstraint("account_id", "txn_key", "book", name=op.f("pk_ledger_entry")),
        sqlite_strict=True,
    )
    op.create_index("ix_ledger_entry_txn_key", "ledger_entry", ["txn_key"])


def _create_tariff_version() -> None:
    op.create_table(
        "tariff_version",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("kept_utc_s", BIG, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_tariff_version")),
        sqlite_strict=True,
    )


def _create_bill() -> None:
    texts = ("start_date", "end_date", "issued_on", "due_on", "cutoff_from", "tariff_version")
    op.create_table(
        "bill",
        sa.Column("account_id", BIG, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("agreement_id", BIG, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        *(
            sa.Column(name, BIG, nullable=False)
            for name in ("billed_j", "period_cents", "total_cents")
        ),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("text", "key", "signature")),
        sa.Column("ledger_ordinal", BIG, nullable=False),
        sa.Column("closed_utc_s", BIG, nullable=False),
        sa.CheckConstraint("start_date < end_date", name=op.f("ck_bill_period")),
        sa.ForeignKeyConstraint(
            ["tariff_version"], ["tariff_version.version"], name=op.f("fk_bill_tariff_version")
        ),
        _account("bill"),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["service_agreement.id"], name=op.f("fk_bill_agreement_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_bill")),
        sa.UniqueConstraint(
            "account_id",
            "agreement_id",
            "start_date",
            name=op.f("uq_bill_account_id_agreement_id_start_date"),
        ),
        sqlite_strict=True,
    )


def _create_billing_terms() -> None:
    op.create_table(
        "billing_terms",
        sa.Column("agreement_id", BIG, nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("price_node", sa.Text(), nullable=True),
        sa.Column("expired_lots", sa.Text(), nullable=False, server_default="paid"),
        sa.CheckConstraint(
            "expired_lots IN ('paid', 'forfeited')", name=op.f("ck_billing_terms_expired_lots")
        ),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["service_agreement.id"], name=op.f("fk_billing_terms_agreement_id")
        ),
        sa.PrimaryKeyConstraint("agreement_id", name=op.f("pk_billing_terms")),
        sqlite_strict=True,
    )


def _create_energy_price() -> None:
    op.create_table(
        "energy_price",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("start_utc_s", BIG, nullable=False),
        sa.Column("millicents_per_kwh", BIG, nullable=False),
        sa.PrimaryKeyConstraint("node", "start_utc_s", name=op.f("pk_energy_price")),
        sqlite_strict=True,
    )
