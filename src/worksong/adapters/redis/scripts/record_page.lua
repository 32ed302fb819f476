-- Answers a page of records: of each its id and its time of creation.
-- KEYS  a list of records: ids by the time of their creation
-- ARGV  time of creation and id of the last one of the page before ('' and '' for the first page), how many at most
-- That last one may be gone: it is put back for a moment to see where it was.
if ARGV[1] == '' then return redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1, 'WITHSCORES') end
local missing = redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2]) == 1
local from = redis.call('ZRANK', KEYS[1], ARGV[2])
if missing then redis.call('ZREM', KEYS[1], ARGV[2]) else from = from + 1 end
return redis.call('ZRANGE', KEYS[1], from, from + ARGV[3] - 1, 'WITHSCORES')
