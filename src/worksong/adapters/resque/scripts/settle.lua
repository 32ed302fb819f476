-- Carries out endings of lent jobs; also takes jobs back from a pool that is gone. What HDEL removed gates all else.
-- KEYS  lent (of the pool), cancelled, failed, queues, schedule, retries, recovered, recovered_at, stat:processed,
--       stat:failed, both of the worker that the statistics are kept for (or both again)
-- ARGV  prefix, now, then for each ending eight: action, fence, queue, bytes to write ('' for as lent), due second or '',
--       job id, key of the counter of retries or '', '' or its value (and seconds to keep it, after a space)
-- Actions  done, dropped: gone; retry, snooze: on the schedule; bury: to the failures; keep: the same, its bytes under
--          the key `due second`; front: back to the head of its queue; tail: behind the others, one crash counted
--          unless its id is ''
--          In capitals: as small, and told to be a failure in the statistics (BURY, RETRY, DROPPED).
-- Answers for each ending 1 if the pool still had it, else 0.
-- Checks everything before the first write.
local prefix, now = ARGV[1], ARGV[2]
--: misfit_once

local wrong = misfit_once(KEYS[1], 'hash') or misfit_once(KEYS[2], 'zset')
for i = 9, 12 do wrong = wrong or misfit_once(KEYS[i], 'string') end
for at = 3, #ARGV, 8 do
  local action = string.lower(ARGV[at])
  if action == 'retry' or action == 'snooze' then
    wrong = wrong or misfit_once(KEYS[5], 'zset') or misfit_once(KEYS[6], 'zset')
    wrong = wrong or misfit_once(prefix .. 'delayed:' .. ARGV[at + 4], 'list')
    wrong = wrong or misfit_once(prefix .. 'timestamps:' .. ARGV[at + 3], 'set')
  elseif action == 'bury' or action == 'keep' then
    wrong = wrong or misfit_once(KEYS[3], 'list')
  elseif action == 'front' or action == 'tail' then
    wrong = wrong or misfit_once(KEYS[4], 'set') or misfit_once(prefix .. 'queue:' .. ARGV[at + 2], 'list')
    if action == 'tail' then wrong = wrong or misfit_once(KEYS[7], 'hash') or misfit_once(KEYS[8], 'zset') end
  end
end
for _, key in ipairs({KEYS[9], KEYS[10], KEYS[11], KEYS[12]}) do
  local value = redis.call('GET', key)
  if value and value ~= '0' and not (string.match(value, '^%-?[1-9]%d*$') and #value < 19) then
    wrong = wrong or redis.error_reply('WRONGTYPE key ' .. key .. ' holds a text where a number belongs')
  end
end
if wrong then return wrong end

-- The bytes of what goes on as it was lent; what is malformed is left where it is, as if it were not there.
local lent = {}
for at = 3, #ARGV, 8 do
  local action = string.lower(ARGV[at])
  if action == 'front' or action == 'tail' or action == 'keep' then
    local value = redis.call('HGET', KEYS[1], ARGV[at + 1]) or ''
    local length, colon = string.match(value, '^(%d+)():')
    lent[at] = length and string.sub(value, colon + 1 + tonumber(length)) or false
  end
end

local someone_cancelled = redis.call('ZCARD', KEYS[2]) > 0
local processed, failed = 0, 0
local answers, fronts = {}, {}

local function finish(action, fence, raw, queue, new, at, id)
  -- With its burial a cancellation is over: who requeues the failed job wants it to run.
  local cancelled = someone_cancelled and redis.call('ZREM', KEYS[2], id) == 1
  if cancelled and action ~= 'bury' and action ~= 'keep' then return false end
  if action == 'retry' or action == 'snooze' then
    local bucket = 'delayed:' .. at
    redis.call('RPUSH', prefix .. bucket, new)
    redis.call('SADD', prefix .. 'timestamps:' .. new, bucket)
    redis.call('ZADD', KEYS[5], at, at)
    if action == 'retry' or string.find(new, ',"attempt":', 1, true) then redis.call('ZADD', KEYS[6], at, new) end
  elseif action == 'bury' or action == 'keep' then
    if action == 'keep' then redis.call('SET', at, raw) end
    redis.call('RPUSH', KEYS[3], new)
  elseif action == 'front' then
    fronts[#fronts + 1] = {fence = tonumber(fence), queue = queue, raw = raw}
  elseif action == 'tail' then
    if id ~= '' then
      redis.call('HSET', KEYS[7], id, (tonumber(redis.call('HGET', KEYS[7], id)) or 0) + 1)
      redis.call('ZADD', KEYS[8], now, id)
    end
    redis.call('SADD', KEYS[4], queue)
    redis.call('RPUSH', prefix .. 'queue:' .. queue, raw)
  end
  return true
end

local function count_retries(key, value)
  if key == '' then return end
  if value == '' then
    redis.call('DEL', key)
  else
    local number, seconds = string.match(value, '^(%S+) (%S+)$')
    redis.call('SET', key, number, 'EX', seconds)
  end
end

for at = 3, #ARGV, 8 do
  local said, fence = ARGV[at], ARGV[at + 1]
  local action = string.lower(said)
  local raw = lent[at]
  local mine = raw == false and 0 or redis.call('HDEL', KEYS[1], fence)
  if mine == 1 then
    if finish(action, fence, raw, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]) then
      count_retries(ARGV[at + 6], ARGV[at + 7])
    end
    if action ~= 'front' and action ~= 'tail' and action ~= 'snooze' then processed = processed + 1 end
    -- Equal foreign jobs share an id: one that went well clears the others of its crashes.
    if action == 'done' and string.sub(ARGV[at + 5], 1, 7) == 'resque:' then
      if redis.pcall('HDEL', KEYS[7], ARGV[at + 5]) == 1 then redis.pcall('ZREM', KEYS[8], ARGV[at + 5]) end
    end
    if said ~= action then failed = failed + 1 end
  end
  answers[#answers + 1] = mine
end
table.sort(fronts, function(a, b) return a.fence > b.fence end) -- the oldest comes to stand in front of all
for _, job in ipairs(fronts) do
  redis.call('SADD', KEYS[4], job.queue)
  redis.call('LPUSH', prefix .. 'queue:' .. job.queue, job.raw)
end
if processed > 0 then
  redis.call('INCRBY', KEYS[9], processed)
  if KEYS[11] ~= KEYS[9] then redis.call('INCRBY', KEYS[11], processed) end
end
if failed > 0 then
  redis.call('INCRBY', KEYS[10], failed)
  if KEYS[12] ~= KEYS[10] then redis.call('INCRBY', KEYS[12], failed) end
end
return answers
