"""Who may ask: the roles, of which everyone who asks has exactly one."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """``ANONYMOUS`` is nobody we know; programs have the last two."""

    ANONYMOUS = "anonymous"
    CUSTOMER = "customer"
    OPERATOR = "operator"
    BILLING = "billing"
    ADMIN = "admin"
    UTILITY_SYNC = "utility_sync"
    METER = "meter"


STAFF = (Role.OPERATOR, Role.BILLING, Role.ADMIN)
"""What the utility's own users may be."""
EVERYONE = frozenset(Role)
PEOPLE = frozenset({Role.CUSTOMER, *STAFF})
OFFICE = frozenset(STAFF)
TECHNICIANS = frozenset({Role.OPERATOR, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})
