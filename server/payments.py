"""Payments: by hand, from a file, or from a program; each reference is booked once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from meterd_tariff.errors import TariffError
from meterd_tariff.units import cents
from server.errors import ServerError, SettingError
from server.ledger import Posting, post

COLUMNS = ("reference", "account", "amount", "paid_on")
LINES_MAX = 100_000
FIELD_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came in."""

    reference: str  # the payer's bank's, or what the clerk writes down: unique for good
    account_id: int
    amount_cents: int
    paid_on: date


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a file that cannot be booked, and why."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file."""

    booked: int
    repeated: int  # booked before
    cents: int  # of those booked now
    bad: tuple[BadLine, ...]


def pay(connection: Connection, payment: Payment, *, who: str, now_utc_s: int) -> bool:
    """Book a payment; False where its reference is booked already with the same content.

    Raises:
        SettingError: not a positive amount, or no reference.
        ConflictError: the reference is another payment's, or the month is closed.
    """
    if payment.amount_cents <= 0:
        raise SettingError("a payment is more than nothing: a correction takes money back")
    if not payment.reference.strip():
        raise SettingError("a payment needs a reference, so that it is not booked twice")
    amount = payment.amount_cents
    posting = Posting(
        f"payment:{payment.reference}",
        payment.account_id,
        "payment",
        payment.paid_on,
        {"receivable": -amount, "cash": amount},
        payment.reference,
    )
    return post(connection, posting, who=who, now_utc_s=now_utc_s)


def import_csv(
    connection: Connection,
    lines: Iterable[str],
    account_named: Callable[[str], int | None],
    *,
    who: str,
    now_utc_s: int,
) -> Imported:
    """Book each good line of a file and name each bad one; a repeat books nothing again.

    For a dry run roll the transaction back: what it says is what a real one would do.

    Raises:
        SettingError: the file has other columns, or is far too long.
    """
    reader = csv.DictReader(lines, strict=True)
    _require_columns(reader.fieldnames)
    booked = repeated = total = 0
    bad: list[BadLine] = []
    for number, row in enumerate(_rows(reader), start=2):
        try:
            payment = _payment(row, account_named)
            if pay(connection, payment, who=who, now_utc_s=now_utc_s):
                booked += 1
                total += payment.amount_cents
            else:
                repeated += 1
        except (ServerError, TariffError) as error:
            bad.append(BadLine(number, str(error)))
    return Imported(booked, repeated, total, tuple(bad))


def _rows(reader: csv.DictReader[str]) -> Iterable[dict[str | None, object]]:
    try:
        for number, row in enumerate(reader):
            if number >= LINES_MAX:
                raise SettingError(f"a file has at most {LINES_MAX} payments: split it")
            yield dict(row)
    except csv.Error as error:
        raise SettingError(f"line {reader.line_num} is not written as CSV: {error}") from error


def _require_columns(found: Sequence[str] | None) -> None:
    if found is None or set(found) != set(COLUMNS) or len(found) != len(COLUMNS):
        raise SettingError(f"the first line names the columns {','.join(COLUMNS)}")


def _payment(row: dict[str | None, object], account_named: Callable[[str], int | None]) -> Payment:
    fields = {name: row[name] for name in COLUMNS}
    if None in row or any(not isinstance(field, str) for field in fields.values()):
        raise SettingError(f"not {len(COLUMNS)} fields")
    texts = {name: str(field).strip() for name, field in fields.items()}
    if any(len(text) > FIELD_CHARACTERS_MAX for text in texts.values()):
        raise SettingError(f"a field has more than {FIELD_CHARACTERS_MAX} characters")
    account_id = account_named(texts["account"])
    if account_id is None:
        raise SettingError(f"there is no account {texts['account']!r}")
    return Payment(texts["reference"], account_id, cents(texts["amount"]), day(texts["paid_on"]))


def day(text: str) -> date:
    """A date as files write it.

    Raises:
        SettingError: it is none.
    """
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise SettingError(f"{text!r} is no date: write it like 2026-07-31") from error
    if found.isoformat() != text:
        raise SettingError(f"{text!r} is no date: write it like 2026-07-31")
    return found
