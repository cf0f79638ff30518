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
