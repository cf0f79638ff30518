"""A database of the version before becomes one of this version, with all that is in it."""

from __future__ import annotations

from pathlib import Path

from alembic import command

from server.db import close, open_database, writing
from server.hashing import quick_hash
from server.migrate import configuration, require_current, upgrade
from tests.served import NOON_UTC_S, STREAM, Served, line, post
from tests.signed import Signer

NAMES = (
    "meter_id, stream, seq, end_utc_s, interval_s, measured_s, coverage_pct, clock, flags, "
    "import_j, export_j, received_utc_s, line"
)


def test_readings_from_before_are_chained_from_their_beginning(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'old.db'}", create=True)
    signer = Signer()
    rows = [signer.chained(line(seq)) for seq in (1, 2, 3)]
    with writing(database) as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO server_setting VALUES ('epoch', 'e')",
            "INSERT INTO meter VALUES (1, 'MX-000001', 'active', 1, NULL)",
            "INSERT INTO meter_credential VALUES (x'00', 1, 1, NULL)",
            f"INSERT INTO stream_head VALUES (1, '{STREAM}', 3, 3, 1, 1)",
        ):
            connection.exec_driver_sql(statement)
        marks = ", ".join("?" * 13)
        for seq, row in enumerate(rows, 1):
            values = (1, STREAM, seq, NOON_UTC_S, 60, 60.0, 100.0, "synced", "", 28807, 0, 1, row)
            connection.exec_driver_sql(f"INSERT INTO reading ({NAMES}) VALUES ({marks})", values)
    upgrade(database)
    require_current(database)
    served = Served(database)
    with writing(database) as connection:
        connection.exec_driver_sql(
            "INSERT INTO meter_credential VALUES (?, 1, 1, NULL)", (quick_hash("known"),)
        )
    answer = post(served, "known", [signer.chained(line(4))], 4).get_json()
    assert (answer["hwm"], answer["epoch"]) == (4, "e")
    assert answer["head"] == signer.head.hex()
    close(database)
