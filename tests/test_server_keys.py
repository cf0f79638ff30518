"""The keys of meters: shown at the claim, changed by their own rows, retired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import registry
from server.db import writing
from tests.served import (
    NOON_UTC_S,
    QUICK,
    SERIAL,
    Served,
    add_customer,
    add_meter,
    post,
    serving,
)
from tests.signed import (
    Signer,
    claim_with,
    fingerprint_of,
    new_key,
    signature_of,
    text_of,
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


def stream_head(served: Served) -> tuple[Any, ...]:
    query = "SELECT chain_state, chain_broken_seq, chain_seq, checkpoint_seq FROM stream_head"
    [row] = served.rows(query)
    return row


def test_a_retired_key_signs_what_is_dated_before_and_nothing_after(served: Served) -> None:
    old = Signer()
    credential = claim_with(served, old.key).get_json()["credential"]
    rows = [old.reading(), old.checkpoint(utc_s=NOON_UTC_S), old.checkpoint(utc_s=NOON_UTC_S + 2)]
    served.clock.now_utc_s += 1
    with writing(served.database) as connection:
        code, _ = registry.create_claim_code(
            connection, QUICK, serial=SERIAL, now_utc_s=served.clock()
        )
    credential = claim_with(served, new_key(), code=code).get_json()["credential"]
    assert post(served, credential, rows[:2]).get_json()["receipt"] is not None
    assert post(served, credential, rows[2:], 3).get_json()["receipt"] is None
    assert stream_head(served)[:2] == ("broken", 3)


def test_a_key_may_change_twice_in_one_batch_and_back_it_may_not(served: Served) -> None:
    signer = Signer()
    first = signer.key
    credential = claim_with(served, first).get_json()["credential"]
    rows = [signer.rotation(new_key()), signer.checkpoint(), signer.rotation(new_key())]
    answer = post(served, credential, [*rows, signer.checkpoint()]).get_json()
    assert answer["receipt"] is not None
    current = "SELECT ordinal, fingerprint FROM meter_key WHERE retired_utc_s IS NULL"
    assert served.rows(current) == [(3, fingerprint_of(signer.key))]
    signer.key = first
    post(served, credential, [signer.checkpoint()], 5)
    assert stream_head(served)[:2] == ("broken", 5)


def test_a_claim_enrols_its_key_and_names_the_servers(served: Served) -> None:
    key = new_key()
    answer = claim_with(served, key).get_json()
    query = "SELECT fingerprint, public_key, source, retired_utc_s FROM meter_key"
    assert served.rows(query) == [(fingerprint_of(key), text_of(key), "claim", None)]
    assert len(answer["server_key"]) == 124


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"proof": "AAAA"}, 403),
        ({"proof": ""}, 403),
        ({"proof": signature_of(new_key(), b"something")}, 403),
        ({"public_key": text_of(new_key())}, 403),
        ({"public_key": "AAAA"}, 400),
        ({"public_key": "="}, 400),
        ({"public_key": None}, 400),
        ({"proof": None}, 400),
        ({"proof": "A" * 201}, 400),
    ],
    ids=str,
)
def test_a_claim_whose_key_is_not_proved_uses_nothing_up(
    served: Served, changes: dict[str, Any], status: int
) -> None:
    code, key = add_meter(served), new_key()
    refused = claim_with(served, key, code=code, **changes)
    assert refused.status_code == status
    if status == 403:
        wrong = served.client.post("/api/v1/claim", json={"code": "AAAA-AAAA", "meter": SERIAL})
        assert refused.get_json() == wrong.get_json()
    assert served.rows("SELECT count(*) FROM meter_key") == [(0,)]
    assert claim_with(served, key, code=code).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"new_signature": signature_of(new_key(), b"something")},
        {"old_signature": "AAAA"},
        {"new_key": "0" * 64},
        {"old_key": "0" * 64},
        {"public_key": text_of(new_key())},
        {"public_key": "AAAA"},
        {"public_key": None},
    ],
    ids=str,
)
def test_a_change_of_key_needs_both_signatures_of_all_of_it(
    served: Served, change: dict[str, Any]
) -> None:
    signer = Signer()
    first = signer.key
    credential = claim_with(served, first).get_json()["credential"]
    good = json.loads(signer.rotation(new_key()))
    signer = Signer(signer.key)
    rows = [signer.event("key", good["detail"] | change), signer.checkpoint()]
    assert post(served, credential, rows).get_json()["receipt"] is None
    assert stream_head(served)[:2] == ("broken", 1)
    assert served.rows("SELECT fingerprint, retired_utc_s FROM meter_key") == [
        (fingerprint_of(first), None)
    ]


@pytest.mark.parametrize("claimed_with_the_new_one", [True, False])
def test_a_change_of_key_from_before_a_claim_is_still_followed(
    served: Served, claimed_with_the_new_one: bool
) -> None:
    signer = Signer()
    claim_with(served, signer.key)
    rows = [signer.checkpoint(), signer.rotation(new_key()), signer.checkpoint()]
    present = signer.key if claimed_with_the_new_one else new_key()
    with writing(served.database) as connection:
        code, _ = registry.create_claim_code(
            connection, QUICK, serial=SERIAL, now_utc_s=served.clock()
        )
    credential = claim_with(served, present, code=code).get_json()["credential"]
    assert post(served, credential, rows).get_json()["receipt"] is not None
    current = "SELECT fingerprint FROM meter_key WHERE retired_utc_s IS NULL"
    assert served.rows(current) == [(fingerprint_of(present),)]


def test_a_claim_with_the_same_key_leaves_it_as_it_is(served: Served) -> None:
    key = new_key()
    claim_with(served, key)
    served.clock.now_utc_s += 5
    with writing(served.database) as connection:
        code, _ = registry.create_claim_code(
            connection, QUICK, serial=SERIAL, now_utc_s=served.clock()
        )
    assert claim_with(served, key, code=code).status_code == 200
    keys = served.rows("SELECT ordinal, enrolled_utc_s, retired_utc_s FROM meter_key")
    assert keys == [(1, NOON_UTC_S, None)]
