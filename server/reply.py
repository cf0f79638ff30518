"""What the server answers a meter with: how far it holds the stream, and what it wants done."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from server import identity, meter_commands, meter_settings, signing, wire
from server.chain import fully_signed
from server.signing import ServerKey, Signed
from server.streams import Held, Meter


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what, and the version of the settings that it has."""

    meter: Meter
    stream: str
    settings_version: int
    now_utc_s: int


def compose(connection: Connection, key: ServerKey, asked: Asked, held: Held) -> dict[str, object]:
    """The fields of docs/protocol.md's "Sending rows", without ``rows``."""
    epoch = identity.epoch(connection)
    version, _, settings = meter_settings.newest(connection, asked.meter.meter_id)
    commands = meter_commands.unanswered(connection, asked.meter.meter_id)
    newer = settings is not None and version > asked.settings_version
    return {
        "schema": wire.SCHEMA,
        "stream": asked.stream,
        "epoch": epoch,
        "hwm": held.hwm,
        "head": held.head,
        "server_utc_s": asked.now_utc_s,
        "missing": held.missing,
        "receipt": _receipt(key, asked, held, epoch),
        "settings_version": version,
        "settings": asdict(settings) if settings is not None and newer else None,
        "commands": [asdict(command) for command in commands],
    }


def _receipt(key: ServerKey, asked: Asked, held: Held, epoch: str) -> dict[str, str] | None:
    """The server's signature of what it holds, which neither side can later deny."""
    if not fully_signed(held.chain, held.hwm):
        return None
    content = {
        "type": "receipt",
        "meter": asked.meter.serial,
        "stream": asked.stream,
        "epoch": epoch,
        "hwm": held.hwm,
        "head": held.head,
        "server_utc_s": asked.now_utc_s,
    }
    receipt: Signed = signing.signed(key, content)
    return asdict(receipt)
