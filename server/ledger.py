"""The ledger: double entry, append-only, each key posted once.

Every transaction is of one customer account; its entries sum to zero. What a customer owes is the
sum of the account's ``receivable``. The database itself refuses whatever would break that (tables
in ``server.schema.billing``), so that a program's mistake cannot. Portable SQL throughout; the
triggers are SQLite's, and PostgreSQL needs its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from sqlalchemy import Connection, func, insert, select

from server.errors import ConflictError, SettingError
from server.schema import LEDGER_CLOSED, LEDGER_ENTRY, LEDGER_TXN

KEY_CHARACTERS_MAX = 200
NOTE_CHARACTERS_MAX = 200
CENTS_MAX = 10**12
"""Ten thousand million pesos: more is a slip of the finger."""

Kind = Literal["bill", "payment", "deposit", "correction", "reversal"]
Book = Literal["receivable", "cash", "revenue", "tax", "dap", "export", "deposit", "adjustment"]


@dataclass(frozen=True, slots=True)
class Posting:
    """What is to be booked. The same posting under the same key is booked once."""

    key: str
    account_id: int
    kind: Kind
    booked_on: date
    entries: Mapping[Book, int]  # centavos; what the customer owes more is positive
    note: str = ""

    @property
    def body_hash(self) -> str:
        """What a repeat must have in common with the first."""
        body = [
            self.account_id,
            self.kind,
            self.booked_on.isoformat(),
            sorted(self.entries.items()),
            self.note,
        ]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Booked:
    """A transaction as the account's statement shows it."""

    key: str
    kind: Kind
    booked_on: date
    note: str
    ordinal: int
    cents: int  # what it adds to what is owed


def post(connection: Connection, posting: Posting, *, who: str, now_utc_s: int) -> bool:
    """Book it; False where it is booked already.

    Raises:
        SettingError: entries that do not sum to zero, a key or note that cannot be one.
        ConflictError: the key has another content, or the period is closed.
    """
    _require_sound(posting)
    known = connection.execute(
        select(LEDGER_TXN.c.body_hash).where(LEDGER_TXN.c.key == posting.key)
    ).scalar_one_or_none()
    if known is not None:
        if known != posting.body_hash:
            raise ConflictError(f"the key {posting.key!r} was used for something else")
        return False
    period = f"{posting.booked_on:%Y-%m}"
    _require_open(connection, period)
    connection.execute(
        insert(LEDGER_ENTRY),
        [
            {
                "account_id": posting.account_id,
                "txn_key": posting.key,
                "book": book,
                "cents": cents,
            }
            for book, cents in sorted(posting.entries.items())
        ],
    )
    connection.execute(
        insert(LEDGER_TXN).values(
            key=posting.key,
            account_id=posting.account_id,
            body_hash=posting.body_hash,
            kind=posting.kind,
            period=period,
            booked_on=posting.booked_on.isoformat(),
            note=posting.note,
            who=who,
            posted_utc_s=now_utc_s,
            ordinal=last_ordinal(connection, posting.account_id) + 1,
        )
    )
    return True


def close_period(connection: Connection, period: str, *, who: str, now_utc_s: int) -> bool:
    """From now on nothing is booked in this month or one before; False if it was so already.

    Raises:
        SettingError: not a month.
    """
    if re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", period) is None:
        raise SettingError(f"{period!r} is no month: write it like 2026-07")
    if _is_closed(connection, period):
        return False
    values = {"period": period, "closed_utc_s": now_utc_s, "who": who}
    connection.execute(insert(LEDGER_CLOSED).values(values))
    return True


def balance_cents(connection: Connection, account_id: int) -> int:
    """What the account owes; negative where it has credit."""
    query = select(func.coalesce(func.sum(LEDGER_ENTRY.c.cents), 0)).where(
        LEDGER_ENTRY.c.account_id == account_id, LEDGER_ENTRY.c.book == "receivable"
    )
    return int(connection.execute(query).scalar_one())


def statement(connection: Connection, account_id: int, after_ordinal: int = 0) -> list[Booked]:
    """What was booked on an account, in the order of posting."""
    query = (
        select(LEDGER_TXN, func.coalesce(LEDGER_ENTRY.c.cents, 0).label("cents"))
        .outerjoin(
            LEDGER_ENTRY,
            (LEDGER_ENTRY.c.account_id == LEDGER_TXN.c.account_id)
            & (LEDGER_ENTRY.c.txn_key == LEDGER_TXN.c.key)
            & (LEDGER_ENTRY.c.book == "receivable"),
        )
        .where(LEDGER_TXN.c.account_id == account_id, LEDGER_TXN.c.ordinal > after_ordinal)
        .order_by(LEDGER_TXN.c.ordinal)
    )
    return [
        Booked(
            row.key, row.kind, date.fromisoformat(row.booked_on), row.note, row.ordinal, row.cents
        )
        for row in connection.execute(query)
    ]


def last_ordinal(connection: Connection, account_id: int) -> int:
    """The place of the account's last transaction; 0 where there is none."""
    query = select(func.max(LEDGER_TXN.c.ordinal)).where(LEDGER_TXN.c.account_id == account_id)
    return connection.scalar(query) or 0


def trial_cents(connection: Connection) -> Sequence[tuple[str, int]]:
    """The sum of every book; together they are zero."""
    query = (
        select(LEDGER_ENTRY.c.book, func.sum(LEDGER_ENTRY.c.cents))
        .group_by(LEDGER_ENTRY.c.book)
        .order_by(LEDGER_ENTRY.c.book)
    )
    return [(book, int(cents)) for book, cents in connection.execute(query)]


def _require_sound(posting: Posting) -> None:
    key = posting.key
    if not key.strip() or len(key) > KEY_CHARACTERS_MAX or not key.isprintable():
        raise SettingError(f"a key is 1 to {KEY_CHARACTERS_MAX} printable characters: {key!r}")
    if len(posting.note) > NOTE_CHARACTERS_MAX or not posting.note.isprintable():
        raise SettingError(f"a note is at most {NOTE_CHARACTERS_MAX} printable characters")
    cents = posting.entries.values()
    if sum(cents) != 0 or not cents or 0 in cents:
        raise SettingError("entries sum to zero and none is zero")
    if any(abs(amount) > CENTS_MAX for amount in cents):
        raise SettingError("an amount is too large to be meant")


def _require_open(connection: Connection, period: str) -> None:
    if _is_closed(connection, period):
        raise ConflictError(f"{period} is closed: book it in a later month, as a correction")


def _is_closed(connection: Connection, period: str) -> bool:
    query = select(LEDGER_CLOSED.c.period).where(LEDGER_CLOSED.c.period >= period).limit(1)
    return connection.scalar(query) is not None
