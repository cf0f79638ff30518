"""What meterd writes into its record: numbered, dated, chained, signed, and stored at once.

A full disk does not stop the meter. Readings that find no room wait here, in their order, and go
in when there is some; registers go on in memory. Nothing counts as stored before it is.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from meterd import interval, store, wire
from meterd.errors import DiskFullError
from meterd.interval import Interval, Origin
from meterd.model import Demand, Reading, Registers, Stamp
from meterd.record.chain import link
from meterd.record.rows import CHECKPOINT_ROWS, Place, Row, checkpoint_row, event_row
from meterd.record.signing import SigningKey
from meterd.store import Ballast, Limits, Pruned, Saved, Store

log = logging.getLogger(__name__)

WAITING_MAX = 2880
"""Two days of minutes; a disk that is full for longer costs the profile, never the energy."""
ROOM_ROWS = 2000
SAID_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """An interval that ended, with all that its reading says."""

    interval: Interval
    registers: Registers
    demand: Demand
    stamp: Stamp
    interval_s: int
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, and what the meter must know again after a restart because of it."""

    event: str
    detail: Mapping[str, object]
    stamp: Stamp
    remember: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A reading that has no number yet; small, for thousands may wait."""

    reading: Reading
    registers: Registers
    stamp: Stamp


class Recorder:
    """The one writer of the record. Not for several threads: the measuring loop owns it."""

    def __init__(
        self,
        kept: Store,
        key: SigningKey,
        stamp: Callable[[], Stamp],
        *,
        limits: Limits | None = None,
        ballast: Ballast | None = None,
        acknowledged_seq: Callable[[], int] = lambda: 0,
    ) -> None:
        self.store, self.stamp = kept, stamp
        self._key = key
        self._limits, self._ballast = limits or Limits(), ballast
        self._acknowledged_seq = acknowledged_seq
        self._waiting: deque[Waiting | Happened] = deque()
        self._unsigned = store.unsigned_rows(kept)
        self._registers, self._demand = store.load_registers(kept), store.load_demand(kept)
        self._full = False

    @property
    def full(self) -> bool:
        """Whether the disk took nothing at the last try."""
        return self._full

    @property
    def waiting(self) -> int:
        """How many rows wait for room."""
        return len(self._waiting)

    def use_key(self, key: SigningKey) -> None:
        """Sign with another key from the next checkpoint on."""
        self._key = key

    def reading(self, ended: Ended) -> None:
        """Store the reading of an interval, or keep it until there is room.

        Raises:
            StoreError: the disk refused for another reason than being full.
        """
        self._registers, self._demand = ended.registers, ended.demand
        self._later(Waiting(_reading(self.store, ended), ended.registers, ended.stamp))

    def tell(
        self, event: str, detail: Mapping[str, object], remember: Mapping[str, str] | None = None
    ) -> None:
        """Store what happened, signed, or keep it until there is room.

        Raises:
            StoreError: the disk refused for another reason than being full.
        """
        self._later(Happened(event, detail, self.stamp(), remember or {}))

    def event(
        self, event: str, detail: Mapping[str, object], remember: Mapping[str, str] | None = None
    ) -> None:
        """Store what happened, signed, before anything is done that hangs on it.

        Raises:
            DiskFullError: nothing was stored, and nothing may be done.
            StoreError: nothing was stored.
        """
        happened = Happened(event, detail, self.stamp(), remember or {})
        if not (self._flush() and self._room(lambda: self._store(happened))):
            raise DiskFullError(f"the disk is full: {event} was not recorded")

    def seal(self) -> None:
        """Sign what no checkpoint has signed yet.

        Raises:
            StoreError: the disk refused for another reason than being full.
        """
        if self._flush() and self._unsigned:
            self._room(lambda: self._append([], self.stamp(), self._registers, {}, sealed=True))

    def save(self, registers: Registers, demand: Demand) -> None:
        """Remember the registers between two readings; what waits for room is tried again.

        Raises:
            StoreError: the disk refused for another reason than being full.
        """
        self._registers, self._demand = registers, demand
        self._flush()
        self._room(lambda: store.save(self.store, self._saved(self.stamp())))

    def tidy(self) -> None:
        """Move the log into the database, delete what is too old, hold room for a bad day.

        Raises:
            StoreError: the disk refused for another reason than being full.
        """
        if not self._room(self._tidy) or self._ballast is None:
            return
        self._ballast.lay()

    def _tidy(self) -> None:
        stamp = self.stamp()
        store.allow_deletion(self.store, self._acknowledged_seq())
        self._tell_pruned(store.prune(self.store, self._limits, now_utc_s=int(stamp.utc_s)))
        store.checkpoint(self.store)
        store.copy_registers(self.store.path, self._saved(stamp))

    def _tell_pruned(self, pruned: Pruned | None) -> None:
        if pruned is not None:
            log.info("rows %d to %d were deleted here", pruned.first_seq, pruned.last_seq)
            self.tell("pruned", asdict(pruned))

    def _later(self, pending: Waiting | Happened) -> None:
        if len(self._waiting) >= WAITING_MAX:
            given_up = self._waiting.popleft()
            log.error("ALARM: a row that waits for room since %d is given up", given_up.stamp.utc_s)
        self._waiting.append(pending)
        self._flush()

    def _flush(self) -> bool:
        """Store what waits, oldest first; whether nothing waits any more."""
        while self._waiting:
            first = self._waiting[0]
            if not self._room(partial(self._store, first)):
                return False
            self._waiting.popleft()
        return True

    def _room(self, act: Callable[[], None]) -> bool:
        """Do it; on a full disk make room and do it again. False: the disk is full still."""
        try:
            act()
        except DiskFullError:
            try:
                self._make_room()
                act()
            except DiskFullError as error:
                self._now_full(error)
                return False
        if self._full:
            self._full = False
            log.warning("there is room on the disk again: %d rows waited", len(self._waiting))
            self._note("fault_over", {"part": "disk"})
        return True

    def _now_full(self, error: DiskFullError) -> None:
        if not self._full:
            self._full = True
            log.error("ALARM: %s; measuring goes on, readings wait in memory", error)
            self._note("fault", {"part": "disk", "said": str(error)[:SAID_CHARACTERS_MAX]})

    def _note(self, event: str, detail: Mapping[str, object]) -> None:
        """For later: whatever is done now is not done yet."""
        self._waiting.append(Happened(event, detail, self.stamp()))

    def _make_room(self) -> None:
        if self._ballast is not None and self._ballast.release():
            log.warning("the disk is full: the room held for that is given up")
        store.allow_deletion(self.store, self._acknowledged_seq())
        pruned = store.forget_oldest(self.store, ROOM_ROWS, "full disk")
        store.checkpoint(self.store)
        if pruned is not None:
            log.warning("the disk is full: rows up to %d were deleted here", pruned.last_seq)
            self._note("pruned", asdict(pruned))

    def _store(self, pending: Waiting | Happened) -> None:
        place = Place(self.store.meter, self.store.stream, store.next_seq(self.store))
        if isinstance(pending, Happened):
            row = event_row(place, pending.stamp, pending.event, pending.detail)
            self._append(
                [row], pending.stamp, self._registers_stored(), pending.remember, sealed=True
            )
        else:
            sealed = self._unsigned + 1 >= CHECKPOINT_ROWS
            reading = replace(pending.reading, seq=place.seq)
            row = store.reading_row(wire.encode(reading), reading)
            self._append([row], pending.stamp, pending.registers, {}, sealed=sealed)

    def _append(
        self,
        rows: list[Row],
        stamp: Stamp,
        registers: Registers,
        remember: Mapping[str, str],
        *,
        sealed: bool,
    ) -> None:
        """Store rows, and behind them the checkpoint that signs them."""
        unsigned = self._unsigned + len(rows)
        if sealed:
            chained = store.head(self.store)
            for row in rows:
                chained = link(chained, row.line)
            seq = store.next_seq(self.store) + len(rows)
            place = Place(self.store.meter, self.store.stream, seq)
            counted_j = (registers.import_j, registers.export_j)
            rows = [*rows, checkpoint_row(place, stamp, chained, counted_j, self._key)]
            unsigned = 0
        store.append(self.store, rows, self._saved(stamp), remember)
        self._unsigned = unsigned

    def _registers_stored(self) -> Registers:
        """The registers for a checkpoint now: none that a waiting reading would fall behind."""
        for pending in self._waiting:
            if isinstance(pending, Waiting):
                return store.registers_of_rows(self.store)
        return self._registers

    def _saved(self, stamp: Stamp) -> Saved:
        return Saved(self._registers, int(stamp.utc_s), self._demand)


def _reading(kept: Store, ended: Ended) -> Reading:
    """The reading as if it were the record's first."""
    return interval.reading(
        ended.interval,
        ended.registers,
        Origin(wire.SCHEMA, kept.meter, kept.stream, 1, ended.stamp),
        ended.interval_s,
        ended.demand,
        ended.roles,
    )
