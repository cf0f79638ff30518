"""The process meterd-sync: when something is sent, and how it stops.

APScheduler runs one job in one thread. Each run says after how long the next one is due, and only
then is that one planned: a plan of more than one run would become a list of all those missed when
the clock jumps by years, as it does on a machine that boots without one. A clock set back would
keep the job waiting, so the main thread compares the clocks and moves the plan along.
"""

from __future__ import annotations

import logging
import queue
import random
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from meterd import store
from meterd.config import Config
from meterd.control import settings
from meterd.control.signed import load_server_key
from meterd.database.acknowledged import known_settings
from meterd.errors import ConfigError, MeterdError, ServerUnavailableError, StoreError
from meterd.uplink.credential import claim, claim_over_http, load_credential
from meterd.uplink.exchange import Answer, Exchange, over_http
from meterd.uplink.push import BACKOFF_MAX_S, Outcome, backoff_s, drain, push_once

__all__ = [
    "Answer",
    "Exchange",
    "Outcome",
    "claim",
    "claim_over_http",
    "drain",
    "load_credential",
    "over_http",
    "push_once",
    "run",
]

JOB = "push"
DATABASE_WAIT_S = 1.0
CLOCK_CHECK_S = 2.0
CLOCK_STEP_S = 1.0
"""Less than this is a clock being steered."""
MORE_S = 0.1
"""Before the next run where one run could not send all."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The date and the time that passes, read together."""

    utc_s: float
    monotonic_s: float


def read_clocks() -> Clocks:
    """Both clocks of this machine, now."""
    return Clocks(time.time(), time.monotonic())


def run(config: Config) -> None:
    """Send readings to ``config.sync.server`` until SIGTERM or SIGINT; from the main thread only.

    meterd need not have started: its database is waited for.

    Raises:
        ConfigError: there is no server, or no credential for it.
        StoreError: the synchronisation's own database cannot be used.
    """
    if not config.sync.server:
        raise ConfigError(
            "[sync] server is empty: write the server's address there, or do not start meterd-sync"
        )
    state_dir = config.meter.state_dir
    load_credential(state_dir)
    _warn_of_plain_text(config.sync.server)
    with _stop_signals() as stop:
        acknowledged = store.open_acknowledged(config.meter.sync_path)
        with closing(requests.Session()) as session:
            exchange = over_http(
                config.sync.server,
                session,
                timeout_s=config.sync.timeout_s,
                credential=partial(load_credential, state_dir),
            )
            try:
                if _wait_for(config.meter.readings_path, stop):
                    _keep_sending(config, acknowledged, exchange, stop)
            finally:
                store.close_acknowledged(acknowledged)


def attempt(
    readings: Path,
    acknowledged: store.Acknowledged,
    exchange: Exchange,
    *,
    every_s: float,
    keep_going: Callable[[], bool] = lambda: True,
    random: Callable[[], float] = random.random,
    now_utc_s: Callable[[], int] = lambda: int(time.time()),
) -> float:
    """Send what is unsent, or remember why not; return after how many seconds to come again."""
    try:
        reader = store.open_reader(readings)
        try:
            outcome = drain(
                reader, acknowledged, exchange, now_utc_s=now_utc_s, keep_going=keep_going
            )
        finally:
            store.close_reader(reader)
    except MeterdError as error:
        return _failed(acknowledged, error, random, now_utc_s())
    if outcome.lines:
        _log.info("%d readings sent, up to %d", outcome.lines, outcome.hwm)
    return every_s if outcome.unsent <= 0 else MORE_S


def every_s(config: Config, acknowledged: store.Acknowledged) -> int:
    """Seconds between two synchronisations: the server's signed setting, else the file's.

    Settings that do not verify are meterd's to tell of; here they change nothing.
    """
    try:
        said, key = known_settings(acknowledged), load_server_key(config.meter.state_dir)
        if said is None or key is None:
            return config.sync.every_s
        told = settings.verify(said, key, config.meter.serial)
        return settings.lay_over(config, told.settings).sync.every_s
    except MeterdError as error:
        _log.debug("the server's settings are not used: %s", error)
        return config.sync.every_s


def _failed(
    acknowledged: store.Acknowledged,
    error: MeterdError,
    random: Callable[[], float],
    now_utc_s: int,
) -> float:
    waits = isinstance(error, (ServerUnavailableError, StoreError))
    try:
        failures = store.record_failure(
            acknowledged, str(error), refused=not waits, now_utc_s=now_utc_s
        )
    except StoreError as unrecorded:
        _log.error("ALARM: %s", unrecorded)
        return BACKOFF_MAX_S
    retry_after_s = error.retry_after_s if isinstance(error, ServerUnavailableError) else None
    delay_s = backoff_s(failures, retry_after_s, random)
    level, alarm = (logging.WARNING, "") if waits else (logging.ERROR, "ALARM: ")
    _log.log(level, "%s%s; the readings stay here, next try in %.0f s", alarm, error, delay_s)
    return delay_s


def _keep_sending(
    config: Config, acknowledged: store.Acknowledged, exchange: Exchange, stop: socket.socket
) -> None:
    stopping, working = threading.Event(), threading.Lock()

    def job() -> float | None:
        with working:
            if stopping.is_set():
                return None
            return attempt(
                config.meter.readings_path,
                acknowledged,
                exchange,
                every_s=every_s(config, acknowledged),
                keep_going=lambda: not stopping.is_set(),
            )

    crashes: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    scheduler = _scheduler(job, crashes)
    # Meters that got their power back together do not all come in the same second.
    plan(scheduler, job, random.random() * config.sync.every_s)
    scheduler.start()
    try:
        watch(scheduler, stop, lambda: not crashes.empty())
    finally:
        stopping.set()
        # Not wait=True: it waits with the lock held that the job's end needs to plan the next.
        scheduler.shutdown(wait=False)
        with working:  # the request under way ends by its timeouts
            pass
    if not crashes.empty():
        raise crashes.get()


def _scheduler(
    job: Callable[[], float | None], crashes: queue.SimpleQueue[BaseException]
) -> BackgroundScheduler:
    """One thread for the job. The main thread keeps the signals and the clocks."""
    scheduler = BackgroundScheduler(
        timezone=UTC,
        daemon=True,
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )

    def planned(event: JobExecutionEvent) -> None:
        if event.exception is not None:
            crashes.put(event.exception)
        elif event.retval is not None:
            plan(scheduler, job, event.retval)

    scheduler.add_listener(planned, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    return scheduler


@dataclass(frozen=True, slots=True)
class Planned:
    """A job, and when it is due by the clock that nobody sets."""

    job: Callable[[], float | None]
    due_monotonic_s: float

    def __call__(self) -> float | None:
        """Do it."""
        return self.job()


def plan(
    scheduler: BackgroundScheduler,
    job: Callable[[], float | None],
    delay_s: float,
    *,
    clocks: Callable[[], Clocks] = read_clocks,
) -> None:
    """Let ``job`` run once, ``delay_s`` from now."""
    now = clocks()
    due = datetime.fromtimestamp(now.utc_s + delay_s, UTC)
    planned = Planned(job, now.monotonic_s + delay_s)
    scheduler.add_job(planned, "date", run_date=due, id=JOB, replace_existing=True)


def watch(
    scheduler: BackgroundScheduler,
    stop: socket.socket,
    crashed: Callable[[], bool],
    *,
    clocks: Callable[[], Clocks] = read_clocks,
    check_s: float = CLOCK_CHECK_S,
) -> None:
    """Return when ``stop`` can be read or the job has ``crashed``; meanwhile follow the clock."""
    while not select.select([stop], [], [], check_s)[0] and not crashed():
        follow(scheduler, clocks())


def follow(scheduler: BackgroundScheduler, now: Clocks) -> None:
    """Move the plan along with a clock that was set back, however often since it was made.

    A clock set forward needs nothing: the run comes when its time has passed, and then once.
    """
    planned = scheduler.get_job(JOB)
    if planned is None:  # it runs, and will be planned anew
        return
    due_utc_s = now.utc_s + (planned.func.due_monotonic_s - now.monotonic_s)
    late_s = planned.next_run_time.timestamp() - due_utc_s
    if late_s <= CLOCK_STEP_S:
        return
    _log.warning("the clock was set back by %.0f s: the next run is moved along", late_s)
    planned.modify(next_run_time=datetime.fromtimestamp(due_utc_s, UTC))


def _wait_for(readings: Path, stop: socket.socket) -> bool:
    """Until meterd has made its database; False where a stop came first."""
    told = ""
    while True:
        try:
            store.close_reader(store.open_reader(readings))
        except StoreError as error:
            if str(error) != told:
                told = str(error)
                _log.info("waiting for meterd: %s", told)
        else:
            return True
        if select.select([stop], [], [], DATABASE_WAIT_S)[0]:
            return False


@contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """A socket that can be read once SIGTERM or SIGINT has come.

    A handler may only do what cannot wait for a lock of the thread it interrupts: it sends a byte.
    """
    stop, told = socket.socketpair()
    told.setblocking(False)

    def tell(number: int, frame: object) -> None:
        try:
            told.send(b"\0")
        except BlockingIOError:  # full of signals that were sent already
            return

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop.close()
        told.close()


def _warn_of_plain_text(server: str) -> None:
    parts = urlsplit(server)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        _log.warning(
            "%s is not encrypted: whoever is on the way can read the credential; use https", server
        )
