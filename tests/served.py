"""A server in this process on a database of its own, with a clock that tests turn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from argon2 import PasswordHasher
from werkzeug.test import Client, TestResponse

from server import registry, staff
from server.app import create_app
from server.audit import SHELL, Actor
from server.db import Database, close, open_database, reading, writing
from server.hashing import SlowHashing, slow_hash
from server.migrate import upgrade
from server.roles import Role
from server.settings import Settings

WIRE = Path(__file__).parent / "wire"
STREAM = "8c5a0a5e4a5b4f0c9f6f0d8a4d1b2c3e"
READINGS = f"/api/v1/readings/{STREAM}"
SERIAL = "MX-000001"
PASSWORD = "correct horse battery"
QUICK = SlowHashing(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
"""Makes hashes that the server verifies as quickly as they were made."""
SHELL_ACTOR = Actor("root", Role.ADMIN, SHELL)
NOON_UTC_S = 1_763_838_000  # 22 November 2025, 12:00:00 in Hermosillo (UTC−7)


@dataclass(slots=True)
class Clock:
    """Stands still until it is turned."""

    now_utc_s: int = NOON_UTC_S

    def __call__(self) -> int:
        return self.now_utc_s


@dataclass(slots=True)
class Served:
    """The application, what it stands on, and a browser to ask it with."""

    database: Database
    settings: Settings = field(default_factory=Settings)
    clock: Clock = field(default_factory=Clock)
    client: Client = field(init=False)
    application: Any = field(init=False)

    def __post_init__(self) -> None:
        self.application = create_app(self.database, self.settings, self.clock)
        self.client = self.browser()

    def browser(self) -> Client:
        """Another visitor, without cookies."""
        return Client(self.application)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        with reading(self.database) as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql, values)]


@cache
def _new_database() -> bytes:
    """A database as ``meterd-server init`` leaves it; made once, for it takes a while."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "new.db"
        database = open_database(f"sqlite:///{file}", create=True)
        upgrade(database)
        close(database)
        return file.read_bytes()


@contextmanager
def serving(folder: Path, settings: Settings | None = None) -> Iterator[Served]:
    """A new server; its database is closed at the end."""
    file = folder / "server.db"
    file.write_bytes(_new_database())
    database = open_database(f"sqlite:///{file}")
    try:
        yield Served(database, settings or Settings())
    finally:
        close(database)


def add_customer(served: Served, user_name: str = "ana", name: str = "Ana López") -> int:
    """A customer whose password is PASSWORD."""
    with writing(served.database) as connection:
        return registry.create_customer(
            connection,
            name=name,
            user_name=user_name,
            password_hash=slow_hash(QUICK, PASSWORD),
            now_utc_s=served.clock(),
        )


def add_user(served: Served, user_name: str, role: Role) -> None:
    """A user of the utility whose password is PASSWORD."""
    new = staff.NewUser(user_name, user_name.title(), role, slow_hash(QUICK, PASSWORD))
    with writing(served.database) as connection:
        staff.create_user(connection, new, SHELL_ACTOR, served.clock())


def add_token(served: Served, name: str = "ERP", days: int = 90) -> str:
    """A token of scope utility_sync."""
    with writing(served.database) as connection:
        token, _ = staff.create_token(connection, name, days, SHELL_ACTOR, served.clock())
    return token


def add_meter(served: Served, serial: str = SERIAL, user_name: str = "ana") -> str:
    """A meter at a usage point of its own; returns its claim code."""
    place = registry.UsagePoint(service_number=f"service {serial}", area="Norte")
    with writing(served.database) as connection:
        registry.create_meter(
            connection, serial=serial, user_name=user_name, place=place, now_utc_s=served.clock()
        )
        code, _ = registry.create_claim_code(
            connection, QUICK, serial=serial, now_utc_s=served.clock()
        )
    return code


def claim(served: Served, code: str, serial: str = SERIAL, **more: Any) -> TestResponse:
    """POST /api/v1/claim."""
    return served.client.post("/api/v1/claim", json={"code": code, "meter": serial}, **more)


def claimed_meter(served: Served, serial: str = SERIAL, user_name: str = "ana") -> str:
    """A customer's meter that has its credential."""
    code = add_meter(served, serial, user_name)
    answer = claim(served, code, serial).get_json()
    credential: str = answer["credential"]
    return credential


def post(
    served: Served,
    credential: str,
    lines: Sequence[bytes],
    first_seq: int = 1,
    stream: str = STREAM,
) -> TestResponse:
    """POST lines as a meter does."""
    return served.client.post(
        f"/api/v1/readings/{stream}?first_seq={first_seq}",
        data=b"".join(line + b"\n" for line in lines),
        headers=bearer(credential),
        content_type="application/x-ndjson",
    )


def bearer(credential: str) -> dict[str, str]:
    """The header that a meter proves itself by."""
    return {"Authorization": f"Bearer {credential}"}


def line(seq: int, end_utc_s: int = NOON_UTC_S, **changes: Any) -> bytes:
    """A reading of docs/protocol.md with another number, end and whatever else."""
    first = json.loads(WIRE.joinpath("readings.ndjson").read_bytes().splitlines()[0])
    changed = first | {"seq": seq, "end_utc_s": end_utc_s, "flags": []} | changes
    return json.dumps(changed, separators=(",", ":")).encode()


def login(
    client: Client, user_name: str = "ana", password: str = PASSWORD, **more: Any
) -> TestResponse:
    """Fetch the form, fill it in and send it as a browser does."""
    form = client.get("/login")
    token = form_token(form)
    headers = {"Origin": "http://localhost"} | more.pop("headers", {})
    return client.post(
        "/login",
        data={"csrf_token": token, "user_name": user_name, "password": password},
        headers=headers,
        **more,
    )


def form_token(page: TestResponse) -> str:
    """The hidden field of a page's form."""
    return form_token_of(page.get_data(as_text=True))


def form_token_of(html: str) -> str:
    """The same from the text."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', html)
    assert found is not None, html
    return found[1]
