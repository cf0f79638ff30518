"""All that a request needs besides itself: made once, passed to every route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from server.db import Database
from server.hashing import SlowHashing, new_secret, slow_hash
from server.settings import Settings
from server.throttle import Throttle

LOGINS_PER_ACCOUNT_MAX = 5
LOGINS_PER_ADDRESS_MAX = 20
CLAIMS_PER_ADDRESS_MAX = 10


@dataclass(frozen=True, slots=True)
class Site:
    """One running server."""

    database: Database
    settings: Settings
    clock_utc_s: Callable[[], int]
    hashing: SlowHashing
    decoy_hash: str
    """What a try with an unknown name is compared with, so that it takes as long."""
    logins_by_account: Throttle = field(default_factory=lambda: Throttle(LOGINS_PER_ACCOUNT_MAX))
    logins_by_address: Throttle = field(default_factory=lambda: Throttle(LOGINS_PER_ADDRESS_MAX))
    claims_by_address: Throttle = field(default_factory=lambda: Throttle(CLAIMS_PER_ADDRESS_MAX))


def make_site(database: Database, settings: Settings, clock_utc_s: Callable[[], int]) -> Site:
    """A server's parts; takes the time of one slow hash."""
    hashing = SlowHashing()
    return Site(
        database=database,
        settings=settings,
        clock_utc_s=clock_utc_s,
        hashing=hashing,
        decoy_hash=slow_hash(hashing, new_secret()),
    )
