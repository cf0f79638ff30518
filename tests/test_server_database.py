"""The tables, their versions, and the one who writes."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from server import db
from server.db import close, open_database, reading, writing
from server.errors import BusyError, DatabaseNotReadyError, SettingError
from server.migrate import require_current, upgrade
from server.schema import BILL, LEDGER_ENTRY, METADATA, METER_CREDENTIAL, SERVER_SETTING
from tests.served import Served, add_customer, add_meter, serving


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'server.db'}"


def test_the_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    with serving(tmp_path) as served, reading(served.database) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_every_table_checks_its_types(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        tables = served.rows("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
        ours = {name: strict for name, strict in tables if name in METADATA.tables}
        assert ours == dict.fromkeys(METADATA.tables, 1)


def test_every_unique_key_of_what_grows_begins_with_the_meter() -> None:
    for name in (
        "reading",
        "record_row",
        "reading_date",
        "quarantine",
        "stream_head",
        "meter_key",
        "meter_setting",
        "meter_command",
        "validation_due",
        "interval_reading",
        "interval_hour",
        "register_offset",
        "validation_exception",
        "exception_resolution",
    ):
        key = METADATA.tables[name].primary_key.columns.keys()
        assert key[0] == "meter_id"
    for table in (BILL, LEDGER_ENTRY):
        assert table.primary_key.columns.keys()[0] == "account_id"


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        epoch = served.rows("SELECT value FROM server_setting WHERE name = 'epoch'")
        add_customer(served)
        upgrade(served.database)
        assert served.rows("SELECT value FROM server_setting WHERE name = 'epoch'") == epoch
        assert served.rows("SELECT count(*) FROM customer") == [(1,)]


def test_a_restored_database_gets_a_new_epoch(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        epoch = served.rows("SELECT value FROM server_setting WHERE name = 'epoch'")
        upgrade(served.database, restored=True)
        assert served.rows("SELECT value FROM server_setting WHERE name = 'epoch'") != epoch


def test_an_upgrade_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(url_of(tmp_path), create=True)
    monkeypatch.setattr("server.identity.uuid.uuid4", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        upgrade(database)
    with reading(database) as connection:
        left = connection.exec_driver_sql("SELECT name FROM sqlite_master").all()
    assert left == []
    close(database)


def test_an_empty_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    database = open_database(url_of(tmp_path), create=True)
    with pytest.raises(DatabaseNotReadyError, match="run `meterd-server init`"):
        require_current(database)
    close(database)


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        with writing(served.database) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(DatabaseNotReadyError, match="install the newer meterd-server"):
            require_current(served.database)


def test_a_database_that_is_not_there_is_not_made_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotReadyError, match="init"):
        open_database(url_of(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    ["nonsense", "postgresql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:////absent/x.db"],
)
def test_a_url_that_cannot_be_served_is_explained(url: str) -> None:
    with pytest.raises(SettingError):
        open_database(url, create=True)


def test_each_connection_is_as_durable_as_it_must_be(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for pragma, wanted in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 10_000),
            ("trusted_schema", 0),
        ):
            assert served.rows(f"PRAGMA {pragma}") == [(wanted,)], pragma


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with (
        serving(tmp_path) as served,
        pytest.raises(BusyError, match="readonly"),
        reading(served.database) as connection,
    ):
        connection.execute(SERVER_SETTING.delete())


def test_a_write_that_fails_is_undone_whole(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        values = {"name": "x", "value": "y"}
        orphan = {"credential_hash": b"x", "meter_id": 99, "created_utc_s": 1}
        with suppress(IntegrityError), writing(served.database) as connection:
            connection.execute(SERVER_SETTING.insert().values(values))
            connection.execute(METER_CREDENTIAL.insert().values(orphan))
            pytest.fail("a credential without a meter was taken")
        assert served.rows("SELECT name FROM server_setting") == [("epoch",)]


def test_threads_write_one_after_the_other(tmp_path: Path) -> None:
    with serving(tmp_path) as served:

        def count_up() -> None:
            for _ in range(20):
                with writing(served.database) as connection:
                    connection.exec_driver_sql(
                        "INSERT INTO server_setting VALUES ('n', '1') ON CONFLICT (name) "
                        "DO UPDATE SET value = CAST(value AS INTEGER) + 1"
                    )

        threads = [threading.Thread(target=count_up) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert served.rows("SELECT value FROM server_setting WHERE name = 'n'") == [("120",)]


def test_a_program_that_writes_keeps_others_from_writing_but_not_from_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "WRITE_WAIT_S", 0.05)
    with serving(tmp_path) as served:
        script = (
            "import sys; from server.db import open_database, writing, close\n"
            f"database = open_database({url_of(tmp_path)!r})\n"
            "with writing(database):\n"
            "    print('writing', flush=True); sys.stdin.read()\n"
            "close(database)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "writing\n"
            with pytest.raises(BusyError), writing(served.database):
                pass
            assert served.rows("SELECT count(*) FROM meter") == [(0,)]
            other.communicate(timeout=10)
        with writing(served.database):
            pass


def test_a_meter_hangs_in_one_place_at_a_time(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        add_customer(served)
        add_meter(served)
        with pytest.raises(IntegrityError), writing(served.database) as connection:
            connection.exec_driver_sql(
                "INSERT INTO meter_install (usage_point_id, meter_id, from_utc_s) VALUES (1, 1, 5)"
            )
        assert isinstance(served, Served)
