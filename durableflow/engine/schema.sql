-- The embedded engine's file.  Version 2 (PRAGMA user_version); changes go to migrations in database.py.
-- Rows that belong to an instance are numbered key * 2^24 + n: see state.py.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

CREATE TABLE instances (
    key           INTEGER PRIMARY KEY,
    instance_id   TEXT NOT NULL UNIQUE,
    execution_id  TEXT NOT NULL,
    name          TEXT NOT NULL,
    version       TEXT,
    input         TEXT,
    created       INTEGER NOT NULL,   -- times are microseconds since 1970 UTC
    status        INTEGER NOT NULL,   -- OrchestrationStatus of the protocol
    updated       INTEGER NOT NULL,
    scheduled     INTEGER,
    completed     INTEGER,
    output        TEXT,
    custom_status TEXT,
    failure       BLOB,               -- TaskFailureDetails
    parent        BLOB,               -- ParentInstanceInfo
    parent_id     TEXT,               -- the instance id in it
    parent_trace  BLOB,               -- TraceContext of what started it
    trace         BLOB,               -- OrchestrationTraceContext
    tags          TEXT,               -- a JSON object, or NULL for none
    events        INTEGER NOT NULL,
    chunks        INTEGER NOT NULL,
    last_started  INTEGER NOT NULL,
    suspended     INTEGER NOT NULL,
    parked        TEXT,               -- a JSON array [kind, reason], or NULL
    generation    INTEGER NOT NULL    -- 1, and one more with each continue-as-new
);
CREATE INDEX instances_by_creation ON instances (created, key);
CREATE INDEX instances_by_parent ON instances (parent_id) WHERE parent_id IS NOT NULL;

-- One row a turn: a serialised HistoryChunk.
CREATE TABLE history (
    row    INTEGER PRIMARY KEY,
    events BLOB NOT NULL
);

-- Events that no applied turn has consumed: a serialised HistoryEvent.
CREATE TABLE inbox (
    row   INTEGER PRIMARY KEY,
    event BLOB NOT NULL
);

-- Outstanding activities: a serialised ActivityRequest.
CREATE TABLE activities (
    row     INTEGER PRIMARY KEY,
    request BLOB NOT NULL
);

CREATE TABLE timers (
    row      INTEGER PRIMARY KEY,
    fire_at  INTEGER NOT NULL,
    timer_id INTEGER NOT NULL,        -- 0: a scheduled start
    stamp    BLOB NOT NULL            -- the Timestamp as the orchestrator gave it
);
CREATE INDEX timers_by_time ON timers (fire_at, row);

-- Work that was handed out and has not come back, or is in quarantine: activities by row, turns by
-- -key.
CREATE TABLE dispatched (
    item    INTEGER PRIMARY KEY,
    alone   INTEGER NOT NULL,         -- 1: it runs with nothing beside it; 2: it did for a while
    crashes INTEGER NOT NULL          -- how often the engine's process died while it ran alone
);
