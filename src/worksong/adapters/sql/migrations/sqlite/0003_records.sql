-- What the job service keeps of jobs, pipelines, results and keys that were used.
CREATE TABLE worksong_record (
    space TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at REAL NOT NULL,
    status INTEGER NOT NULL,
    unsent_since REAL NOT NULL,
    until REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (space, kind, id)
);

-- Pages of all of a kind, and of those of one status.
CREATE INDEX worksong_record_listed ON worksong_record (space, kind, created_at, id);

CREATE INDEX worksong_record_status ON worksong_record (space, kind, status, created_at, id);

CREATE INDEX worksong_record_unsent ON worksong_record (space, unsent_since) WHERE unsent_since > 0;

CREATE INDEX worksong_record_until ON worksong_record (space, until) WHERE until > 0;
