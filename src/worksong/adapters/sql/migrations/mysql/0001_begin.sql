-- Jobs, and what is kept beside them. Times are Unix seconds; `place` is the microsecond that orders a queue.
-- Data definition commits by itself here: every statement may be repeated after a migration that was cut short.
CREATE TABLE IF NOT EXISTS worksong_job (
    seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    space VARCHAR(100) NOT NULL,
    id VARCHAR(500) NOT NULL,
    handler VARCHAR(200) NOT NULL,
    queue VARCHAR(200) NOT NULL DEFAULT 'default',
    state VARCHAR(10) NOT NULL DEFAULT 'queued',
    place BIGINT NOT NULL,
    at DOUBLE NOT NULL,
    args MEDIUMBLOB,
    enqueued_at DOUBLE NOT NULL,
    attempt INT NOT NULL DEFAULT 1,
    error MEDIUMBLOB,
    failed_at DOUBLE NOT NULL DEFAULT 0,
    unique_mode VARCHAR(20),
    unique_key VARCHAR(300),
    meta MEDIUMBLOB,
    reason VARCHAR(50) NOT NULL DEFAULT '',
    pool VARCHAR(200),
    fence BIGINT NOT NULL DEFAULT 0,
    cancelled TINYINT NOT NULL DEFAULT 0,
    crashes INT NOT NULL DEFAULT 0,
    crashed_at DOUBLE NOT NULL DEFAULT 0,
    CONSTRAINT worksong_job_state CHECK (state IN ('queued', 'running', 'scheduled', 'retry', 'dead')),
    UNIQUE KEY worksong_job_id (space, id),
    UNIQUE KEY worksong_job_lock (space, unique_key),
    KEY worksong_job_line (space, state, handler, queue, place),
    KEY worksong_job_timed (space, state, at, seq)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

CREATE TABLE IF NOT EXISTS worksong_pool (
    space VARCHAR(100) NOT NULL,
    id VARCHAR(200) NOT NULL,
    beats BIGINT NOT NULL,
    beat_at DOUBLE NOT NULL,
    pool MEDIUMBLOB NOT NULL,
    busy MEDIUMBLOB NOT NULL,
    PRIMARY KEY (space, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

CREATE TABLE IF NOT EXISTS worksong_limit (
    space VARCHAR(100) NOT NULL,
    handler VARCHAR(200) NOT NULL,
    most BIGINT NOT NULL,
    PRIMARY KEY (space, handler)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

CREATE TABLE IF NOT EXISTS worksong_paused (
    space VARCHAR(100) NOT NULL,
    queue VARCHAR(500) NOT NULL,
    PRIMARY KEY (space, queue)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

-- Ids that are taken in only once, and until when.
CREATE TABLE IF NOT EXISTS worksong_once (
    space VARCHAR(100) NOT NULL,
    id VARCHAR(500) NOT NULL,
    until DOUBLE NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (space, id),
    KEY worksong_once_until (space, until)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

-- How jobs ended, for whoever waits for that; kept for a time.
CREATE TABLE IF NOT EXISTS worksong_result (
    space VARCHAR(100) NOT NULL,
    id VARCHAR(500) NOT NULL,
    document MEDIUMBLOB NOT NULL,
    until DOUBLE NOT NULL,
    PRIMARY KEY (space, id),
    KEY worksong_result_until (space, until)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

CREATE TABLE IF NOT EXISTS worksong_history (
    number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    space VARCHAR(100) NOT NULL,
    id VARCHAR(500) NOT NULL,
    handler VARCHAR(200) NOT NULL,
    queue VARCHAR(200) NOT NULL,
    attempt INT NOT NULL,
    outcome VARCHAR(20) NOT NULL,
    args MEDIUMBLOB,
    enqueued_at DOUBLE NOT NULL,
    started_at DOUBLE NOT NULL,
    ended_at DOUBLE NOT NULL,
    KEY worksong_history_ended (space, ended_at, number)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};
