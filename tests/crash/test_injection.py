"""The disk fails at one system call of the database, then at the next one, until none is left."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import counts
from .record import Kept, kept_by, written
from .writer import REFUSED
from .writers import ROOT, Writers

CALLS = ("openat", "pread64", "pwrite64", "fsync", "fdatasync", "ftruncate", "unlink")
WRITING = frozenset({"openat", "pwrite64", "fsync", "fdatasync", "ftruncate"})
FAULTS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
ROWS = 12
INJECTIONS = counts.count("INJECTIONS", quick=24, torture=100_000)
CALL = re.compile(r"^\d+ +(\w+)\(")
RUN_TIMEOUT_S = 60.0
ENDS = {0: "went on", REFUSED: "refused", 1: "uncaught", -9: "killed", 137: "killed"}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a writer ended, and up to which row it said that all is kept."""

    status: int
    acknowledged: int
    import_j: int
    said: str


def run_traced(folder: Path, trace: Path, inject: str | None = None) -> Ran:
    """Run a writer of a few rows under strace."""
    injection = ["-e", f"inject={inject}"] if inject else []
    trace_calls = ["-e", "trace=" + ",".join(CALLS)]
    done = subprocess.run(
        [
            *("strace", "-f", "-o", str(trace), *trace_calls, *injection),
            *(sys.executable, "-m", "tests.crash.writer", str(folder), "--rows", str(ROWS)),
        ],
        cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    _, last, import_j = rows[-1] if rows else ("row", "0", "0")
    return Ran(done.returncode, int(last), int(import_j), done.stderr)


def calls_of_the_database(folder: Path, trace: Path) -> list[tuple[str, int]]:
    """Each call from the record's opening on, with its number among its like in the process.

    Files of the program itself, which are opened in between, are not the database's.
    """
    assert run_traced(folder, trace).status == 0
    seen: Counter[str] = Counter()
    found = []
    begun = False
    for line in trace.read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call is None:
            continue
        seen[call[1]] += 1
        begun = begun or str(folder) in line
        if begun and (call[1] != "openat" or str(folder) in line):
            found.append((call[1], seen[call[1]]))
    return found


def sensible(call: str, fault: str) -> bool:
    """A disk is full only for those who write."""
    return "ENOSPC" not in fault or call in WRITING


@pytest.fixture(scope="module")
def _strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt install strace")
    probe = ["strace", "-f", "-o", "/dev/null", "-e", "trace=unlink", "true"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=20)
    if tried.returncode != 0:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()}")


@pytest.mark.usefixtures("_strace")
def test_no_failing_call_loses_an_acknowledged_row_or_the_record(
    tmp_path: Path, writers: Writers
) -> None:
    (tmp_path / "clean").mkdir()
    calls = calls_of_the_database(tmp_path / "clean", tmp_path / "trace")
    assert len(calls) > 100
    plan = [(*call, fault) for call in calls for fault in FAULTS if sensible(call[0], fault)]
    if len(plan) > INJECTIONS:
        plan = random.Random(counts.seed()).sample(plan, INJECTIONS)
    ends: Counter[str] = Counter()
    for number, (call, ordinal, fault) in enumerate(plan):
        what = f"{call}:{fault}:when={ordinal}"
        folder = tmp_path / str(number)
        folder.mkdir()
        ran = run_traced(folder, Path(os.devnull), what)
        ends[f"{fault} {ENDS.get(ran.status, ran.said)}"] += 1
        require_kept(folder, ran, what)
        writers.start(folder, "--rows", "3")
        assert writers.finish() == 0, f"after {what} the record cannot be written any more"
        assert kept_by(folder / "readings.db").last >= ran.acknowledged + 3
        shutil.rmtree(folder)
    assert all(end.split(" ", 1)[1] in ENDS.values() for end in ends), ends
    print(f"{len(plan)} of {len(calls)} calls and {len(FAULTS)} faults: {dict(ends)}")  # noqa: T201
    assert ends["signal=SIGKILL killed"] > 0


def require_kept(folder: Path, ran: Ran, what: str) -> None:
    """All that was acknowledged is there, and nothing is damaged."""
    database = folder / "readings.db"
    if ran.acknowledged == 0 and not written(database):
        return
    kept: Kept = kept_by(database)
    assert kept.last >= ran.acknowledged, what
    assert kept.registers.import_j >= ran.import_j, what


@pytest.mark.usefixtures("_strace")
def test_a_fault_behind_the_last_call_changes_nothing(tmp_path: Path) -> None:
    """So that the walk through the calls has reached their end."""
    (tmp_path / "clean").mkdir()
    calls = dict(calls_of_the_database(tmp_path / "clean", tmp_path / "trace"))
    for number, call in enumerate(("pwrite64", "fdatasync")):
        folder = tmp_path / str(number)
        folder.mkdir()
        ran = run_traced(folder, Path(os.devnull), f"{call}:error=EIO:when={calls[call] + 50}")
        assert ran.status == 0, ran.said
