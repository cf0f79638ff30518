"""The server's word, tied to the running meter: its record, relay, display, samples."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import msgspec

from meterd import store, wiring
from meterd.config import Config
from meterd.control import contact
from meterd.control.controller import Controller, World
from meterd.control.recorded import COMMAND, SETTING, Recalled, recall
from meterd.control.relay import Relay, open_relay
from meterd.control.self_test import Snapshot, self_test
from meterd.control.signed import load_server_key
from meterd.errors import HardwareError
from meterd.model import SampleBlock
from meterd.panel import Panel
from meterd.record.rows import detail, said
from meterd.recorder import Recorder
from meterd.store import Store
from meterd.timekeeping import SURE, Timekeeper

log = logging.getLogger(__name__)

EVENTS_RECALLED = 2000
"""Commands expire long before so many have come."""
CONTACT_COMMANDS = ("disconnect", "reconnect")
REMEMBERED = ("setting", "contact")


class LastBlock:
    """The last samples that went by, for a self-test."""

    def __init__(self) -> None:
        self.block: SampleBlock | None = None

    def watched(self, blocks: Iterable[SampleBlock]) -> Iterator[SampleBlock]:
        """The same blocks, each noted."""
        for block in blocks:
            self.block = block
            yield block

    @property
    def sampling_hz(self) -> float | None:
        """Samples a second of each channel in the last block."""
        if self.block is None or len(self.block.t_ns) < 2:
            return None
        taken_ns = int(self.block.t_ns[-1, 0] - self.block.t_ns[0, 0])
        return (len(self.block.t_ns) - 1) * 1e9 / taken_ns if taken_ns > 0 else None


@dataclass(frozen=True, slots=True)
class Around:
    """The parts of the running meter that the server's word reaches."""

    chosen: Config
    converter: wiring.Converter
    recorder: Recorder
    timekeeper: Timekeeper
    panel: Panel
    last: LastBlock


def connect(around: Around, opened: ExitStack) -> Controller:
    """A controller that acts in the world; the relay is closed with ``opened``.

    Raises:
        KeyUnusableError: the server's pinned key cannot be read.
        StoreError: the record cannot be read.
    """
    chosen, recorder, converter = around.chosen, around.recorder, around.converter
    recalled = recall_control(recorder.store)
    world = World(
        record=partial(_record, recorder),
        read_downlink=partial(store.read_downlink, chosen.meter.sync_path),
        self_test=partial(_self_test, around),
        sure_utc_s=partial(_sure_utc_s, around.timekeeper),
        clock_ns=converter.clock_ns,
        boottime_ns=lambda: round(1e9 * converter.boottime_s()),
        boot_id=store.read_boot_id(),
    )
    relay = _open_relay(chosen, recalled, recorder, opened)
    return Controller(chosen, load_server_key(chosen.meter.state_dir), relay, recalled, world)


def recall_control(kept: Store) -> Recalled:
    """What the record says of commands and settings; the oldest of it is remembered apart,
    because rows are deleted when they are old enough."""
    remembered = [
        ({"setting": SETTING, "contact": COMMAND}[name], text)
        for name in REMEMBERED
        if (text := store.recall(kept, name)) is not None
    ]
    told = [
        (event, msgspec.json.decode(text, type=dict[str, object])) for event, text in remembered
    ]
    # Of the record before this one, where that was damaged.
    carried = store.recall(kept, "commands")
    if carried is not None:
        known = msgspec.json.decode(carried, type=list[dict[str, object]])
        told = [*((COMMAND, command) for command in known), *told]
    lines = [
        *store.events(kept, COMMAND, EVENTS_RECALLED),
        *store.events(kept, SETTING, EVENTS_RECALLED),
    ]
    rows = sorted(((said(line), line) for line in lines), key=lambda row: row[0].seq)
    return recall([*told, *((row.event or "", detail(line)) for row, line in rows)])


def _record(recorder: Recorder, event: str, what: Mapping[str, object]) -> None:
    """On the disk before anything is done; what must outlive old rows is remembered with it."""
    remember: dict[str, str] = {}
    if event == SETTING:
        remember = {"setting": msgspec.json.encode(dict(what)).decode()}
    elif event == COMMAND and what["command"] in CONTACT_COMMANDS:
        remember = {"contact": msgspec.json.encode(dict(what)).decode()}
    recorder.event(event, what, remember)


def _open_relay(
    chosen: Config, recalled: Recalled, recorder: Recorder, opened: ExitStack
) -> Relay | None:
    """The configured relay; without it the meter measures on, and says so."""
    if chosen.relay is None:
        return None
    try:
        relay = open_relay(
            chosen.relay, connected=contact.at_start(chosen.relay, recalled.connected)
        )
    except HardwareError as error:
        log.error("ALARM: %s; metering goes on without the relay", error)
        recorder.tell("fault", {"part": "relay", "said": str(error)[:300]})
        return None
    opened.callback(relay.close)
    return relay


def _sure_utc_s(timekeeper: Timekeeper) -> float | None:
    stamp = timekeeper.stamp()
    return stamp.utc_s if stamp.clock in SURE else None


def _self_test(around: Around) -> dict[str, object]:
    chosen, recorder = around.chosen, around.recorder
    disk = os.statvfs(chosen.meter.state_dir)
    display = "none" if chosen.display.device == "none" else "ok"
    return self_test(
        Snapshot(
            block=around.last.block,
            sampling_hz=around.last.sampling_hz,
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
            database_error="the disk is full" if recorder.full else None,
            display=display if around.panel.failing is None else "failing",
            clock=around.timekeeper.stamp().clock,
            rows=store.next_seq(recorder.store) - 1,
        )
    )
