"""All that a request needs besides itself: made once, passed to every route."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jinja2 import Environment

from server.db import Database
from server.hashing import SlowHashing
from server.language import Language
from server.settings import Settings
from server.signing import ServerKey
from server.throttle import Throttle

LOGINS_PER_ACCOUNT_MAX = 5
LOGINS_PER_ADDRESS_MAX = 20
CLAIMS_PER_ADDRESS_MAX = 10
BODIES_OF_ANYONE_MAX = 8
BODIES_OF_METERS_MAX = 12


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that browsers fetch beside the pages."""

    content: bytes
    mimetype: str


@dataclass(frozen=True, slots=True)
class Site:
    """One running server."""

    database: Database
    settings: Settings
    clock_utc_s: Callable[[], int]
    signing_key: ServerKey
    hashing: SlowHashing
    decoy_hash: str
    """What a try with an unknown name is compared with, so that it takes as long."""
    languages: Mapping[str, Language]
    environments: Mapping[str, Environment]
    static_files: Mapping[str, StaticFile]
    static_version: str
    """Part of the static files' addresses, so that a new version is fetched."""
    logins_by_account: Throttle = field(default_factory=lambda: Throttle(LOGINS_PER_ACCOUNT_MAX))
    logins_by_address: Throttle = field(default_factory=lambda: Throttle(LOGINS_PER_ADDRESS_MAX))
    bodies_of_anyone: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(BODIES_OF_ANYONE_MAX)
    )
    bodies_of_meters: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(BODIES_OF_METERS_MAX)
    )
    claims_by_address: Throttle = field(default_factory=lambda: Throttle(CLAIMS_PER_ADDRESS_MAX))
