"""Alta, baja and exchange: what begins and ends at a usage point. Each is one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from server import history, meter_keys
from server.errors import NotFoundError, SettingError
from server.hashing import SlowHashing
from server.registry import claims, customers, meters, supply
from server.registry.values import Person, Registers, Terms, UsagePoint, require_registers
from server.schema import CUSTOMER, METER, METER_INSTALL

FINAL_READING_AGE_MAX_S = 24 * 3600
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Alta:
    """What an alta made; the claim code is kept nowhere else."""

    customer_id: int
    account_id: int
    usage_point_id: int
    agreement_id: int
    meter_id: int
    claim_code: str
    code_expires_utc_s: int


@dataclass(frozen=True, slots=True)
class Final:
    """The registers that an install ended with, and the reading that they are of."""

    registers: Registers
    stream: str | None  # None: read by hand
    seq: int | None


@dataclass(frozen=True, slots=True)
class Baja:
    """What a baja ended."""

    usage_point_id: int
    agreement_id: int | None
    meter_id: int
    serial: str
    final: Final


@dataclass(frozen=True, slots=True)
class Exchange:
    """The meter that was taken down, and the one that hangs there now."""

    usage_point_id: int
    old_serial: str
    final: Final
    meter_id: int
    claim_code: str
    code_expires_utc_s: int


def alta(
    connection: Connection,
    hashing: SlowHashing,
    *,
    customer: Person | int,
    place: UsagePoint,
    terms: Terms,
    serial: str,
    now_utc_s: int,
    start: Registers | None = None,
) -> Alta:
    """Supply a customer, new or known by id: agreement, usage point, meter and its claim code.

    Raises:
        SettingError: a value that cannot be one.
        AlreadyExistsError: the serial is taken, or an agreement or a meter is there already.
        NotFoundError: no such customer.
    """
    customer_id = _customer(connection, customer, now_utc_s)
    account_id = customers.open_account(connection, customer_id, now_utc_s)
    point_id = supply.put_point(connection, place)
    agreement_id = supply.agree(
        connection, account_id=account_id, point_id=point_id, terms=terms, from_utc_s=now_utc_s
    )
    supply.require_vacant(connection, point_id, place.service_number)
    supply.set_connection_state(connection, point_id, "connected")
    meter_id = meters.hang(
        connection, serial=serial, point_id=point_id, start=start, now_utc_s=now_utc_s
    )
    code, expires_utc_s = claims.create_claim_code(
        connection, hashing, serial=serial, now_utc_s=now_utc_s
    )
    return Alta(customer_id, account_id, point_id, agreement_id, meter_id, code, expires_utc_s)


def baja(
    connection: Connection,
    *,
    service_number: str,
    now_utc_s: int,
    final: Registers | None = None,
) -> Baja:
    """End a supply: with a final reading; its meter and all that it proves itself by retire.

    Agreement, install, readings and account stay as history. ``final`` is what a person read at
    the meter; None takes the meter's last reading, which may be a day old.

    Raises:
        NotFoundError: no such service number, or no meter there.
        SettingError: there is no reading to end with, or ``final`` lies below it.
    """
    point_id = supply.point_named(connection, service_number)
    ended = _take_down(connection, point_id, service_number, final, now_utc_s)
    agreement_id = supply.end_agreement(connection, point_id, now_utc_s)
    supply.set_connection_state(connection, point_id, "disconnected")
    return Baja(point_id, agreement_id, *ended)


def exchange(
    connection: Connection,
    hashing: SlowHashing,
    *,
    service_number: str,
    serial: str,
    now_utc_s: int,
    final: Registers | None = None,
    start: Registers | None = None,
) -> Exchange:
    """Another meter at the same usage point; the agreement goes on, and so does its energy.

    Raises:
        NotFoundError: no such service number, or no meter there.
        SettingError: there is no reading to end with, or a value that cannot be one.
        AlreadyExistsError: the new serial is taken.
    """
    point_id = supply.point_named(connection, service_number)
    _, old_serial, found = _take_down(connection, point_id, service_number, final, now_utc_s)
    meter_id = meters.hang(
        connection, serial=serial, point_id=point_id, start=start, now_utc_s=now_utc_s
    )
    code, expires_utc_s = claims.create_claim_code(
        connection, hashing, serial=serial, now_utc_s=now_utc_s
    )
    return Exchange(point_id, old_serial, found, meter_id, code, expires_utc_s)


def _customer(connection: Connection, customer: Person | int, now_utc_s: int) -> int:
    if isinstance(customer, Person):
        return customers.add_customer(connection, customer, now_utc_s)
    if connection.scalar(select(CUSTOMER.c.id).where(CUSTOMER.c.id == customer)) is None:
        raise NotFoundError(
            f"there is no customer {customer}: `meterd-server customers` lists them"
        )
    return customer


def _take_down(
    connection: Connection,
    point_id: int,
    service_number: str,
    given: Registers | None,
    now_utc_s: int,
) -> tuple[int, str, Final]:
    """End the install and retire the meter; its id, serial and final registers."""
    query = (
        select(METER_INSTALL.c.id, METER.c.id.label("meter_id"), METER.c.serial)
        .join(METER, METER.c.id == METER_INSTALL.c.meter_id)
        .where(METER_INSTALL.c.usage_point_id == point_id, METER_INSTALL.c.to_utc_s.is_(None))
    )
    install = connection.execute(query).one_or_none()
    if install is None:
        raise NotFoundError(f"no meter hangs at service number {service_number!r}")
    final = _final(connection, install, given, now_utc_s)
    connection.execute(
        update(METER_INSTALL)
        .where(METER_INSTALL.c.id == install.id)
        .values(
            to_utc_s=now_utc_s,
            final_import_j=final.registers.import_j,
            final_export_j=final.registers.export_j,
            final_stream=final.stream,
            final_seq=final.seq,
        )
    )
    retire(connection, install.meter_id, now_utc_s)
    return install.meter_id, install.serial, final


def retire(connection: Connection, meter_id: int, now_utc_s: int) -> None:
    """Nothing that the meter has opens anything any more; its rows stay."""
    claims.withdraw_codes(connection, meter_id, now_utc_s)
    claims.revoke_credentials(connection, meter_id, now_utc_s)
    meter_keys.claim(connection, meter_id, None, now_utc_s)
    connection.execute(update(METER).where(METER.c.id == meter_id).values(status="retired"))


def _final(
    connection: Connection,
    install: Any,
    given: Registers | None,
    now_utc_s: int,
) -> Final:
    last = history.latest(connection, install.meter_id)
    by_hand = "read its display and give both registers"
    if given is not None:
        require_registers(given)
        if last is not None and (
            given.import_j < last["import_j"] or given.export_j < last["export_j"]
        ):
            raise SettingError(
                f"meter {install.serial} reported {last['import_j']} J import and "
                f"{last['export_j']} J export already: the final registers cannot be lower"
            )
        return Final(given, None, None)
    if last is None:
        raise SettingError(f"meter {install.serial} never sent a reading: {by_hand}")
    age_s = now_utc_s - last["utc_s"]
    if age_s > FINAL_READING_AGE_MAX_S:
        raise SettingError(
            f"the last reading of meter {install.serial} is {age_s // HOUR_S} hours old: {by_hand}"
        )
    return Final(Registers(last["import_j"], last["export_j"]), last["stream"], last["seq"])
