"""The log: entries with fields in the journal, lines on standard error elsewhere."""

from __future__ import annotations

import io
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import meterd_journal
from meterd_journal import JournalHandler, is_journal


class Journal:
    """journald's end of its native protocol."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(5)

    def entry(self) -> dict[str, str]:
        """The next entry; a large one comes as a descriptor of a sealed memory file."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        for descriptor in descriptors:
            with open(descriptor, "rb") as file:
                file.seek(0)
                data = file.read()
        fields: dict[str, str] = {}
        while data:
            head, _, data = data.partition(b"\n")
            name, equals, value = head.partition(b"=")
            if not equals:
                (length,) = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + length], data[9 + length :]
            fields[name.decode()] = value.decode()
        return fields

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    listening = Journal(tmp_path / "journal")
    yield listening
    listening.close()


@pytest.fixture
def log(journal: Journal) -> Iterator[logging.Logger]:
    handler = JournalHandler(journal.path)
    handler.fields["METER"] = "MX-000001"
    logger = logging.Logger("meterd.daemon")
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_an_entry_carries_meter_event_priority_and_place(
    journal: Journal, log: logging.Logger
) -> None:
    log.warning("%s of %.1f s", "dip", 0.1, extra={"EVENT": "dip"})
    entry = journal.entry()
    assert entry["MESSAGE"] == "dip of 0.1 s"
    assert (entry["METER"], entry["EVENT"], entry["PRIORITY"]) == ("MX-000001", "dip", "4")
    assert entry["LOGGER"] == "meterd.daemon"
    assert entry["CODE_FILE"] == __file__
    assert entry["CODE_FUNC"] == "test_an_entry_carries_meter_event_priority_and_place"
    assert int(entry["CODE_LINE"]) > 0


@pytest.mark.parametrize(
    ("level", "priority"),
    [(99, 2), (50, 2), (40, 3), (30, 4), (25, 6), (20, 6), (10, 7), (1, 7)],
)
def test_every_level_has_its_priority(level: int, priority: int) -> None:
    assert meterd_journal.priority(level) == priority


def test_lines_and_tracebacks_stay_in_one_entry(journal: Journal, log: logging.Logger) -> None:
    try:
        raise ValueError("no\nMESSAGE=forged")
    except ValueError:
        log.exception("failed")
    entry = journal.entry()
    assert entry["MESSAGE"].startswith("failed\nTraceback")
    assert "MESSAGE=forged" in entry["MESSAGE"]
    assert entry["PRIORITY"] == "3"


def test_a_long_entry_arrives_whole(journal: Journal, log: logging.Logger) -> None:
    log.info("x" * 1_000_000)
    assert len(journal.entry()["MESSAGE"]) == 1_000_000


def test_a_journal_that_takes_nothing_is_not_waited_for_and_the_loss_is_told(
    journal: Journal, log: logging.Logger
) -> None:
    for number in range(2000):
        log.info("%d", number)
    received = 0
    while received < 2000:
        if journal.entry()["MESSAGE"] == "0":
            break
        received += 1
    while True:  # make room
        journal._socket.settimeout(0.05)
        try:
            journal.entry()
        except TimeoutError:
            break
        received += 1
    log.info("after")
    entry = journal.entry()
    assert entry["MESSAGE"] == "after"
    assert int(entry["ENTRIES_LOST_BEFORE"]) == 2000 - 1 - received
    log.info("and on")
    assert "ENTRIES_LOST_BEFORE" not in journal.entry()


def test_a_journal_that_was_restarted_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = Journal(path)
    handler = JournalHandler(path)
    logger = logging.Logger("x")
    logger.addHandler(handler)
    first.close()
    path.unlink()
    logger.info("to nobody")
    again = Journal(path)
    logger.info("found")
    assert again.entry()["MESSAGE"] == "found"
    again.close()
    handler.close()


def test_standard_error_is_the_journal_by_device_and_inode_and_not_by_the_variable(
    tmp_path: Path,
) -> None:
    with (tmp_path / "stderr").open("w") as stream:
        found = os.fstat(stream.fileno())
        named = f"{found.st_dev}:{found.st_ino}"
        assert is_journal({"JOURNAL_STREAM": named}, stream)
        assert not is_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}, stream)
        assert not is_journal({"JOURNAL_STREAM": "nonsense"}, stream)
        assert not is_journal({}, stream)
        assert not is_journal({"JOURNAL_STREAM": named}, io.StringIO())
    assert not is_journal({"JOURNAL_STREAM": named}, stream)


LOGS = """
import logging, sys
from pathlib import Path
import meterd_journal
meterd_journal.log_to_journal_or_stderr(socket_path=Path(sys.argv[1]))
meterd_journal.always(METER="MX-000001")
logging.getLogger("meterd.sync").info("3 readings sent")
"""


@pytest.mark.parametrize("under_systemd", [True, False])
def test_a_process_logs_to_the_journal_under_systemd_and_else_as_lines(
    tmp_path: Path, journal: Journal, under_systemd: bool
) -> None:
    with (tmp_path / "stderr").open("w+") as stderr:
        found = os.fstat(stderr.fileno())
        stream = f"{found.st_dev}:{found.st_ino if under_systemd else 1}"
        subprocess.run(
            [sys.executable, "-c", LOGS, str(journal.path)],
            env={**os.environ, "JOURNAL_STREAM": stream},
            stderr=stderr,
            check=True,
            timeout=60,
        )
        stderr.seek(0)
        written = stderr.read()
    if under_systemd:
        assert written == ""
        entry = journal.entry()
        assert (entry["MESSAGE"], entry["METER"]) == ("3 readings sent", "MX-000001")
        assert entry["PRIORITY"] == "6"
    else:
        assert written == "meterd.sync: 3 readings sent\n"
