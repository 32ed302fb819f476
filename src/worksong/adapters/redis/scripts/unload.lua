-- Takes in a load from another store, all at once, if it was not taken in before.
-- KEYS  receipt, known_jobs, scheduled, retry, dead, then queues
-- ARGV  seconds a receipt is kept, ids that are left out (JSON), prefix of ids known once, prefix of held keys, seconds a
--       lock is kept; for each job eight: target's place in KEYS, time ('' for a queue), its bytes, job id, its type,
--       lock or '', the lock's value, 1 if the lock stays until the job is done
-- Answers the receipt: what was left out, then one letter for each job: . taken in, L its lock is taken, K its id is known
--         as one that was pushed here; and 0 if the load had been taken in before, 1 if not.
-- Checks everything before the first write.
--: misfit
local before = redis.call('GET', KEYS[1])
if before then return {before, 0} end
for i = 2, #KEYS do
  local wrong = misfit(KEYS[i], i == 2 and 'set' or i <= 5 and 'zset' or 'list')
  if wrong then return wrong end
end

local fates = {}
for at = 6, #ARGV, 8 do
  local target, time, raw, id = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local lock, fate = ARGV[at + 5], '.'
  if redis.pcall('GET', ARGV[3] .. id) == '1' then
    fate = 'K'
  elseif lock ~= '' and not redis.call('SET', lock, ARGV[at + 6], 'NX', 'EX', ARGV[5]) then
    fate = 'L'
  else
    if ARGV[at + 7] == '1' then redis.call('SET', ARGV[4] .. lock, id, 'EX', ARGV[5]) end
    redis.call('SADD', KEYS[2], ARGV[at + 4])
    if time == '' then
      redis.call('LPUSH', KEYS[target], raw)
    else
      redis.call('ZADD', KEYS[target], time, raw)
    end
  end
  fates[#fates + 1] = fate
end
local receipt = table.concat(fates) .. ARGV[2]
redis.call('SET', KEYS[1], receipt, 'EX', ARGV[1])
return {receipt, 1}
