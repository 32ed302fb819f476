-- The index of ids begins with the id: of two entries the first column tells them apart, where the name of the
-- application was compared first, and is mostly the same. It is built while workers go on; one that was left unfinished
-- is none, and goes first. Numbers of rows are drawn a hundred at a time. What locks the table waits half a second for
-- it, then makes room and tries again: all workers would stand behind it.
DROP INDEX CONCURRENTLY IF EXISTS worksong_job_known;

CREATE UNIQUE INDEX CONCURRENTLY worksong_job_known ON worksong_job (id, space);

SET LOCAL lock_timeout = '500ms';

DROP INDEX worksong_job_id;

ALTER TABLE worksong_job ALTER COLUMN seq SET CACHE 100;
