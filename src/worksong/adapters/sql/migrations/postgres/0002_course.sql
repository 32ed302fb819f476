-- What jobs did over time: for each job type and slot of time its numbers, as a JSON object.
-- The rows of the running minute are written again and again: room on each page keeps the versions together.
CREATE TABLE worksong_course (
    space text NOT NULL,
    grain integer NOT NULL,
    at bigint NOT NULL,
    handler text NOT NULL,
    counts bytea,
    PRIMARY KEY (space, grain, at, handler)
) WITH (fillfactor = 70);
