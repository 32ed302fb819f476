-- What the job service keeps of jobs, pipelines, results and keys that were used.
-- Data definition commits by itself here: every statement may be repeated after a migration that was cut short.
CREATE TABLE IF NOT EXISTS worksong_record (
    space VARCHAR(100) NOT NULL,
    kind VARCHAR(20) NOT NULL,
    id VARCHAR(500) NOT NULL,
    version BIGINT NOT NULL,
    created_at DOUBLE NOT NULL,
    status INT NOT NULL,
    unsent_since DOUBLE NOT NULL,
    until DOUBLE NOT NULL,
    body MEDIUMBLOB NOT NULL,
    PRIMARY KEY (space, kind, id),
    KEY worksong_record_listed (space, kind, created_at, id),
    KEY worksong_record_status (space, kind, status, created_at, id),
    KEY worksong_record_unsent (space, unsent_since),
    KEY worksong_record_until (space, until)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};
