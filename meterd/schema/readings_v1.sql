-- The meter's own record. Every rule that the program promises is here a second time, so that no
-- other program and no later version can break it in passing.

CREATE TABLE stream (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'),
    meter TEXT NOT NULL CHECK (length(meter) BETWEEN 1 AND 32),
    created_utc_s INTEGER NOT NULL
) STRICT;

CREATE TRIGGER stream_keeps_its_name BEFORE UPDATE ON stream
BEGIN SELECT raise(ABORT, 'a stream keeps its name'); END;

CREATE TRIGGER stream_stays BEFORE DELETE ON stream
BEGIN SELECT raise(ABORT, 'a stream is never deleted'); END;

-- The registers between two readings, saved so that a power cut costs seconds and not an interval.
CREATE TABLE register_save (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    import_j INTEGER NOT NULL CHECK (import_j >= 0),
    export_j INTEGER NOT NULL CHECK (export_j >= 0),
    import_carry_j REAL NOT NULL CHECK (import_carry_j >= 0 AND import_carry_j < 1),
    export_carry_j REAL NOT NULL CHECK (export_carry_j >= 0 AND export_carry_j < 1),
    q1_vars INTEGER NOT NULL CHECK (q1_vars >= 0),
    q2_vars INTEGER NOT NULL CHECK (q2_vars >= 0),
    q3_vars INTEGER NOT NULL CHECK (q3_vars >= 0),
    q4_vars INTEGER NOT NULL CHECK (q4_vars >= 0),
    q1_carry_vars REAL NOT NULL CHECK (q1_carry_vars >= 0 AND q1_carry_vars < 1),
    q2_carry_vars REAL NOT NULL CHECK (q2_carry_vars >= 0 AND q2_carry_vars < 1),
    q3_carry_vars REAL NOT NULL CHECK (q3_carry_vars >= 0 AND q3_carry_vars < 1),
    q4_carry_vars REAL NOT NULL CHECK (q4_carry_vars >= 0 AND q4_carry_vars < 1),
    saved_utc_s INTEGER NOT NULL,
    -- The running demand block, the last one and the highest; in this row, so that a save every
    -- ten seconds wears one page of the card and not two.
    block_end_utc_s INTEGER,
    energy_j REAL NOT NULL CHECK (energy_j >= 0),
    elapsed_s REAL NOT NULL CHECK (elapsed_s >= 0),
    last_w REAL,
    max_w REAL,
    max_end_utc_s INTEGER
) STRICT;

CREATE TRIGGER saved_registers_never_fall BEFORE UPDATE ON register_save
WHEN NEW.import_j < OLD.import_j OR NEW.export_j < OLD.export_j
    OR NEW.q1_vars < OLD.q1_vars OR NEW.q2_vars < OLD.q2_vars
    OR NEW.q3_vars < OLD.q3_vars OR NEW.q4_vars < OLD.q4_vars
BEGIN SELECT raise(ABORT, 'a register fell'); END;

CREATE TRIGGER saved_registers_stay BEFORE DELETE ON register_save
BEGIN SELECT raise(ABORT, 'saved registers are never deleted'); END;

-- What the meter must know again after a restart; written with the row that says why.
CREATE TABLE remembered (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL CHECK (length(value) <= 8192)
) STRICT, WITHOUT ROWID;

-- The columns are for asking; the line is what counts. meterd.store compares the two.
CREATE TABLE record (
    seq INTEGER PRIMARY KEY CHECK (seq >= 1),
    kind TEXT NOT NULL CHECK (kind IN ('reading', 'event', 'checkpoint')),
    event TEXT CHECK ((event IS NULL) = (kind <> 'event')),
    utc_s INTEGER NOT NULL CHECK (utc_s >= 0),
    import_j INTEGER CHECK (import_j >= 0 AND (import_j IS NULL) = (kind = 'event')),
    export_j INTEGER CHECK (export_j >= 0 AND (export_j IS NULL) = (kind = 'event')),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    line BLOB NOT NULL CHECK (length(line) BETWEEN 2 AND 8192)
) STRICT;

CREATE INDEX record_event ON record (event, seq) WHERE event IS NOT NULL;

CREATE TRIGGER rows_have_no_gap BEFORE INSERT ON record
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM record)
BEGIN SELECT raise(ABORT, 'a row follows its predecessor by one'); END;

-- Among the rows; what is saved may be ahead of a row that waited for room on the disk.
CREATE TRIGGER registers_never_fall BEFORE INSERT ON record
WHEN NEW.import_j IS NOT NULL AND EXISTS (
    SELECT 1 FROM (
        SELECT import_j, export_j FROM record WHERE import_j IS NOT NULL
        ORDER BY seq DESC LIMIT 1
    ) WHERE NEW.import_j < import_j OR NEW.export_j < export_j
)
BEGIN SELECT raise(ABORT, 'a register fell'); END;

CREATE TRIGGER rows_are_never_changed BEFORE UPDATE ON record
BEGIN SELECT raise(ABORT, 'a row is never changed'); END;

-- Rows up to here may be deleted, oldest first: the server holds them.
CREATE TABLE deletable (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq INTEGER NOT NULL CHECK (seq >= 0)
) STRICT;

INSERT INTO deletable VALUES (1, 0);

CREATE TRIGGER the_rule_of_deletion_stays BEFORE DELETE ON deletable
BEGIN SELECT raise(ABORT, 'how far rows may be deleted is never deleted'); END;

CREATE TRIGGER only_the_oldest_rows_go BEFORE DELETE ON record
WHEN OLD.seq > (SELECT seq FROM deletable)
    OR OLD.seq <> (SELECT min(seq) FROM record)
    OR OLD.seq = (SELECT max(seq) FROM record)
BEGIN SELECT raise(ABORT, 'only the oldest rows that the server holds are ever deleted'); END;
