"""What the server has signed or told for the meter: put down by meterd-sync, read by meterd.

Nothing here is believed: texts are kept as they came, with the key and signature that they claim.
Whether they are the server's, this meter's and new is for :mod:`meterd.control` to find out.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from meterd.database.connection import told
from meterd.errors import StoreError

COMMANDS_MAX = 64
EXPIRED_KEPT_S = 86_400
"""Commands that expired longer ago are dropped; the server still has them."""
TEXT_CHARACTERS_MAX = 4096
SIGNATURE_CHARACTERS_MAX = 200
BUSY_TIMEOUT_S = 0.05
"""The measuring loop waits no longer than this for the other program's database."""
BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class SignedText:
    """A text, the fingerprint of the key that is said to have signed it, and the signature."""

    text: str
    key: str  # 64 hexadecimal digits
    signature: str  # base64 of DER


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """What the server says it holds of a stream."""

    hwm: int
    signed: SignedText


@dataclass(frozen=True, slots=True)
class SignedSettings:
    """The newest settings for this meter."""

    version: int
    signed: SignedText


@dataclass(frozen=True, slots=True)
class SignedCommand:
    """A command that has no result yet, as far as the server knows."""

    id: str
    expires_utc_s: int
    received_utc_s: int
    signed: SignedText


@dataclass(frozen=True, slots=True)
class ServerTime:
    """What the server's clock said when its answer came."""

    server_utc_s: int
    boottime_ns: int  # CLOCK_BOOTTIME when the answer was there
    round_trip_ns: int  # the server's date is as old as this at most
    boot_id: str  # of the kernel's start that ``boottime_ns`` counts from


@dataclass(frozen=True, slots=True)
class AcknowledgedRegisters:
    """Registers of the newest row that the server holds."""

    seq: int
    import_j: int
    export_j: int


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer of the server brings for the meter."""

    receipt: SignedReceipt | None = None
    settings_version: int | None = None  # None: a server that knows no settings
    settings: SignedSettings | None = None
    commands: tuple[SignedCommand, ...] = ()
    time: ServerTime | None = None
    registers: AcknowledgedRegisters | None = None


@dataclass(frozen=True, slots=True)
class Downlink:
    """All that is put down, for meterd to judge."""

    receipts: dict[str, SignedReceipt]  # by stream
    settings: SignedSettings | None
    commands: tuple[SignedCommand, ...]
    time: ServerTime | None
    registers: dict[str, AcknowledgedRegisters]  # by stream


def read_boot_id(path: Path = BOOT_ID_PATH) -> str:
    """Which start of the machine's kernel this is, by the kernel's own name for it.

    Raises:
        StoreError: the kernel does not say.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}: is /proc there?") from error


def put_down(connection: sqlite3.Connection, stream: str, said: Told) -> None:
    """Keep what an answer about ``stream`` brought, inside the caller's transaction.

    A receipt for less than the one that is kept does not replace it: it is the proof of what the
    server once held. Settings that the server no longer has are dropped, so that it is asked
    again.
    """
    if said.receipt is not None:
        connection.execute(
            "INSERT INTO receipt VALUES (?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET "
            "hwm = excluded.hwm, text = excluded.text, key = excluded.key, "
            "signature = excluded.signature WHERE excluded.hwm >= receipt.hwm",
            (stream, said.receipt.hwm, *_columns(said.receipt.signed)),
        )
    _put_settings(connection, said)
    _put_commands(connection, said)
    if said.time is not None:
        moment = (
            said.time.server_utc_s,
            said.time.boottime_ns,
            said.time.round_trip_ns,
            said.time.boot_id,
        )
        connection.execute("INSERT OR REPLACE INTO server_time VALUES (1, ?, ?, ?, ?)", moment)
    if said.registers is not None:
        connection.execute(
            "INSERT INTO acknowledged_registers VALUES (?, ?, ?, ?) ON CONFLICT (stream) "
            "DO UPDATE SET seq = excluded.seq, import_j = excluded.import_j, "
            "export_j = excluded.export_j WHERE excluded.seq > acknowledged_registers.seq",
            (stream, said.registers.seq, said.registers.import_j, said.registers.export_j),
        )


def _put_settings(connection: sqlite3.Connection, said: Told) -> None:
    if said.settings_version is not None:
        connection.execute("DELETE FROM settings WHERE version > ?", (said.settings_version,))
    if said.settings is not None:
        row = (said.settings.version, *_columns(said.settings.signed))
        connection.execute("INSERT OR REPLACE INTO settings VALUES (1, ?, ?, ?, ?)", row)


def _put_commands(connection: sqlite3.Connection, said: Told) -> None:
    for command in said.commands:
        connection.execute(
            "INSERT INTO command VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "expires_utc_s = excluded.expires_utc_s, text = excluded.text, key = excluded.key, "
            "signature = excluded.signature",
            (
                command.id,
                command.expires_utc_s,
                command.received_utc_s,
                *_columns(command.signed),
            ),
        )
    if said.time is not None:
        long_ago_utc_s = said.time.server_utc_s - EXPIRED_KEPT_S
        connection.execute("DELETE FROM command WHERE expires_utc_s < ?", (long_ago_utc_s,))
    connection.execute(
        "DELETE FROM command WHERE id NOT IN (SELECT id FROM command ORDER BY "
        "received_utc_s DESC, rowid DESC LIMIT ?)",
        (COMMANDS_MAX,),
    )


def read_downlink(path: Path, schema_version: int = 1) -> Downlink | None:
    """What meterd-sync has put down in the database ``path``; None where it has not run yet.

    Waits ``BUSY_TIMEOUT_S`` at most for the other program, and can be asked again after an error.

    Raises:
        StoreError: the database is there but cannot be read now.
    """
    if not path.exists():
        return None
    with told(path, "read"):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
        )
        with closing(connection):
            connection.execute("PRAGMA trusted_schema = OFF")
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found == 0:
                return None  # being made at this moment
            if found != schema_version:
                raise StoreError(
                    f"{path} has schema version {found} and this program reads {schema_version}: "
                    "restart the meter's programs after an update, all of the same version"
                )
            connection.execute("BEGIN")  # one moment for all tables
            return _read(connection)


def _read(connection: sqlite3.Connection) -> Downlink:
    receipts = {
        stream: SignedReceipt(hwm, SignedText(*signed))
        for stream, hwm, *signed in connection.execute(
            "SELECT stream, hwm, text, key, signature FROM receipt"
        )
    }
    return Downlink(
        receipts,
        read_settings(connection),
        tuple(
            SignedCommand(name, expires_utc_s, received_utc_s, SignedText(*signed))
            for name, expires_utc_s, received_utc_s, *signed in connection.execute(
                "SELECT id, expires_utc_s, received_utc_s, text, key, signature FROM command "
                "ORDER BY received_utc_s, rowid"
            )
        ),
        _read_time(connection),
        {
            stream: AcknowledgedRegisters(*registers)
            for stream, *registers in connection.execute(
                "SELECT stream, seq, import_j, export_j FROM acknowledged_registers"
            )
        },
    )


def read_settings(connection: sqlite3.Connection) -> SignedSettings | None:
    """The settings that are put down."""
    row = connection.execute("SELECT version, text, key, signature FROM settings").fetchone()
    return SignedSettings(row[0], SignedText(*row[1:])) if row else None


def _read_time(connection: sqlite3.Connection) -> ServerTime | None:
    row = connection.execute(
        "SELECT server_utc_s, boottime_ns, round_trip_ns, boot_id FROM server_time"
    ).fetchone()
    return ServerTime(*row) if row else None


def _columns(signed: SignedText) -> tuple[str, str, str]:
    return signed.text, signed.key, signed.signature
