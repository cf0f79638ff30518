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


def test_customers_and_places_from_before_keep_all_that_was_known_of_them(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'old.db'}", create=True)
    with writing(database) as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for statement in (
            "INSERT INTO customer VALUES (1, 'Ana', 5), (2, 'Beto', 6)",
            "INSERT INTO meter VALUES (1, 'MX-1', 'active', 7, 9), (2, 'MX-2', 'retired', 7, 9)",
            "INSERT INTO usage_point VALUES (1, 1, 'S1', 'Norte', 'America/Hermosillo', 127, 60), "
            "(2, 2, 'S2', '-', 'America/Mexico_City', 220, 60), "
            "(3, 1, 'S3', 'Norte', 'America/Tijuana', 120, 60)",
            f"INSERT INTO meter_install VALUES (1, 1, 1, {NOON_UTC_S}, NULL), (2, 2, 2, 7, 8)",
            f"INSERT INTO stream_head (meter_id, stream, hwm, last_seq, first_seen_utc_s, ordinal) "
            f"VALUES (1, '{STREAM}', 3, 2, 1, 1)",
        ):
            connection.exec_driver_sql(statement)
    upgrade(database)
    require_current(database)
    rows = Served(database).rows
    assert rows(
        "SELECT p.service_number, c.name, coalesce(a.name, '-'), p.time_zone, p.nominal_v, "
        "s.from_utc_s, s.to_utc_s, s.anchor_date, s.tariff_code FROM usage_point p "
        "JOIN service_agreement s ON s.usage_point_id = p.id "
        "JOIN account ON account.id = s.account_id JOIN customer c ON c.id = account.customer_id "
        "LEFT JOIN area a ON a.id = p.area_id ORDER BY p.id"
    ) == [
        ("S1", "Ana", "Norte", "America/Hermosillo", 127, NOON_UTC_S, None, "2025-11-22", None),
        ("S2", "Beto", "-", "America/Mexico_City", 220, 7, 8, "1969-12-31", None),
        ("S3", "Ana", "Norte", "America/Tijuana", 120, 5, None, "1969-12-31", None),
    ]
    assert rows("SELECT usage_point_id, meter_id, from_utc_s, to_utc_s FROM meter_install") == [
        (1, 1, NOON_UTC_S, None),
        (2, 2, 7, 8),
    ]
    assert rows("SELECT * FROM validation_due") == [(1, STREAM, 1, 2)]
    assert rows("SELECT * FROM pragma_foreign_key_check") == []
    close(database)
