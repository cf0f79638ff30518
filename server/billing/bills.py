"""Closed bills: kept for good, each with the tariff's file and the server's signature."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from meterd_tariff.bill import PERIOD_LINES, Bill, compute, read, text
from meterd_tariff.charges import Kind
from server import identity
from server.billing.agreements import Agreement
from server.errors import NotFoundError
from server.ledger import Book, Posting, last_ordinal, post
from server.schema import ACCOUNT, BILL, TARIFF_VERSION
from server.signing import Signed, signed
from server.tariff_files import TariffFile

BOOKS: dict[Kind, Book] = {
    "energy": "revenue",
    "minimum": "revenue",
    "fixed": "revenue",
    "tax": "tax",
    "dap": "dap",
    "export_credit": "export",
    "lot_expired": "export",
}


@dataclass(frozen=True, slots=True)
class ClosedBill:
    """A bill as it is kept."""

    account_id: int
    agreement_id: int
    number: str
    bill: Bill
    signed: Signed
    tariff_file: bytes
    ledger_ordinal: int
    closed_utc_s: int


def close(
    connection: Connection,
    agreement: Agreement,
    bill: Bill,
    tariff: TariffFile,
    *,
    who: str,
    now_utc_s: int,
) -> None:
    """Keep the bill, sign it, and book what its period adds to the account.

    Raises:
        ConflictError: the month that it would be booked in is closed.
    """
    inputs, result = bill.inputs, bill.result
    posting = _posting(agreement, bill)
    if posting.entries:
        post(connection, posting, who=who, now_utc_s=now_utc_s)
    _keep_tariff(connection, tariff, now_utc_s)
    signature = signed(identity.signing_key(connection), msgspec.to_builtins(bill))
    assert signature.text == text(bill)
    connection.execute(
        insert(BILL).values(
            account_id=agreement.account_id,
            number=inputs.number,
            agreement_id=agreement.agreement_id,
            start_date=inputs.period.start.isoformat(),
            end_date=inputs.period.end.isoformat(),
            issued_on=inputs.issued_on.isoformat(),
            due_on=inputs.due_on.isoformat(),
            cutoff_from=inputs.cutoff_from.isoformat(),
            tariff_version=inputs.tariff_version,
            billed_j=result.billed_j,
            period_cents=result.period_cents,
            total_cents=result.total_cents,
            text=signature.text,
            key=signature.key,
            signature=signature.signature,
            ledger_ordinal=last_ordinal(connection, agreement.account_id),
            closed_utc_s=now_utc_s,
        )
    )


def last_of(connection: Connection, agreement: Agreement) -> ClosedBill | None:
    """The agreement's newest bill."""
    query = _bills().where(
        BILL.c.account_id == agreement.account_id, BILL.c.agreement_id == agreement.agreement_id
    )
    row = connection.execute(query.order_by(BILL.c.start_date.desc()).limit(1)).first()
    return None if row is None else _closed(row)


def of_agreement(connection: Connection, agreement: Agreement) -> list[Any]:
    """Periods and billed energy of all its bills, oldest first."""
    query = (
        select(BILL.c.number, BILL.c.start_date, BILL.c.end_date, BILL.c.billed_j)
        .where(
            BILL.c.account_id == agreement.account_id,
            BILL.c.agreement_id == agreement.agreement_id,
        )
        .order_by(BILL.c.start_date)
    )
    return list(connection.execute(query))


def named(connection: Connection, number: str, customer_id: int | None = None) -> ClosedBill:
    """The bill of a number, if it is the customer's where one is given.

    Raises:
        NotFoundError: there is none, or it is somebody else's: the two look alike.
    """
    query = _bills().join(ACCOUNT, ACCOUNT.c.id == BILL.c.account_id)
    query = query.where(BILL.c.number == number)
    if customer_id is not None:
        query = query.where(ACCOUNT.c.customer_id == customer_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"there is no bill {number!r}")
    return _closed(row)


def of_customer(connection: Connection, customer_id: int, limit: int) -> list[Any]:
    """The customer's newest bills, as rows of a list."""
    query = (
        select(BILL)
        .join(ACCOUNT, ACCOUNT.c.id == BILL.c.account_id)
        .where(ACCOUNT.c.customer_id == customer_id)
        .order_by(BILL.c.end_date.desc(), BILL.c.number)
        .limit(limit)
    )
    return list(connection.execute(query))


def recomputes(closed: ClosedBill) -> bool:
    """Whether its inputs and tariff still make the same bytes."""
    return text(compute(closed.bill.inputs, closed.tariff_file)) == closed.signed.text


def latest_due(connection: Connection, account_id: int) -> tuple[date, date] | None:
    """Until when the newest bill of an account is to be paid, and from when supply may be cut."""
    query = (
        select(BILL.c.due_on, BILL.c.cutoff_from)
        .where(BILL.c.account_id == account_id)
        .order_by(BILL.c.end_date.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return (
        None
        if row is None
        else (
            date.fromisoformat(row.due_on),
            date.fromisoformat(row.cutoff_from),
        )
    )


def _posting(agreement: Agreement, bill: Bill) -> Posting:
    sums: dict[Book, int] = {}
    for line in bill.result.lines:
        if line.kind in PERIOD_LINES:
            book = BOOKS[line.kind]
            sums[book] = sums.get(book, 0) - line.cents
            sums["receivable"] = sums.get("receivable", 0) + line.cents
    number = bill.inputs.number
    entries = {book: cents for book, cents in sums.items() if cents}
    return Posting(
        f"bill:{number}", agreement.account_id, "bill", bill.inputs.issued_on, entries, number
    )


def _keep_tariff(connection: Connection, tariff: TariffFile, now_utc_s: int) -> None:
    known = select(TARIFF_VERSION.c.code).where(TARIFF_VERSION.c.version == tariff.version)
    if connection.scalar(known) is None:
        connection.execute(
            insert(TARIFF_VERSION).values(
                version=tariff.version,
                code=tariff.tariff.code,
                content=tariff.content,
                kept_utc_s=now_utc_s,
            )
        )


def _bills() -> Any:
    return select(BILL, TARIFF_VERSION.c.content).join(
        TARIFF_VERSION, TARIFF_VERSION.c.version == BILL.c.tariff_version
    )


def _closed(row: Any) -> ClosedBill:
    return ClosedBill(
        row.account_id,
        row.agreement_id,
        row.number,
        read(row.text),
        Signed(row.text, row.key, row.signature),
        row.content,
        row.ledger_ordinal,
        row.closed_utc_s,
    )
