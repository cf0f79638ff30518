"""What the registry is told, and what it refuses to be told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Literal, get_args
from zoneinfo import available_timezones

from server.errors import SettingError
from server.wire import SERIAL_PATTERN

TIME_ZONE_DEFAULT = "America/Hermosillo"
NO_AREA = "-"
TEXT_CHARACTERS_MAX = 200
USER_NAME_PATTERN = r"[a-z0-9._@+-]{1,64}"
TARIFF_PATTERN = r"[A-Za-z0-9_.-]{1,32}"
IVA_BP_DEFAULT = 1600
CURRENT_A_MAX = 10_000
POWER_W_MAX = 100_000_000
CYCLE_DAYS_MAX = 400

Regime = Literal["none", "medicion_neta", "facturacion_neta", "venta_total"]
Cycle = Literal["monthly", "bimonthly", "custom"]
AreaKind = Literal["zone", "feeder"]


@dataclass(frozen=True, slots=True)
class UsagePoint:
    """The place where energy is delivered (CIM UsagePoint)."""

    service_number: str
    area: str = NO_AREA
    time_zone: str = TIME_ZONE_DEFAULT
    nominal_v: int = 127
    nominal_hz: int = 60
    address: str | None = None
    max_power_w: int | None = None
    max_current_a: int | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A customer as the operator writes one down."""

    name: str
    email: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a service agreement says beside who and where."""

    tariff_code: str | None = None
    regime: Regime = "none"
    cycle: Cycle = "bimonthly"
    cycle_days: int | None = None
    anchor_date: date | None = None  # None: the day it begins, at the usage point
    summer_start_month: int | None = None
    iva_bp: int = IVA_BP_DEFAULT
    dap_bp: int | None = None
    dap_centavos: int | None = None


@dataclass(frozen=True, slots=True)
class Registers:
    """Both registers of a meter at one moment."""

    import_j: int
    export_j: int


def require_text(what: str, text: str) -> None:
    """Refuse what cannot be printed on a bill.

    Raises:
        SettingError: empty, longer than 200 characters, or not printable.
    """
    if not text.strip() or len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
        raise SettingError(f"{what} is 1 to {TEXT_CHARACTERS_MAX} printable characters: {text!r}")


def require_serial(serial: str) -> None:
    """Refuse what the protocol does not allow as a serial.

    Raises:
        SettingError: it does not.
    """
    if re.match(SERIAL_PATTERN, serial) is None:
        raise SettingError(f"{serial!r} cannot be a serial: 1 to 32 of A-Z a-z 0-9 . _ -")


def require_user_name(user_name: str) -> None:
    """Refuse what cannot be typed into the login.

    Raises:
        SettingError: it cannot.
    """
    if re.fullmatch(USER_NAME_PATTERN, user_name) is None:
        raise SettingError(
            f"{user_name!r} cannot be a user name: 1 to 64 of a-z 0-9 . _ @ + -, lower case"
        )


def require_person(person: Person) -> None:
    """Refuse names and addresses that cannot be ones.

    Raises:
        SettingError: which, and what it should be.
    """
    require_text("the customer's name", person.name)
    if person.phone is not None:
        require_text("the telephone number", person.phone)
    if person.email is not None:
        require_text("the e-mail address", person.email)
        if "@" not in person.email[1:-1]:
            raise SettingError(f"{person.email!r} is no e-mail address")


def require_place(place: UsagePoint) -> None:
    """Refuse a usage point that cannot be one.

    Raises:
        SettingError: what is wrong, and what it should be.
    """
    require_text("the service number", place.service_number)
    require_text("the area", place.area)
    if place.address is not None:
        require_text("the address", place.address)
    if place.time_zone not in _time_zones():
        raise SettingError(f"{place.time_zone!r} is no IANA time zone, as America/Hermosillo is")
    if place.nominal_hz not in (50, 60):
        raise SettingError(f"the nominal frequency is 50 or 60 Hz, not {place.nominal_hz}")
    _require_range("the nominal voltage", place.nominal_v, 100, 480, " V")
    _require_range("the service's power", place.max_power_w, 1, POWER_W_MAX, " W")
    _require_range("the service's current", place.max_current_a, 1, CURRENT_A_MAX, " A")


def require_terms(terms: Terms) -> None:
    """Refuse an agreement that could not be billed as it says.

    Raises:
        SettingError: what is wrong, and what it should be.
    """
    if terms.tariff_code is not None and re.fullmatch(TARIFF_PATTERN, terms.tariff_code) is None:
        raise SettingError(f"{terms.tariff_code!r} cannot be a tariff's code, as 1, 1C or DAC is")
    _require_one_of("the regime", terms.regime, get_args(Regime))
    _require_one_of("the cycle", terms.cycle, get_args(Cycle))
    if (terms.cycle == "custom") != (terms.cycle_days is not None):
        raise SettingError("a custom cycle has its number of days, the others have none")
    _require_range("a custom cycle", terms.cycle_days, 1, CYCLE_DAYS_MAX, " days")
    _require_range("the month in which summer begins", terms.summer_start_month, 2, 5)
    _require_range("IVA", terms.iva_bp, 0, 10_000, " hundredths of a percent")
    _require_range("DAP", terms.dap_bp, 0, 10_000, " hundredths of a percent")
    _require_range("DAP", terms.dap_centavos, 0, 100_000_000, " centavos")
    if terms.dap_bp is not None and terms.dap_centavos is not None:
        raise SettingError("DAP is a share or a fixed amount, not both")


def require_registers(registers: Registers) -> None:
    """Refuse registers that no meter shows.

    Raises:
        SettingError: below zero, or more than sixty-three bits.
    """
    for value in (registers.import_j, registers.export_j):
        _require_range("a register", value, 0, 2**63 - 1, " J")


def new_id(primary_key: object) -> int:
    """The identity that the database gave to a row."""
    assert isinstance(primary_key, Sequence)
    identity = primary_key[0]
    assert isinstance(identity, int)
    return identity


def _require_one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise SettingError(f"{what} is one of {', '.join(allowed)}, not {value!r}")


def _require_range(what: str, value: int | None, low: int, high: int, unit: str = "") -> None:
    if value is not None and not low <= value <= high:
        raise SettingError(f"{what} is {low} to {high}{unit}, not {value}")


@cache
def _time_zones() -> set[str]:
    return available_timezones()
