-- Takes in one job that may be refused: because its id was taken in before, or because an equal one is there.
-- KEYS  known_jobs, target (queue or scheduled), once, unique lock, held; known_jobs again for what does not apply
--       (an empty key would lie in another slot of a cluster)
-- ARGV  name, document, time ('' for a queue), id, seconds an id is kept, value of the lock, seconds a lock is kept
-- Answers 1: taken in; 0: refused. A refused duplicate renews the lock's value and time, as gocraft/work's does,
--          but shortens no longer time: that of a job on the schedule.
--: guarded
return guarded.wrong(KEYS, ARGV) or guarded.push(KEYS, ARGV)
