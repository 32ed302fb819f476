-- Moves members out of a sorted set, each only if it is still there: the bytes are the client's, nothing is re-encoded.
-- KEYS  the set, retry, scheduled, dead, then queues, and at the end cancelled
-- ARGV  for each member seven: action, the member, bytes to write, time, job id, lock or '', held or ''
-- Actions  drop; 2, 3, 4: to retry, scheduled, dead; 5 and more: to the queue of that place in KEYS,
--          which ends a cancellation of the job id, where one is given
-- Answers 1 for each member that was moved; 0: it was gone; -1: its queue is of a wrong kind, nothing was touched.
-- Checks everything before the first write.
--: misfit
--: unlock
for i = 1, 4 do
  local unfit = misfit(KEYS[i], 'zset')
  if unfit then return unfit end
end
local wrong = {}
for i = 5, #KEYS do wrong[i] = misfit(KEYS[i], 'list') end

local answers = {}
for at = 1, #ARGV, 7 do
  local target = tonumber(ARGV[at])
  local moved = wrong[target or 0] and -1 or redis.call('ZREM', KEYS[1], ARGV[at + 1])
  if moved == 1 then
    if not target then
      unlock(ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
    elseif target <= 4 then
      redis.call('ZADD', KEYS[target], ARGV[at + 3], ARGV[at + 2])
    else
      redis.call('LPUSH', KEYS[target], ARGV[at + 2])
      if ARGV[at + 4] ~= '' then redis.pcall('ZREM', KEYS[#KEYS], ARGV[at + 4]) end
    end
  end
  answers[#answers + 1] = moved
end
return answers
