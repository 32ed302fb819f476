-- Statements that hold everywhere, as SQLite runs them; the other files of this directory have what a dialect says
-- differently. `--: name(columns)` begins one; with columns it is run for each row of a batch, whose values stand where
-- the columns are named. :space is the namespace, :now Unix seconds.

-- What a move of a job needs to know of it.
--: light(fragment)
job.seq, job.id, job.fence, job.state, job.cancelled, job.place, job.at, job.enqueued_at, job.attempt, job.error,
job.failed_at, job.unique_mode, job.unique_key, job.crashes, job.crashed_at

-- What a job is made of.
--: whole(fragment)
job.seq, job.id, job.handler, job.queue, job.state, job.place, job.at, job.args, job.enqueued_at, job.attempt,
job.error, job.failed_at, job.unique_mode, job.unique_key, job.meta, job.reason, job.fence

-- Which index to take, where the server has to be told.
--: by_line(fragment)


--: by_time(fragment)


--: by_seq(fragment)


-- What the index by time says of itself: a state that comes as a parameter does not tell that the row is in it.
--: in_time(fragment)
state IN ('scheduled', 'retry', 'dead')

--: lock(fragment)


--: by_until(fragment)


--: skip(fragment)


-- In

-- A row that is there already, by its id or by its lock, is left alone.
--: insert(id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, unique_mode, unique_key, meta)
INSERT INTO worksong_job (
    space, id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, unique_mode,
    unique_key, meta
)
VALUES (
    :space, :id, :handler, :queue, :state, :place, :at, :args, :enqueued_at, :attempt, :error, :failed_at, :unique_mode,
    :unique_key, :meta
)
ON CONFLICT DO NOTHING

-- Which of these ids are there, and under which place: a row with another place was there before.
--: inserted(id)
SELECT id, place FROM worksong_job WHERE space = :space AND id = :id

-- A refused duplicate renews the data of the one that waits.
--: renew(unique_key, args, meta)
UPDATE worksong_job SET args = :args, meta = :meta
WHERE space = :space AND unique_key = :unique_key AND state IN ('queued', 'scheduled')

--: take_once(id, until, place)
INSERT INTO worksong_once (space, id, until, place) VALUES (:space, :id, :until, :place)
ON CONFLICT (space, id) DO UPDATE SET until = excluded.until, place = excluded.place WHERE worksong_once.until <= :now

--: taken_once(id)
SELECT id, place FROM worksong_once WHERE space = :space AND id = :id

--: drop_once(id)
DELETE FROM worksong_once WHERE space = :space AND id = :id

-- Lent

-- The first queue of a job type behind this one that has something, the place of its first job, and the last queue:
-- equal when there is no more to ask for; the type's limit; and whether any queue is paused. No row where there is none.
--: next_queue(handler, queue)
SELECT
    job.handler, job.queue, job.place,
    (
        SELECT max(last.queue) FROM worksong_job AS last {by_line}
        WHERE last.space = :space AND last.state = 'queued' AND last.handler = :handler AND last.queue > :queue
    ),
    (SELECT most FROM worksong_limit WHERE space = :space AND handler = :handler),
    (SELECT count(*) FROM worksong_paused WHERE space = :space)
FROM worksong_job AS job {by_line}
WHERE job.space = :space AND job.state = 'queued' AND job.handler = :handler AND job.queue > :queue
ORDER BY job.queue, job.place LIMIT 1

-- Whoever lends jobs of a limited type waits here for the others who do.
--: lock_limits(handler)
SELECT handler, most FROM worksong_limit WHERE space = :space AND handler = :handler {lock}

--: running(handler)
SELECT :handler, count(*) FROM worksong_job WHERE space = :space AND state = 'running' AND handler = :handler

-- Rows before the first job that waits are dead ones, of jobs that were lent: nobody passes them twice.
--: pick(handler, queue, place, quota)
SELECT {whole} FROM worksong_job AS job {by_line}
WHERE
    job.space = :space AND job.state = 'queued' AND job.handler = :handler AND job.queue = :queue
    AND job.place >= :place
ORDER BY job.place, job.seq LIMIT :quota {skip}

--: lend(seq, fence)
UPDATE worksong_job SET
    state = 'running', pool = :pool, fence = :fence, at = :now,
    unique_key = CASE WHEN unique_mode = 'until_done' THEN unique_key END
WHERE seq = :seq AND state = 'queued'

-- Back

-- Whose claim still holds: everything else that happens to a lent job depends on it.
--: held(seq, fence, pool)
SELECT {light} FROM worksong_job AS job
WHERE job.seq = :seq AND job.fence = :fence AND job.pool = :pool AND job.state = 'running' {lock}

-- A lent job that just goes, whoever holds its claim.
--: finish(seq, fence, pool)
DELETE FROM worksong_job
WHERE seq = :seq AND fence = :fence AND pool = :pool AND state = 'running' AND cancelled = 0

--: drop(seq, fence)
DELETE FROM worksong_job WHERE seq = :seq AND fence = :fence

--: move(seq, fence, state, place, at, enqueued_at, attempt, error, failed_at, unique_key, crashes, crashed_at, reason)
UPDATE worksong_job SET
    state = :state, place = :place, at = :at, enqueued_at = :enqueued_at, attempt = :attempt, error = :error,
    failed_at = :failed_at, unique_key = :unique_key, crashes = :crashes, crashed_at = :crashed_at, reason = :reason,
    pool = NULL
WHERE seq = :seq AND fence = :fence

--: remember(seq, outcome)
INSERT INTO worksong_history (
    space, id, handler, queue, attempt, outcome, args, enqueued_at, started_at, ended_at
)
SELECT space, id, handler, queue, attempt, :outcome, args, enqueued_at, at, :now FROM worksong_job WHERE seq = :seq

-- The latest ending of a job is the one that counts.
--: keep(id, document, until)
INSERT INTO worksong_result (space, id, document, until) VALUES (:space, :id, :document, :until)
ON CONFLICT (space, id) DO UPDATE SET document = excluded.document, until = excluded.until

--: kept(id)
SELECT id, document FROM worksong_result WHERE space = :space AND id = :id

-- Pools

--: enlist
INSERT INTO worksong_pool (space, id, beats, beat_at, pool, busy) VALUES (:space, :id, 1, {clock}, :pool, :busy)
ON CONFLICT (space, id) DO UPDATE SET beats = worksong_pool.beats + 1, pool = excluded.pool

--: set_limit(handler, most)
INSERT INTO worksong_limit (space, handler, most) VALUES (:space, :handler, :most)
ON CONFLICT (space, handler) DO UPDATE SET most = excluded.most

--: drop_limit(handler)
DELETE FROM worksong_limit WHERE space = :space AND handler = :handler

--: beat
UPDATE worksong_pool SET beats = beats + 1, beat_at = {clock}, busy = :busy WHERE space = :space AND id = :id

-- Of what a pool was told, the word that counts: stop comes after quiet in the alphabet, too.
--: word(fragment)
(SELECT max(told.word) FROM worksong_told AS told WHERE told.space = pool.space AND told.pool = pool.id)

--: beaten
SELECT pool.beat_at, {word} FROM worksong_pool AS pool WHERE pool.space = :space AND pool.id = :id

-- Until the end of the transaction, nobody strikes it off.
--: lock_pool
SELECT id FROM worksong_pool WHERE space = :space AND id = :id {lock}

--: tell
INSERT INTO worksong_told (space, pool, word) VALUES (:space, :id, :word) ON CONFLICT DO NOTHING

--: untell
DELETE FROM worksong_told WHERE space = :space AND pool = :id

-- A pool may be struck off by a worker of a version that knows nothing of words.
--: prune_told
DELETE FROM worksong_told WHERE space = :space
    AND NOT EXISTS (SELECT 1 FROM worksong_pool AS pool WHERE pool.space = :space AND pool.id = worksong_told.pool)

--: lent(handler)
SELECT {light} FROM worksong_job AS job
WHERE job.space = :space AND job.state = 'running' AND job.handler = :handler AND job.pool = :pool

-- All that a pool holds, whatever types it said it can run; for those who take it from the pool.
--: holdings
SELECT {light} FROM worksong_job AS job {by_line}
WHERE job.space = :space AND job.state = 'running' AND job.pool = :pool
ORDER BY job.place LIMIT 1000 {lock}

--: strike
DELETE FROM worksong_pool WHERE space = :space AND id = :id

--: strike_silent
DELETE FROM worksong_pool WHERE space = :space AND id = :id AND {observed} = :seen

-- The value that stands still when a pool is dead.
--: watch
SELECT id, {observed} FROM worksong_pool WHERE space = :space

-- Owners of running jobs that are registered nowhere: a fetch may arrive after its pool was struck off.
--: orphans
SELECT DISTINCT job.pool FROM worksong_job AS job
WHERE
    job.space = :space AND job.state = 'running'
    AND NOT EXISTS (SELECT 1 FROM worksong_pool AS pool WHERE pool.space = :space AND pool.id = job.pool)

-- Moved

--: due
SELECT {light} FROM worksong_job AS job {by_time}
WHERE job.space = :space AND job.state = :state AND job.at <= :now AND {in_time}
ORDER BY job.at, job.seq LIMIT :most {skip}

--: of_state
SELECT {light} FROM worksong_job AS job {by_time} WHERE job.space = :space AND job.state = :state AND {in_time}
ORDER BY job.at, job.seq LIMIT :most {lock}

--: of_ids(id)
SELECT {light} FROM worksong_job AS job WHERE job.space = :space AND job.id = :id {lock}

--: cancel
UPDATE worksong_job SET cancelled = 1 WHERE seq = :seq

--: waiting_in
SELECT job.seq, job.fence FROM worksong_job AS job {by_seq}
WHERE job.space = :space AND job.state = 'queued' AND job.queue = :queue AND job.seq > :after
ORDER BY job.seq LIMIT :most {lock}

--: pause
INSERT INTO worksong_paused (space, queue) VALUES (:space, :queue) ON CONFLICT DO NOTHING

--: resume
DELETE FROM worksong_paused WHERE space = :space AND queue = :queue

-- Moved to another store

-- In the order in which a type's jobs are lent; those that cannot be moved were passed before.
--: waiting_to_load
SELECT {whole} FROM worksong_job AS job {by_line} WHERE job.space = :space AND job.state = 'queued'
ORDER BY job.handler, job.queue, job.place, job.seq LIMIT :most OFFSET :passed {skip}

--: timed_to_load
SELECT {whole} FROM worksong_job AS job {by_time} WHERE job.space = :space AND job.state = :state AND {in_time}
ORDER BY job.at, job.seq LIMIT :most OFFSET :passed {skip}

-- A job in another namespace, all else as it is.
--: rehouse(seq, fence)
UPDATE worksong_job SET space = :to WHERE seq = :seq AND fence = :fence

--: all_jobs
SELECT {whole} FROM worksong_job AS job WHERE job.space = :space
ORDER BY job.state, job.handler, job.queue, job.place, job.seq

--: all_light
SELECT {light} FROM worksong_job AS job WHERE job.space = :space {lock}

--: whole_by_id(id)
SELECT {whole} FROM worksong_job AS job WHERE job.space = :space AND job.id = :id

--: locks_taken(unique_key)
SELECT unique_key FROM worksong_job WHERE space = :space AND unique_key = :unique_key

--: unlock(seq)
UPDATE worksong_job SET unique_key = NULL WHERE seq = :seq

--: rename
UPDATE worksong_job SET id = :id WHERE seq = :seq

--: known_ids
SELECT id, until FROM worksong_once WHERE space = :space AND id > :after ORDER BY id LIMIT :most

-- An id that was pushed here, and whose job is gone to another store: it may come back.
--: disown(id)
UPDATE worksong_once SET place = 0 WHERE space = :space AND id = :id

-- Kept for a time

--: prune_once
DELETE FROM worksong_once WHERE space = :space AND until <= :now

--: old_dead
SELECT job.seq, job.fence FROM worksong_job AS job {by_time}
WHERE job.space = :space AND job.state = 'dead' AND job.at < :before AND {in_time}
ORDER BY job.at, job.seq LIMIT :most {skip}

--: last_dead_kept
SELECT at FROM worksong_job {by_time} WHERE space = :space AND state = 'dead' AND {in_time}
ORDER BY at DESC, seq DESC LIMIT 1 OFFSET :most

--: old_results
SELECT id FROM worksong_result {by_until} WHERE space = :space AND until <= :now ORDER BY until LIMIT :most {skip}

--: drop_result(id)
DELETE FROM worksong_result WHERE space = :space AND id = :id

--: prune_history
DELETE FROM worksong_history WHERE space = :space AND ended_at < :before

--: last_history_kept
SELECT ended_at FROM worksong_history WHERE space = :space ORDER BY ended_at DESC, number DESC LIMIT 1 OFFSET :most

--: prune_slots
DELETE FROM worksong_course WHERE space = :space AND grain = :grain AND at < :before

-- Records of the job service

-- What a record is made of, in the order of the structure `Record`.
--: record(fragment)
record.kind, record.id, record.body, record.created_at, record.status, record.unsent_since, record.until, record.version

-- Which index to take, where the server has to be told.
--: records_listed(fragment)


--: records_of_status(fragment)


--: records_unsent(fragment)


--: records_until(fragment)


-- Of these, which versions there are; nobody else changes them meanwhile.
--: lock_records(kind, id)
SELECT kind, id, version FROM worksong_record WHERE space = :space AND kind = :kind AND id = :id {lock}

-- One that is there already is left alone, and not counted.
--: insert_record(kind, id, body, created_at, status, unsent_since, until, version)
INSERT INTO worksong_record (space, kind, id, body, created_at, status, unsent_since, until, version)
VALUES (:space, :kind, :id, :body, :created_at, :status, :unsent_since, :until, :version)
ON CONFLICT DO NOTHING

--: update_record(kind, id, body, created_at, status, unsent_since, until, version)
UPDATE worksong_record SET
    body = :body, created_at = :created_at, status = :status, unsent_since = :unsent_since, until = :until,
    version = :version
WHERE space = :space AND kind = :kind AND id = :id

--: drop_record(kind, id)
DELETE FROM worksong_record WHERE space = :space AND kind = :kind AND id = :id

--: records(kind, id)
SELECT {record} FROM worksong_record AS record WHERE space = :space AND kind = :kind AND id = :id

--: list_records
SELECT {record} FROM worksong_record AS record {records_listed}
WHERE
    space = :space AND kind = :kind AND created_at >= :after_time AND (created_at > :after_time OR id > :after_id)
ORDER BY created_at, id LIMIT :most

--: list_records_of
SELECT {record} FROM worksong_record AS record {records_of_status}
WHERE
    space = :space AND kind = :kind AND status = :status
    AND created_at >= :after_time AND (created_at > :after_time OR id > :after_id)
ORDER BY created_at, id LIMIT :most

--: unsent_records
SELECT {record} FROM worksong_record AS record {records_unsent}
WHERE space = :space AND unsent_since > 0 AND unsent_since <= :since
ORDER BY unsent_since LIMIT :most

--: old_records
SELECT kind, id FROM worksong_record {records_until}
WHERE space = :space AND until > 0 AND until <= :now
ORDER BY until LIMIT :most {skip}

--: erase_records
DELETE FROM worksong_record WHERE space = :space

-- What jobs did over time

-- A row that is there already is left alone.
--: open_slots(grain, at, handler)
INSERT INTO worksong_course (space, grain, at, handler) VALUES (:space, :grain, :at, :handler) ON CONFLICT DO NOTHING

--: slots(grain, at, handler)
SELECT grain, at, handler, counts FROM worksong_course
WHERE space = :space AND grain = :grain AND at = :at AND handler = :handler

--: fill_slots(grain, at, handler, counts)
UPDATE worksong_course SET counts = :counts
WHERE space = :space AND grain = :grain AND at = :at AND handler = :handler

--: course
SELECT at, handler, counts FROM worksong_course
WHERE space = :space AND grain = :grain AND at >= :since AND at < :until
ORDER BY at, handler

-- Looked at

--: counts
SELECT state, count(*) FROM worksong_job {by_line} WHERE space = :space GROUP BY state

--: count
SELECT count(*) FROM worksong_job WHERE space = :space AND state = :state

--: queues
SELECT queue, state, count(*), min(place) FROM worksong_job {by_line}
WHERE space = :space AND state IN ('queued', 'running') GROUP BY queue, state

--: paused
SELECT queue FROM worksong_paused WHERE space = :space

--: timed
SELECT {whole} FROM worksong_job AS job {by_time} WHERE job.space = :space AND job.state = :state AND {in_time}
ORDER BY job.at, job.seq LIMIT :most OFFSET :offset

--: under_way
SELECT {whole} FROM worksong_job AS job {by_line} WHERE job.space = :space AND job.state = 'running'
ORDER BY job.at, job.seq LIMIT :most OFFSET :offset

-- The types and queues that have waiting jobs: what `places` is then asked for.
--: all_lines
SELECT DISTINCT handler, queue FROM worksong_job {by_line} WHERE space = :space AND state = 'queued'

--: places(handler, queue)
SELECT job.place, job.seq, job.handler, job.queue FROM worksong_job AS job {by_line}
WHERE job.space = :space AND job.state = 'queued' AND job.handler = :handler AND job.queue = :queue
ORDER BY job.place, job.seq LIMIT :most

--: by_seq(seq)
SELECT {whole} FROM worksong_job AS job WHERE job.seq = :seq

--: by_id
SELECT {whole} FROM worksong_job AS job WHERE job.space = :space AND job.id = :id

-- What stands in a job's way.
--: traced
SELECT job.pool, job.cancelled, job.crashes, job.place, job.seq FROM worksong_job AS job
WHERE job.space = :space AND job.id = :id

--: ahead
SELECT count(*) FROM worksong_job AS job
WHERE
    job.space = :space AND job.state = 'queued' AND job.queue = :queue
    AND (job.place < :place OR (job.place = :place AND job.seq < :seq))

--: limit_of
SELECT most FROM worksong_limit WHERE space = :space AND handler = :handler

--: pools
SELECT pool.pool, pool.beat_at, pool.busy, {word} FROM worksong_pool AS pool WHERE pool.space = :space ORDER BY pool.id

--: history
SELECT id, handler, queue, attempt, outcome, args, enqueued_at, started_at, ended_at FROM worksong_history
WHERE space = :space ORDER BY ended_at DESC, number DESC LIMIT :most OFFSET :offset

--: count_history
SELECT count(*) FROM worksong_history WHERE space = :space

-- Everything of a namespace

--: erase_jobs
DELETE FROM worksong_job WHERE space = :space

--: erase_pools
DELETE FROM worksong_pool WHERE space = :space

--: erase_told
DELETE FROM worksong_told WHERE space = :space

--: erase_limits
DELETE FROM worksong_limit WHERE space = :space

--: erase_paused
DELETE FROM worksong_paused WHERE space = :space

--: erase_once
DELETE FROM worksong_once WHERE space = :space

--: erase_results
DELETE FROM worksong_result WHERE space = :space

--: erase_history
DELETE FROM worksong_history WHERE space = :space

--: erase_course
DELETE FROM worksong_course WHERE space = :space

--: clock_of_server
SELECT {clock}
