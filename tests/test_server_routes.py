"""Every route, for everyone who may ask: what they may do, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from werkzeug.test import Client, TestResponse

from server.access import ROLES_OF
from server.app import create_app
from server.db import open_database
from server.roles import STAFF
from server.routes import ROUTES
from tests.served import (
    READINGS,
    Served,
    add_customer,
    add_meter,
    add_token,
    add_user,
    bearer,
    claim,
    claimed_meter,
    login,
    serving,
)

ROLES = (
    "anonymous",
    "customer A",
    "customer B",
    "operator",
    "billing",
    "admin",
    "utility_sync",
    "meter A",
    "meter B",
)


NETWORKS = count(1)


@dataclass(frozen=True)
class Right:
    """A request and the status that each of ROLES gets for it."""

    endpoint: str
    method: str
    address: str
    statuses: tuple[int, ...]


def people(customer_a: int, customer_b: int, *office: int) -> tuple[int, ...]:
    """A page for people: nobody is sent to the login, and programs are nobody there.

    ``office`` is operator, billing and admin, or one number for all three.
    """
    three = office if len(office) == 3 else office * 3
    return (303, customer_a, customer_b, *three, 303, 303, 303)


def office(*three: int) -> tuple[int, ...]:
    """A page of the utility's: for customers there is none."""
    return people(404, 404, *three)


def programs(utility_sync: int, meters: int) -> tuple[int, ...]:
    """What programs ask: a person's session is nothing there."""
    return (401,) * 6 + (utility_sync, meters, meters)


def everyone(status: int) -> tuple[int, ...]:
    """The same for all."""
    return (status,) * len(ROLES)


# A meter is customer A's; what is not there and what is not one's own answer alike.
MATRIX = (
    Right("get_home", "GET", "/", people(303, 303, 303)),
    Right("get_login", "GET", "/login", (200, 303, 303, 303, 303, 303, 200, 200, 200)),
    Right("post_login", "POST", "/login", everyone(403)),  # no form token
    Right("post_logout", "POST", "/logout", people(403, 403, 403)),  # no form token
    Right("get_meter", "GET", "/meters/A", people(200, 404, 404)),
    Right("get_meter", "GET", "/meters/B", people(404, 200, 404)),
    Right("get_meter", "GET", "/meters/absent", people(404, 404, 404)),
    Right("get_static", "GET", "/static/site.css", everyone(200)),
    Right("get_static", "GET", "/static/absent", everyone(404)),
    Right("get_admin", "GET", "/admin", office(200)),
    Right("get_customers", "GET", "/admin/customers", office(200)),
    Right("get_customer", "GET", "/admin/customers/1", office(200)),
    Right("get_customer", "GET", "/admin/customers/99", office(404)),
    Right("get_meters", "GET", "/admin/meters", office(200)),
    Right("get_admin_meter", "GET", "/admin/meters/A", office(200)),
    Right("get_admin_meter", "GET", "/admin/meters/absent", office(404)),
    # 403: the role may, and the form is not ours
    Right("post_settings", "POST", "/admin/meters/A/settings", office(403, 404, 403)),
    Right("post_command", "POST", "/admin/meters/A/commands", office(403, 404, 403)),
    Right("post_cancel", "POST", "/admin/meters/A/commands/1/cancel", office(403, 404, 403)),
    Right("post_claim_code", "POST", "/admin/meters/A/claim-code", office(403, 404, 403)),
    Right("get_users", "GET", "/admin/users", office(404, 404, 200)),
    Right("post_user", "POST", "/admin/users", office(404, 404, 403)),
    Right("post_disable_user", "POST", "/admin/users/operator/disable", office(404, 404, 403)),
    Right("get_tokens", "GET", "/admin/tokens", office(404, 404, 200)),
    Right("post_token", "POST", "/admin/tokens", office(404, 404, 403)),
    Right("post_revoke_token", "POST", "/admin/tokens/1/revoke", office(404, 404, 403)),
    Right("get_audit", "GET", "/admin/audit", office(404, 404, 200)),
    Right("post_claim", "POST", "/api/v1/claim", everyone(415)),
    Right("get_readings", "GET", READINGS, programs(403, 200)),
    Right("post_readings", "POST", READINGS, programs(403, 400)),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("routes")) as site:
        add_customer(site, "ana", "Ana López")
        add_customer(site, "beto", "Beto Ruiz")
        for role in STAFF:
            add_user(site, str(role), role)
        yield site


@pytest.fixture(scope="module")
def visitors(served: Served) -> dict[str, tuple[Client, dict[str, str]]]:
    credentials = [
        add_token(served),
        claimed_meter(served, "A", "ana"),
        claimed_meter(served, "B", "beto"),
    ]
    browsers = [served.browser() for _ in ROLES]
    for browser, user_name in zip(browsers[1:6], ("ana", "beto", *STAFF), strict=True):
        assert login(browser, user_name).status_code == 303
    headers: list[dict[str, str]] = [{}] * 6 + [bearer(each) for each in credentials]
    return dict(zip(ROLES, zip(browsers, headers, strict=True), strict=True))


def ask(visitor: tuple[Client, dict[str, str]], right: Right) -> TestResponse:
    browser, headers = visitor
    network = {"REMOTE_ADDR": f"2001:db8:0:{next(NETWORKS):x}::1"}  # tries are counted by network
    return browser.open(right.address, method=right.method, headers=headers, environ_base=network)


@pytest.mark.parametrize("right", MATRIX, ids=lambda right: f"{right.method} {right.address}")
def test_each_role_may_do_what_the_matrix_says_and_no_more(
    visitors: dict[str, tuple[Client, dict[str, str]]], right: Right
) -> None:
    found = tuple(ask(visitors[role], right).status_code for role in ROLES)
    assert found == right.statuses


def test_every_route_has_a_row_in_the_matrix_and_an_entry_in_the_table() -> None:
    assert {right.endpoint for right in MATRIX} == set(ROUTES) == set(ROLES_OF)


def test_a_route_without_an_entry_answers_nobody(
    served: Served,
    visitors: dict[str, tuple[Client, dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without = {name: roles for name, roles in ROLES_OF.items() if name != "get_meter"}
    monkeypatch.setattr("server.access.ROLES_OF", without)
    for role in ROLES:
        browser, headers = visitors[role]
        assert browser.get("/meters/A", headers=headers).status_code in (303, 404)


def test_somebody_elses_meter_is_answered_like_one_that_is_not_there(
    visitors: dict[str, tuple[Client, dict[str, str]]],
) -> None:
    browser, _ = visitors["customer B"]
    theirs, absent = browser.get("/meters/A"), browser.get("/meters/Z")
    assert theirs.get_data() == absent.get_data().replace(b"/meters/Z", b"/meters/A")


EVERY_ANSWER = (
    *((right.method, right.address) for right in MATRIX),
    ("DELETE", "/"),
    ("PUT", READINGS),
    ("GET", "/absent"),
    ("GET", "/api/absent"),
    ("GET", "/%00"),
    ("HEAD", "/login"),
    ("OPTIONS", "/login"),
    ("GET", "/login/"),
    ("GET", "//login"),
    ("GET", "/static/..%2Fapp.py"),
)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "address"), EVERY_ANSWER)
def test_every_answer_carries_the_security_headers(
    visitors: dict[str, tuple[Client, dict[str, str]]], role: str, method: str, address: str
) -> None:
    right = Right("", method, address, ())
    answer = ask(visitors[role], right)
    assert_secure(answer)
    assert answer.status_code < 500


def assert_secure(answer: TestResponse) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("frame-ancestors") == "'none'"
    assert policy.pop("base-uri") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_a_failure_inside_is_noted_and_says_nothing_of_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("the secret")

    monkeypatch.setitem(ROUTES, "get_login", fails)
    monkeypatch.setitem(ROUTES, "post_claim", fails)
    page = served.client.get("/login")
    answer = served.client.post("/api/v1/claim")
    for failed in (page, answer):
        assert failed.status_code == 500
        assert b"secret" not in failed.get_data()
        assert_secure(failed)
    assert "Algo falló de nuestro lado" in page.get_data(as_text=True)
    assert answer.get_json()["error"]["code"] == "server_error"
    assert "the secret" in caplog.text


def test_programs_get_json_and_people_get_pages_in_every_error(served: Served) -> None:
    for address in ("/api/v1/absent", "/api/v1/claim"):
        answer = served.client.get(address)
        assert answer.get_json()["error"]["code"] in ("not_found", "method_not_allowed")
    page = served.client.get("/absent", headers={"Accept-Language": "en"})
    assert page.mimetype == "text/html"
    assert "There is no such page" in page.get_data(as_text=True)


def test_a_method_that_is_not_allowed_is_told_which_are(served: Served) -> None:
    answer = served.client.get("/api/v1/claim")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_database_that_stays_locked_is_answered_with_later(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = add_meter(served, "C", "ana")
    elsewhere = {"REMOTE_ADDR": "198.51.100.3"}  # the matrix has used this address's tries
    credential = claim(served, code, "C", environ_base=elsewhere).get_json()["credential"]
    monkeypatch.setattr("server.db.WRITE_WAIT_S", 0.01)
    with served.database.write_lock:
        answer = served.client.get(READINGS, headers=bearer(credential))
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "later")
    assert int(answer.headers["Retry-After"]) >= 1


def test_static_files_of_this_version_are_kept_and_others_asked_again(served: Served) -> None:
    page = served.client.get("/login").get_data(as_text=True)
    [address] = [part for part in page.split('"') if part.startswith("/static/site.css?v=")]
    kept = served.client.get(address)
    assert "immutable" in kept.headers["Cache-Control"]
    assert kept.mimetype == "text/css"
    assert served.client.get("/static/site.css").headers["Cache-Control"] == "no-cache"


def test_pages_and_answers_are_not_kept_by_anyone(served: Served) -> None:
    for address in ("/login", "/absent", READINGS):
        assert served.client.get(address).headers["Cache-Control"] == "no-store"


def test_no_page_has_script_or_style_of_its_own(
    visitors: dict[str, tuple[Client, dict[str, str]]],
) -> None:
    browser, _ = visitors["customer A"]
    for page in (
        browser.get("/meters/A"),
        browser.get("/absent"),
        Client(browser.application).get("/login"),
    ):
        text = page.get_data(as_text=True)
        assert "<style" not in text
        assert "style=" not in text
        assert "onclick" not in text
        assert "<script>" not in text


def test_what_a_customer_is_called_cannot_become_markup(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        add_customer(served, "eva", "<script>alert(1)</script>&")
        add_meter(served, "E", "eva")
        login(served.client, "eva")
        page = served.client.get("/meters/E").get_data(as_text=True)
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in page


def test_an_application_on_no_tables_says_what_to_do(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'empty.db'}", create=True)
    browser = Client(create_app(database))
    browser.set_cookie("session", "x")
    answer = browser.get("/")
    assert answer.status_code == 500
    database.engine.dispose()
