-- Takes in one job that may be refused: because its id was taken in before, or because an equal one is there.
-- KEYS  known_jobs, target (queue or scheduled), once, unique lock, held; known_jobs again for what does not apply
--       (an empty key would lie in another slot of a cluster)
-- ARGV  name, document, time ('' for a queue), id, seconds an id is kept, value of the lock, seconds a lock is kept
-- Answers 1: taken in; 0: refused. A refused duplicate renews the lock's value and time, as gocraft/work's does,
--          but shortens no longer time: that of a job on the schedule.
local kind = ARGV[3] == '' and 'list' or 'zset'
for key, want in pairs({[KEYS[1]] = 'set', [KEYS[2]] = kind}) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= want then
    return redis.error_reply('WRONGTYPE key ' .. key .. ' holds a ' .. found .. ' where a ' .. want .. ' belongs')
  end
end

if KEYS[3] ~= KEYS[1] and redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
if KEYS[4] ~= KEYS[1] then
  local free = redis.call('SET', KEYS[4], ARGV[6], 'NX', 'EX', ARGV[7])
  if not free then
    redis.call('SET', KEYS[4], ARGV[6], 'EX', math.max(tonumber(ARGV[7]), redis.call('TTL', KEYS[4])))
    return 0
  end
  if KEYS[5] ~= KEYS[1] then redis.call('SET', KEYS[5], ARGV[4], 'EX', ARGV[7]) end
end
if KEYS[3] ~= KEYS[1] then redis.call('SET', KEYS[3], '1', 'EX', ARGV[5]) end
redis.call('SADD', KEYS[1], ARGV[1])
if kind == 'list' then
  redis.call('LPUSH', KEYS[2], ARGV[2])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
end
return 1
