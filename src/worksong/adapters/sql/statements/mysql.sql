-- What MySQL and MariaDB say in their own way. A batch is a table made in place: {given} stands for it, {values} for
-- the rows of an INSERT, {all_...} for one column of them, {first_...} for that of the first one. A statement that has none
-- of these is repeated for each row, with UNION ALL in between.

--: clock(fragment)
CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)

-- Whole seconds of the server: what its clock says to everybody alike.
--: observed(fragment)
CAST(FLOOR(beat_at) AS SIGNED)

-- The optimizer prefers to read the whole table as long as it is small, and locks every row that it reads.
--: by_line(fragment)
FORCE INDEX (worksong_job_line)

--: by_time(fragment)
FORCE INDEX (worksong_job_timed)

--: by_until(fragment)
FORCE INDEX (worksong_result_until)

--: records_listed(fragment)
FORCE INDEX (worksong_record_listed)

--: records_of_status(fragment)
FORCE INDEX (worksong_record_status)

--: records_unsent(fragment)
FORCE INDEX (worksong_record_unsent)

--: records_until(fragment)
FORCE INDEX (worksong_record_until)

--: lock(fragment)
FOR UPDATE

--: skip(fragment)
FOR UPDATE SKIP LOCKED

-- In

-- ON DUPLICATE KEY rather than IGNORE, which would hide every other error as well; MySQL refuses to set `seq` to itself.
--: insert(id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, unique_mode, unique_key, meta)
INSERT INTO worksong_job (
    space, id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, unique_mode,
    unique_key, meta
)
VALUES {values} ON DUPLICATE KEY UPDATE space = worksong_job.space

--: inserted(id)
SELECT job.id, job.place FROM worksong_job AS job JOIN {given} ON job.space = :space AND job.id = given.id

--: renew(unique_key, args, meta)
UPDATE worksong_job AS job JOIN {given} ON job.space = :space AND job.unique_key = given.unique_key
SET job.args = given.args, job.meta = given.meta
WHERE job.state IN ('queued', 'scheduled')

--: take_once(id, until, place)
INSERT INTO worksong_once (space, id, until, place)
SELECT :space, given.id, given.until, given.place FROM {given}
ON DUPLICATE KEY UPDATE
    place = IF(worksong_once.until <= :now, given.place, worksong_once.place),
    until = IF(worksong_once.until <= :now, given.until, worksong_once.until)

--: taken_once(id)
SELECT once.id, once.place FROM worksong_once AS once JOIN {given} ON once.space = :space AND once.id = given.id

--: drop_once(id)
DELETE once FROM worksong_once AS once JOIN {given} ON once.space = :space AND once.id = given.id

-- Lent

--: lock_limits(handler)
SELECT limits.handler, limits.most FROM {given}
JOIN worksong_limit AS limits ON limits.space = :space AND limits.handler = given.handler FOR UPDATE

--: running(handler)
SELECT job.handler, count(*) FROM {given}
STRAIGHT_JOIN worksong_job AS job {by_line} ON job.space = :space AND job.state = 'running' AND job.handler = given.handler
GROUP BY job.handler

-- The fences are numbers in a row.
--: lend(seq, fence)
UPDATE worksong_job SET
    state = 'running', pool = :pool, fence = {first_fence} - 1 + FIELD(seq, {all_seq}), at = :now,
    unique_key = CASE WHEN unique_mode = 'until_done' THEN unique_key END
WHERE seq IN ({all_seq}) AND state = 'queued'

-- Back

--: held(seq, fence, pool)
SELECT {light} FROM {given}
STRAIGHT_JOIN worksong_job AS job ON job.seq = given.seq
WHERE job.fence = given.fence AND job.pool = given.pool AND job.state = 'running' FOR UPDATE

-- No two lendings of a process have the same fence, and no pool is that of two: so a row with one of these fences is the
-- one that was lent under it, and no pair of number and fence need be looked for.
--: finish(seq, fence, pool)
DELETE FROM worksong_job
WHERE
    seq IN ({all_seq}) AND fence IN ({all_fence}) AND pool IN ({all_pool}) AND state = 'running' AND cancelled = 0

--: drop(seq, fence)
DELETE job FROM {given} STRAIGHT_JOIN worksong_job AS job ON job.seq = given.seq WHERE job.fence = given.fence

--: move(seq, fence, state, place, at, enqueued_at, attempt, error, failed_at, unique_key, crashes, crashed_at, reason)
UPDATE {given} STRAIGHT_JOIN worksong_job AS job ON job.seq = given.seq
SET
    job.state = given.state, job.place = given.place, job.at = given.at, job.enqueued_at = given.enqueued_at,
    job.attempt = given.attempt, job.error = given.error, job.failed_at = given.failed_at,
    job.unique_key = given.unique_key, job.crashes = given.crashes, job.crashed_at = given.crashed_at,
    job.reason = given.reason, job.pool = NULL
WHERE job.fence = given.fence

--: remember(seq, outcome)
INSERT INTO worksong_history (
    space, id, handler, queue, attempt, outcome, args, enqueued_at, started_at, ended_at
)
SELECT
    job.space, job.id, job.handler, job.queue, job.attempt, given.outcome, job.args, job.enqueued_at, job.at, :now
FROM {given} STRAIGHT_JOIN worksong_job AS job ON job.seq = given.seq

-- A table made in place would cut off long bytes.
--: keep(id, document, until)
REPLACE INTO worksong_result (space, id, document, until) VALUES {values}

--: kept(id)
SELECT result.id, result.document FROM {given}
STRAIGHT_JOIN worksong_result AS result ON result.space = :space AND result.id = given.id

--: drop_result(id)
DELETE result FROM {given} STRAIGHT_JOIN worksong_result AS result ON result.space = :space AND result.id = given.id

-- Pools

--: enlist
INSERT INTO worksong_pool (space, id, beats, beat_at, pool, busy) VALUES (:space, :id, 1, {clock}, :pool, :busy)
ON DUPLICATE KEY UPDATE beats = beats + 1, pool = :pool

-- Every row that a locking statement reads is locked, whosever it is: so which those are is read before.
--: holdings
SELECT {light} FROM (
    SELECT seq FROM worksong_job {by_line}
    WHERE space = :space AND state = 'running' AND pool = :pool
    ORDER BY place LIMIT 1000
) AS held
JOIN worksong_job AS job ON job.seq = held.seq AND job.state = 'running' AND job.pool = :pool
ORDER BY job.place FOR UPDATE

--: set_limit(handler, most)
INSERT INTO worksong_limit (space, handler, most)
SELECT :space, given.handler, given.most FROM {given}
ON DUPLICATE KEY UPDATE most = given.most

--: drop_limit(handler)
DELETE limits FROM worksong_limit AS limits
JOIN {given} ON limits.space = :space AND limits.handler = given.handler

--: lent(handler)
SELECT {light} FROM {given}
STRAIGHT_JOIN worksong_job AS job {by_line}
    ON job.space = :space AND job.state = 'running' AND job.handler = given.handler
WHERE job.pool = :pool

-- Moved

--: of_ids(id)
SELECT {light} FROM {given}
STRAIGHT_JOIN worksong_job AS job ON job.space = :space AND job.id = given.id FOR UPDATE

--: tell
INSERT INTO worksong_told (space, pool, word) VALUES (:space, :id, :word) ON DUPLICATE KEY UPDATE word = worksong_told.word

--: pause
INSERT INTO worksong_paused (space, queue) VALUES (:space, :queue) ON DUPLICATE KEY UPDATE queue = worksong_paused.queue

--: rehouse(seq, fence)
UPDATE {given} STRAIGHT_JOIN worksong_job AS job ON job.seq = given.seq SET job.space = :to WHERE job.fence = given.fence

--: whole_by_id(id)
SELECT {whole} FROM {given} STRAIGHT_JOIN worksong_job AS job ON job.space = :space AND job.id = given.id

--: locks_taken(unique_key)
SELECT job.unique_key FROM {given}
STRAIGHT_JOIN worksong_job AS job ON job.space = :space AND job.unique_key = given.unique_key

--: unlock(seq)
UPDATE {given} STRAIGHT_JOIN worksong_job AS job ON job.seq = given.seq SET job.unique_key = NULL

--: disown(id)
UPDATE {given} STRAIGHT_JOIN worksong_once AS once ON once.space = :space AND once.id = given.id SET once.place = 0

-- Records of the job service

--: lock_records(kind, id)
SELECT record.kind, record.id, record.version FROM {given}
STRAIGHT_JOIN worksong_record AS record
    ON record.space = :space AND record.kind = given.kind AND record.id = given.id FOR UPDATE

--: insert_record(kind, id, body, created_at, status, unsent_since, until, version)
INSERT INTO worksong_record (space, kind, id, body, created_at, status, unsent_since, until, version) VALUES {values}
ON DUPLICATE KEY UPDATE space = worksong_record.space

--: update_record(kind, id, body, created_at, status, unsent_since, until, version)
UPDATE {given}
STRAIGHT_JOIN worksong_record AS record
    ON record.space = :space AND record.kind = given.kind AND record.id = given.id
SET
    record.body = given.body, record.created_at = given.created_at, record.status = given.status,
    record.unsent_since = given.unsent_since, record.until = given.until, record.version = given.version

--: drop_record(kind, id)
DELETE record FROM {given}
STRAIGHT_JOIN worksong_record AS record
    ON record.space = :space AND record.kind = given.kind AND record.id = given.id

--: records(kind, id)
SELECT {record} FROM {given}
STRAIGHT_JOIN worksong_record AS record
    ON record.space = :space AND record.kind = given.kind AND record.id = given.id

-- Looked at

--: by_seq(seq)
SELECT {whole} FROM {given} STRAIGHT_JOIN worksong_job AS job ON job.seq = given.seq

--: risks
SELECT CONCAT('innodb_flush_log_at_trx_commit = ', @@innodb_flush_log_at_trx_commit) FROM DUAL
WHERE @@innodb_flush_log_at_trx_commit <> 1
UNION ALL
-- After a power cut, what is not in the binary log is undone.
SELECT CONCAT('sync_binlog = ', @@sync_binlog) FROM DUAL WHERE @@log_bin <> 0 AND @@sync_binlog <> 1

-- What jobs did over time

--: open_slots(grain, at, handler)
INSERT INTO worksong_course (space, grain, at, handler) VALUES {values}
ON DUPLICATE KEY UPDATE grain = worksong_course.grain

--: slots(grain, at, handler)
SELECT course.grain, course.at, course.handler, course.counts FROM {given}
STRAIGHT_JOIN worksong_course AS course
    ON course.space = :space AND course.grain = given.grain AND course.at = given.at AND course.handler = given.handler
FOR UPDATE

--: fill_slots(grain, at, handler, counts)
UPDATE {given} STRAIGHT_JOIN worksong_course AS course
    ON course.space = :space AND course.grain = given.grain AND course.at = given.at AND course.handler = given.handler
SET course.counts = given.counts
