"""Alta, baja and exchange: what begins and ends at a usage point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import registry
from server.db import writing
from server.errors import AlreadyExistsError, NotFoundError, ServerError, SettingError
from server.registry import Person, Registers, Terms, UsagePoint
from tests.served import NOON_UTC_S, QUICK, STREAM, Served, bearer, claim, line, post, serving

HOUR_S = 3600
OTHER_STREAM = "0" * 32


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        yield site


def alta(served: Served, number: str = "S1", serial: str = "MX-1", **more: Any) -> registry.Alta:
    arguments: dict[str, Any] = {
        "customer": Person("Ana López"),
        "place": UsagePoint(number, "Norte", max_current_a=60),
        "terms": Terms("1C", summer_start_month=5),
        "serial": serial,
        "now_utc_s": served.clock(),
    }
    with writing(served.database) as connection:
        return registry.alta(connection, QUICK, **(arguments | more))


def baja(served: Served, number: str = "S1", final: Registers | None = None) -> registry.Baja:
    with writing(served.database) as connection:
        return registry.baja(
            connection, service_number=number, now_utc_s=served.clock(), final=final
        )


def reporting(served: Served, made: registry.Alta, serial: str = "MX-1") -> str:
    """Claim the meter and let it send one reading of 28 807 J import."""
    credential: str = claim(served, made.claim_code, serial).get_json()["credential"]
    post(served, credential, [line(1, meter=serial)])
    return credential


def test_an_alta_makes_all_that_a_supply_needs(served: Served) -> None:
    made = alta(served)
    assert served.rows(
        "SELECT c.name, a.number, s.tariff_code, s.summer_start_month, s.iva_bp, s.anchor_date, "
        "p.service_number, p.max_current_a, m.serial, m.status "
        "FROM service_agreement s JOIN account a ON a.id = s.account_id "
        "JOIN customer c ON c.id = a.customer_id JOIN usage_point p ON p.id = s.usage_point_id "
        "JOIN meter_install i ON i.usage_point_id = p.id JOIN meter m ON m.id = i.meter_id"
    ) == [
        ("Ana López", "000001-1", "1C", 5, 1600, "2025-11-22", "S1", 60, "MX-1", "registered"),
    ]
    assert claim(served, made.claim_code, "MX-1").status_code == 200


def test_a_second_supply_of_a_customer_is_on_the_same_account(served: Served) -> None:
    first = alta(served)
    second = alta(served, "S2", "MX-2", customer=first.customer_id)
    assert (second.customer_id, second.account_id) == (first.customer_id, first.account_id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"terms": Terms("1", cycle="custom")},
        {"terms": Terms("1", cycle_days=30)},
        {"terms": Terms("1", summer_start_month=6)},
        {"terms": Terms("1", dap_bp=100, dap_centavos=100)},
        {"terms": Terms("tariff 1")},
        {"terms": Terms("1", iva_bp=10_001)},
        {"place": UsagePoint("S1", nominal_v=12)},
        {"place": UsagePoint("S1", max_current_a=0)},
        {"place": UsagePoint("S1", time_zone="Hermosillo")},
        {"serial": "MX 1"},
        {"customer": Person("")},
        {"customer": Person("Ana", email="ana")},
        {"start": Registers(-1, 0)},
        {"customer": 99},
    ],
)
def test_an_alta_that_cannot_be_leaves_nothing_behind(
    served: Served, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ServerError):
        alta(served, **wrong)
    for table in ("customer", "account", "usage_point", "service_agreement", "meter", "area"):
        assert served.rows(f"SELECT * FROM {table}") == [], table


def test_a_place_that_is_supplied_takes_no_second_agreement(served: Served) -> None:
    alta(served)
    with pytest.raises(AlreadyExistsError, match="agreement"):
        alta(served, "S1", "MX-2")


def test_a_baja_ends_with_the_last_reading_and_keeps_the_history(served: Served) -> None:
    made = alta(served)
    credential = reporting(served, made)
    served.clock.now_utc_s += HOUR_S
    ended = baja(served)
    assert ended.final == registry.Final(Registers(28_807, 0), STREAM, 1)
    assert served.rows("SELECT to_utc_s, final_import_j, final_seq FROM meter_install") == [
        (NOON_UTC_S + HOUR_S, 28_807, 1)
    ]
    assert served.rows("SELECT to_utc_s FROM service_agreement") == [(NOON_UTC_S + HOUR_S,)]
    assert served.rows("SELECT connection_state FROM usage_point") == [("disconnected",)]
    assert served.rows("SELECT status FROM meter") == [("retired",)]
    assert served.rows("SELECT count(*) FROM reading") == [(1,)]
    assert post(served, credential, [line(2, meter="MX-1")], 2).status_code == 401


def test_after_a_baja_no_code_or_key_of_the_meter_is_good(served: Served) -> None:
    made = alta(served)
    baja(served, final=Registers(10, 0))
    assert claim(served, made.claim_code, "MX-1").status_code == 403
    assert served.rows("SELECT count(*) FROM meter_key WHERE retired_utc_s IS NULL") == [(0,)]
    with writing(served.database) as connection, pytest.raises(NotFoundError, match="in service"):
        registry.create_claim_code(connection, QUICK, serial="MX-1", now_utc_s=served.clock())


def test_a_baja_without_a_final_reading_is_refused(served: Served) -> None:
    alta(served)
    with pytest.raises(SettingError, match="never sent a reading"):
        baja(served)
    assert served.rows("SELECT to_utc_s FROM meter_install") == [(None,)]


def test_a_final_reading_that_is_two_days_old_is_refused(served: Served) -> None:
    reporting(served, alta(served))
    served.clock.now_utc_s += 48 * HOUR_S
    with pytest.raises(SettingError, match="48 hours old"):
        baja(served)


def test_a_final_reading_below_the_last_one_is_refused(served: Served) -> None:
    reporting(served, alta(served))
    with pytest.raises(SettingError, match="cannot be lower"):
        baja(served, final=Registers(28_806, 0))


def test_a_place_can_be_supplied_again_after_a_baja_with_another_meter(served: Served) -> None:
    alta(served)
    baja(served, final=Registers(10, 0))
    with pytest.raises(AlreadyExistsError, match="retired"):
        alta(served)
    alta(served, "S1", "MX-2", customer=Person("Beto"))
    assert served.rows("SELECT connection_state FROM usage_point") == [("connected",)]
    assert served.rows("SELECT count(*) FROM service_agreement") == [(2,)]


def test_an_exchange_keeps_the_agreement_and_both_installs(served: Served) -> None:
    credential = reporting(served, alta(served))
    served.clock.now_utc_s += HOUR_S
    with writing(served.database) as connection:
        changed = registry.exchange(
            connection,
            QUICK,
            service_number="S1",
            serial="MX-2",
            now_utc_s=served.clock(),
            start=Registers(500, 0),
        )
    assert (changed.old_serial, changed.final.registers) == ("MX-1", Registers(28_807, 0))
    assert served.rows(
        "SELECT m.serial, m.status, i.from_utc_s, i.to_utc_s, start_import_j, final_import_j "
        "FROM meter_install i JOIN meter m ON m.id = i.meter_id ORDER BY i.id"
    ) == [
        ("MX-1", "retired", NOON_UTC_S, NOON_UTC_S + HOUR_S, None, 28_807),
        ("MX-2", "registered", NOON_UTC_S + HOUR_S, None, 500, None),
    ]
    assert served.rows("SELECT to_utc_s FROM service_agreement") == [(None,)]
    answer = served.client.get(f"/api/v1/readings/{STREAM}", headers=bearer(credential))
    assert answer.status_code == 401
    assert claim(served, changed.claim_code, "MX-2").status_code == 200


def test_a_credential_that_is_revoked_opens_nothing(served: Served) -> None:
    made = alta(served)
    credential = reporting(served, made)
    with writing(served.database) as connection:
        assert registry.revoke_credentials(connection, made.meter_id, served.clock()) == 1
    assert post(served, credential, [line(2, meter="MX-1")], 2).status_code == 401
