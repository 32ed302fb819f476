-- What jobs did over time: for each job type and slot of time its numbers, as a JSON object.
CREATE TABLE IF NOT EXISTS worksong_course (
    space VARCHAR(100) NOT NULL,
    grain INT NOT NULL,
    at BIGINT NOT NULL,
    handler VARCHAR(200) NOT NULL,
    counts MEDIUMBLOB,
    PRIMARY KEY (space, grain, at, handler)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};
