"""The bill run: one bill after the other, each in a transaction of its own, and what was skipped.

A run that is repeated, or that was killed in the middle, changes nothing that is closed: each
agreement and period has one bill, and its posting one key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from msgspec import structs
from sqlalchemy import Connection

from meterd_tariff.bill import Bill
from meterd_tariff.errors import TariffError
from meterd_tariff.seasons import Period
from server.billing import bills
from server.billing.agreements import Agreement, agreements, bounds_utc_s, last_day, period_from
from server.billing.assemble import draft
from server.db import Database, reading, writing
from server.errors import BusyError, ServerError, SettingError
from server.tariff_files import TariffFile

PERIODS_MAX = 62
"""Of one agreement in one month: daily ones, and some."""

READ_DAYS_OFF_MAX = 7
"""Meters are read on routes, some days before or after the cycle's day."""

State = Literal["closed", "preview", "already", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one agreement and period."""

    agreement: Agreement
    period: Period
    state: State
    bill: Bill | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What is asked for."""

    month: str  # YYYY-MM: every period whose last day is in it
    tariffs: Mapping[str, TariffFile]
    who: str
    now_utc_s: int
    preview: bool = False  # nothing is closed; of several periods only the first is shown
    account: str | None = None  # None: all
    read_on: date | None = None  # the day the meters were read, where it is not the cycle's


def run(
    database: Database,
    wanted: Run,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Outcome]:
    """Bill what is wanted and say what came of each; ``on_progress`` is told how many are done.

    Raises:
        SettingError: not a month.
        BusyError: others keep writing; run again.
    """
    if re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", wanted.month) is None:
        raise SettingError(f"{wanted.month!r} is no month: write it like 2026-07")
    with reading(database) as connection:
        found = agreements(connection, wanted.account)
    outcomes: list[Outcome] = []
    for done, agreement in enumerate(found):
        on_progress(done, len(found))
        outcomes += _of_agreement(database, agreement, wanted)
    on_progress(len(found), len(found))
    return outcomes


def next_period(connection: Connection, agreement: Agreement) -> Period | None:
    """The first period without a bill; None where the agreement ended before it."""
    before = bills.last_of(connection, agreement)
    start = agreement.anchor if before is None else before.bill.inputs.period.end
    last = last_day(agreement)
    if last is not None and before is not None and start >= last:
        return None
    return period_from(agreement, start)


def _of_agreement(database: Database, agreement: Agreement, wanted: Run) -> list[Outcome]:
    """Usually one; several where periods are short."""
    found: list[Outcome] = []
    for _ in range(PERIODS_MAX):
        outcome = _next(database, agreement, wanted)
        if outcome is None or (found and outcome.state == "already"):
            break
        found.append(outcome)
        if outcome.state != "closed":
            break
    return found


def _next(database: Database, agreement: Agreement, wanted: Run) -> Outcome | None:
    """What comes of the agreement's next period; None where it has none in the month."""
    with reading(database) as connection:
        period = _read_on(next_period(connection, agreement), wanted.read_on)
        if period is None or _month(period) > wanted.month:
            return _already(connection, agreement, wanted.month)
    reason = _too_early(agreement, period, wanted)
    if reason is not None:
        return Outcome(agreement, period, "skipped", reason=reason)
    try:
        with (reading if wanted.preview else writing)(database) as connection:
            return _billed(connection, agreement, period, wanted)
    except BusyError:
        raise
    except (ServerError, TariffError) as error:
        return Outcome(agreement, period, "skipped", reason=str(error))


def _read_on(period: Period | None, day: date | None) -> Period | None:
    """The period as far as the meters were read, if that is a few days off the cycle's end."""
    if period is None or day is None or period.cycle == "custom":
        return period
    if abs((day - period.end).days) > READ_DAYS_OFF_MAX:
        return period
    return structs.replace(period, end=day)


def _billed(
    connection: Connection, agreement: Agreement, period: Period, wanted: Run
) -> Outcome | None:
    if (
        _read_on(next_period(connection, agreement), wanted.read_on) != period
    ):  # another run was faster
        return _already(connection, agreement, wanted.month)
    found = draft(connection, agreement, period, wanted.tariffs, wanted.now_utc_s)
    if wanted.preview:
        return Outcome(agreement, period, "preview", found.bill)
    bills.close(
        connection, agreement, found.bill, found.tariff, who=wanted.who, now_utc_s=wanted.now_utc_s
    )
    return Outcome(agreement, period, "closed", found.bill)


def _already(connection: Connection, agreement: Agreement, month: str) -> Outcome | None:
    for row in reversed(bills.of_agreement(connection, agreement)):
        period = Period(
            date.fromisoformat(row.start_date), date.fromisoformat(row.end_date), agreement.cycle
        )
        if _month(period) == month:
            return Outcome(agreement, period, "already", reason=f"bill {row.number} is closed")
    return None


def _too_early(agreement: Agreement, period: Period, wanted: Run) -> str | None:
    if _month(period) < wanted.month:
        return f"the period from {period.start} to {period.end} is not billed yet"
    if bounds_utc_s(agreement, period)[1] > wanted.now_utc_s:
        return f"the period ends on {period.end}"
    return None


def _month(period: Period) -> str:
    """That of the last day."""
    return f"{period.end - timedelta(days=1):%Y-%m}"
