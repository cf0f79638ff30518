"""The tables, named as in IEC CIM 61968-9 and Green Button (ESPI) where they have a name for it.

Times are UTC seconds, energy integer joules; units stand last in the names. Each unique key of a
table that grows with the readings begins with ``meter_id``, so that the tables can be spread over
machines by meter. SQLite checks the types (STRICT); other databases do so by nature.
"""

from server.schema.administration import (
    API_TOKEN,
    AUDIT_ENTRY,
    OBJECT_CHANGE,
    READING_CHANGE,
    STAFF_SESSION,
    STAFF_USER,
)
from server.schema.base import BIG, METADATA, NUMBER
from server.schema.billing import (
    BILL,
    BILLING_TERMS,
    ENERGY_PRICE,
    LEDGER_CLOSED,
    LEDGER_ENTRY,
    LEDGER_TXN,
    TARIFF_VERSION,
    UNCHANGED,
)
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
    "API_TOKEN",
    "AREA",
    "AUDIT_ENTRY",
    "BIG",
    "BILL",
    "BILLING_TERMS",
    "CLAIM_CODE",
    "CUSTOMER",
    "ENERGY_PRICE",
    "EXCEPTION_RESOLUTION",
    "INTERVAL_HOUR",
    "INTERVAL_READING",
    "LEDGER_CLOSED",
    "LEDGER_ENTRY",
    "LEDGER_TXN",
    "METADATA",
    "METER",
    "METER_COMMAND",
    "METER_CREDENTIAL",
    "METER_INSTALL",
    "METER_KEY",
    "METER_SETTING",
    "NUMBER",
    "OBJECT_CHANGE",
    "QUARANTINE",
    "READING",
    "READING_CHANGE",
    "READING_DATE",
    "RECORD_ROW",
    "REGISTER_OFFSET",
    "SERVER_KEY",
    "SERVER_SETTING",
    "SERVICE_AGREEMENT",
    "SESSION",
    "STAFF_SESSION",
    "STAFF_USER",
    "STREAM_HEAD",
    "TARIFF_VERSION",
    "UNCHANGED",
    "USAGE_POINT",
    "VALIDATION_DUE",
    "VALIDATION_EXCEPTION",
]
