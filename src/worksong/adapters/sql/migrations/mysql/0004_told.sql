-- What operators tell pools: quiet or stop, each a row; gone with the pool.
-- Data definition commits by itself here: every statement may be repeated after a migration that was cut short.
CREATE TABLE IF NOT EXISTS worksong_told (
    space VARCHAR(100) NOT NULL,
    pool VARCHAR(100) NOT NULL,
    word VARCHAR(10) NOT NULL,
    PRIMARY KEY (space, pool, word)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};
