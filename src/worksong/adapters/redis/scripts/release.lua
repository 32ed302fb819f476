-- Closes a load: its jobs are gone, but for those that go back to where they were.
-- KEYS  aside, then the lists and sets to which jobs go back
-- ARGV  what is said of the load, prefix of ids known once, prefix of held keys, how many ids are gone, these ids; then
--       for each job that goes back seven: place of its list or set in KEYS, time ('' for a list), its bytes, the same
--       without its lock, job id, lock or '', the lock's value; those of a list in reverse order
-- Answers 1; 0: this load is not open.
--: misfit
if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[1] then return 0 end
local gone = tonumber(ARGV[4])
for at = 5 + gone, #ARGV, 7 do
  local wrong = misfit(KEYS[tonumber(ARGV[at])], ARGV[at + 1] == '' and 'list' or 'zset')
  if wrong then return wrong end
end

for i = 5, 4 + gone do
  -- Others' id from now on: the job may come back.
  if redis.pcall('GET', ARGV[2] .. ARGV[i]) == '1' then redis.call('SET', ARGV[2] .. ARGV[i], '0', 'KEEPTTL') end
end
for at = 5 + gone, #ARGV, 7 do
  local key, time, raw = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  local id, lock, value = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  if lock ~= '' and value ~= '' then
    if not redis.call('SET', lock, value, 'NX', 'EX', 86400) then
      raw = ARGV[at + 3]
    elseif string.find(raw, '"unique_until"', 1, true) then
      redis.call('SET', ARGV[3] .. lock, id, 'EX', 86400)
    end
  end
  if time == '' then
    redis.call('RPUSH', key, raw)
  else
    redis.call('ZADD', key, time, raw)
  end
end
redis.call('DEL', KEYS[1])
return 1
