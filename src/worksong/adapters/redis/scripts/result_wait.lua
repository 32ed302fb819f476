-- Answers a result, or leaves word where to tell of it.
-- KEYS  the result, the set of the mailboxes of those who wait for it
-- ARGV  mailbox, seconds for which it waits
local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return false
