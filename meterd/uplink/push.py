"""What is sent, and what is believed: the server's high-water mark, and nothing else.

No row is ever marked as sent. After each answer the mark is what the server says it is, lower than
before where the server was put back from a backup, and sending goes on from there. So a lost
reply costs a repetition, which the server answers "duplicate", and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from meterd import store
from meterd.database.acknowledged import known_settings
from meterd.database.downlink import Told
from meterd.errors import ServerRefusedError, ServerUnavailableError
from meterd.uplink.exchange import Answer, Exchange
from meterd.uplink.protocol import (
    TOO_LARGE,
    StreamAnswer,
    decode_stream,
    get_stream,
    post_lines,
    printable,
)
from meterd.uplink.told import Stopwatch, told

BATCH_LINES = 500
BATCH_BYTES_MAX = 512 * 1024
BATCHES_MAX = 200
"""A run sends 100 000 readings at most, ten weeks of minutes; the next one goes on."""
FALLS_MAX = 1
"""A backup is put back once, not once in every answer."""
BACKOFF_FIRST_S = 5.0
BACKOFF_MAX_S = 900.0
RETRY_AFTER_MAX_S = 3600.0
ALARMS_LOGGED_MAX = 20
WATCH = Stopwatch()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one exchange, or a run of them, has come to."""

    hwm: int  # readings up to this one are on the server
    unsent: int  # readings stored here that are not
    lines: int  # readings sent, repetitions included
    fell: int  # how many times the server's mark was lower than before
    batch_lines: int  # as many lines as the server took at once


def push_once(
    reader: store.Reader,
    acknowledged: store.Acknowledged,
    exchange: Exchange,
    *,
    now_utc_s: int,
    batch_lines: int = BATCH_LINES,
    watch: Stopwatch = WATCH,
) -> Outcome:
    """Send the readings after the server's mark in one body, or ask for the mark if none is left.

    A body that is too large for the server is halved until it is not.

    Raises:
        ServerUnavailableError: nothing is known to have arrived: try later.
        ServerRefusedError: a person must look; the rows stay.
        StoreError: one of the two databases could not be used.
    """
    hwm, epoch = store.known_hwm(acknowledged, reader.stream)
    rows = store.rows_after(reader, hwm, batch_lines, BATCH_BYTES_MAX)
    asked_lines = len(rows)
    settings = known_settings(acknowledged)
    version = settings.version if settings else 0
    answer, rows, asked_ns = _ask(exchange, reader.stream, rows, version, watch)
    if len(rows) < asked_lines:
        batch_lines = len(rows)
    state = decode_stream(answer, reader.stream)
    if rows and state.hwm == hwm and state.epoch == epoch:
        raise ServerUnavailableError(
            f"the server answered and kept none of {len(rows)} readings after {hwm}"
        )
    last = store.last_seq(reader)
    said = told(state, last, rows, asked_ns=asked_ns, watch=watch, now_utc_s=now_utc_s)
    _believe(acknowledged, state, last, rows, hwm, epoch, now_utc_s, said)
    if state.hwm > last:
        raise ServerRefusedError(
            f"the server has {state.hwm} readings of stream {reader.stream} and this meter only "
            f"{last}: an old copy of {reader.path} was put back; new readings will conflict; "
            f"stop meterd and move {reader.path.name} away, a new stream then begins"
        )
    fell = int(state.hwm < hwm)
    return Outcome(state.hwm, last - state.hwm, len(rows), fell, batch_lines)


def _ask(
    exchange: Exchange,
    stream: str,
    rows: list[tuple[int, bytes]],
    settings_version: int,
    watch: Stopwatch,
) -> tuple[Answer, list[tuple[int, bytes]], int]:
    """The answer, the rows that were sent in the end, and when it was asked for."""
    asked_ns = watch.boottime_ns()
    if not rows:
        return get_stream(exchange, stream, settings_version), rows, asked_ns
    answer = post_lines(exchange, stream, rows, settings_version)
    while answer.status == TOO_LARGE and len(rows) > 1:
        rows = rows[: len(rows) // 2]
        asked_ns = watch.boottime_ns()
        answer = post_lines(exchange, stream, rows, settings_version)
    return answer, rows, asked_ns


def drain(
    reader: store.Reader,
    acknowledged: store.Acknowledged,
    exchange: Exchange,
    *,
    now_utc_s: Callable[[], int],
    keep_going: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Send until nothing is unsent, ``BATCHES_MAX`` are, or ``keep_going`` says no.

    Raises:
        What :func:`push_once` raises; what went before is acknowledged and stays so.
    """
    lines = fell = 0
    batch_lines = BATCH_LINES
    for _ in range(BATCHES_MAX):
        outcome = push_once(
            reader, acknowledged, exchange, now_utc_s=now_utc_s(), batch_lines=batch_lines
        )
        lines += outcome.lines
        fell += outcome.fell
        batch_lines = outcome.batch_lines
        if fell > FALLS_MAX:
            raise ServerUnavailableError(
                f"the server's high-water mark fell {fell} times in a row, now to {outcome.hwm}: "
                "are two servers behind one address?",
                BACKOFF_MAX_S,
            )
        if outcome.unsent <= 0 or not keep_going():
            break
    return Outcome(outcome.hwm, outcome.unsent, lines, fell, batch_lines)


def backoff_s(failures: int, retry_after_s: float | None, random: Callable[[], float]) -> float:
    """How long to wait after ``failures`` in a row: full jitter, and at least what was asked for.

    ``random`` is uniform in [0, 1). Full jitter spreads the meters of a town that lost the same
    server at the same moment (M. Brooker, "Exponential backoff and jitter", AWS, 2015).
    """
    ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(max(failures - 1, 0), 30))
    asked_s = min(RETRY_AFTER_MAX_S, retry_after_s or 0.0)
    return asked_s + random() * ceiling_s


def _believe(
    acknowledged: store.Acknowledged,
    state: StreamAnswer,
    last: int,
    rows: list[tuple[int, bytes]],
    hwm: int,
    epoch: str | None,
    now_utc_s: int,
    said: Told,
) -> None:
    """Remember the answer; tell what a person should know, each thing once."""
    sent = {seq for seq, _ in rows}
    rejections = [
        store.Rejection(row.seq, row.result, printable(row.reason))
        for row in state.rows
        if row.result in ("conflict", "invalid") and row.seq in sent
    ]
    # A mark above our last reading is kept as our last one: what comes next must still be sent.
    fresh = store.acknowledge(
        acknowledged,
        state.stream,
        min(state.hwm, last),
        state.epoch,
        rejections,
        now_utc_s=now_utc_s,
        success=state.hwm <= last,
        said=said,
    )
    if epoch is not None and state.epoch != epoch:
        _log.warning(
            "the server was put back or replaced: epoch %s, was %s", printable(state.epoch), epoch
        )
    if state.hwm < hwm:
        _log.warning("the server has readings up to %d, had %d: sending again", state.hwm, hwm)
    for rejection in fresh[:ALARMS_LOGGED_MAX]:
        _log.error(
            "ALARM: reading %d was answered %s: %s",
            rejection.seq,
            rejection.result,
            rejection.reason,
        )
    if len(fresh) > ALARMS_LOGGED_MAX:
        _log.error("ALARM: %d more readings were rejected", len(fresh) - ALARMS_LOGGED_MAX)
