-- Carries out one ending that others follow: the job goes, its lock with it, and the jobs behind it come; all or none.
-- KEYS  in progress, lock, lock_info, cancelled, known_jobs, unique lock, held; known_jobs again for what does not apply;
--       then for each job that follows two: target (queue or scheduled), once
-- ARGV  pool, bytes as lent, id, then for each job that follows four: name, document, time ('' for a queue), seconds an
--       id is kept
-- Answers 1 if the ending was still the pool's, else 0. An id taken in before is passed over; behind a job that was
-- cancelled nothing follows. Checks everything before the first write.
--: misfit

local KINDS = {'list', 'string', 'hash', 'zset', 'set'}
local wrong
for i, kind in ipairs(KINDS) do wrong = wrong or misfit(KEYS[i], kind) end
for i = 0, (#KEYS - 7) / 2 - 1 do
  wrong = wrong or misfit(KEYS[8 + 2 * i], ARGV[6 + 4 * i] == '' and 'list' or 'zset')
end
if wrong then return wrong end

local pool, id = ARGV[1], ARGV[3]
if redis.call('LREM', KEYS[1], '-1', ARGV[2]) == 0 then return 0 end
local mine = tonumber(redis.call('HGET', KEYS[3], pool)) or 0
if mine > 0 then redis.call('SET', KEYS[2], string.format('%.0f', math.max(0, (tonumber(redis.call('GET', KEYS[2])) or 0) - 1))) end
if mine > 1 then
  redis.call('HSET', KEYS[3], pool, string.format('%.0f', mine - 1))
else
  redis.call('HDEL', KEYS[3], pool)
end
if KEYS[7] ~= KEYS[5] and redis.pcall('GET', KEYS[7]) == id then redis.call('DEL', KEYS[7], KEYS[6]) end
if redis.call('ZREM', KEYS[4], id) == 1 then return 1 end

for i = 0, (#KEYS - 7) / 2 - 1 do
  local target, once = KEYS[8 + 2 * i], KEYS[9 + 2 * i]
  local name, document, at, kept = unpack(ARGV, 4 + 4 * i, 7 + 4 * i)
  if redis.call('SET', once, '1', 'NX', 'EX', kept) then
    redis.call('SADD', KEYS[5], name)
    if at == '' then redis.call('LPUSH', target, document) else redis.call('ZADD', target, at, document) end
  end
end
return 1
