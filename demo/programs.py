"""Programs that run beside the demonstration: started, listened to, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from demo.errors import DemoError

BIN = Path(sys.executable).parent
LINES_KEPT = 50
LINE_CHARACTERS_MAX = 4096
ASK_TIMEOUT_S = 120.0
"""A Raspberry Pi 3 takes its time to import all this from a memory card."""
STOP_TIMEOUT_S = 15.0
LISTENER_TIMEOUT_S = 2.0
LOCAL = "127.0.0.1,localhost"


@dataclass(frozen=True, slots=True)
class Program:
    """A running program and the last lines that it wrote."""

    name: str
    process: subprocess.Popen[str]
    answers: deque[str]  # standard output
    log: deque[str]  # standard error
    started_s: float  # time.monotonic()
    listeners: tuple[threading.Thread, ...]


def ask(folder: Path, name: str, *arguments: str, statuses: tuple[int, ...] = (0,)) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        DemoError: its exit status is not among ``statuses``, or it took longer than two minutes.
    """
    try:
        done = subprocess.run(
            _command(name, arguments),
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=ASK_TIMEOUT_S,
            process_group=0,  # Ctrl-C in the terminal is for us alone: we end what we started
        )
    except subprocess.TimeoutExpired as error:
        shown = " ".join([name, *arguments[:1]])
        raise DemoError(f"{shown} did not end within {ASK_TIMEOUT_S:.0f} s") from error
    if done.returncode not in statuses:
        reason = done.stderr.strip().removeprefix("Error: ") or done.stdout.strip()
        raise DemoError(reason or f"{name} ended with status {done.returncode} and said nothing")
    return done.stdout


def start(folder: Path, name: str, *arguments: str) -> Program:
    """Start a program that goes on until it is told to stop.

    Raises:
        DemoError: there is no such program.
    """
    process = subprocess.Popen(
        _command(name, arguments),
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        process_group=0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    answers: deque[str] = deque(maxlen=LINES_KEPT)
    log: deque[str] = deque(maxlen=LINES_KEPT)
    listeners = (_listen(process.stdout, answers), _listen(process.stderr, log))
    return Program(name, process, answers, log, time.monotonic(), listeners)


def require_running(programs: Iterable[Program]) -> None:
    """Notice a program that ended by itself.

    Raises:
        DemoError: with its name, its status and its last lines.
    """
    for program in programs:
        status = program.process.poll()
        if status is None:
            continue
        _join(program)
        how = f"status {status}" if status >= 0 else f"by signal {signal.Signals(-status).name}"
        lines = "\n".join(f"  {line}" for line in program.log or program.answers)
        raise DemoError(f"{program.name} ended ({how}); its last lines:\n{lines or '  (none)'}")


def stop(programs: Sequence[Program]) -> list[str]:
    """End the programs, the last started first; returns the names of those that had to be killed.

    Each is asked with SIGTERM, and after 15 s it is ended with SIGKILL together with whatever it
    has started.
    """
    killed = []
    for program in reversed(programs):
        program.process.terminate()
        try:
            program.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            killed.append(program.name)
        with suppress(ProcessLookupError):  # as it should be: nobody is left in its group
            os.killpg(program.process.pid, signal.SIGKILL)
        program.process.wait()
        _join(program)
    return killed


def _command(name: str, arguments: Iterable[str]) -> list[str]:
    program = BIN / name
    if not program.exists():
        raise DemoError(f"there is no {program}: start the demonstration with make demo")
    return [str(program), *arguments]


def _environment() -> dict[str, str]:
    """The user's, without a proxy for what stays on this machine."""
    without = ",".join(filter(None, [os.environ.get("NO_PROXY"), LOCAL]))
    return {**os.environ, "NO_PROXY": without, "no_proxy": without, "PYTHONUNBUFFERED": "1"}


def _listen(stream: IO[str], lines: deque[str]) -> threading.Thread:
    def listen() -> None:
        with stream:
            while line := stream.readline(LINE_CHARACTERS_MAX):
                lines.append(line.rstrip("\n"))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return thread


def _join(program: Program) -> None:
    for listener in program.listeners:
        listener.join(LISTENER_TIMEOUT_S)
