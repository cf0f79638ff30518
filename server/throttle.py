"""Counting tries, so that guessing takes years."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field

WINDOW_S = 15 * 60
KEYS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most ``tries_max`` per key in any 15 minutes.

    Kept in memory: what it counts is worth nothing after 15 minutes. At most 50 000 keys; the one
    that was tried longest ago is forgotten first.
    """

    tries_max: int
    tries: OrderedDict[str, deque[int]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def admit(throttle: Throttle, key: str, now_utc_s: int) -> int | None:
    """Count a try and allow it (None), or say how many seconds to wait.

    It is counted before its outcome is known, so that tries side by side cannot slip through;
    :func:`forgive` takes it back.
    """
    with throttle.lock:
        tries = throttle.tries.setdefault(key, deque())
        throttle.tries.move_to_end(key)
        while tries and tries[0] <= now_utc_s - WINDOW_S:
            tries.popleft()
        if len(tries) >= throttle.tries_max:
            return max(1, tries[0] + WINDOW_S - now_utc_s)
        tries.append(now_utc_s)
        while len(throttle.tries) > KEYS_MAX:
            throttle.tries.popitem(last=False)
        return None


def forgive(throttle: Throttle, key: str) -> None:
    """Take back the last try of a key: it succeeded."""
    with throttle.lock:
        tries = throttle.tries.get(key)
        if tries:
            tries.pop()


def forget(throttle: Throttle, key: str) -> None:
    """Take back all tries of a key."""
    with throttle.lock:
        throttle.tries.pop(key, None)


def network_of(address: str | None) -> str:
    """What one household has: an IPv4 address, or the /64 of an IPv6 one (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
