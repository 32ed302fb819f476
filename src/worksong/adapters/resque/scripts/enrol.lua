-- Puts a second on the schedule again, if something is due in it.
-- KEYS  list of that second, schedule
-- ARGV  the second
if redis.call('TYPE', KEYS[1]).ok == 'list' then return redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1]) end
return 0
