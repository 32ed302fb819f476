-- Strikes a pool and its workers off, once it holds nothing more.
-- KEYS  pools, beaten, hash of the pool, lent (of the pool), workers, workers:heartbeat
-- ARGV  pool, prefix, prefix of what the slots do, number of workers as the peers know them, these, then our slots
-- Answers 1: struck off; 0: there is something left.
--: misfit
for i, kind in ipairs({'set', 'zset', 'hash', 'hash', 'set', 'hash'}) do
  local wrong = misfit(KEYS[i], kind)
  if wrong then return wrong end
end
if redis.call('HLEN', KEYS[4]) > 0 then return 0 end
local prefix, count = ARGV[2], tonumber(ARGV[4])
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
for i = 5, 4 + count do
  local id = ARGV[i]
  redis.call('SREM', KEYS[5], id)
  redis.call('HDEL', KEYS[6], id)
  redis.call('DEL', prefix .. 'worker:' .. id, prefix .. 'worker:' .. id .. ':started',
    prefix .. 'stat:processed:' .. id, prefix .. 'stat:failed:' .. id)
end
for i = 5 + count, #ARGV do redis.call('DEL', ARGV[3] .. ARGV[i]) end
return 1
