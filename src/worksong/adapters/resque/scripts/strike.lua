-- Strikes a pool and its workers off, once it holds nothing more.
-- KEYS  pools, beaten, hash of the pool, lent (of the pool), workers, workers:heartbeat, Ruby's and node's lock of the
--       scheduler
-- ARGV  pool, prefix, name by which our schedulers hold the locks, prefix of what the slots do,
--       number of workers as the peers know them, these, then our slots
-- Answers 1: struck off; 0: there is something left.
for i, kind in ipairs({'set', 'zset', 'hash', 'hash', 'set', 'hash', 'string', 'string'}) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE key ' .. KEYS[i] .. ' holds a ' .. found .. ' where a ' .. kind .. ' belongs')
  end
end
if redis.call('HLEN', KEYS[4]) > 0 then return 0 end
local prefix, count = ARGV[2], tonumber(ARGV[5])
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
for i = 6, 5 + count do
  local id = ARGV[i]
  redis.call('SREM', KEYS[5], id)
  redis.call('HDEL', KEYS[6], id)
  redis.call('DEL', prefix .. 'worker:' .. id, prefix .. 'worker:' .. id .. ':started',
    prefix .. 'stat:processed:' .. id, prefix .. 'stat:failed:' .. id)
end
for i = 6 + count, #ARGV do redis.call('DEL', ARGV[4] .. ARGV[i]) end
if redis.call('SCARD', KEYS[1]) == 0 then -- nobody of ours is left who would move what is due
  for i = 7, 8 do
    if redis.call('GET', KEYS[i]) == ARGV[3] then redis.call('DEL', KEYS[i]) end
  end
end
return 1
