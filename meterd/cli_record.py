"""``meterctl verify``, ``export``, ``events`` and ``key``: the record as evidence."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click
import msgspec
from rich.console import Console
from rich.progress import track

from meterd import config as configuration
from meterd import evidence, store
from meterd.command import config_option, json_option, sentences
from meterd.config import Config
from meterd.errors import KeyUnusableError, StoreError
from meterd.evidence import Range
from meterd.record.export import HEADER_BYTES_MAX, verify_file
from meterd.record.keys import create_key, key_folder, load_keys
from meterd.record.receipt import Countersigned
from meterd.record.rows import detail, said
from meterd.record.signing import PublicKey, load_public, shown
from meterd.record.verify import Report, verify

EXITS = {"sound": 0, "tampered": 1, "incomplete": 2}
LINE_BYTES_MAX = HEADER_BYTES_MAX + 1
PROGRESS_ROWS = 5000
"""Fewer are checked before a bar would be read."""


@click.command("verify")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@config_option
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    help="The meter's public key, as `meterctl key show` prints it, from a place you trust.",
)
@json_option
def verify_command(file: Path | None, path: Path, key_file: Path | None, as_json: bool) -> None:
    """Check that a record is whole and unchanged: this meter's, or an exported FILE.

    Needs no network and no secret. Checked are each row's place in the chain, each signature, the
    registers, every change of the key, and what the server countersigned. Without --key the
    record's own public key is used: compare its sixteen digits with the meter's display, or with
    `meterd-server fingerprint`.

    Exit status 0: sound. 1: tampered with. 2: incomplete, or signed by nobody to its end.
    """
    with sentences():
        trusted = _public_key(key_file) if key_file is not None else None
        report = _verify_exported(file, trusted) if file else _verify_own(path, trusted)
    if as_json:
        click.echo(json.dumps(as_plain(report)))
    else:
        for line in in_words(report):
            click.echo(line)
    sys.exit(EXITS[report.verdict])


def _verify_exported(file: Path, trusted: PublicKey | None) -> Report:
    try:
        with file.open("rb") as opened:
            return verify_file(_lines(opened), trusted)
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}") from error


def _lines(opened: IO[bytes]) -> Iterator[bytes]:
    while line := opened.readline(LINE_BYTES_MAX):
        yield line


def _verify_own(path: Path, trusted: PublicKey | None) -> Report:
    config = configuration.load(path)
    reader = store.open_reader(config.meter.readings_path)
    try:
        claimed = evidence.claimed(reader, trusted, countersigned(config, reader.stream))
        rows = (line for _, line in store.every_row(reader, claimed.first_seq))
        count = store.last_seq(reader) - claimed.first_seq + 1
        return verify(_watched(rows, count), claimed)
    finally:
        store.close_reader(reader)


def _watched(rows: Iterable[bytes], count: int) -> Iterable[bytes]:
    """With a bar on standard error where there is much to do and somebody looks."""
    console = Console(stderr=True)
    if count < PROGRESS_ROWS or not console.is_terminal:
        return rows
    return track(rows, "Checking", total=count, console=console)


def countersigned(config: Config, stream: str) -> Countersigned | None:
    """The server's last receipt for a stream; None where there is none yet."""
    return None


def _public_key(file: Path) -> PublicKey:
    try:
        words = file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnusableError(f"cannot read {file}: {error}") from error
    return load_public(words[-1] if words else "", str(file))


def as_plain(report: Report) -> dict[str, Any]:
    """The report for a program."""
    return {
        "verdict": report.verdict,
        "meter": report.meter,
        "stream": report.stream,
        "first_seq": report.first_seq,
        "last_seq": report.last_seq,
        "rows": report.rows,
        "kinds": dict(report.kinds),
        "clocks": dict(report.clocks),
        "keys": report.keys,
        "signed_seq": report.signed_seq,
        "receipt_seq": report.receipt_seq,
        "first_j": report.first_j,
        "last_j": report.last_j,
        "head": report.head,
        "programs": report.programs,
        "changes": [{"seq": seq, "event": name} for seq, name, _ in report.changes],
        "problems": [{"verdict": p.verdict, "seq": p.seq, "what": p.what} for p in report.problems],
    }


def in_words(report: Report) -> Iterator[str]:
    """The report for a person."""
    yield f"meter     {report.meter or '?'}, stream {report.stream or '?'}"
    for key in report.keys:
        yield f"key       {shown(key)}"
    kinds = ", ".join(f"{count} {kind}s" for kind, count in sorted(report.kinds.items()))
    yield f"rows      {report.first_seq} to {report.last_seq}: {kinds or 'none'}"
    yield f"signed    up to row {report.signed_seq}" + (
        f", countersigned by the server up to {report.receipt_seq}" if report.receipt_seq else ""
    )
    if report.first_end_utc_s is not None and report.last_end_utc_s is not None:
        yield f"time      {_date(report.first_end_utc_s)} to {_date(report.last_end_utc_s)}"
    if report.first_j is not None and report.last_j is not None:
        for name, place in (("import", 0), ("export", 1)):
            first, last = report.first_j[place] / 3.6e6, report.last_j[place] / 3.6e6
            yield f"{name}    {first:.4f} to {last:.4f} kWh, never falling"
    clocks = ", ".join(f"{name} {count}" for name, count in sorted(report.clocks.items()))
    yield f"clock     {clocks or '-'}"
    for program, version in report.programs.items():
        yield f"program   {version}, {program[:16]}"
    for seq, name, _ in report.changes:
        yield f"change    row {seq}: {name}"
    for problem in report.problems:
        where = f"row {problem.seq} " if problem.seq is not None else ""
        yield f"!         {problem.verdict}: {where}{problem.what}"
    yield {
        "sound": "sound: every row is as the meter wrote it",
        "tampered": "TAMPERED: these are not the rows that the meter wrote",
        "incomplete": "incomplete: what is here fits, but not all can be vouched for",
    }[report.verdict]


def _date(utc_s: int) -> str:
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@click.command("export")
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv", "ocmf"]),
    default="ndjson",
    show_default=True,
    help="ndjson: rows with their signatures. csv: readings for a spreadsheet, unsigned. "
    "ocmf: first and last registers, signed (needs the signing key: as root).",
)
@click.option("--from", "begin", type=click.DateTime(), help="From this time on (UTC).")
@click.option("--to", "end", type=click.DateTime(), help="Up to this time (UTC), included.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Into this file, not the terminal."
)
def export_command(
    path: Path, form: str, begin: datetime | None, end: datetime | None, output: Path | None
) -> None:
    """Hand out the record: signed rows to be checked anywhere, or readings as a table.

    \b
      meterctl export --from 2026-10-01 --to 2026-11-30 -o bimester.ndjson
      meterctl verify bimester.ndjson
    """
    with sentences():
        config = configuration.load(path)
        wanted = Range(_utc_s(begin), _utc_s(end))
        reader = store.open_reader(config.meter.readings_path)
        try:
            pieces = _pieces(config, reader, form, wanted)
            rows = _write(pieces, output)
        finally:
            store.close_reader(reader)
    if output is not None:
        click.echo(f"{output}: {rows} lines")


def _pieces(config: Config, reader: store.Reader, form: str, wanted: Range) -> Iterable[bytes]:
    if form == "csv":
        return (line.encode() for line in evidence.csv_lines(reader, wanted))
    if form == "ocmf":
        keys = load_keys(key_folder(config.meter.state_dir, os.environ))
        if not keys:
            raise KeyUnusableError("there is no signing key here: run this as the meter's user")
        return [evidence.ocmf(reader, wanted, keys[-1]).encode() + b"\n"]
    return evidence.ndjson(reader, wanted, countersigned(config, reader.stream))


def _write(pieces: Iterable[bytes], output: Path | None) -> int:
    count = 0
    try:
        with ExitStack() as opened:
            if output is None:
                target: IO[bytes] = sys.stdout.buffer
            else:
                target = opened.enter_context(output.open("wb"))
            for piece in pieces:
                target.write(piece)
                count += 1
            target.flush()
    except BrokenPipeError:
        raise  # click's: whoever reads wants no more
    except OSError as error:
        raise StoreError(f"cannot write {output or 'the rows'}: {error.strerror}") from error
    return count


def _utc_s(when: datetime | None) -> int | None:
    return None if when is None else int(when.replace(tzinfo=UTC).timestamp())


@click.command("events")
@config_option
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Print the stored lines as they are.")
def events_command(path: Path, count: int, as_json: bool) -> None:
    """Show the last events of the record, oldest first: starts, clock, dips, commands, faults."""
    with sentences():
        config = configuration.load(path)
        reader = store.open_reader(config.meter.readings_path)
        try:
            lines = deque(store.recent_events(reader, count))
        finally:
            store.close_reader(reader)
        for line in lines:
            if as_json:
                click.echo(line)
                continue
            row = said(line)
            what = msgspec.json.encode(detail(line)).decode()
            click.echo(f"{row.seq:>8}  {_date(row.utc_s or 0)}  {row.event:<14} {what[:200]}")


@click.group("key")
def key_group() -> None:
    """The key that the meter signs its record with."""


@key_group.command("show")
@config_option
@json_option
def key_show(path: Path, as_json: bool) -> None:
    """Print the key's sixteen digits, and the public key for `meterctl verify --key`."""
    with sentences():
        config = configuration.load(path)
        reader = store.open_reader(config.meter.readings_path)
        try:
            fingerprint = store.recalled(reader, "signer")
            text = store.recalled(reader, f"public_key {fingerprint}") if fingerprint else None
        finally:
            store.close_reader(reader)
        if fingerprint is None or text is None:
            raise KeyUnusableError("the meter has not signed anything yet: start meterd")
    if as_json:
        click.echo(json.dumps({"fingerprint": fingerprint, "public_key": text}))
    else:
        click.echo(f"{shown(fingerprint)}\n{text}")


@key_group.command("create")
@config_option
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where the keys lie; default: where the meter looks for them.",
)
def key_create(path: Path, folder: Path | None) -> None:
    """Make the first key, or the next one.

    The meter signs with the newest key from its next start on, and lets both keys say so in its
    record; the server learns the new one from there. Keep the old file: `systemctl restart meterd`.
    """
    with sentences():
        if folder is None:
            config = configuration.load(path)
            folder = key_folder(config.meter.state_dir, os.environ)
        made, key = create_key(folder)
    click.echo(f"{made}\n{shown(key.public.fingerprint)}\n{key.public.text}")
