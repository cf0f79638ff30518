"""The meter's own record handed out: to be checked here, or taken along as a file."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from meterd import __version__, store, wire
from meterd.errors import KeyUnusableError, NotAReadingError, StoreError
from meterd.model import Reading
from meterd.record.export import header
from meterd.record.receipt import Countersigned, read_receipt
from meterd.record.rows import checkpoint, said
from meterd.record.signing import PublicKey, SigningKey, load_public, sign
from meterd.record.verify import Claimed
from meterd.store import Reader

CSV_COLUMNS = tuple(
    name
    for name in Reading.__dataclass_fields__
    if name not in ("schema", "kind", "events", "circuits")
)
SUSPECT_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins so for a formula."""
J_PER_KWH = 3_600_000
OCMF_CLOCKS = {"synced": "S", "relative": "R", "informative": "I"}


@dataclass(frozen=True, slots=True)
class Range:
    """Which rows are meant, both ends included; None: from the first, to the last."""

    from_utc_s: int | None = None
    to_utc_s: int | None = None


def claimed(
    reader: Reader, trusted: PublicKey | None, countersigned: Countersigned | None
) -> Claimed:
    """What the meter's own record is said to be, for checking it where it lies.

    Raises:
        StoreError: the record cannot be read.
    """
    first_seq, before = store.first_kept(reader)
    key = trusted or _first_key(reader, first_seq)
    return Claimed(reader.meter, reader.stream, first_seq, before, key, False, None, countersigned)


def ndjson(reader: Reader, wanted: Range, countersigned: Countersigned | None) -> Iterator[bytes]:
    """The rows as a file that ``meterctl verify`` checks anywhere, line by line.

    It ends with the signature that covers the last row wanted, a few rows behind it, or with the
    last row that the meter's or the server's signature covers.

    Raises:
        StoreError: the record cannot be read, or holds no row of that time that is signed.
    """
    kept_seq, before = store.first_kept(reader)
    first_seq = store.seq_at(reader, wanted.from_utc_s) if wanted.from_utc_s else kept_seq
    end_seq, countersigned = _end(reader, first_seq, wanted, countersigned)
    if end_seq < first_seq:
        raise StoreError("there is no signed row of that time: choose another, or wait a little")
    if first_seq > kept_seq:
        before = store.hash_at(reader, first_seq - 1)
    key = _first_key(reader, first_seq)
    if key is None:
        raise StoreError("the public key that signed these rows is not in the record any more")
    about = Claimed(reader.meter, reader.stream, first_seq, before, key, True, None, countersigned)
    yield header(about, end_seq - first_seq + 1) + b"\n"
    for seq, line in store.every_row(reader, first_seq):
        if seq > end_seq:
            return
        yield line + b"\n"


def _end(
    reader: Reader, first_seq: int, wanted: Range, countersigned: Countersigned | None
) -> tuple[int, Countersigned | None]:
    """The last row of a file, and the receipt if its row is in the file."""
    last_seq = store.last_seq(reader)
    if wanted.to_utc_s is not None:
        last_seq = min(last_seq, store.seq_at(reader, wanted.to_utc_s + 1) - 1)
    end_seq = store.covering_seq(reader, last_seq)
    hwm = 0 if countersigned is None else read_receipt(countersigned).hwm
    if not first_seq <= hwm <= max(last_seq, end_seq):
        return end_seq, None
    return max(end_seq, hwm), countersigned


def csv_lines(reader: Reader, wanted: Range) -> Iterator[str]:
    """The readings as a table: a heading, then a line each; not signed.

    Raises:
        StoreError, NotAReadingError: the record cannot be read.
    """
    yield _csv_line(CSV_COLUMNS)
    for reading in _readings(reader, wanted):
        yield _csv_line([_cell(getattr(reading, name)) for name in CSV_COLUMNS])


def ocmf(reader: Reader, wanted: Range, key: SigningKey) -> str:
    """First and last registers of a time in the Open Charge Metering Format 1.0, signed now.

    One OCMF record with four readings: import (1.8.0) and export (2.8.0) at begin and end, kWh.

    Raises:
        StoreError: there are no two readings of that time.
    """
    first: Reading | None = None
    last: Reading | None = None
    for reading in _readings(reader, wanted):
        first, last = first or reading, reading
    if first is None or last is None or first is last:
        raise StoreError("OCMF tells the difference of two readings, and there are no two")
    readings = [
        _ocmf_reading(reading, why, register, obis)
        for reading, why in ((first, "B"), (last, "E"))
        for register, obis in (("import_j", "01-00:01.08.00*FF"), ("export_j", "01-00:02.08.00*FF"))
    ]
    payload = msgspec.json.encode(
        {
            "FV": "1.0",
            "GI": "meterd",
            "GS": reader.meter,
            "GV": __version__,
            "PG": f"T{last.seq}",
            "MV": "meterd",
            "MM": "MCP3008",
            "MS": reader.meter,
            "MF": __version__,
            "IS": False,
            "IT": "NONE",
            "RD": readings,
        }
    )
    signature = _hex(sign(key, payload))
    said_of_it = {"SA": "ECDSA-secp256r1-SHA256", "SE": "hex", "SD": signature}
    return f"OCMF|{payload.decode()}|{msgspec.json.encode(said_of_it).decode()}"


def _ocmf_reading(reading: Reading, why: str, register: str, obis: str) -> dict[str, object]:
    when = datetime.fromtimestamp(reading.end_utc_s, UTC).strftime("%Y-%m-%dT%H:%M:%S,000+0000")
    counted_j: int = getattr(reading, register)
    whole, rest = divmod(counted_j, J_PER_KWH)
    return {
        "TM": f"{when} {OCMF_CLOCKS.get(reading.clock, 'U')}",
        "TX": why,
        # Cut after a tenth of a watt-hour, as a register is read: never more than was counted.
        "RV": msgspec.Raw(f"{whole}.{rest * 10_000 // J_PER_KWH:04d}".encode()),
        "RI": obis,
        "RU": "kWh",
        "RT": "AC",
        "EF": "",
        "ST": "G",
    }


def _hex(base64_text: str) -> str:
    return base64.b64decode(base64_text).hex()


def _readings(reader: Reader, wanted: Range) -> Iterator[Reading]:
    first_seq = store.seq_at(reader, wanted.from_utc_s) if wanted.from_utc_s else 1
    for _, line in store.every_row(reader, first_seq):
        row = said(line)
        if row.kind != "reading" or row.end_utc_s is None:
            continue
        if wanted.to_utc_s is not None and row.end_utc_s > wanted.to_utc_s:
            return
        yield wire.decode(line)


def _first_key(reader: Reader, first_seq: int) -> PublicKey | None:
    """The key of the first checkpoint from a row on; None where the record does not tell it."""
    line = store.checkpoint_from(reader, first_seq)
    if line is None:
        return None
    try:
        text = store.recalled(reader, f"public_key {checkpoint(line).key}")
        return None if text is None else load_public(text, f"the key in {reader.path}")
    except (NotAReadingError, KeyUnusableError) as error:
        raise StoreError(f"the first signature in {reader.path} cannot be read: {error}") from error


def _csv_line(cells: list[str] | tuple[str, ...]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow(cells)
    return written.getvalue()


def _cell(value: object) -> str:
    """Unknown is empty; a text that a spreadsheet would calculate is told to be a text."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(SUSPECT_STARTS) else text
