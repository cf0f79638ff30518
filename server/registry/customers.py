"""Customers, the accounts that they owe on, and the logins to their pages."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select

from server.errors import AlreadyExistsError, NotFoundError, SettingError
from server.registry.values import Person, new_id, require_person, require_user_name
from server.schema import ACCOUNT, ACCOUNT_LOGIN, CUSTOMER, STAFF_USER

PASSWORD_CHARACTERS_MIN = 10
PASSWORD_CHARACTERS_MAX = 200


def create_customer(
    connection: Connection,
    *,
    name: str,
    user_name: str,
    password_hash: str,
    now_utc_s: int,
) -> int:
    """A customer with an account who can log in; returns the customer's id.

    Raises:
        SettingError: a name that cannot be one.
        AlreadyExistsError: the user name is taken.
    """
    require_user_name(user_name)
    customer_id = add_customer(connection, Person(name), now_utc_s)
    add_login(
        connection,
        customer_id,
        user_name=user_name,
        password_hash=password_hash,
        now_utc_s=now_utc_s,
    )
    return customer_id


def add_customer(connection: Connection, person: Person, now_utc_s: int) -> int:
    """A customer with an account, without a login; returns the customer's id.

    Raises:
        SettingError: a name or an address that cannot be one.
    """
    require_person(person)
    created = insert(CUSTOMER).values(
        name=person.name, email=person.email, phone=person.phone, created_utc_s=now_utc_s
    )
    customer_id = new_id(connection.execute(created).inserted_primary_key)
    add_account(connection, customer_id, now_utc_s)
    return customer_id


def add_account(connection: Connection, customer_id: int, now_utc_s: int) -> int:
    """Another account of a customer; returns its id."""
    of_customer = ACCOUNT.c.customer_id == customer_id
    count = connection.scalar(select(func.count()).select_from(ACCOUNT).where(of_customer)) or 0
    created = insert(ACCOUNT).values(
        customer_id=customer_id,
        number=f"{customer_id:06d}-{count + 1}",
        opened_utc_s=now_utc_s,
    )
    return new_id(connection.execute(created).inserted_primary_key)


def open_account(connection: Connection, customer_id: int, now_utc_s: int) -> int:
    """The customer's first account that is open; a new one if all are closed."""
    query = (
        select(ACCOUNT.c.id)
        .where(ACCOUNT.c.customer_id == customer_id, ACCOUNT.c.closed_utc_s.is_(None))
        .order_by(ACCOUNT.c.id)
        .limit(1)
    )
    account_id: int | None = connection.scalar(query)
    return add_account(connection, customer_id, now_utc_s) if account_id is None else account_id


def add_login(
    connection: Connection,
    customer_id: int,
    *,
    user_name: str,
    password_hash: str,
    now_utc_s: int,
) -> None:
    """Let a customer log in.

    Raises:
        SettingError: a user name that cannot be one.
        AlreadyExistsError: the user name is taken.
    """
    require_user_name(user_name)
    for table in (ACCOUNT_LOGIN, STAFF_USER):
        taken = select(table.c.id).where(table.c.user_name == user_name)
        if connection.scalar(taken) is not None:
            raise AlreadyExistsError(f"there is a user {user_name!r} already: choose another name")
    connection.execute(
        insert(ACCOUNT_LOGIN).values(
            customer_id=customer_id,
            user_name=user_name,
            password_hash=password_hash,
            created_utc_s=now_utc_s,
        )
    )


def customer_of_user(connection: Connection, user_name: str) -> int:
    """Whose login it is.

    Raises:
        NotFoundError: nobody's.
    """
    by_name = select(ACCOUNT_LOGIN.c.customer_id).where(ACCOUNT_LOGIN.c.user_name == user_name)
    customer_id: int | None = connection.scalar(by_name)
    if customer_id is None:
        raise NotFoundError(f"there is no user {user_name!r}: create the customer first")
    return customer_id


def require_password(password: str) -> None:
    """Refuse what is too short to protect or too long to be typed.

    Raises:
        SettingError: fewer than 10 or more than 200 characters.
    """
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise SettingError(
            f"a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters, "
            f"this one has {len(password)}"
        )
