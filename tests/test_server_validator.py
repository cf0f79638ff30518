"""The thread that validates beside the server."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from server import validator
from server.validation import work
from server.validation.due import Due
from tests.served import NOON_UTC_S, serving
from tests.validated import Told, arrive, intervals, supply

SLOT_S = 900


def test_what_came_is_validated_and_a_stream_that_fails_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(validator, "IDLE_S", 0.01)
    with serving(tmp_path) as served:
        bad, good = supply(served, 1).meter_id, supply(served, 2).meter_id
        told = [Told(n, NOON_UTC_S + n * SLOT_S, n * 900_000) for n in range(1, 4)]
        arrive(served, bad, told)
        arrive(served, good, told)
        real = work.validate

        def failing(connection: object, due: Due, *more: object) -> int:
            if due.meter_id == bad:
                raise ZeroDivisionError
            return real(connection, due, *more)  # type: ignore[arg-type]

        monkeypatch.setattr(work, "validate", failing)
        stop = threading.Event()
        thread = threading.Thread(target=validator.run, args=(served.database, served.clock, stop))
        thread.start()
        until_s = time.monotonic() + 10
        while len(intervals(served, good)) < 2 and time.monotonic() < until_s:
            time.sleep(0.01)
        stop.set()
        thread.join(timeout=10)
        assert len(intervals(served, good)) == 2
        assert served.rows("SELECT meter_id FROM validation_due") == [(bad,)]
        assert "cannot be validated" in caplog.text
