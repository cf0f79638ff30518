"""A supply that is billed: a customer with a meter, readings at the ends of periods, a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from meterd_tariff.units import JOULES_PER_KWH
from server import registry, tariff_files
from server.billing.run import Outcome, Run, run
from server.db import writing
from server.registry import Person, Terms, UsagePoint
from server.validation import decisions, exceptions
from tests import validated
from tests.served import QUICK, SERIAL, STREAM, Served, claim, line, post

ZONE = "America/Hermosillo"
TARIFFS = tariff_files.load()


def midnight(day: date, zone: str = ZONE) -> int:
    """The day's first second, UTC seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp())


def supply(
    served: Served,
    start: date,
    *,
    serial: str = SERIAL,
    zone: str = ZONE,
    customer: str = "Ana López",
    service_number: str = "123456789012",
    **terms: Any,
) -> str:
    """Alta on a day; returns the meter's credential."""
    served.clock.now_utc_s = midnight(start, zone)
    with writing(served.database) as connection:
        made = registry.alta(
            connection,
            QUICK,
            customer=Person(customer),
            place=UsagePoint(service_number, time_zone=zone),
            terms=Terms(**({"tariff_code": "1"} | terms)),
            serial=serial,
            now_utc_s=served.clock(),
        )
    answer = claim(served, made.claim_code, serial).get_json()
    credential: str = answer["credential"]
    return credential


def read(
    served: Served,
    credential: str,
    seq: int,
    utc_s: int,
    import_kwh: float,
    export_kwh: float = 0,
    **changes: Any,
) -> bytes:
    """Send one reading."""
    registers = {
        "import_j": round(import_kwh * JOULES_PER_KWH),
        "export_j": round(export_kwh * JOULES_PER_KWH),
    }
    row = line(seq, utc_s, **(registers | changes))
    stream = changes.get("stream", STREAM)
    answer = post(served, credential, [row], seq, stream).get_json()
    assert answer["rows"][0]["result"] == "stored", answer
    return row


def accept_all(served: Served) -> None:
    """The operator looks at each doubt and finds the readings good, as on a day without doubt."""
    validated.validate(served)
    with writing(served.database) as connection:
        for doubt in exceptions.all_open(connection, 1000):
            decisions.accept(
                connection,
                doubt.serial,
                doubt.ordinal,
                reason="read on the spot",
                who="ana",
                now_utc_s=served.clock(),
            )
    validated.validate(served)


def bill_run(served: Served, month: str, **changes: Any) -> list[Outcome]:
    """Run at the served clock, once all readings are validated."""
    validated.validate(served)
    wanted = Run(month, TARIFFS, "ana", served.clock())
    return run(served.database, replace(wanted, **changes))


def on(served: Served, day: date, hours: int = 12) -> None:
    """Turn the clock to some hours of a day in Hermosillo."""
    served.clock.now_utc_s = midnight(day) + hours * 3600
