-- Jobs, and what is kept beside them. Times are Unix seconds; `place` is the microsecond that orders a queue.
CREATE TABLE worksong_job (
    seq INTEGER PRIMARY KEY,
    space TEXT NOT NULL,
    id TEXT NOT NULL,
    handler TEXT NOT NULL,
    queue TEXT NOT NULL DEFAULT 'default',
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'scheduled', 'retry', 'dead')),
    place INTEGER NOT NULL,
    at REAL NOT NULL,
    args BLOB,
    enqueued_at REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    error BLOB,
    failed_at REAL NOT NULL DEFAULT 0,
    unique_mode TEXT,
    unique_key TEXT,
    meta BLOB,
    reason TEXT NOT NULL DEFAULT '',
    pool TEXT,
    fence INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    crashed_at REAL NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX worksong_job_id ON worksong_job (space, id);

-- A lock lives and dies with its job: held while the key stands in its row.
CREATE UNIQUE INDEX worksong_job_lock ON worksong_job (space, unique_key) WHERE unique_key IS NOT NULL;

-- Waiting jobs in the order in which they are lent, and the running ones of a type.
CREATE INDEX worksong_job_line ON worksong_job (space, state, handler, queue, place);

CREATE INDEX worksong_job_timed ON worksong_job (space, state, at, seq) WHERE state IN ('scheduled', 'retry', 'dead');

CREATE TABLE worksong_pool (
    space TEXT NOT NULL,
    id TEXT NOT NULL,
    beats INTEGER NOT NULL,
    beat_at REAL NOT NULL,
    pool BLOB NOT NULL,
    busy BLOB NOT NULL,
    PRIMARY KEY (space, id)
) WITHOUT ROWID;

CREATE TABLE worksong_limit (
    space TEXT NOT NULL,
    handler TEXT NOT NULL,
    most INTEGER NOT NULL,
    PRIMARY KEY (space, handler)
) WITHOUT ROWID;

CREATE TABLE worksong_paused (
    space TEXT NOT NULL,
    queue TEXT NOT NULL,
    PRIMARY KEY (space, queue)
) WITHOUT ROWID;

-- Ids that are taken in only once, and until when.
CREATE TABLE worksong_once (
    space TEXT NOT NULL,
    id TEXT NOT NULL,
    until REAL NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (space, id)
) WITHOUT ROWID;

CREATE INDEX worksong_once_until ON worksong_once (space, until);

-- How jobs ended, for whoever waits for that; kept for a time.
CREATE TABLE worksong_result (
    space TEXT NOT NULL,
    id TEXT NOT NULL,
    document BLOB NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (space, id)
) WITHOUT ROWID;

CREATE INDEX worksong_result_until ON worksong_result (space, until);

CREATE TABLE worksong_history (
    number INTEGER PRIMARY KEY,
    space TEXT NOT NULL,
    id TEXT NOT NULL,
    handler TEXT NOT NULL,
    queue TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    args BLOB,
    enqueued_at REAL NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL
);

CREATE INDEX worksong_history_ended ON worksong_history (space, ended_at, number);
