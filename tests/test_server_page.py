"""What the customer reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import identity, meter_commands
from server.db import writing
from tests.served import (
    NOON_UTC_S,
    STREAM,
    Served,
    add_customer,
    add_meter,
    claimed_meter,
    line,
    login,
    post,
    serving,
)
from tests.signed import Signer, claim_with, fingerprint_of

UNKNOWN = "—"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as site:
        add_customer(site)
        yield site


@pytest.fixture
def credential(served: Served) -> str:
    credential = claimed_meter(served)
    login(served.client)
    return credential


def page_text(served: Served, language: str = "es-MX", serial: str = "MX-000001") -> str:
    """The page's words without its markup."""
    answer = served.client.get(f"/meters/{serial}?lang={language}")
    assert answer.status_code == 200
    main = answer.get_data(as_text=True).split("<main", 1)[1]
    without_charts = re.sub(r"<svg.*?</svg>", " ", main, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", without_charts))


def cell(served: Served, name: str, language: str = "es-MX") -> str:
    """What the list of measurements says under a name."""
    html = served.client.get(f"/meters/MX-000001?lang={language}").get_data(as_text=True)
    found = re.search(rf"<dt>{re.escape(name)}</dt>\s*<dd>(.*?)</dd>", html, re.DOTALL)
    assert found is not None, name
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[1])).strip()


def test_the_papers_list_is_there_with_its_units(served: Served, credential: str) -> None:
    # Table 1 of the paper, first row; the angle is acos(71.83 / 74.33)
    shown = line(
        1,
        NOON_UTC_S - 30,
        voltage_v=125.82,
        current_a=0.59,
        power_w=71.83,
        apparent_va=74.33,
        power_factor=0.97,
        phase_deg=14.88,
        frequency_hz=60.012,
        thd_voltage_pct=1.83,
        thd_current_pct=8.01,
        import_j=3_600_000 * 1234 + 180_000,
        export_j=1_799_999,
    )
    post(served, credential, [shown])
    for language, names in (
        (
            "es-MX",
            "Tensión (Vrms)|Corriente (Irms)|Potencia real|Potencia aparente|Factor de potencia|"
            "Ángulo de fase|Frecuencia|THD de tensión|THD de corriente",
        ),
        (
            "en",
            "Voltage (Vrms)|Current (Irms)|Real power|Apparent power|Power factor|"
            "Phase angle|Frequency|Voltage THD|Current THD",
        ),
    ):
        expected = [
            *("125.8 V", "0.59 A", "71.8 W", "74.3 VA", "0.970"),
            *("14.9 °", "60.01 Hz", "1.8 %", "8.0 %"),
        ]
        for name, quantity in zip(names.split("|"), expected, strict=True):
            assert cell(served, name, language).startswith(quantity), (language, name)
        text = page_text(served, language)
        for always in ("MX-000001", "Ana López", "1,234.050 kWh", "0.499 kWh", "71.8 W"):
            assert always in text, (language, always)


def test_import_and_export_are_told_in_words(served: Served, credential: str) -> None:
    post(served, credential, [line(1, power_w=480.0)])
    assert "Importando de la red" in page_text(served)
    assert "Importing from the grid" in page_text(served, "en")
    assert cell(served, "Potencia real") == "480.0 W importando"
    post(served, credential, [line(2, power_w=-1284.0)], 2)
    text = page_text(served)
    assert "Exportando a la red" in text
    assert "1,284 W" in text
    assert cell(served, "Potencia real") == "1,284.0 W exportando"
    assert cell(served, "Real power", "en") == "1,284.0 W exporting"


def test_what_is_unknown_is_a_dash_and_never_zero(served: Served, credential: str) -> None:
    names = (
        "frequency_hz voltage_v current_a power_w apparent_va reactive_var nonactive_var "
        "power_factor phase_deg thd_voltage_pct thd_current_pct"
    )
    post(served, credential, [line(1, NOON_UTC_S, **dict.fromkeys(names.split()))])
    for name in (
        "Tensión (Vrms)",
        "Corriente (Irms)",
        "Potencia real",
        "Potencia aparente",
        "Potencia reactiva",
        "Factor de potencia",
        "Ángulo de fase",
        "Frecuencia",
        "THD de tensión",
        "THD de corriente",
    ):
        assert cell(served, name) == UNKNOWN
    assert "Potencia desconocida" in page_text(served)


def test_a_meter_that_never_reported_has_a_page_of_dashes(served: Served) -> None:
    add_meter(served)
    login(served.client)
    text = page_text(served)
    assert "En espera de su primera conexión" in text
    assert "Última conexión: —" in text
    assert "Todavía no ha llegado ninguna lectura." in text
    assert "0 W" not in text
    assert "0.00" not in text


def test_a_customer_without_a_meter_is_told_so(served: Served) -> None:
    login(served.client)
    home = served.client.get("/")
    assert home.status_code == 200
    assert "Todavía no hay un medidor instalado" in home.get_data(as_text=True)


def test_the_last_connection_has_an_age_and_a_local_time(served: Served, credential: str) -> None:
    post(served, credential, [line(1)])
    served.clock.now_utc_s += 180
    assert "hace 3 minutos (22 nov 2025, 12:00:00)" in page_text(served)
    assert "3 minutes ago (22 Nov 2025, 12:00:00)" in page_text(served, "en")


def test_a_meter_is_online_for_five_minutes_after_it_was_in_touch(
    served: Served, credential: str
) -> None:
    post(served, credential, [line(1)])
    served.clock.now_utc_s += 300
    text = page_text(served)
    assert "En línea" in text
    assert "Ahora" in text
    served.clock.now_utc_s += 1
    text = page_text(served)
    assert "Sin conexión" in text
    assert "Última lectura" in text
    assert "Ahora" not in text


def test_a_meter_of_long_intervals_is_late_after_three_of_them(
    served: Served, credential: str
) -> None:
    post(served, credential, [line(1, interval_s=900)])
    served.clock.now_utc_s += 2700
    login(served.client)
    assert "En línea" in page_text(served)
    served.clock.now_utc_s += 1
    assert "Sin conexión" in page_text(served)


def test_what_the_flags_mean_is_said(served: Served, credential: str) -> None:
    post(served, credential, [line(1, flags=["MAINS_LOST", "GAP", "NEWER"], clock="unknown")])
    text = page_text(served)
    assert "No hubo tensión de la red en el último intervalo." in text
    assert "Una parte del último intervalo no se midió." in text
    assert "Ninguna fuente de hora confirma el reloj del medidor" in text


def test_consumption_today_begins_at_the_places_midnight(served: Served, credential: str) -> None:
    midnight_utc_s = NOON_UTC_S - 12 * 3600  # Hermosillo keeps UTC−7 all year
    ends = (midnight_utc_s - 3600, midnight_utc_s, NOON_UTC_S)
    kwh = (1, 3, 8)
    lines = [
        line(seq, end, import_j=import_kwh * 3_600_000, export_j=import_kwh * 360_000)
        for seq, end, import_kwh in zip((1, 2, 3), ends, kwh, strict=True)
    ]
    post(served, credential, lines)
    text = page_text(served)
    assert "Consumo de hoy ▲ Importada 5.000 kWh ▼ Exportada 0.500 kWh Últimas" in text
    assert (
        "Últimas 24 horas ▲ Importada 7.000 kWh ▼ Exportada 0.700 kWh Desde las 23:00: "
        "no hay lecturas anteriores."
    ) in text


def test_a_register_that_fell_makes_consumption_unknown(served: Served, credential: str) -> None:
    post(
        served,
        credential,
        [line(1, NOON_UTC_S - 600, import_j=1000), line(2, NOON_UTC_S, import_j=999)],
    )
    assert "Consumo de hoy ▲ Importada — kWh" in page_text(served)


def test_the_newest_reading_is_by_count_and_not_by_the_meters_clock(
    served: Served, credential: str
) -> None:
    post(served, credential, [line(1, NOON_UTC_S + 10**8, power_w=1.0), line(2, power_w=222.0)])
    assert "222 W" in page_text(served)


def test_a_new_stream_takes_the_place_of_the_one_before(served: Served, credential: str) -> None:
    post(served, credential, [line(seq, power_w=1.0) for seq in range(1, 9)])
    new = "f" * 32
    post(served, credential, [line(1, stream=new, power_w=333.0)], stream=new)
    post(served, credential, [line(9, power_w=2.0)], 9)
    assert "333 W" in page_text(served)
    assert served.rows("SELECT ordinal FROM stream_head ORDER BY stream = ?", STREAM) == [
        (2,),
        (1,),
    ]


def test_a_customer_with_two_meters_goes_from_one_to_the_other(
    served: Served, credential: str
) -> None:
    add_meter(served, "MX-000002")
    html = served.client.get("/meters/MX-000001").get_data(as_text=True)
    assert 'href="/meters/MX-000002"' in html


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "es-MX"),
        ("de, fr;q=0.5", "es-MX"),
        ("en-GB,en;q=0.9", "en"),
        ("es-ES,en;q=0.9", "es-MX"),
        ("de,en;q=0.3,es;q=0.2", "en"),
    ],
)
def test_the_language_is_the_browsers_first_that_is_spoken_here(
    served: Served, accepted: str, language: str
) -> None:
    answer = served.client.get("/login", headers={"Accept-Language": accepted})
    assert answer.headers["Content-Language"] == language
    assert f'<html lang="{language}">' in answer.get_data(as_text=True)


def test_a_language_that_was_chosen_is_kept(served: Served) -> None:
    spanish = {"Accept-Language": "es"}
    assert "Log in" in served.client.get("/login?lang=en", headers=spanish).get_data(as_text=True)
    assert "Log in" in served.client.get("/login", headers=spanish).get_data(as_text=True)
    assert served.client.get("/login?lang=xx", headers=spanish).status_code == 200


def record_line(served: Served, language: str = "en") -> str:
    """What the foot of the page says of the record."""
    found = re.search(r"Record: (.*?) Area: ", page_text(served, language))
    assert found is not None
    return found[1].strip()


def test_a_signed_record_is_said_to_be_with_the_digits_of_its_key(served: Served) -> None:
    signer = Signer()
    credential = claim_with(served, signer.key).get_json()["credential"]
    login(served.client)
    digits = fingerprint_of(signer.key)[:16].upper()
    shown = " ".join(digits[at : at + 4] for at in range(0, 16, 4))
    key = f"· Key {shown} (the meter's display shows the same)"
    assert record_line(served) == f"unsigned {key}"
    post(served, credential, [signer.reading(), signer.checkpoint()])
    assert record_line(served) == f"✓ signed by the meter and verified {key}"
    tampered = signer.checkpoint(head="0" * 64)
    post(served, credential, [tampered], 3)
    assert record_line(served) == f"✗ broken {key}"
    assert "no concuerda con sus firmas" in page_text(served)


def test_a_meter_without_a_key_is_unsigned(served: Served, credential: str) -> None:
    post(served, credential, [line(1)])
    assert record_line(served) == "unsigned"
    assert "Quality of the supply" not in page_text(served, "en")


def test_the_relays_state_is_what_the_meter_last_did(served: Served, credential: str) -> None:
    signer = Signer()
    for command in ("disconnect", "reconnect"):
        with writing(served.database) as connection:
            command_id = meter_commands.issue(
                connection,
                (1, "MX-000001"),
                command,
                {},
                key=identity.signing_key(connection),
                who="eva",
                now_utc_s=NOON_UTC_S,
            )
        assert "disconnected since" not in page_text(served, "en") or command == "reconnect"
        row = signer.event("command", {"id": command_id, "state": "done"})
        post(served, credential, [row], signer.seq)
        said = "disconnected since" if command == "disconnect" else "connected since"
        assert f"{said} 22 Nov 2025, 12:00:00" in page_text(served, "en")
    assert "disconnected since" not in page_text(served, "en")


def test_dips_and_outages_of_the_last_month_are_listed(served: Served, credential: str) -> None:
    signer = Signer()
    rows = [
        signer.event(kind, {"start_utc_s": at, "duration_s": length, "extreme_v": volts}, utc_s=at)
        for kind, at, length, volts in (
            ("dip", NOON_UTC_S - 31 * 86400, 0.2, 60.0),
            ("dip", NOON_UTC_S - 86400, 0.12, 88.4),
            ("outage", NOON_UTC_S - 7200, 2700.0, None),
            *(("swell", NOON_UTC_S - 600, 12.0, 146.2) for _ in range(8)),
        )
    ]
    rows += [signer.event("dip", {"start_utc_s": "<b>", "extreme_v": "x"})]
    post(served, credential, rows)
    text = page_text(served, "en")
    assert "2 dips · 8 swells · 1 outage" in text
    assert "swell 22 Nov 2025, 11:50:00 12 s 146 V" in text
    assert "dip 22 Nov 2025, 12:00:00 — —" in text
    assert "and 3 earlier ones" in text
    assert "2 huecos de tensión · 8 sobretensiones · 1 apagón" in page_text(served)


def test_a_meter_that_tells_events_and_had_none_is_said_to_be_well(
    served: Served, credential: str
) -> None:
    post(served, credential, [Signer().event("boot")])
    assert "No dips, swells or outages." in page_text(served, "en")


@pytest.mark.parametrize(
    ("clock", "guess", "doubt"),
    [
        ("synced", False, False),
        ("relative", False, False),
        ("unsynced", False, True),
        ("informative", True, True),
        ("unknown", True, True),
    ],
)
def test_a_date_that_is_a_guess_is_called_one(
    served: Served, credential: str, clock: str, guess: bool, doubt: bool
) -> None:
    post(served, credential, [line(1, clock=clock)])
    text = page_text(served, "en")
    assert ("The date of the last reading is a guess." in text) == guess
    assert ("clock is not confirmed" in text) == doubt
