"""The meter's record on its own disk.

``readings`` is the database that meterd writes and everybody else only reads; ``acknowledged`` is
the small one that meterd-sync writes; ``database`` is how either is opened and what its errors say.
"""

from meterd.store.acknowledged import (
    Acknowledged,
    Rejection,
    SyncStatus,
    acknowledge,
    close_acknowledged,
    known_hwm,
    open_acknowledged,
    read_sync_status,
    record_failure,
)
from meterd.store.readings import (
    Reader,
    Store,
    append,
    checkpoint,
    close,
    close_reader,
    last_end_utc_s,
    last_event,
    last_seq,
    load_registers,
    next_seq,
    open_reader,
    open_store,
    recent,
    record_event,
    rows_after,
    save_registers,
)

__all__ = [
    "Acknowledged",
    "Reader",
    "Rejection",
    "Store",
    "SyncStatus",
    "acknowledge",
    "append",
    "checkpoint",
    "close",
    "close_acknowledged",
    "close_reader",
    "known_hwm",
    "last_end_utc_s",
    "last_event",
    "last_seq",
    "load_registers",
    "next_seq",
    "open_acknowledged",
    "open_reader",
    "open_store",
    "read_sync_status",
    "recent",
    "record_event",
    "record_failure",
    "rows_after",
    "save_registers",
]
