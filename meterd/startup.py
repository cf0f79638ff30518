"""What happens before the first window: the record is opened and looked at, and the start told.

A damaged record is put aside and a new stream begins, with registers no lower than any that can
still be read. A key that is not the record's last one is introduced by both.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path

import msgspec

from meterd import __version__, store
from meterd.calibration.history import Change
from meterd.config import Config
from meterd.errors import KeyUnusableError, NotAReadingError, StoreDamagedError, StoreError
from meterd.model import Calibration, Registers
from meterd.record.rows import detail, said
from meterd.record.signing import SigningKey, shown, sign
from meterd.record_condition import has_wal_bug
from meterd.recorder import Recorder
from meterd.store import Ballast, LastKnown, Saved, Store
from meterd.timekeeping import SURE, Clocks, Known, Timekeeper

log = logging.getLogger(__name__)

SURE_ROWS = 2000
"""How far back the last sure date is looked for: a day of minutes and more."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A record that may be written to."""

    store: Store
    put_aside: Path | None = None  # the record before this one, which was damaged
    known: LastKnown | None = None  # what could still be read of it


@dataclass(frozen=True, slots=True)
class Start:
    """What the boot event says beside the state of the record."""

    config: Config
    calibrations: Sequence[Calibration]
    changes: Sequence[Change] = ()


def open_record(config: Config, *, now_utc_s: int) -> Opened:
    """The meter's record; one that is damaged, or an old copy, is put aside and a new stream begun.

    Raises:
        StoreError: another process writes it, it is another meter's, or the disk refuses.
    """
    path = config.meter.readings_path
    suspected = store.suspect(path).exists()
    try:
        opened = store.open_store(path, meter=config.meter.serial, now_utc_s=now_utc_s)
        try:
            store.require_sound(opened, suspected=suspected)
            store.load_registers(opened)
            _require_newest(config, opened)
        except BaseException:
            store.close(opened)
            raise
    except StoreDamagedError as damage:
        log.error("ALARM: %s; it is put aside and a new stream begins", damage)
        return _begin_anew(config, now_utc_s)
    if has_wal_bug(sqlite3.sqlite_version_info):
        log.info(
            "SQLite %s can damage a database that two connections write; this meter's are each "
            "written by one, which holds a lock",
            sqlite3.sqlite_version,
        )
    store.suspect(path).unlink(missing_ok=True)
    return Opened(opened)


def _require_newest(config: Config, opened: Store) -> None:
    """An old copy that was put back would give new rows the numbers of rows the server has.

    Raises:
        StoreDamagedError: the server has acknowledged rows of this stream that are not here.
    """
    try:
        downlink = store.read_downlink(config.meter.sync_path)
    except StoreError as error:
        log.warning("%s: whether the record is the newest is not known", error)
        return
    if downlink is None or opened.stream not in downlink.receipts:
        return
    acknowledged, here = downlink.receipts[opened.stream].hwm, store.next_seq(opened) - 1
    if acknowledged > here:
        raise StoreDamagedError(
            f"{opened.path} ends with row {here} and the server has countersigned {acknowledged}: "
            "it is an old copy"
        )


def _begin_anew(config: Config, now_utc_s: int) -> Opened:
    path = config.meter.readings_path
    aside = store.put_aside(path, now_utc_s=now_utc_s)
    read = store.last_known(aside, path.parent)
    known = _highest([read, _acknowledged(config)])
    if known is not None and read is not None:
        known = replace(known, remembered=read.remembered)
    opened = store.open_store(path, meter=config.meter.serial, now_utc_s=now_utc_s)
    if known is None:
        log.error("ALARM: no register of the damaged record can be read: counting begins at 0")
    else:
        store.append(opened, [], Saved(known.registers, known.utc_s), known.remembered)
    return Opened(opened, aside, known)


def _highest(found: Sequence[LastKnown | None]) -> LastKnown | None:
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: one.registers.import_j + one.registers.export_j, default=None)


def _acknowledged(config: Config) -> LastKnown | None:
    """The registers in the last row that the server has acknowledged."""
    try:
        downlink = store.read_downlink(config.meter.sync_path)
    except StoreError as error:
        log.warning("%s: what the server acknowledged is not known", error)
        return None
    if downlink is None or not downlink.registers:
        return None
    stream, last = max(downlink.registers.items(), key=lambda item: item[1].import_j)
    return LastKnown(Registers(last.import_j, last.export_j), 0, "server", stream, last.seq)


def boot_number(kept: Store, boot_id: str) -> int:
    """Counts the starts of the machine's kernel that this record has seen, from 1."""
    remembered = store.recall(kept, "boot")
    if remembered is None:
        return 1
    last = msgspec.json.decode(remembered, type=dict[str, str | int])
    number = int(last["number"])
    return number if last["boot_id"] == boot_id else number + 1


def keep_time(
    kept: Store, clocks: Clocks, boot: int, *, built_utc_s: int | None = None
) -> Timekeeper:
    """A timekeeper that knows how late it was when the meter was last alive."""
    alive_utc_s = store.last_saved_utc_s(kept) or 0
    known = Known(boot, _last_sure_utc_s(kept), alive_utc_s)
    if built_utc_s is not None:
        known = Known(boot, known.last_sure_utc_s, alive_utc_s, built_utc_s)
    return Timekeeper(clocks, known)


def _last_sure_utc_s(kept: Store) -> int:
    """The date of the last row whose date was sure; 0 where there is none."""
    for line in reversed(store.last_lines(kept, SURE_ROWS)):
        row = said(line)
        if row.clock in SURE:
            return (row.end_utc_s if row.kind == "reading" else row.utc_s) or 0
    return 0


def record_start(
    opened: Opened, recorder: Recorder, keys: Sequence[SigningKey], start: Start, boot_id: str
) -> None:
    """Tell the start in the record: what was put aside, the program, the key, the adjustment.

    Raises:
        KeyUnusableError: the key that the record was last signed with is not there.
        StoreError: the disk refused.
    """
    if opened.put_aside is not None:
        before = {"name": opened.put_aside.name, **store.as_detail(opened.known)}
        recorder.tell("quarantine", before)
    _introduce_key(recorder, keys)
    registers = store.load_registers(opened.store)
    recorder.tell(
        "boot",
        {
            "version": __version__,
            "serial": start.config.meter.serial,
            "program_sha256": program_hash(),
            "key": keys[-1].public.fingerprint,
            "public_key": keys[-1].public.text,
            "boot_id": boot_id,
            "sqlite": sqlite3.sqlite_version,
            "interval_s": start.config.meter.interval_s,
            "import_j": registers.import_j,
            "export_j": registers.export_j,
        },
        {
            "boot": _json({"number": recorder.stamp().boot, "boot_id": boot_id}),
            "signer": keys[-1].public.fingerprint,
            f"public_key {keys[-1].public.fingerprint}": keys[-1].public.text,
        },
    )
    _record_calibration(opened.store, recorder, start)


def _introduce_key(recorder: Recorder, keys: Sequence[SigningKey]) -> None:
    """Where another key signs than before, both say so."""
    signer = store.recall(recorder.store, "signer")
    new = keys[-1]
    if signer is None or signer == new.public.fingerprint:
        return
    old = next((key for key in keys if key.public.fingerprint == signer), None)
    if old is None:
        raise KeyUnusableError(
            f"the record was last signed by the key {shown(signer)}, which is not among this "
            "meter's keys: put its file back; or move the record away and keep it, and claim the "
            "meter again"
        )
    said_of_it = (
        f"meterd key {recorder.store.meter} {old.public.fingerprint} {new.public.fingerprint}"
    ).encode()
    recorder.tell(
        "key",
        {
            "old_key": old.public.fingerprint,
            "new_key": new.public.fingerprint,
            "public_key": new.public.text,
            "old_signature": sign(old, said_of_it),
            "new_signature": sign(new, said_of_it),
        },
        {"signer": new.public.fingerprint},
    )
    log.warning("the key %s signs from now on", shown(new.public.fingerprint))


def _record_calibration(kept: Store, recorder: Recorder, start: Start) -> None:
    """The electronic seal: another adjustment than the last one is an event, whoever made it."""
    new: dict[str, dict[str, float]] = {
        circuit.role: asdict(calibration)
        for circuit, calibration in zip(start.config.in_order, start.calibrations, strict=True)
    }
    last = _last_calibration(kept)
    if last.get("new") != new:
        counter = last.get("counter", 0)
        recorder.tell(
            "calibration",
            {
                "counter": (counter if isinstance(counter, int) else 0) + 1,
                "old": last.get("new"),
                "new": new,
                "by": _who_calibrated(new, start.changes),
            },
        )


def _last_calibration(kept: Store) -> dict[str, object]:
    lines = store.events(kept, "calibration", 1)
    try:
        return detail(lines[-1]) if lines else {}
    except NotAReadingError as error:
        raise StoreError(f"the last calibration in {kept.path} cannot be read: {error}") from error


def _who_calibrated(
    new: Mapping[str, Mapping[str, float]], changes: Sequence[Change]
) -> dict[str, dict[str, object] | None]:
    """For each circuit the logged change that made its calibration; None: changed by hand."""
    found: dict[str, dict[str, object] | None] = {}
    for role, calibration in new.items():
        latest = next((change for change in reversed(changes) if change.circuit == role), None)
        made_it = latest is not None and all(
            latest.new.get(name) == value for name, value in calibration.items()
        )
        found[role] = (
            {
                "counter": latest.counter,
                "utc_s": latest.utc_s,
                "by": latest.by,
                "method": latest.method,
            }
            if made_it and latest is not None
            else None
        )
    return found


def program_hash() -> str:
    """SHA-256 over the names and contents of this package's files, so that a row tells by which
    program it was made."""
    whole = hashlib.sha256()
    for path in sorted(_sources(Path(str(resources.files("meterd"))))):
        content = path.read_bytes()
        whole.update(f"{path.name} {len(content)}\n".encode() + content)
    return whole.hexdigest()


def _sources(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".py", ".sql")]


def new_recorder(
    opened: Opened,
    config: Config,
    key: SigningKey,
    timekeeper: Timekeeper,
    acknowledged_seq: Callable[[], int],
) -> Recorder:
    """The writer of the record, with the limits of the configuration."""
    limits = config.record
    return Recorder(
        opened.store,
        key,
        timekeeper.stamp,
        limits=store.Limits(limits.retention_days * 86_400, limits.size_max_mib * 1024 * 1024),
        ballast=Ballast(config.meter.state_dir, limits.ballast_mib * 1024 * 1024),
        acknowledged_seq=acknowledged_seq,
    )


def _json(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()
