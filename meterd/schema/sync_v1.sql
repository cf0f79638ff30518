-- What the server has told; written by meterd-sync alone. All of it can be asked again, so losing
-- this file loses nothing but the memory of errors.

CREATE TABLE acknowledged (
    stream TEXT PRIMARY KEY,
    hwm INTEGER NOT NULL CHECK (hwm >= 0),
    epoch TEXT NOT NULL
) STRICT;

CREATE TABLE contact (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last_success_utc_s INTEGER,
    last_error TEXT,
    last_error_utc_s INTEGER,
    refused INTEGER NOT NULL CHECK (refused IN (0, 1)),
    failures INTEGER NOT NULL CHECK (failures >= 0)
) STRICT;

INSERT INTO contact VALUES (1, NULL, NULL, NULL, 0, 0);

CREATE TABLE rejected (
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 1),
    result TEXT NOT NULL CHECK (result IN ('conflict', 'invalid')),
    reason TEXT NOT NULL CHECK (length(reason) <= 500),
    told_utc_s INTEGER NOT NULL,
    PRIMARY KEY (stream, seq, result)
) STRICT, WITHOUT ROWID;

-- What the server has signed, as it came; meterd decides what of it is true.

CREATE TABLE receipt (
    stream TEXT PRIMARY KEY,
    hwm INTEGER NOT NULL CHECK (hwm >= 1),
    text TEXT NOT NULL CHECK (length(text) <= 4096),
    key TEXT NOT NULL CHECK (length(key) = 64),
    signature TEXT NOT NULL CHECK (length(signature) <= 200)
) STRICT;

CREATE TABLE settings (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL CHECK (version >= 1),
    text TEXT NOT NULL CHECK (length(text) <= 4096),
    key TEXT NOT NULL CHECK (length(key) = 64),
    signature TEXT NOT NULL CHECK (length(signature) <= 200)
) STRICT;

CREATE TABLE command (
    id TEXT PRIMARY KEY CHECK (length(id) = 32),
    expires_utc_s INTEGER NOT NULL,
    received_utc_s INTEGER NOT NULL,
    text TEXT NOT NULL CHECK (length(text) <= 4096),
    key TEXT NOT NULL CHECK (length(key) = 64),
    signature TEXT NOT NULL CHECK (length(signature) <= 200)
) STRICT;

CREATE TABLE server_time (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    server_utc_s INTEGER NOT NULL,
    boottime_ns INTEGER NOT NULL CHECK (boottime_ns >= 0),
    round_trip_ns INTEGER NOT NULL CHECK (round_trip_ns >= 0),
    boot_id TEXT NOT NULL
) STRICT;

-- What a new stream must not begin below.
CREATE TABLE acknowledged_registers (
    stream TEXT PRIMARY KEY,
    seq INTEGER NOT NULL CHECK (seq >= 1),
    import_j INTEGER NOT NULL CHECK (import_j >= 0),
    export_j INTEGER NOT NULL CHECK (export_j >= 0)
) STRICT;
