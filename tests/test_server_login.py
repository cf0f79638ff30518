"""Logins, sessions, and forms that other sites send."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.hashing import SlowHashing, slow_hash
from server.settings import Settings
from server.throttle import network_of
from tests.served import (
    PASSWORD,
    Served,
    add_customer,
    add_meter,
    form_token,
    login,
    serving,
)

MINUTE_S = 60


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        add_meter(site)
        yield site


def is_in(served: Served) -> bool:
    return served.client.get("/").headers.get("Location") != "/login"


def test_the_right_password_leads_to_the_meter(served: Served) -> None:
    answer = login(served.client)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    home = served.client.get("/")
    assert home.headers["Location"] == "/meters/MX-000001"
    assert served.client.get("/meters/MX-000001").status_code == 200


def test_the_user_name_may_be_written_in_capitals(served: Served) -> None:
    assert login(served.client, "ANA ").status_code == 303


def test_without_a_login_every_page_leads_to_the_form(served: Served) -> None:
    for address in ("/", "/meters/MX-000001", "/meters/none"):
        answer = served.client.get(address)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")


def test_an_unknown_user_gets_the_answer_of_a_wrong_password(served: Served) -> None:
    wrong = login(served.browser(), "ana", "wrong").get_data(as_text=True)
    unknown = login(served.browser(), "eva", "wrong").get_data(as_text=True)

    def without_token(page: str) -> list[str]:
        return [row for row in page.splitlines() if "csrf_token" not in row]

    assert without_token(wrong) == without_token(unknown.replace('"eva"', '"ana"'))
    assert "El usuario o la contraseña no es correcto." in wrong


def test_an_unknown_user_is_hashed_for_as_long_as_a_known_one(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        add_customer(served)
        slow = slow_hash(SlowHashing(), PASSWORD)
        from server.db import writing

        with writing(served.database) as connection:
            connection.exec_driver_sql("UPDATE account_login SET password_hash = ?", (slow,))

        def seconds(user_name: str) -> float:
            best = 1.0
            for _ in range(3):
                begun = time.perf_counter()
                login(served.browser(), user_name, "wrong")
                best = min(best, time.perf_counter() - begun)
            return best

        known, unknown = seconds("ana"), seconds("eva")
        assert 0.5 < known / unknown < 2


def test_passwords_are_hashed_with_the_parameters_of_owasp() -> None:
    assert slow_hash(SlowHashing(), "x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_five_failures_close_an_account_for_fifteen_minutes(served: Served) -> None:
    for user_name in ("ana", "nobody"):
        browser = served.browser()
        for _ in range(5):
            assert login(browser, user_name, "wrong").status_code == 403
        refused = login(browser, user_name)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == str(15 * MINUTE_S)
    served.clock.now_utc_s += 15 * MINUTE_S
    assert login(served.client).status_code == 303


def test_a_success_wipes_out_the_failures_before_it(served: Served) -> None:
    for _ in range(4):
        login(served.browser(), "ana", "wrong")
    assert login(served.browser()).status_code == 303
    for _ in range(4):
        assert login(served.browser(), "ana", "wrong").status_code == 403


def test_twenty_failures_close_an_address_and_no_other(served: Served) -> None:
    for number in range(20):
        assert login(served.browser(), f"user{number}", "wrong").status_code == 403
    assert login(served.browser()).status_code == 429
    elsewhere = {"REMOTE_ADDR": "198.51.100.9"}
    assert login(served.browser(), environ_base=elsewhere).status_code == 303


def test_logins_that_succeed_do_not_use_up_an_address(served: Served) -> None:
    for _ in range(25):
        assert login(served.browser()).status_code == 303


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (None, "unknown"),
        ("x", "unknown"),
    ],
)
def test_tries_are_counted_by_what_one_household_has(address: str | None, network: str) -> None:
    assert network_of(address) == network


def test_a_proxy_that_is_not_ours_is_not_believed(served: Served) -> None:
    for number in range(20):
        forged = {"X-Forwarded-For": f"192.0.2.{number}"}
        login(served.browser(), f"user{number}", "wrong", headers=forged)
    assert login(served.browser()).status_code == 429


def test_a_proxy_of_ours_is_believed(tmp_path: Path) -> None:
    with serving(tmp_path, Settings(proxies=1)) as served:
        for number in range(21):
            told = {"X-Forwarded-For": f"192.0.2.{number}"}
            answer = login(served.browser(), f"user{number}", "wrong", headers=told)
            assert answer.status_code == 403


def test_a_session_dies_after_thirty_minutes_without_use(served: Served) -> None:
    login(served.client)
    served.clock.now_utc_s += 30 * MINUTE_S
    assert not is_in(served)


def test_use_keeps_a_session_alive_but_not_beyond_twelve_hours(served: Served) -> None:
    login(served.client)
    for _ in range(12 * 60 // 20 - 1):
        served.clock.now_utc_s += 20 * MINUTE_S
        assert is_in(served)
    served.clock.now_utc_s += 20 * MINUTE_S
    assert not is_in(served)


def test_a_page_that_only_refreshes_itself_is_not_use(served: Served) -> None:
    login(served.client)
    for _ in range(29):
        served.clock.now_utc_s += MINUTE_S
        page = served.client.get("/meters/MX-000001", headers={"X-Background": "1"})
        assert page.status_code == 200
    served.clock.now_utc_s += MINUTE_S
    assert not is_in(served)


def test_logging_out_ends_the_session_on_the_server(served: Served) -> None:
    login(served.client)
    cookie = served.client.get_cookie("session")
    assert cookie is not None
    page = served.client.get("/meters/MX-000001")
    answer = served.client.post(
        "/logout", data={"csrf_token": form_token(page)}, headers={"Origin": "http://localhost"}
    )
    assert answer.headers["Location"] == "/login"
    assert served.client.get_cookie("session") is None
    served.client.set_cookie("session", cookie.value)
    assert not is_in(served)


def test_a_login_begins_a_new_session_and_ends_the_one_before(served: Served) -> None:
    form = served.client.get("/login")
    sent = {"csrf_token": form_token(form), "user_name": "ana", "password": PASSWORD}
    served.client.post("/login", data=sent, headers={"Origin": "http://localhost"})
    first = served.client.get_cookie("session")
    served.client.set_cookie("form", sent["csrf_token"])
    served.client.post("/login", data=sent, headers={"Origin": "http://localhost"})
    second = served.client.get_cookie("session")
    assert first is not None
    assert second is not None
    assert first.value != second.value
    assert served.rows("SELECT count(*) FROM session") == [(1,)]


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(served: Served) -> None:
    cookie = served_cookie(login(served.client).headers.getlist("Set-Cookie"), "session=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= cookie
    assert "Secure" not in cookie


def test_over_https_the_session_cookie_is_bound_to_host_and_tls(tmp_path: Path) -> None:
    with serving(tmp_path, Settings(url_scheme="https")) as served:
        add_customer(served)
        answer = login(served.client, base_url="https://localhost", headers={"Origin": "x"})
        assert answer.status_code == 403
        browser = served.browser()
        form = browser.get("/login", base_url="https://localhost")
        served_cookie(form.headers.getlist("Set-Cookie"), "__Host-form=")
        answer = browser.post(
            "/login",
            data={
                "csrf_token": form_token(form),
                "user_name": "ana",
                "password": PASSWORD,
            },
            headers={"Origin": "https://localhost"},
            base_url="https://localhost",
        )
        cookie = served_cookie(answer.headers.getlist("Set-Cookie"), "__Host-session=")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= cookie
        assert not any(part.startswith("Domain") for part in cookie)


def served_cookie(set_cookies: list[str], beginning: str) -> set[str]:
    [found] = [cookie for cookie in set_cookies if cookie.startswith(beginning)]
    return {part.strip() for part in found.split(";")}


def test_neither_token_nor_password_is_in_the_database(served: Served) -> None:
    login(served.client)
    cookie = served.client.get_cookie("session")
    assert cookie is not None
    content = served.database.path.read_bytes() + Path(f"{served.database.path}-wal").read_bytes()
    assert b"argon2id" in content
    assert cookie.value.encode() not in content
    assert PASSWORD.encode() not in content


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://localhost"])
@pytest.mark.parametrize("address", ["/login", "/logout"])
def test_a_form_from_another_origin_is_refused(
    served: Served, address: str, origin: str | None
) -> None:
    if address == "/logout":
        login(served.client)
        token = form_token(served.client.get("/meters/MX-000001"))
    else:
        token = form_token(served.client.get("/login"))
    sent = {"csrf_token": token, "user_name": "ana", "password": PASSWORD}
    headers = {} if origin is None else {"Origin": origin}
    assert served.client.post(address, data=sent, headers=headers).status_code == 403
    assert is_in(served) == (address == "/logout")


@pytest.mark.parametrize("token", ["", "x", "ñ"])
def test_a_form_without_the_visitors_token_is_refused(served: Served, token: str) -> None:
    served.client.get("/login")
    sent = {"csrf_token": token, "user_name": "ana", "password": PASSWORD}
    origin = {"Origin": "http://localhost"}
    assert served.client.post("/login", data=sent, headers=origin).status_code == 403
    without_cookie = served.browser().post("/login", data=sent, headers=origin)
    assert without_cookie.status_code == 403
    login(served.client)
    assert served.client.post("/logout", data=sent, headers=origin).status_code == 403
    assert is_in(served)


def test_a_huge_form_is_refused(served: Served) -> None:
    sent = {"csrf_token": "x", "password": "x" * 100_000}
    answer = served.client.post("/login", data=sent, headers={"Origin": "http://localhost"})
    assert answer.status_code == 413
