-- Takes a second off the schedule in which nothing is due any more.
-- KEYS  schedule, list of that second
-- ARGV  the second
if redis.call('EXISTS', KEYS[2]) == 0 then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
