-- Puts waiting jobs aside for a move, each only if it is still where it was; unless a load lies aside already.
-- KEYS  aside, then the lists and sorted sets they come from
-- ARGV  what is said of the load, the prefix of held keys; for each job five: place of its list or set in KEYS, its bytes,
--       job id, lock or '', 1 if the lock stays until the job is done
-- Aside is a list: what is said of the load, then for each job five: key, time ('' of a list), bytes, lock or '', the
-- lock's value ('' if it was not this job's).
-- Answers how many were put aside; -1: a load lies aside already.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'list' then return -1 end
if kind ~= 'none' then return redis.error_reply('WRONGTYPE key ' .. KEYS[1] .. ' holds a ' .. kind .. ' where a list belongs') end
local kinds = {}
for i = 2, #KEYS do kinds[i] = redis.call('TYPE', KEYS[i]).ok end

local function unlock(id, lock, done)
  local held = ARGV[2] .. lock
  if done == '1' and redis.pcall('GET', held) ~= id then return '' end
  local value = redis.pcall('GET', lock)
  if type(value) ~= 'string' then return '' end
  redis.call('DEL', lock)
  if done == '1' then redis.call('DEL', held) end
  return value
end

local taken = 0
for at = 3, #ARGV, 5 do
  local from, raw = tonumber(ARGV[at]), ARGV[at + 1]
  local time, removed = '', 0
  if kinds[from] == 'zset' then
    time = redis.call('ZSCORE', KEYS[from], raw)
    removed = redis.call('ZREM', KEYS[from], raw)
  elseif kinds[from] == 'list' then
    removed = redis.call('LREM', KEYS[from], -1, raw)
  end
  if removed == 1 then
    local lock = ARGV[at + 3]
    local value = lock ~= '' and unlock(ARGV[at + 2], lock, ARGV[at + 4]) or ''
    if taken == 0 then redis.call('RPUSH', KEYS[1], ARGV[1]) end
    redis.call('RPUSH', KEYS[1], KEYS[from], time, raw, lock, value)
    taken = taken + 1
  end
end
return taken
