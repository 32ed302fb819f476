-- Strikes a pool off, once nothing of it is left in progress, with the slots that its locks still count.
-- KEYS  worker_pools, hash of the pool, then for each job type: in progress, lock, lock_info
-- ARGV  pool
-- Answers 1: struck off; 0: there is something left. A type whose keys are of a wrong kind has nothing left.
local pools = redis.call('TYPE', KEYS[1]).ok
if pools ~= 'none' and pools ~= 'set' then
  return redis.error_reply('WRONGTYPE key ' .. KEYS[1] .. ' holds a ' .. pools .. ' where a set belongs')
end
for k = 3, #KEYS, 3 do
  if redis.call('TYPE', KEYS[k]).ok == 'list' then return 0 end
end
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
for k = 3, #KEYS, 3 do
  local mine = redis.pcall('HGET', KEYS[k + 2], ARGV[1])
  local running = redis.pcall('GET', KEYS[k + 1])
  if type(mine) == 'string' then
    local left = (tonumber(running) or 0) - math.max(0, tonumber(mine) or 0)
    redis.call('HDEL', KEYS[k + 2], ARGV[1])
    if type(running) == 'string' then redis.call('SET', KEYS[k + 1], string.format('%.0f', math.max(0, left))) end
  end
end
return 1
