"""The tables of bills and money: append-only, and each sum is checked by the database itself.

Money is integer centavos. A transaction's entries are written first and the transaction closes
them: it is refused unless they sum to zero, and no entry can follow it. An entry whose transaction
is missing does not survive the commit.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from server.schema.base import BIG, METADATA

LEDGER_TXN = Table(
    "ledger_txn",
    METADATA,
    Column("key", Text, primary_key=True),  # who posts makes it; a repeat posts nothing
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("body_hash", Text, nullable=False),  # SHA-256 of what was asked for
    Column("kind", Text, nullable=False),
    Column("period", Text, nullable=False),  # YYYY-MM, the month it is booked in
    Column("booked_on", Text, nullable=False),  # local date, as on the paper
    Column("note", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("posted_utc_s", BIG, nullable=False),
    Column("ordinal", BIG, nullable=False),  # 1, 2, … of the account: the order of posting
    CheckConstraint(
        "kind IN ('bill', 'payment', 'deposit', 'correction', 'reversal')", name="kind"
    ),
    UniqueConstraint("account_id", "ordinal"),
    sqlite_strict=True,
)

LEDGER_ENTRY = Table(
    "ledger_entry",
    METADATA,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column(
        "txn_key",
        ForeignKey("ledger_txn.key", deferrable=True, initially="DEFERRED"),
        primary_key=True,
    ),
    Column("book", Text, primary_key=True),
    Column("cents", BIG, nullable=False),  # owed to us is positive, and so is what we got
    CheckConstraint("cents <> 0", name="cents"),
    CheckConstraint(
        "book IN ('receivable', 'cash', 'revenue', 'tax', 'dap', 'export', 'deposit', "
        "'adjustment')",
        name="book",
    ),
    Index("ix_ledger_entry_txn_key", "txn_key"),
    sqlite_strict=True,
)

LEDGER_CLOSED = Table(
    "ledger_closed",
    METADATA,
    Column("period", Text, primary_key=True),  # YYYY-MM
    Column("closed_utc_s", BIG, nullable=False),
    Column("who", Text, nullable=False),
    sqlite_strict=True,
)

TARIFF_VERSION = Table(
    "tariff_version",
    METADATA,
    Column("version", Text, primary_key=True),  # SHA-256 of the file
    Column("code", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("kept_utc_s", BIG, nullable=False),
    sqlite_strict=True,
)

BILL = Table(
    "bill",
    METADATA,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("number", Text, primary_key=True),
    Column("agreement_id", ForeignKey("service_agreement.id"), nullable=False),
    Column("start_date", Text, nullable=False),  # local, the day on which the period begins
    Column("end_date", Text, nullable=False),  # local, the day on which the next one begins
    Column("issued_on", Text, nullable=False),
    Column("due_on", Text, nullable=False),
    Column("cutoff_from", Text, nullable=False),
    Column("tariff_version", ForeignKey("tariff_version.version"), nullable=False),
    Column("billed_j", BIG, nullable=False),
    Column("period_cents", BIG, nullable=False),
    Column("total_cents", BIG, nullable=False),
    Column("text", Text, nullable=False),  # the whole bill, as signed
    Column("key", Text, nullable=False),  # of the server, its fingerprint
    Column("signature", Text, nullable=False),
    Column("ledger_ordinal", BIG, nullable=False),  # the account's last transaction with it
    Column("closed_utc_s", BIG, nullable=False),
    CheckConstraint("start_date < end_date", name="period"),
    UniqueConstraint("account_id", "agreement_id", "start_date"),
    sqlite_strict=True,
)

ENERGY_PRICE = Table(
    "energy_price",
    METADATA,
    Column("node", Text, primary_key=True),  # where the local marginal price (PML) holds
    Column("start_utc_s", BIG, primary_key=True),  # of the hour
    Column("millicents_per_kwh", BIG, nullable=False),  # may be negative
    sqlite_strict=True,
)

BILLING_TERMS = Table(
    "billing_terms",  # what billing alone needs to know of an agreement
    METADATA,
    Column("agreement_id", ForeignKey("service_agreement.id"), primary_key=True),
    Column("region", Text),  # of a tariff that has regions, such as DAC
    Column("price_node", Text),  # whose local prices (PML) exports are paid at
    Column("expired_lots", Text, nullable=False, server_default="paid"),
    CheckConstraint("expired_lots IN ('paid', 'forfeited')", name="expired_lots"),
    sqlite_strict=True,
)

UNCHANGED = (LEDGER_TXN, LEDGER_ENTRY, LEDGER_CLOSED, TARIFF_VERSION, BILL, ENERGY_PRICE)
"""Tables whose rows the database refuses to change or drop."""
