-- Drops all that waits in a queue; answers how many.
-- KEYS  queue
local count = redis.call('LLEN', KEYS[1])
redis.call('UNLINK', KEYS[1])
return count
