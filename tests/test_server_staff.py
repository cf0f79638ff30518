"""The utility's own users and its programs' tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import server.cli
from server import staff
from server.db import writing
from server.errors import AlreadyExistsError, NotFoundError, SettingError
from server.hashing import slow_hash
from server.roles import Role
from tests.served import (
    PASSWORD,
    QUICK,
    READINGS,
    SHELL_ACTOR,
    Served,
    add_customer,
    add_token,
    add_user,
    bearer,
    login,
    serving,
)

DAY_S = 24 * 3600


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_user(site, "root", Role.ADMIN)
        yield site


def test_a_user_of_the_utility_logs_in_where_customers_do(served: Served) -> None:
    assert login(served.client, "ROOT ").status_code == 303
    assert served.client.get("/").headers["Location"] == "/admin"


def test_a_user_is_throttled_like_a_customer(served: Served) -> None:
    for _ in range(5):
        assert login(served.browser(), "root", "wrong").status_code == 403
    assert login(served.browser(), "root").status_code == 429


def test_a_user_name_is_one_persons(served: Served) -> None:
    add_customer(served, "ana")
    with pytest.raises(AlreadyExistsError):
        add_user(served, "ana", Role.OPERATOR)
    with pytest.raises(AlreadyExistsError):
        add_customer(served, "root")


def test_the_database_itself_refuses_a_name_that_is_taken(served: Served) -> None:
    add_customer(served, "ana")
    taken = "INSERT INTO staff_user VALUES (9, 'ana', 'A', 'admin', 'x', 1, NULL)"
    with (
        pytest.raises(Exception, match="the user name is taken in account_login"),
        writing(served.database) as connection,
    ):
        connection.exec_driver_sql(taken)


def test_a_disabled_user_is_out_at_once_and_stays_out(served: Served) -> None:
    add_user(served, "olga", Role.OPERATOR)
    login(served.client, "olga")
    with writing(served.database) as connection:
        staff.disable_user(connection, "olga", SHELL_ACTOR, served.clock())
    assert served.client.get("/").headers["Location"] == "/login"
    assert login(served.browser(), "olga").status_code == 403
    with pytest.raises(NotFoundError), writing(served.database) as connection:
        staff.disable_user(connection, "olga", SHELL_ACTOR, served.clock())


def test_the_last_administrator_cannot_be_disabled(served: Served) -> None:
    with pytest.raises(SettingError), writing(served.database) as connection:
        staff.disable_user(connection, "root", SHELL_ACTOR, served.clock())
    assert login(served.client, "root").status_code == 303


@pytest.mark.parametrize(
    ("user_name", "name", "role"),
    [("Olga", "Olga", Role.ADMIN), ("olga", " ", Role.ADMIN), ("olga", "Olga", Role.METER)],
)
def test_what_cannot_be_a_user_is_refused(
    served: Served, user_name: str, name: str, role: Role
) -> None:
    new = staff.NewUser(user_name, name, role, slow_hash(QUICK, PASSWORD))
    with pytest.raises(SettingError), writing(served.database) as connection:
        staff.create_user(connection, new, SHELL_ACTOR, served.clock())


def test_a_token_ends_on_its_day_or_when_it_is_revoked(served: Served) -> None:
    first, second = add_token(served, days=1), add_token(served)

    def status(token: str) -> int:
        return served.client.get(READINGS, headers=bearer(token)).status_code

    assert (status(first), status(second)) == (403, 403)  # known, and not a meter
    served.clock.now_utc_s += DAY_S
    assert (status(first), status(second)) == (401, 403)
    with writing(served.database) as connection:
        staff.revoke_token(connection, 2, SHELL_ACTOR, served.clock())
    assert status(second) == 401
    with pytest.raises(NotFoundError), writing(served.database) as connection:
        staff.revoke_token(connection, 2, SHELL_ACTOR, served.clock())


@pytest.mark.parametrize(("name", "days"), [("", 1), ("ERP", 0), ("ERP", 401)])
def test_what_cannot_be_a_token_is_refused(served: Served, name: str, days: int) -> None:
    with pytest.raises(SettingError):
        add_token(served, name, days)


def test_no_token_and_no_password_is_in_the_database(served: Served) -> None:
    token = add_token(served)
    files = [served.database.path, Path(f"{served.database.path}-wal")]
    content = b"".join(file.read_bytes() for file in files)
    assert token.encode() not in content
    assert PASSWORD.encode() not in content


def test_the_shell_makes_users_and_tokens(served: Served) -> None:
    url = f"sqlite:///{served.database.path}"
    given = ["create-user", "--database", url, "--user", "olga", "--name", "Olga Paz"]
    made = CliRunner().invoke(
        server.cli.main, [*given, "--role", "operator", "--password-stdin"], input=PASSWORD + "\n"
    )
    assert made.output == "Olga Paz logs in as olga and is operator.\n"
    assert login(served.client, "olga").status_code == 303
    token = CliRunner().invoke(
        server.cli.main, ["create-token", "--database", url, "--name", "ERP", "--days", "7"]
    )
    assert "Token of ERP (shown only now): " in token.output
    assert "\nGood until " in token.output
