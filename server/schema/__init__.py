"""The tables, named as in IEC CIM 61968-9 and Green Button (ESPI) where they have a name for it.

Times are UTC seconds, energy integer joules; units stand last in the names. Each unique key of a
table that grows with the readings begins with ``meter_id``, so that the tables can be spread over
machines by meter. SQLite checks the types (STRICT); other databases do so by nature.
"""

from server.schema.base import BIG, METADATA, NUMBER
from server.schema.control import (
    METER_COMMAND,
    METER_KEY,
    METER_SETTING,
    SERVER_KEY,
    SERVER_SETTING,
)
from server.schema.record import QUARANTINE, READING, READING_DATE, RECORD_ROW, STREAM_HEAD
from server.schema.registry import (
    ACCOUNT,
    ACCOUNT_LOGIN,
    AREA,
    CLAIM_CODE,
    CUSTOMER,
    METER,
    METER_CREDENTIAL,
    METER_INSTALL,
    SERVICE_AGREEMENT,
    SESSION,
    USAGE_POINT,
)
from server.schema.validation import (
    EXCEPTION_RESOLUTION,
    INTERVAL_HOUR,
    INTERVAL_READING,
    REGISTER_OFFSET,
    VALIDATION_DUE,
    VALIDATION_EXCEPTION,
)

__all__ = [
    "ACCOUNT",
    "ACCOUNT_LOGIN",
    "AREA",
    "BIG",
    "CLAIM_CODE",
    "CUSTOMER",
    "EXCEPTION_RESOLUTION",
    "INTERVAL_HOUR",
    "INTERVAL_READING",
    "METADATA",
    "METER",
    "METER_COMMAND",
    "METER_CREDENTIAL",
    "METER_INSTALL",
    "METER_KEY",
    "METER_SETTING",
    "NUMBER",
    "QUARANTINE",
    "READING",
    "READING_DATE",
    "RECORD_ROW",
    "REGISTER_OFFSET",
    "SERVER_KEY",
    "SERVER_SETTING",
    "SERVICE_AGREEMENT",
    "SESSION",
    "STREAM_HEAD",
    "USAGE_POINT",
    "VALIDATION_DUE",
    "VALIDATION_EXCEPTION",
]
