-- The meter's own record. Every rule that the program promises is here a second time, so that no
-- other program and no later version can break it in passing.

CREATE TABLE stream (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'),
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
    saved_utc_s INTEGER NOT NULL
) STRICT;

-- The running demand block, the last one and the highest; saved with the registers.
CREATE TABLE demand_save (
    only INTEGER PRIMARY KEY CHECK (only = 1),
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

-- The columns are for asking; the line is what counts. meterd.store.append compares the two.
CREATE TABLE reading (
    seq INTEGER PRIMARY KEY CHECK (seq >= 1),
    line BLOB NOT NULL CHECK (length(line) BETWEEN 2 AND 4096),
    import_j INTEGER NOT NULL CHECK (import_j >= 0),
    export_j INTEGER NOT NULL CHECK (export_j >= 0),
    end_utc_s INTEGER NOT NULL CHECK (end_utc_s >= 0)
) STRICT;

CREATE TRIGGER readings_have_no_gap BEFORE INSERT ON reading
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM reading)
BEGIN SELECT raise(ABORT, 'a reading follows its predecessor by one'); END;

CREATE TRIGGER registers_never_fall BEFORE INSERT ON reading
WHEN EXISTS (
    SELECT 1 FROM (
        SELECT import_j, export_j FROM register_save
        UNION ALL
        SELECT import_j, export_j FROM reading WHERE seq = NEW.seq - 1
    ) WHERE NEW.import_j < import_j OR NEW.export_j < export_j
)
BEGIN SELECT raise(ABORT, 'a register fell'); END;

CREATE TRIGGER readings_are_never_changed BEFORE UPDATE ON reading
BEGIN SELECT raise(ABORT, 'a reading is never changed'); END;

CREATE TRIGGER readings_are_never_deleted BEFORE DELETE ON reading
BEGIN SELECT raise(ABORT, 'a reading is never deleted'); END;

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    utc_s INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
    detail TEXT NOT NULL CHECK (length(detail) BETWEEN 2 AND 8192)  -- JSON
) STRICT;

CREATE INDEX event_kind ON event (kind, id);

CREATE TRIGGER events_are_appended BEFORE INSERT ON event
WHEN NEW.id IS NOT NULL AND NEW.id <= (SELECT coalesce(max(id), 0) FROM event)
    AND NEW.id <> -1  -- what a trigger sees before an id is chosen
BEGIN SELECT raise(ABORT, 'an event is appended'); END;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON event
BEGIN SELECT raise(ABORT, 'an event is never changed'); END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON event
BEGIN SELECT raise(ABORT, 'an event is never deleted'); END;
