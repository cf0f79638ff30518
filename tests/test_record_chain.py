"""Chain, signatures and their verification: whatever is changed is found."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meterd import evidence, store
from meterd.evidence import Range
from meterd.model import Registers, Stamp
from meterd.record.chain import genesis, link
from meterd.record.export import verify_file
from meterd.record.rows import Place, checkpoint, checkpoint_row, said
from meterd.record.signing import PublicKey, load_public, new_key, shown, sign, verifies
from meterd.record.verify import Claimed, Report, verify
from tests.records import KEY, METER, WIRE, add_reading, example, open_new, recorder

NOW = Stamp(1, 60_000, 1_763_846_400.0, "synced")
ROWS = 200


@dataclass(frozen=True, slots=True)
class Exported:
    """A record handed out, and what its rows are."""

    file: bytes
    lines: tuple[bytes, ...]  # the rows, without the first line
    before: bytes

    def chained(self, count: int) -> bytes:
        """The hash behind the first ``count`` rows."""
        at = self.before
        for line in self.lines[:count]:
            at = link(at, line)
        return at


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two hundred rows: readings with a checkpoint after fifteen, and one event with its own."""
    path = tmp_path_factory.mktemp("record") / "readings.db"
    kept = open_new(path)
    kept.writer.connection.execute("PRAGMA synchronous = OFF")
    writer = recorder(kept)
    writer.event(
        "boot",
        {"version": "0", "program_sha256": "ab" * 32},
        {
            "signer": KEY.public.fingerprint,
            f"public_key {KEY.public.fingerprint}": KEY.public.text,
        },
    )
    while (seq := store.next_seq(kept)) <= ROWS:
        add_reading(
            kept,
            example(kept, seq, import_j=60_000 * seq, export_j=9, end_utc_s=1763846400 + 60 * seq),
            Registers(60_000 * seq, 9),
        )
        if seq % 15 == 0:
            writer = recorder(kept)
            writer.seal()
    recorder(kept).seal()
    store.close(kept)
    reader = store.open_reader(path)
    try:
        file = b"".join(evidence.ndjson(reader, Range(), None))
    finally:
        store.close_reader(reader)
    _, *lines = file.splitlines()
    stream = said(lines[0]).stream
    return Exported(file, tuple(lines), genesis(METER, stream))


def judged(file: bytes, trusted: PublicKey | None = None) -> Report:
    return verify_file(iter(file.splitlines(keepends=True)), trusted)


def test_what_the_meter_hands_out_is_sound(exported: Exported) -> None:
    report = judged(exported.file, KEY.public)
    assert report.verdict == "sound", report.problems
    assert report.rows == len(exported.lines) > ROWS
    assert report.signed_seq == report.last_seq == report.rows
    assert report.keys == [KEY.public.fingerprint]
    assert report.first_j == (0, 0)
    assert report.last_j is not None
    assert report.last_j[1] == 9


def slice_from(exported: Exported, before: bytes, at: int, changed: bytes) -> Report:
    """Check from row ``at`` (0 the first) to the next checkpoint, with the row as ``changed``."""
    end = at + 1
    while end < len(exported.lines) and b'"kind":"checkpoint"' not in exported.lines[end]:
        end += 1
    rows = [*changed.split(b"\n"), *exported.lines[at + 1 : end + 1]]
    claimed = Claimed(
        METER,
        said(exported.lines[0]).stream,
        at + 1,
        before,
        KEY.public,
        whole=True,
        rows=end - at + (0 if end == len(exported.lines) else 1),
    )
    return verify(rows, claimed)


def flips(exported: Exported, torture: bool) -> Iterator[tuple[int, int]]:
    """Row and bit: all in the long run, those of the last row and 5000 others in the short one."""
    if torture:
        for at, line in enumerate(exported.lines):
            yield from ((at, bit) for bit in range(8 * len(line)))
        return
    last = len(exported.lines) - 1  # nothing stands behind it that could tell
    yield from ((last, bit) for bit in range(8 * len(exported.lines[last])))
    rng = random.Random(4)
    for _ in range(5000):
        at = rng.randrange(len(exported.lines))
        yield at, rng.randrange(8 * len(exported.lines[at]))


def test_every_flipped_bit_of_a_row_is_found(exported: Exported, torture: bool) -> None:
    hashes = [exported.chained(at) for at in range(len(exported.lines))]
    for at, bit in flips(exported, torture):
        line = bytearray(exported.lines[at])
        line[bit // 8] ^= 1 << bit % 8
        report = slice_from(exported, hashes[at], at, bytes(line))
        assert report.verdict == "tampered", (at, bit)


def test_every_flipped_bit_of_the_first_line_is_found(exported: Exported) -> None:
    first, *rest = exported.file.splitlines(keepends=True)
    short = b"".join(rest[:2])  # an event and the checkpoint behind it
    first = first.replace(b'"rows":%d' % len(exported.lines), b'"rows":2')
    assert judged(first + short).verdict == "sound"
    for bit in range(8 * len(first)):
        flipped = bytearray(first)
        flipped[bit // 8] ^= 1 << bit % 8
        assert judged(bytes(flipped) + short).verdict != "sound", (bit, first[bit // 8 :][:20])


@pytest.mark.parametrize("at", [1, 2, 17, 100, 198])
def test_a_row_that_is_left_out_doubled_or_swapped_is_found(exported: Exported, at: int) -> None:
    first, *rest = exported.file.splitlines(keepends=True)
    assert judged(first + b"".join(rest[:at] + rest[at + 1 :])).verdict == "tampered"
    assert judged(first + b"".join([*rest[:at], rest[at], *rest[at:]])).verdict == "tampered"
    rest[at], rest[at - 1] = rest[at - 1], rest[at]
    assert judged(first + b"".join(rest)).verdict == "tampered"


def test_a_row_of_another_record_in_its_place_is_found(exported: Exported, tmp_path: Path) -> None:
    other = open_new(tmp_path / "other.db")
    recorder(other).event("boot", {"version": "0"})
    recorder(other).event("stop", {})
    store.close(other)
    reader = store.open_reader(tmp_path / "other.db")
    foreign = [line for _, line in store.every_row(reader)]
    store.close_reader(reader)
    first, *rest = exported.file.splitlines(keepends=True)
    rest[:2] = [foreign[0] + b"\n", foreign[1] + b"\n"]
    assert judged(first + b"".join(rest)).verdict == "tampered"
    ours = said(exported.lines[0]).stream.encode()
    theirs = said(foreign[0]).stream.encode()
    rest[:2] = [line.replace(theirs, ours) + b"\n" for line in foreign[:2]]
    assert judged(first + b"".join(rest)).verdict == "tampered"


@pytest.mark.parametrize("cut", [1, 2, 15, 100])
def test_a_tail_that_is_cut_is_missed(exported: Exported, cut: int) -> None:
    assert judged(b"".join(exported.file.splitlines(keepends=True)[:-cut])).verdict == "incomplete"


def test_a_file_cut_in_the_middle_of_its_last_line_is_no_record(exported: Exported) -> None:
    for length in (len(exported.file) - 1, len(exported.file) - 2, len(exported.file) - 500):
        assert judged(exported.file[:length]).verdict != "sound"
    assert judged(b"").verdict != "sound"


def test_rows_behind_the_last_signature_are_not_vouched_for(exported: Exported) -> None:
    """An announced number of rows does not help who adds an unsigned one."""
    first, *rest = exported.file.splitlines(keepends=True)
    last = said(exported.lines[-1])
    added = exported.lines[4].replace(b'"seq":5', b'"seq":%d' % (last.seq + 1))
    added = added.replace(b'"import_j":300000', b'"import_j":99999999')
    first = first.replace(b'"rows":%d' % len(rest), b'"rows":%d' % (len(rest) + 1))
    assert judged(first + b"".join(rest) + added + b"\n").verdict == "incomplete"


def test_a_forger_with_a_key_of_his_own_does_not_pass_for_the_meter(exported: Exported) -> None:
    forger = new_key()
    first, *rest = exported.file.splitlines(keepends=True)
    event = rest[0].removesuffix(b"\n").replace(b'"version":"0"', b'"version":"9"')
    place = Place(METER, said(event).stream, 2)
    head = link(exported.before, event)
    forged = checkpoint_row(place, NOW, head, (0, 0), forger).line
    first = first.replace(KEY.public.text.encode(), forger.public.text.encode())
    first = first.replace(b'"rows":%d' % len(rest), b'"rows":2')
    file = first + event + b"\n" + forged + b"\n"
    assert judged(file).verdict == "sound"  # under the forger's own name …
    assert judged(file).keys == [forger.public.fingerprint]
    assert judged(file, KEY.public).verdict == "tampered"  # … and not under the meter's


def test_a_checkpoint_signs_its_line_up_to_the_signature_with_the_algorithm_inside() -> None:
    line = checkpoint_row(Place(METER, "0" * 32, 7), NOW, b"\x07" * 32, (1, 2), KEY).line
    signed, _, rest = line.partition(b',"signature":"')
    assert b'"algorithm":"ecdsa-p256-sha256"' in signed
    assert b'"head":"' + b"07" * 32 in signed
    assert verifies(KEY.public, signed, rest.removesuffix(b'"}').decode())
    assert checkpoint(line).seq == 7


@pytest.mark.parametrize(("forged", "verdict"), [(False, "sound"), (True, "tampered")])
def test_another_key_signs_only_after_both_said_so(
    tmp_path: Path, forged: bool, verdict: str
) -> None:
    kept = open_new(tmp_path / "readings.db")
    new = new_key()
    writer = recorder(kept)
    writer.event("boot", {})
    message = f"meterd key {METER} {KEY.public.fingerprint} {new.public.fingerprint}".encode()
    writer.use_key(new)
    writer.event(
        "key",
        {
            "old_key": KEY.public.fingerprint,
            "new_key": new.public.fingerprint,
            "public_key": new.public.text,
            "old_signature": sign(new if forged else KEY, message),
            "new_signature": sign(new, message),
        },
    )
    lines = [line for (line,) in kept.writer.connection.execute("SELECT line FROM record")]
    store.close(kept)
    claimed = Claimed(METER, kept.stream, 1, genesis(METER, kept.stream), KEY.public, whole=True)
    report = verify(lines, claimed)
    assert report.verdict == verdict
    assert (new.public.fingerprint in report.keys) is not forged


def test_registers_that_fall_are_found_though_they_are_signed() -> None:
    stream = "0" * 32
    before = genesis(METER, stream)
    high = checkpoint_row(Place(METER, stream, 1), NOW, before, (70, 5), KEY).line
    low = checkpoint_row(Place(METER, stream, 2), NOW, link(before, high), (70, 4), KEY).line
    report = verify([high, low], Claimed(METER, stream, 1, before, KEY.public, whole=True))
    assert report.verdict == "tampered"
    assert "fell" in report.problems[0].what


def test_a_key_travels_as_text_and_is_compared_by_sixteen_digits() -> None:
    assert load_public(KEY.public.text, "here") == KEY.public
    assert shown(KEY.public.fingerprint).replace(" ", "").lower() == KEY.public.fingerprint[:16]


GOLDEN = json.loads((WIRE / "chain.json").read_text())
GOLDEN_ROWS = (WIRE / "chain.ndjson").read_bytes().splitlines()


def golden(variant: dict[str, Any]) -> Report:
    """A variant of the golden stream, which neither program's code has written."""
    rows = {number + 1: line for number, line in enumerate(GOLDEN_ROWS)}
    for number, line in variant.get("lines", {}).items():
        rows[int(number)] = line.encode()
    for number in variant.get("without", []):
        del rows[number]
    key = load_public(GOLDEN["keys"]["old"]["public_key"], "the golden file")
    before = genesis(GOLDEN["meter"], GOLDEN["stream"])
    claimed = Claimed(GOLDEN["meter"], GOLDEN["stream"], 1, before, key, whole=True)
    return verify((rows[number] for number in sorted(rows)), claimed)


def test_the_golden_stream_is_chained_and_signed_as_the_protocol_says() -> None:
    assert genesis(GOLDEN["meter"], GOLDEN["stream"]).hex() == GOLDEN["genesis"]
    at = genesis(GOLDEN["meter"], GOLDEN["stream"])
    for line, head in zip(GOLDEN_ROWS, GOLDEN["heads"], strict=True):
        at = link(at, line)
        assert at.hex() == head
    report = golden({})
    assert report.verdict == "sound", report.problems
    assert report.keys == [GOLDEN["keys"][name]["fingerprint"] for name in ("old", "new")]


@pytest.mark.parametrize("variant", GOLDEN["variants"], ids=lambda variant: variant["name"])
def test_what_was_done_to_the_golden_stream_is_found_where_it_shows(
    variant: dict[str, Any],
) -> None:
    """A server waits for a row that is missing; from a file it was taken."""
    report = golden(variant)
    verdict = variant["verdict"]
    assert report.verdict == ("tampered" if verdict == "incomplete" else verdict), report.problems
    assert verdict == "sound" or report.problems[0].seq == variant["seq"]
