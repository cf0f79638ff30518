"""The utility's pages: what they show, what they change, and that every change is in the log."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from server.access import ROLES_OF
from server.csv_cells import safe
from server.db import writing
from server.listing import SEARCH_CHARACTERS_MAX
from server.roles import OFFICE, Role
from server.routes import ADDRESSES
from tests.served import (
    SERIAL,
    Served,
    add_customer,
    add_meter,
    add_token,
    add_user,
    claimed_meter,
    form_token,
    line,
    login,
    post,
    serving,
)
from tests.signed import Signer, claim_with

METER = f"/admin/meters/{SERIAL}"
HERE = {"REMOTE_ADDR": "192.0.2.7"}
ORIGIN = {"Origin": "http://localhost"}
SETTINGS = {"interval_s": "900", "display_pages": "power,meter"}
MESSAGE = {"command": "message", "text": "Pague su recibo", "minutes": "60", "expires_min": "15"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_user(site, "root", Role.ADMIN)
        add_customer(site)
        post(site, claimed_meter(site), [line(1, power_w=480.0)])
        login(site.client, "root")
        yield site


def words(answer: TestResponse) -> str:
    main = answer.get_data(as_text=True).split("<main", 1)[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


def send(served: Served, address: str, **form: str) -> TestResponse:
    """Fill in a form of the visitor's and send it."""
    token = form_token(served.client.get("/admin"))
    sent = {"csrf_token": token} | form
    return served.client.post(address, data=sent, headers=ORIGIN, environ_base=HERE)


def table(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.mimetype == "text/csv"
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))


def entries(served: Served) -> list[tuple[str, ...]]:
    return served.rows("SELECT who, action, object_name FROM audit_entry ORDER BY id")


def test_the_overview_counts_the_fleet(served: Served) -> None:
    add_meter(served, "MX-000002")
    text = words(served.client.get("/admin?lang=en"))
    assert "1 ● Online" in text
    assert "1 ○ Never connected" in text
    assert "All meters are in touch" in text
    served.clock.now_utc_s += 301
    text = words(served.client.get("/admin"))
    assert "1 ▲ No connection" in text
    assert "Meters to look at Serial" in text


def test_a_broken_record_and_a_line_put_aside_are_to_be_looked_at(served: Served) -> None:
    signer = Signer(serial="MX-000003")
    credential = claim_with(served, signer.key, "MX-000003").get_json()["credential"]
    post(served, credential, [signer.reading(), signer.checkpoint(head="0" * 64), b"{}"])
    text = words(served.client.get("/admin?lang=en"))
    assert "1 ✗ Broken records" in text
    assert "1 Lines in quarantine" in text
    assert "✗ broken" in text
    page = words(served.client.get("/admin/meters/MX-000003"))
    assert "The record is broken at row 2" in page


def test_the_state_of_a_list_is_the_state_of_the_page(served: Served) -> None:
    for silent_s, words_shown in ((300, "● Online"), (301, "▲ No connection")):
        served.clock.now_utc_s += silent_s - (0 if silent_s == 300 else 300)
        assert words_shown in words(served.client.get("/admin/meters?lang=en"))
        assert words_shown in words(served.client.get(METER))


def test_a_list_is_searched_filtered_sorted_and_paged(served: Served) -> None:
    for number in range(2, 62):
        add_meter(served, f"MX-{number:06}")
    first = served.client.get("/admin/meters?lang=en")
    assert "61 entries · page 1 of 2" in words(first)
    assert "MX-000061" not in words(first)
    assert "MX-000061" in words(served.client.get("/admin/meters?page=2"))
    assert "MX-000061" in words(served.client.get("/admin/meters?sort=-serial"))
    assert "1 entry" in words(served.client.get("/admin/meters?q=mx-000017"))
    assert "60 entries" in words(served.client.get("/admin/meters?show=waiting"))
    assert len(table(served.client.get("/admin/meters?show=waiting&format=csv"))) == 60


@pytest.mark.parametrize(
    "wish",
    [
        *(
            "page=0",
            "page=-1",
            "page=9999999999999999999",
            "page=²",
            "page=x",
            "sort=password_hash",
        ),
        *("sort=--id", "show=nothing", "q=%25", "q=%00", "format=xml"),
        f"q={'x' * (SEARCH_CHARACTERS_MAX + 1)}",
    ],
)
@pytest.mark.parametrize("name", ["customers", "meters", "users", "tokens", "audit"])
def test_what_a_list_cannot_be_asked_is_passed_over(served: Served, name: str, wish: str) -> None:
    assert served.client.get(f"/admin/{name}?{wish}").status_code == 200


def test_no_list_shows_or_tells_a_secret(served: Served) -> None:
    add_token(served)
    for name in ("users", "tokens"):
        for suffix in ("", "?format=csv"):
            text = served.client.get(f"/admin/{name}{suffix}").get_data(as_text=True)
            assert "hash" not in text
            assert "argon2" not in text


def test_cells_that_a_spreadsheet_would_run_are_text(served: Served) -> None:
    assert [safe(cell) for cell in ("=1+1", "+1", "-1", "@x", "\tx", "\rx")] == [
        *("'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx")
    ]
    assert [safe(cell) for cell in (-1, 2.5, None, "a=b", "")] == ["-1", "2.5", "", "a=b", ""]
    add_customer(served, "eva", "=HYPERLINK(1)")
    rows = table(served.client.get("/admin/customers?format=csv"))
    assert {row["name"] for row in rows} == {"Ana López", "'=HYPERLINK(1)"}


def test_settings_are_issued_and_an_empty_field_gives_one_back(served: Served) -> None:
    assert send(served, f"{METER}/settings", **SETTINGS).status_code == 303
    assert send(served, f"{METER}/settings", interval_s="900").status_code == 303
    settings = [
        json.loads(text)["settings"] for (text,) in served.rows("SELECT text FROM meter_setting")
    ]
    assert settings == [
        {"interval_s": 900, "display_pages": ["power", "meter"]},
        {"interval_s": 900},
    ]
    refused = send(served, f"{METER}/settings", interval_s="7")
    assert refused.status_code == 422
    assert "interval_s is 5 to 3600" in words(refused)


def test_a_message_is_sent_listed_and_taken_back(served: Served) -> None:
    assert send(served, f"{METER}/commands", **MESSAGE).status_code == 303
    text = words(served.client.get(f"{METER}?lang=en"))
    assert "Message Pague su recibo" in text
    assert "root waits to be fetched" in text
    [(command_id,)] = served.rows("SELECT id FROM meter_command")
    assert send(served, f"{METER}/commands/{command_id}/cancel").status_code == 303
    assert "root cancelled" in words(served.client.get(METER))
    assert send(served, f"{METER}/commands/{command_id}/cancel").status_code == 422


@pytest.mark.parametrize(
    "wrong", [{"minutes": "x"}, {"text": ""}, {"command": "reboot"}, {"expires_min": "0"}]
)
def test_a_command_that_cannot_be_is_refused_and_leaves_nothing(
    served: Served, wrong: dict[str, str]
) -> None:
    before = entries(served)
    assert send(served, f"{METER}/commands", **(MESSAGE | wrong)).status_code == 422
    assert served.rows("SELECT count(*) FROM meter_command") == [(0,)]
    assert entries(served) == before


def test_a_claim_code_is_shown_once_and_works(served: Served) -> None:
    answer = send(served, f"{METER}/claim-code")
    code = re.search(r"[A-Z2-9]{4}-[A-Z2-9]{4}", words(answer))
    assert code is not None
    assert code[0] not in words(served.client.get(METER))
    claimed = served.client.post("/api/v1/claim", json={"code": code[0], "meter": SERIAL})
    assert claimed.status_code == 200
    assert code[0] not in str(served.rows("SELECT * FROM audit_entry"))


def test_a_user_that_is_made_can_log_in_until_disabled(served: Served) -> None:
    made = send(served, "/admin/users", user_name="Olga", name="Olga Paz", role="operator")
    password = re.search(r"olga: (\S{16})", words(made))
    assert password is not None
    browser = served.browser()
    assert login(browser, "olga", password[1]).status_code == 303
    assert browser.get("/admin/meters").status_code == 200
    assert send(served, "/admin/users/olga/disable").status_code == 303
    assert browser.get("/admin/meters").status_code == 303
    assert send(served, "/admin/users/root/disable").status_code == 422
    assert password[1] not in str(served.rows("SELECT * FROM audit_entry"))


def test_an_operator_sees_no_form_that_is_not_for_operators(served: Served) -> None:
    add_user(served, "bea", Role.BILLING)
    browser = served.browser()
    login(browser, "bea")
    page = browser.get(METER).get_data(as_text=True)
    assert "/commands" not in page
    assert "/claim-code" not in page
    assert "/admin/users" not in page


CHANGES = {
    "post_settings": (f"{METER}/settings", SETTINGS),
    "post_command": (f"{METER}/commands", MESSAGE),
    "post_cancel": (f"{METER}/commands/COMMAND/cancel", {}),
    "post_claim_code": (f"{METER}/claim-code", {}),
    "post_user": ("/admin/users", {"user_name": "new", "name": "New", "role": "billing"}),
    "post_disable_user": ("/admin/users/old/disable", {}),
    "post_token": ("/admin/tokens", {"name": "ERP", "days": "30"}),
    "post_revoke_token": ("/admin/tokens/1/revoke", {}),
}
POSTS = [
    route.__name__
    for method, _, route in ADDRESSES
    if method != "GET" and ROLES_OF[route.__name__] <= OFFICE
]


@pytest.mark.parametrize("endpoint", POSTS)
def test_every_change_of_an_administrator_is_in_the_log(served: Served, endpoint: str) -> None:
    add_user(served, "old", Role.OPERATOR)
    add_token(served)
    send(served, f"{METER}/commands", **MESSAGE)
    [(command_id,)] = served.rows("SELECT id FROM meter_command")
    address, form = CHANGES[endpoint]
    before = len(entries(served))
    answer = send(served, address.replace("COMMAND", command_id), **form)
    assert answer.status_code in (200, 303)
    [entry] = entries(served)[before:]
    assert entry[0] == "root"
    [kept] = served.rows("SELECT * FROM audit_entry ORDER BY id DESC LIMIT 1")
    assert kept[1:5] == (served.clock(), "root", "admin", "192.0.2.7")
    assert kept[6:8] != ("", "")
    assert kept[8] is not None or kept[9] is not None
    assert len(table(served.client.get("/admin/audit?format=csv"))) == len(entries(served))


@pytest.mark.parametrize("endpoint", POSTS)
def test_a_change_needs_our_own_form(served: Served, endpoint: str) -> None:
    address, form = CHANGES[endpoint]
    before = entries(served)
    token = form_token(served.client.get("/admin"))
    for sent, headers in (
        (form, ORIGIN),
        (form | {"csrf_token": "x"}, ORIGIN),
        (form | {"csrf_token": token}, {}),
        (form | {"csrf_token": token}, {"Origin": "http://evil.example"}),
    ):
        assert served.client.post(address, data=sent, headers=headers).status_code == 403
    assert entries(served) == before


def test_a_login_of_the_utility_is_in_the_log(served: Served) -> None:
    assert ("root", "login", "root") in entries(served)


@pytest.mark.parametrize("statement", ["DELETE FROM audit_entry", "UPDATE audit_entry SET who=''"])
def test_the_log_can_only_grow(served: Served, statement: str) -> None:
    with (
        pytest.raises(Exception, match="audit_entry is append-only"),
        writing(served.database) as connection,
    ):
        connection.exec_driver_sql(statement)


def test_no_page_of_the_utility_has_script_or_style_of_its_own(served: Served) -> None:
    for address in ("", "/customers", "/customers/1", "/meters", f"/meters/{SERIAL}", "/audit"):
        text = served.client.get(f"/admin{address}").get_data(as_text=True)
        assert "<script" not in text
        assert "style=" not in text
