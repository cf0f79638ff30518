"""A claim code becomes a credential, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import registry
from server.db import writing
from server.hashing import CLAIM_ALPHABET, new_claim_code
from tests.served import (
    QUICK,
    SERIAL,
    STREAM,
    Served,
    add_customer,
    add_meter,
    bearer,
    claim,
    serving,
)

DAY_S = 24 * 3600


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


@pytest.fixture
def code(served: Served) -> str:
    return add_meter(served)


def works(served: Served, credential: str) -> bool:
    address = f"/api/v1/readings/{STREAM}"
    return served.client.get(address, headers=bearer(credential)).status_code == 200


def test_a_code_is_two_groups_of_four_from_the_protocols_alphabet() -> None:
    for _ in range(200):
        first, second = new_claim_code().split("-")
        assert len(first) == len(second) == 4
        assert set(first + second) <= set("ABCDEFGHJKMNPQRSTVWXYZ23456789")
    assert len(CLAIM_ALPHABET) == 30


def test_a_good_code_gives_a_credential_that_works(served: Served, code: str) -> None:
    answer = claim(served, code)
    content = answer.get_json()
    assert (answer.status_code, content["meter"]) == (200, SERIAL)
    assert len(content["credential"]) <= 200
    assert works(served, content["credential"])


def test_a_code_may_be_typed_in_small_letters_and_without_the_dash(
    served: Served, code: str
) -> None:
    assert claim(served, code.lower().replace("-", " ")).status_code == 200


def test_every_wrong_way_gets_the_same_answer(served: Served, code: str) -> None:
    other_code = add_meter(served, "MX-000002")
    wrong = claim(served, "AAAA-AAAA")
    of_another_meter = claim(served, other_code)
    unknown_meter = claim(served, code, "MX-999999")
    served.clock.now_utc_s += 7 * DAY_S
    expired = claim(served, code)
    refusals = [wrong, of_another_meter, unknown_meter, expired]
    assert {answer.status_code for answer in refusals} == {403}
    assert len({answer.get_data() for answer in refusals}) == 1


def test_a_code_is_good_until_seven_days_have_passed(served: Served, code: str) -> None:
    served.clock.now_utc_s += 7 * DAY_S - 1
    assert claim(served, code).status_code == 200


def test_a_used_code_is_used_up(served: Served, code: str) -> None:
    first = claim(served, code).get_json()["credential"]
    assert claim(served, code).status_code == 403
    assert works(served, first)


def test_a_new_code_makes_the_old_one_useless_and_its_use_revokes_the_credential(
    served: Served, code: str
) -> None:
    old = claim(served, code).get_json()["credential"]
    codes = []
    for _ in range(2):
        with writing(served.database) as connection:
            made, _until = registry.create_claim_code(
                connection, QUICK, serial=SERIAL, now_utc_s=served.clock()
            )
        codes.append(made)
    assert claim(served, codes[0]).status_code == 403
    assert works(served, old)
    new = claim(served, codes[1]).get_json()["credential"]
    assert works(served, new)
    assert not works(served, old)


def test_the_eleventh_try_in_fifteen_minutes_waits(served: Served, code: str) -> None:
    for _ in range(10):
        assert claim(served, "AAAA-AAAA").status_code == 403
        served.clock.now_utc_s += 1
    refused = claim(served, code)
    assert refused.status_code == 429
    assert refused.get_json()["error"]["code"] == "later"
    assert refused.headers["Retry-After"] == str(15 * 60 - 10)
    from_elsewhere = claim(served, code, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert from_elsewhere.status_code == 200


def test_after_the_time_that_was_named_a_try_is_heard(served: Served, code: str) -> None:
    for _ in range(10):
        claim(served, "AAAA-AAAA")
    served.clock.now_utc_s += int(claim(served, code).headers["Retry-After"])
    assert claim(served, code).status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 400),
        (b'{"code":1,"meter":"x"}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"code":"A","meter":"B"}', "text/plain", 415),
        (b" " * 2000, "application/json", 413),
    ],
)
def test_what_is_no_claim_is_refused(
    served: Served, body: bytes, content_type: str, status: int
) -> None:
    answer = served.client.post("/api/v1/claim", data=body, content_type=content_type)
    assert answer.status_code == status
    assert answer.get_json()["error"]["message"]


def test_neither_code_nor_credential_is_in_the_database(served: Served, code: str) -> None:
    credential = claim(served, code).get_json()["credential"]
    content = served.database.path.read_bytes() + Path(f"{served.database.path}-wal").read_bytes()
    assert SERIAL.encode() in content
    assert code.replace("-", "").encode() not in content
    assert code.encode() not in content
    assert credential.encode() not in content
