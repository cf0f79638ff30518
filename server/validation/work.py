"""Validation in small steps, each a transaction of its own, beside the server's other writes.

The result depends on which readings are held and what was decided, not on the order in which they
came: each step looks at readings with those around them and stores what follows for them.
"""

from __future__ import annotations

from sqlalchemy import Connection

from server.validation import chain, due, exceptions, knots, quiet, rules, store
from server.validation.chain import Install
from server.validation.curve import intervals
from server.validation.due import Due
from server.validation.knots import Knot, Stream
from server.validation.rules import SLOT_S

READINGS_MAX = 1000
"""Readings in one step: it keeps the write lock for some tens of milliseconds."""


class StepError(Exception):
    """Validation of these readings failed, which is a fault of ours; others can go on."""

    def __init__(self, due: Due) -> None:
        super().__init__(str(due))
        self.due = due


def step(
    connection: Connection,
    now_utc_s: int,
    readings_max: int = READINGS_MAX,
    after: Due | None = None,
) -> Due | None:
    """Validate some of the stream behind ``after`` in the caller's transaction.

    Returns of which stream; None if there is none behind it, so that the next begins anew.

    Raises:
        StepError: it could not be done; the transaction must be given up.
    """
    found = due.behind(connection, after)
    if found is None:
        return None
    try:
        validate(connection, found, now_utc_s, readings_max)
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise StepError(found) from error
    return found


def meter(connection: Connection, meter_id: int, now_utc_s: int) -> None:
    """Validate all that is due of one meter."""
    for found in due.of_meter(connection, meter_id):
        validate(connection, found, now_utc_s, found.to_seq - found.from_seq + 1)


def validate(connection: Connection, found: Due, now_utc_s: int, readings_max: int) -> int:
    """Validate the first readings of a range, and note what of it is left.

    Returns how many intervals are new.
    """
    install = chain.install_of(connection, found.meter_id)
    known = knots.streams(connection, found.meter_id)
    touched: list[Knot] = []
    for stream in known:
        if stream.name == found.stream and install is not None:
            touched = knots.between(
                connection,
                found.meter_id,
                stream,
                found.from_seq,
                found.to_seq,
                readings_max,
            )
    made = 0
    if touched and install is not None:
        made = _revise(connection, install, known, touched, now_utc_s)
    whole = len(touched) < readings_max or touched[-1].seq >= found.to_seq
    due.done(connection, found, None if whole else touched[-1].seq + 1)
    return made


def _revise(
    connection: Connection,
    install: Install,
    known: list[Stream],
    touched: list[Knot],
    now_utc_s: int,
) -> int:
    stretch = chain.around(connection, install, known, touched)
    if not stretch.knots:
        return 0
    place = (install.meter_id, install.usage_point_id)
    first_s, last_s = stretch.knots[0].utc_s, max(knot.utc_s for knot in stretch.knots)
    found = rules.findings(stretch.knots, install.max_w)
    judged = _judged(stretch.knots, touched)
    verdicts = exceptions.verdicts(connection, install.meter_id, first_s, last_s)
    verdicts = exceptions.sync(connection, place, found, verdicts, judged, now_utc_s)
    vertices, offsets = chain.curve(connection, install.meter_id, stretch.knots, found, verdicts)
    store.put_offsets(
        connection,
        install.meter_id,
        judged,
        [offset for offset in offsets if (offset[0], offset[1]) in judged],
    )
    period = _period(stretch.knots, judged)
    cut = intervals(vertices, begins=stretch.begins, ends=stretch.ends)
    cut = [each for each in cut if period[0] < each.end_utc_s <= period[1]]
    made = store.put_intervals(connection, place, period, cut, now_utc_s)
    quiet.look(connection, place, period, last_s, now_utc_s)
    return made


def _judged(stretch: list[Knot], touched: list[Knot]) -> set[tuple[str, int]]:
    """The readings whose step may be another than before: the touched ones and the next."""
    names = {(knot.stream, knot.seq) for knot in touched}
    last = max(
        (index for index, knot in enumerate(stretch) if (knot.stream, knot.seq) in names),
        default=-1,
    )
    names |= {(knot.stream, knot.seq) for knot in stretch[: last + 2] if knot.stream == ""}
    names |= {(knot.stream, knot.seq) for knot in stretch[last + 1 : last + 2]}
    return names


def _period(stretch: list[Knot], judged: set[tuple[str, int]]) -> tuple[int, int]:
    """The quarters of an hour that the steps of the judged readings reach into."""
    places = [i for i, knot in enumerate(stretch) if (knot.stream, knot.seq) in judged]
    begin_s = stretch[max(0, min(places) - 1)].utc_s
    end_s = max(stretch[index].utc_s for index in places)
    return begin_s // SLOT_S * SLOT_S, -(-end_s // SLOT_S) * SLOT_S
