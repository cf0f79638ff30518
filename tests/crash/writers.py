"""Writers started and killed one after the other, and what they have acknowledged."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The last that a writer said: rows up to ``seq`` are kept, and ``import_j`` is."""

    seq: int = 0
    import_j: int = 0


class Writers:
    """``tests.crash.writer --many`` as a process; ``preload`` is a library that it runs under."""

    def __init__(self, preload: Path | None = None) -> None:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        if preload is not None:
            environment["LD_PRELOAD"] = str(preload)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.writer", "--many"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self._rest = b""
        self._pid, self._ended = 0, True
        self.acknowledged = Acknowledged()

    def start(self, folder: Path, *options: str) -> None:
        """Let a writer begin in ``folder``; returns when it is there."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join([str(folder), *options]).encode() + b"\n")
        self._process.stdin.flush()
        self.acknowledged, self._ended = Acknowledged(), False
        self._pid = int(self._wait_for("pid")[1])

    def first_acknowledged(self) -> None:
        """Wait until a row is kept."""
        self._wait_for("row")

    def drain(self) -> Acknowledged:
        """All that was acknowledged until now."""
        while self._readable(0.0):
            for words in self._read():
                self._note(words)
        return self.acknowledged

    def kill(self) -> None:
        """End the writer as SIGKILL does; what it said before counts."""
        self.drain()
        if not self._ended:  # a disk without power may have ended it already
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._wait_for("ended")

    def finish(self) -> int:
        """Wait until the writer has written all that it was asked for; its wait status."""
        return int(self._wait_for("ended")[1])

    def close(self) -> None:
        """End all."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _wait_for(self, word: str) -> list[str]:
        deadline_s = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline_s:
            if not self._readable(0.1):
                continue
            lines = self._read()
            for words in lines:
                self._note(words)
            for words in lines:
                if words[0] == word:
                    return words
        raise AssertionError(f"no writer said {word} within {ANSWER_S} s")

    def _note(self, words: list[str]) -> None:
        if words[0] == "row":
            self.acknowledged = Acknowledged(int(words[1]), int(words[2]))
        elif words[0] == "ended":
            self._ended = True

    def _readable(self, timeout_s: float) -> bool:
        return bool(select.select([self._out], [], [], timeout_s)[0])

    def _read(self) -> list[list[str]]:
        piece = os.read(self._out, 1 << 16)
        if not piece:
            raise AssertionError("the writers ended by themselves")
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line.decode().split() for line in lines]
