-- What the job service keeps of jobs, pipelines, results and keys that were used. Ids are ordered byte by byte.
CREATE TABLE worksong_record (
    space text NOT NULL,
    kind text NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    created_at double precision NOT NULL,
    status integer NOT NULL,
    unsent_since double precision NOT NULL,
    until double precision NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (space, kind, id)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05
);

-- Pages of all of a kind, and of those of one status.
CREATE INDEX worksong_record_listed ON worksong_record (space, kind, created_at, id);

CREATE INDEX worksong_record_status ON worksong_record (space, kind, status, created_at, id);

CREATE INDEX worksong_record_unsent ON worksong_record (space, unsent_since) WHERE unsent_since > 0;

CREATE INDEX worksong_record_until ON worksong_record (space, until) WHERE until > 0;
