"""Whether a record is sound: offline, from its rows and a public key alone.

Each row's bytes are chained as they stand; each checkpoint's head and signature are checked, each
number, each register, each change of the key. What cannot be checked is said, not passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from meterd.errors import KeyUnusableError, NotAReadingError
from meterd.record.chain import link
from meterd.record.receipt import Countersigned, Receipt, read_receipt
from meterd.record.rows import (
    CHECKPOINT_ROWS,
    Said,
    checkpoint,
    detail,
    said,
    signed_by,
)
from meterd.record.signing import PublicKey, load_public, shown, verifies

PROBLEMS_MAX = 50
"""After so many the rest is not worth reading."""
CHANGES_MAX = 200
CHANGES = frozenset({"calibration", "setting", "key", "quarantine", "pruned", "clock_refused"})

Verdict = Literal["sound", "tampered", "incomplete"]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the rows are said to be."""

    meter: str
    stream: str
    first_seq: int
    before: bytes  # the chain's hash before the first row
    key: PublicKey | None  # that signed the first checkpoint; None: nobody knows
    whole: bool  # a file must be covered to its end; a meter at work may have rows unsigned yet
    rows: int | None = None  # how many there must be; None: not said
    countersigned: Countersigned | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where."""

    verdict: Verdict
    seq: int | None
    what: str


@dataclass(slots=True)
class Report:
    """What was found."""

    meter: str
    stream: str
    first_seq: int
    last_seq: int = 0
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    clocks: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)
    signed_seq: int = 0  # rows up to here are covered by a good signature of the meter
    receipt_seq: int | None = None  # rows up to here are covered by the server's
    first_end_utc_s: int | None = None
    last_end_utc_s: int | None = None
    first_j: tuple[int, int] | None = None  # import and export
    last_j: tuple[int, int] | None = None
    head: str = ""
    changes: list[tuple[int, str, Mapping[str, object]]] = field(default_factory=list)
    programs: dict[str, str] = field(default_factory=dict)  # hash of the program → its version
    problems: list[Problem] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """Tampered if anything is; incomplete if anything is missing; sound otherwise."""
        verdicts = {problem.verdict for problem in self.problems}
        if "tampered" in verdicts:
            return "tampered"
        return "incomplete" if verdicts else "sound"


def verify(rows: Iterable[bytes], claimed: Claimed) -> Report:
    """Check rows in their order; never raises for what is wrong with them."""
    check = _Check(claimed)
    for line in rows:
        if not check.row(line):
            break
    return check.finish()


class _Check:
    """The state of a verification between two rows."""

    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed
        self._chained, self._seq = claimed.before, claimed.first_seq - 1
        self._key = claimed.key
        self.report = Report(claimed.meter, claimed.stream, claimed.first_seq)
        self._receipt = self._read_receipt()
        if claimed.key is not None:
            self.report.keys.append(claimed.key.fingerprint)

    def row(self, line: bytes) -> bool:
        """Check one row; False where there is no use in going on."""
        expected = self._seq + 1
        try:
            row = said(line)
        except NotAReadingError as error:
            self._bad(expected, f"cannot be read: {error}")
            return False
        if (row.meter, row.stream) != (self._claimed.meter, self._claimed.stream):
            self._bad(expected, "is of another meter or stream")
            return False
        if row.seq != expected:
            self._bad(expected, f"is missing: row {row.seq} stands in its place")
            return False
        self._seq = row.seq
        self._count(row)
        self._registers(row)
        if row.kind == "checkpoint":
            self._checkpoint(line)
        elif row.kind == "event":
            self._event(row, line)
        elif row.kind != "reading":
            self._bad(row.seq, f"is of a kind that this program does not know: {row.kind}")
        self._chained = link(self._chained, line)
        if self._receipt is not None and self._receipt.hwm == row.seq:
            self._at_receipt(self._receipt)
        return len(self.report.problems) < PROBLEMS_MAX

    def finish(self) -> Report:
        """What is only known at the end."""
        report = self.report
        report.last_seq, report.head = self._seq, self._chained.hex()
        wanted = self._claimed.rows
        if wanted is not None and report.rows < wanted:
            self._missing(f"{wanted} rows are announced and {report.rows} are there")
        elif wanted is not None and report.rows > wanted:
            self._bad(None, f"{wanted} rows are announced and {report.rows} are there")
        covered = max(report.signed_seq, report.receipt_seq or 0)
        loose = report.last_seq - max(covered, self._claimed.first_seq - 1)
        if report.rows == 0:
            self._missing("there is no row")
        elif loose > (0 if self._claimed.whole else CHECKPOINT_ROWS):
            self._missing(f"the last {loose} rows are not covered by any signature")
        receipt = self._receipt
        if receipt is not None and receipt.hwm > report.last_seq and not self._claimed.whole:
            self._bad(
                receipt.hwm, f"is gone: the server has {receipt.hwm} rows and countersigned them"
            )
        return report

    def _count(self, row: Said) -> None:
        report = self.report
        dated = row.end_utc_s if row.kind == "reading" else row.utc_s
        if dated is None:
            self._bad(row.seq, f"is no {row.kind}: it has no date of one")
        report.rows += 1
        report.kinds[row.kind] += 1
        report.clocks[row.clock] += 1
        if row.end_utc_s is not None:
            report.first_end_utc_s = report.first_end_utc_s or row.end_utc_s
            report.last_end_utc_s = row.end_utc_s

    def _registers(self, row: Said) -> None:
        if row.kind not in ("reading", "checkpoint"):
            return
        if row.import_j is None or row.export_j is None:
            self._bad(row.seq, "has no registers")
            return
        now_j = (row.import_j, row.export_j)
        last_j = self.report.last_j
        if last_j is not None and (now_j[0] < last_j[0] or now_j[1] < last_j[1]):
            self._bad(row.seq, f"has registers that fell: {last_j} J became {now_j} J")
        self.report.first_j = self.report.first_j or now_j
        self.report.last_j = now_j

    def _checkpoint(self, line: bytes) -> None:
        try:
            found = checkpoint(line)
        except NotAReadingError as error:
            self._bad(self._seq, str(error))
            return
        if found.head != self._chained.hex():
            self._bad(self._seq, "signs another history than the rows before it tell")
        elif self._key is None:
            self._missing(f"no public key of the meter is there to check row {self._seq} with")
        elif not signed_by(line, found, self._key):
            self._bad(self._seq, f"is not signed by the key {shown(self._key.fingerprint)}")
        else:
            self.report.signed_seq = self._seq

    def _event(self, row: Said, line: bytes) -> None:
        try:
            what = detail(line)
        except NotAReadingError as error:
            self._bad(row.seq, str(error))
            return
        if row.event == "key":
            self._change_key(what)
        if row.event in CHANGES and len(self.report.changes) < CHANGES_MAX:
            self.report.changes.append((row.seq, row.event or "", what))
        if row.event == "boot":
            program, version = what.get("program_sha256"), what.get("version")
            if isinstance(program, str) and isinstance(version, str):
                self.report.programs[program] = version

    def _change_key(self, what: Mapping[str, object]) -> None:
        """From here on another key signs, if the last one and the new one both say so."""
        names = ("old_key", "new_key", "public_key", "old_signature", "new_signature")
        texts = {name: what.get(name) for name in names}
        if self._key is None:
            return  # the first checkpoint has said already that there is no key to check with
        try:
            new = load_public(str(texts["public_key"]), f"the new key in row {self._seq}")
        except KeyUnusableError as error:
            self._bad(self._seq, str(error))
            return
        old_fingerprint, new_fingerprint = self._key.fingerprint, new.fingerprint
        message = f"meterd key {self._claimed.meter} {old_fingerprint} {new_fingerprint}".encode()
        introduced = (
            (texts["old_key"], texts["new_key"]) == (old_fingerprint, new_fingerprint)
            and verifies(self._key, message, str(texts["old_signature"]))
            and verifies(new, message, str(texts["new_signature"]))
        )
        if not introduced:
            self._bad(self._seq, "changes the key without the signatures of both keys")
            return
        self._key = new
        self.report.keys.append(new.fingerprint)

    def _read_receipt(self) -> Receipt | None:
        if self._claimed.countersigned is None:
            return None
        try:
            receipt = read_receipt(self._claimed.countersigned)
        except NotAReadingError as error:
            self._bad(None, str(error))
            return None
        if (receipt.meter, receipt.stream) != (self._claimed.meter, self._claimed.stream):
            self._bad(None, "the receipt is of another meter or stream")
            return None
        return receipt

    def _at_receipt(self, receipt: Receipt) -> None:
        if receipt.head == self._chained.hex():
            self.report.receipt_seq = receipt.hwm
        else:
            self._bad(receipt.hwm, "is not what the server countersigned")

    def _bad(self, seq: int | None, what: str) -> None:
        self.report.problems.append(Problem("tampered", seq, what))

    def _missing(self, what: str) -> None:
        self.report.problems.append(Problem("incomplete", None, what))
