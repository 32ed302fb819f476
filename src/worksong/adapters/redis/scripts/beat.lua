-- A pool's sign of life, unless it was struck off meanwhile.
-- KEYS  worker_pools, hash of the pool, cancelled, worksong's own pools, what the pool was told
-- ARGV  pool, 1 when it enlists, then the hash's fields but heartbeat_at
-- Answers {1 if struck off, seconds, microseconds, cancelled job ids, what it was told}
-- What lasts a week is renewed about once a minute, and when the hash was not there.
local time, first = redis.call('TIME'), ARGV[2] == '1'
if not first and redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return {1, time[1], time[2], {}, ''}
end
local cancelled = redis.pcall('ZREVRANGE', KEYS[3], 0, 999)
if cancelled.err then cancelled = {} end
local told = redis.pcall('GET', KEYS[5])
if type(told) ~= 'string' then told = '' end -- nothing, or it is no string
if first then redis.call('SADD', KEYS[1], ARGV[1]) end -- before all others, since this alone can fail
local new = redis.pcall('HSET', KEYS[2], 'heartbeat_at', time[1], unpack(ARGV, 3))
if type(new) ~= 'number' then -- it is no hash
  redis.call('DEL', KEYS[2])
  new = redis.call('HSET', KEYS[2], 'heartbeat_at', time[1], unpack(ARGV, 3))
end
if new > 0 or first or tonumber(time[1]) % 60 == 0 then
  redis.call('EXPIRE', KEYS[2], 604800)
  redis.pcall('ZADD', KEYS[4], time[1], ARGV[1])
  if told ~= '' then redis.call('EXPIRE', KEYS[5], 604800) end
end
return {0, time[1], time[2], cancelled, told}
