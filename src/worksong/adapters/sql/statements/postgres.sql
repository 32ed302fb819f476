-- What PostgreSQL says in its own way: a batch is one statement over arrays, one for each column of its rows.

--: clock(fragment)
extract(epoch FROM clock_timestamp())::float8

-- Whole seconds of the server: what its clock says to everybody alike.
--: observed(fragment)
floor(beat_at)::bigint

--: lock(fragment)
FOR UPDATE

--: skip(fragment)
FOR UPDATE SKIP LOCKED

-- In

--: insert(id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, unique_mode, unique_key, meta)
INSERT INTO worksong_job (
    space, id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, unique_mode,
    unique_key, meta
)
SELECT :space, given.* FROM unnest(
    :id::text[], :handler::text[], :queue::text[], :state::text[], :place::bigint[], :at::float8[], :args::bytea[],
    :enqueued_at::float8[], :attempt::int[], :error::bytea[], :failed_at::float8[], :unique_mode::text[],
    :unique_key::text[], :meta::bytea[]
) AS given
ON CONFLICT DO NOTHING

-- Jobs that nobody can have enqueued before, without looking for each of them first; in PostgreSQL's own binary form.
--: insert_new(space, id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, unique_mode, unique_key, meta)
COPY worksong_job

--: insert_fresh(space, id, handler, queue, state, place, at, args, enqueued_at)
COPY worksong_job

--: inserted(id)
SELECT id, place FROM worksong_job WHERE space = :space AND id = ANY(:id::text[])

--: renew(unique_key, args, meta)
UPDATE worksong_job AS job SET args = given.args, meta = given.meta
FROM unnest(:unique_key::text[], :args::bytea[], :meta::bytea[]) AS given (unique_key, args, meta)
WHERE job.space = :space AND job.unique_key = given.unique_key AND job.state IN ('queued', 'scheduled')

--: take_once(id, until, place)
INSERT INTO worksong_once (space, id, until, place)
SELECT :space, given.* FROM unnest(:id::text[], :until::float8[], :place::bigint[]) AS given
ON CONFLICT (space, id) DO UPDATE SET until = excluded.until, place = excluded.place WHERE worksong_once.until <= :now

--: taken_once(id)
SELECT id, place FROM worksong_once WHERE space = :space AND id = ANY(:id::text[])

--: drop_once(id)
DELETE FROM worksong_once WHERE space = :space AND id = ANY(:id::text[])

-- Lent

--: next_queue(handler, queue)
SELECT
    given.handler, first.queue, first.place,
    (
        SELECT max(job.queue) FROM worksong_job AS job
        WHERE
            job.space = :space AND job.state = 'queued' AND job.handler = given.handler AND job.queue > given.queue
    ),
    (SELECT most FROM worksong_limit AS limits WHERE limits.space = :space AND limits.handler = given.handler),
    (SELECT count(*) FROM worksong_paused WHERE space = :space)
FROM unnest(:handler::text[], :queue::text[]) AS given (handler, queue)
CROSS JOIN LATERAL (
    SELECT job.queue, job.place FROM worksong_job AS job
    WHERE job.space = :space AND job.state = 'queued' AND job.handler = given.handler AND job.queue > given.queue
    ORDER BY job.queue, job.place LIMIT 1
) AS first

--: lock_limits(handler)
SELECT handler, most FROM worksong_limit WHERE space = :space AND handler = ANY(:handler::text[])
ORDER BY handler FOR UPDATE

--: running(handler)
SELECT handler, count(*) FROM worksong_job
WHERE space = :space AND state = 'running' AND handler = ANY(:handler::text[]) GROUP BY handler

--: pick(handler, queue, place, quota)
SELECT found.*
FROM unnest(:handler::text[], :queue::text[], :place::bigint[], :quota::bigint[]) AS given (handler, queue, place, quota)
CROSS JOIN LATERAL (
    SELECT {whole} FROM worksong_job AS job
    WHERE
        job.space = :space AND job.state = 'queued' AND job.handler = given.handler AND job.queue = given.queue
        AND job.place >= given.place
    ORDER BY job.place LIMIT given.quota FOR UPDATE SKIP LOCKED
) AS found

--: lend(seq, fence)
UPDATE worksong_job AS job SET
    state = 'running', pool = :pool, fence = given.fence, at = :now,
    unique_key = CASE WHEN job.unique_mode = 'until_done' THEN job.unique_key END
FROM unnest(:seq::bigint[], :fence::bigint[]) AS given (seq, fence)
WHERE job.seq = given.seq AND (job.state = 'queued') IS TRUE

-- A fetch in one statement, a transaction by itself: what `next_queue`, `pick` and `lend` do one after the other. Each
-- type gives its quota, and may give what falls to types that have nothing. Types with a limit need locks that are held
-- until it is counted what runs, so where one of them waits nothing is lent here. The first columns tell how many queues
-- have something, and are there in any case; a commit that only lends need not wait for the disk. What stands before
-- this says of each `line` (a type in a queue) where its first job is: nobody passes the dead rows before it twice.
--: lending(fragment)
picked AS MATERIALIZED (
    SELECT found.*, line.quota, line.turn, array_position(:queues::text[], line.queue) AS wanted
    FROM line
    CROSS JOIN LATERAL (
        SELECT {whole} FROM worksong_job AS job
        WHERE
            job.space = :space AND job.state = 'queued' AND job.handler = line.handler AND job.queue = line.queue
            AND job.place >= line.place
        ORDER BY job.place
        LIMIT line.quota + (SELECT greatest(:most::bigint - sum(quota), 0) FROM (SELECT DISTINCT turn, quota FROM line) AS type)
        FOR UPDATE SKIP LOCKED
    ) AS found
    WHERE
        NOT EXISTS (
            SELECT FROM worksong_limit AS limits WHERE limits.space = :space AND limits.handler IN (SELECT handler FROM line)
        )
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY turn ORDER BY wanted, place, seq) AS rank FROM picked
),
chosen AS MATERIALIZED (
    SELECT
        *,
        greatest(:fence::bigint, max(fence) OVER () + 1) - 1
        + row_number() OVER (ORDER BY rank > quota, turn, rank) AS lending
    FROM ranked ORDER BY lending LIMIT :most
),
lent AS (
    UPDATE worksong_job AS job SET
        state = 'running', pool = :pool, fence = given.lending, at = :now,
        unique_key = CASE WHEN job.unique_mode = 'until_done' THEN job.unique_key END
    FROM unnest(ARRAY(SELECT seq FROM chosen), ARRAY(SELECT lending FROM chosen)) AS given (seq, lending)
    WHERE job.seq = given.seq
)
SELECT look.number, look.took, look.relaxed, job.lending, {whole}
FROM (
    SELECT
        count(*) AS number,
        extract(epoch FROM clock_timestamp() - min(line.begun))::float8 AS took,
        set_config('synchronous_commit', 'off', true) AS relaxed
    FROM line
) AS look LEFT JOIN chosen AS job ON true

-- Whether jobs of this queue may be lent to whoever asks.
--: open_to(fragment)
coalesce(queue = ANY(:queues::text[]), true)
AND NOT EXISTS (SELECT FROM worksong_paused AS paused WHERE paused.space = :space AND paused.queue = line.queue)

-- All lines of these types, hopping from queue to queue, each with the place where it begins.
--: hopping(fragment)
given AS MATERIALIZED (
    SELECT given.*, clock_timestamp() AS begun
    FROM unnest(:handler::text[], :quota::bigint[]) WITH ORDINALITY AS given (handler, quota, turn)
),
hop AS (
    SELECT given.*, first.queue, first.place
    FROM given
    CROSS JOIN LATERAL (
        SELECT job.queue, job.place FROM worksong_job AS job
        WHERE job.space = :space AND job.state = 'queued' AND job.handler = given.handler
        ORDER BY job.queue, job.place LIMIT 1
    ) AS first
    UNION ALL
    SELECT hop.handler, hop.quota, hop.turn, hop.begun, next.queue, next.place
    FROM hop
    CROSS JOIN LATERAL (
        SELECT job.queue, job.place FROM worksong_job AS job
        WHERE job.space = :space AND job.state = 'queued' AND job.handler = hop.handler AND job.queue > hop.queue
        ORDER BY job.queue, job.place LIMIT 1
    ) AS next
)

-- From the beginning of all lines.
--: take(handler, quota)
WITH RECURSIVE {hopping},
line AS MATERIALIZED (
    SELECT * FROM hop AS line WHERE {open_to}
),
{lending}

-- From places on in lines that are known: see `Front`.
--: take_near(handler, quota, turn, queue, place)
WITH known AS (
    SELECT given.handler, given.quota, given.turn, NULL::timestamptz AS begun, given.queue, first.place
    FROM unnest(:handler::text[], :quota::bigint[], :turn::bigint[], :queue::text[], :place::bigint[]) AS given (
        handler, quota, turn, queue, place
    )
    CROSS JOIN LATERAL (
        SELECT job.place FROM worksong_job AS job
        WHERE
            job.space = :space AND job.state = 'queued' AND job.handler = given.handler AND job.queue = given.queue
            AND job.place >= given.place
        ORDER BY job.place LIMIT 1
    ) AS first
),
line AS MATERIALIZED (
    SELECT * FROM known AS line WHERE {open_to}
),
{lending}

-- Where each line begins, and how many seconds it took to find out; a row in any case.
--: fronts(handler, quota)
WITH RECURSIVE {hopping},
line AS MATERIALIZED (
    SELECT handler, queue, place FROM hop
)
SELECT look.took, line.handler, line.queue, line.place
FROM (
    SELECT extract(epoch FROM clock_timestamp() - (SELECT min(begun) FROM given))::float8 AS took, count(*) FROM line
) AS look LEFT JOIN line ON true

-- Back

--: held(seq, fence, pool)
SELECT {light} FROM worksong_job AS job
JOIN unnest(:seq::bigint[], :fence::bigint[], :pool::text[]) AS given (seq, fence, pool)
    ON job.seq = given.seq AND job.fence = given.fence AND job.pool = given.pool
WHERE (job.state = 'running') IS TRUE FOR UPDATE OF job

-- Everything in one statement: an ending is one round trip then, without a transaction around it.
--: finish(seq, fence, pool, document, until)
WITH gone AS (
    DELETE FROM worksong_job AS job
    USING unnest(:seq::bigint[], :fence::bigint[], :pool::text[], :document::bytea[], :until::float8[]) AS given (
        seq, fence, pool, document, until
    )
    WHERE
        job.seq = given.seq AND job.fence = given.fence AND job.pool = given.pool AND job.cancelled = 0
        AND (job.state = 'running') IS TRUE
    RETURNING job.seq, job.id, given.document, given.until
),
kept AS (
    INSERT INTO worksong_result (space, id, document, until)
    SELECT :space, id, document, until FROM gone WHERE document IS NOT NULL
    ON CONFLICT (space, id) DO UPDATE SET document = excluded.document, until = excluded.until
)
SELECT seq FROM gone

--: drop(seq, fence)
DELETE FROM worksong_job AS job USING unnest(:seq::bigint[], :fence::bigint[]) AS given (seq, fence)
WHERE job.seq = given.seq AND job.fence = given.fence

--: move(seq, fence, state, place, at, enqueued_at, attempt, error, failed_at, unique_key, crashes, crashed_at, reason)
UPDATE worksong_job AS job SET
    state = given.state, place = given.place, at = given.at, enqueued_at = given.enqueued_at, attempt = given.attempt,
    error = given.error, failed_at = given.failed_at, unique_key = given.unique_key, crashes = given.crashes,
    crashed_at = given.crashed_at, reason = given.reason, pool = NULL
FROM unnest(
    :seq::bigint[], :fence::bigint[], :state::text[], :place::bigint[], :at::float8[], :enqueued_at::float8[],
    :attempt::int[], :error::bytea[], :failed_at::float8[], :unique_key::text[], :crashes::int[],
    :crashed_at::float8[], :reason::text[]
) AS given (
    seq, fence, state, place, at, enqueued_at, attempt, error, failed_at, unique_key, crashes, crashed_at, reason
)
WHERE job.seq = given.seq AND job.fence = given.fence

--: remember(seq, outcome)
INSERT INTO worksong_history (
    space, id, handler, queue, attempt, outcome, args, enqueued_at, started_at, ended_at
)
SELECT
    job.space, job.id, job.handler, job.queue, job.attempt, given.outcome, job.args, job.enqueued_at, job.at,
    :now::float8
FROM worksong_job AS job JOIN unnest(:seq::bigint[], :outcome::text[]) AS given (seq, outcome) ON job.seq = given.seq

--: keep(id, document, until)
INSERT INTO worksong_result (space, id, document, until)
SELECT :space, given.* FROM unnest(:id::text[], :document::bytea[], :until::float8[]) AS given
ON CONFLICT (space, id) DO UPDATE SET document = excluded.document, until = excluded.until

--: kept(id)
SELECT id, document FROM worksong_result WHERE space = :space AND id = ANY(:id::text[])

--: drop_result(id)
DELETE FROM worksong_result WHERE space = :space AND id = ANY(:id::text[])

-- Pools

--: set_limit(handler, most)
INSERT INTO worksong_limit (space, handler, most)
SELECT :space, given.* FROM unnest(:handler::text[], :most::bigint[]) AS given
ON CONFLICT (space, handler) DO UPDATE SET most = excluded.most

--: drop_limit(handler)
DELETE FROM worksong_limit WHERE space = :space AND handler = ANY(:handler::text[])

--: lent(handler)
SELECT {light} FROM worksong_job AS job
WHERE job.space = :space AND job.state = 'running' AND job.handler = ANY(:handler::text[]) AND job.pool = :pool

-- Moved

--: of_ids(id)
SELECT {light} FROM worksong_job AS job
WHERE job.space = :space AND job.id = ANY(:id::text[]) ORDER BY job.seq FOR UPDATE

--: rehouse(seq, fence)
UPDATE worksong_job AS job SET space = :to
FROM unnest(:seq::bigint[], :fence::bigint[]) AS given (seq, fence) WHERE job.seq = given.seq AND job.fence = given.fence

--: whole_by_id(id)
SELECT {whole} FROM worksong_job AS job WHERE job.space = :space AND job.id = ANY(:id::text[])

--: locks_taken(unique_key)
SELECT unique_key FROM worksong_job WHERE space = :space AND unique_key = ANY(:unique_key::text[])

--: unlock(seq)
UPDATE worksong_job SET unique_key = NULL WHERE seq = ANY(:seq::bigint[])

--: disown(id)
UPDATE worksong_once SET place = 0 WHERE space = :space AND id = ANY(:id::text[])

-- Records of the job service

--: lock_records(kind, id)
SELECT record.kind, record.id, record.version FROM worksong_record AS record
JOIN unnest(:kind::text[], :id::text[]) AS given (kind, id) ON record.kind = given.kind AND record.id = given.id
WHERE record.space = :space ORDER BY record.kind, record.id FOR UPDATE OF record

--: insert_record(kind, id, body, created_at, status, unsent_since, until, version)
INSERT INTO worksong_record (space, kind, id, body, created_at, status, unsent_since, until, version)
SELECT :space, given.* FROM unnest(
    :kind::text[], :id::text[], :body::bytea[], :created_at::float8[], :status::int[], :unsent_since::float8[],
    :until::float8[], :version::bigint[]
) AS given
ON CONFLICT DO NOTHING

--: update_record(kind, id, body, created_at, status, unsent_since, until, version)
UPDATE worksong_record AS record SET
    body = given.body, created_at = given.created_at, status = given.status, unsent_since = given.unsent_since,
    until = given.until, version = given.version
FROM unnest(
    :kind::text[], :id::text[], :body::bytea[], :created_at::float8[], :status::int[], :unsent_since::float8[],
    :until::float8[], :version::bigint[]
) AS given (kind, id, body, created_at, status, unsent_since, until, version)
WHERE record.space = :space AND record.kind = given.kind AND record.id = given.id

--: drop_record(kind, id)
DELETE FROM worksong_record AS record USING unnest(:kind::text[], :id::text[]) AS given (kind, id)
WHERE record.space = :space AND record.kind = given.kind AND record.id = given.id

--: records(kind, id)
SELECT {record} FROM worksong_record AS record
JOIN unnest(:kind::text[], :id::text[]) AS given (kind, id) ON record.kind = given.kind AND record.id = given.id
WHERE record.space = :space

-- Looked at

--: places(handler, queue)
SELECT found.place, found.seq, given.handler, given.queue
FROM unnest(:handler::text[], :queue::text[]) AS given (handler, queue)
CROSS JOIN LATERAL (
    SELECT job.place, job.seq FROM worksong_job AS job
    WHERE job.space = :space AND job.state = 'queued' AND job.handler = given.handler AND job.queue = given.queue
    ORDER BY job.place, job.seq LIMIT :most
) AS found

--: by_seq(seq)
SELECT {whole} FROM worksong_job AS job WHERE job.seq = ANY(:seq::bigint[])

-- Told

--: notify
SELECT pg_notify(:channel, :sender)

--: risks
SELECT name || ' = ' || setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off'

-- What jobs did over time

--: open_slots(grain, at, handler)
INSERT INTO worksong_course (space, grain, at, handler)
SELECT :space, given.* FROM unnest(:grain::int[], :at::bigint[], :handler::text[]) AS given
ON CONFLICT DO NOTHING

--: slots(grain, at, handler)
SELECT course.grain, course.at, course.handler, course.counts FROM worksong_course AS course
JOIN unnest(:grain::int[], :at::bigint[], :handler::text[]) AS given (grain, at, handler)
    ON course.grain = given.grain AND course.at = given.at AND course.handler = given.handler
WHERE course.space = :space ORDER BY course.grain, course.at, course.handler FOR UPDATE OF course

--: fill_slots(grain, at, handler, counts)
UPDATE worksong_course AS course SET counts = given.counts
FROM unnest(:grain::int[], :at::bigint[], :handler::text[], :counts::bytea[]) AS given (grain, at, handler, counts)
WHERE
    course.space = :space AND course.grain = given.grain AND course.at = given.at AND course.handler = given.handler
