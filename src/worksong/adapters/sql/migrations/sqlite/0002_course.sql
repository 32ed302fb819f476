-- What jobs did over time: for each job type and slot of time its numbers, as a JSON object.
CREATE TABLE worksong_course (
    space TEXT NOT NULL,
    grain INTEGER NOT NULL,
    at INTEGER NOT NULL,
    handler TEXT NOT NULL,
    counts BLOB,
    PRIMARY KEY (space, grain, at, handler)
) WITHOUT ROWID;
