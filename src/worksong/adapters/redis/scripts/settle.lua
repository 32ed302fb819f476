-- Carries out endings of lent jobs; also takes jobs back from a pool that is gone. What LREM removed gates all else.
-- KEYS  retry, scheduled, dead, cancelled, recovered, recovered_at, then for each group: in progress, queue, lock, lock_info
--       (no list in progress twice)
-- ARGV  now, then for each group: pool, number of plain drops, number of other items; for each plain drop two:
--       bytes as lent, job id; for each other item seven:
--       action, bytes as lent, bytes to write, time, job id, unique lock or '', held or ''
-- Actions  drop; retry, schedule, bury: written there; front: back as it came, or as the bytes to write;
--          tail: the same, behind the others, one crash counted
-- Answers 1 for each drop, and then item, of each group that was still the pool's, else 0.
-- Checks everything before the first write.
--: misfit

local KINDS = {'zset', 'zset', 'zset', 'zset', 'hash', 'zset'}
local WRITES = {retry = {1}, schedule = {2}, bury = {3}, tail = {5, 6}} -- which of the first six keys
local wrong = misfit(KEYS[4], KINDS[4])

-- What there is of each group: the oldest in progress, as many as are dropped; the counters.
local groups, locks, at = {}, {}, 2
for k = 7, #KEYS, 4 do
  local pool, drops, others = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local oldest = redis.pcall('LRANGE', KEYS[k], drops < 2 and '-1' or '-' .. ARGV[at + 1], '-1')
  local mine = redis.pcall('HGET', KEYS[k + 3], pool)
  if oldest.err then wrong = wrong or misfit(KEYS[k], 'list') end
  if type(mine) == 'table' then wrong = wrong or misfit(KEYS[k + 3], 'hash') end
  if others > 0 then wrong = wrong or misfit(KEYS[k + 1], 'list') end
  for i = at + 3 + 2 * drops, at + 2 + 2 * drops + 7 * others, 7 do
    for _, key in ipairs(WRITES[ARGV[i]] or {}) do wrong = wrong or misfit(KEYS[key], KINDS[key]) end
  end
  locks[#locks + 1] = KEYS[k + 2]
  groups[#groups + 1] = {pool = pool, drops = drops, others = others, oldest = oldest, mine = mine, at = at + 3}
  at = at + 3 + 2 * drops + 7 * others
end
local running = {}
if #locks > 0 then
  for i, value in ipairs(redis.call('MGET', unpack(locks))) do
    running[locks[i]] = value
    if not value then wrong = wrong or misfit(locks[i], 'string') end
  end
end
if wrong then return wrong end

local now = ARGV[1]
local someone_cancelled = redis.call('ZCARD', KEYS[4]) > 0

local function unlock(id, lock, held)
  if held == '' then
    return
  end
  if redis.pcall('GET', held) == id then redis.call('DEL', held, lock) end
end

local function keep(at, lock, held)
  if held == '' then return end
  local seconds = math.max(86400, math.ceil(tonumber(at) - tonumber(now)) + 86400)
  redis.call('EXPIRE', lock, seconds)
  redis.call('EXPIRE', held, seconds)
end

local function finish(k, action, raw, new, at, id, lock, held)
  -- With its burial a cancellation is over: who requeues the dead job wants it to run.
  local cancelled = someone_cancelled and redis.call('ZREM', KEYS[4], id) == 1
  if cancelled and action ~= 'bury' then action = 'drop' end
  if action == 'drop' then
    unlock(id, lock, held)
  elseif action == 'bury' then
    unlock(id, lock, held)
    redis.call('ZADD', KEYS[3], at, new)
  elseif action == 'retry' then
    keep(at, lock, held)
    redis.call('ZADD', KEYS[1], at, new)
  elseif action == 'schedule' then
    keep(at, lock, held)
    redis.call('ZADD', KEYS[2], at, new)
  elseif action == 'front' then
    redis.call('RPUSH', KEYS[k + 1], new == '' and raw or new)
  elseif action == 'tail' then
    redis.call('HSET', KEYS[5], id, (tonumber(redis.call('HGET', KEYS[5], id)) or 0) + 1)
    redis.call('ZADD', KEYS[6], now, id)
    redis.call('LPUSH', KEYS[k + 1], new == '' and raw or new)
  end
end

-- Whether the oldest in progress are those that are dropped, in whatever order.
local function are(oldest, drops, at)
  if #oldest ~= drops then return false end
  local left = {}
  for _, raw in ipairs(oldest) do left[raw] = (left[raw] or 0) + 1 end
  for i = at, at + 2 * drops - 1, 2 do
    local same = left[ARGV[i]]
    if not same or same == 0 then return false end
    left[ARGV[i]] = same - 1
  end
  return true
end

local answers = {}

-- Takes the plain drops from the list in progress; answers how many were there.
local function drop(k, group)
  local removed = 0
  local whole = are(group.oldest, group.drops, group.at)
  if whole then redis.call('LTRIM', KEYS[k], '0', string.format('%d', -group.drops - 1)) end
  for i = group.at, group.at + 2 * group.drops - 1, 2 do
    local mine = whole and 1 or redis.call('LREM', KEYS[k], '-1', ARGV[i])
    if mine == 1 then
      removed = removed + 1
      if someone_cancelled then redis.call('ZREM', KEYS[4], ARGV[i + 1]) end
    end
    answers[#answers + 1] = mine
  end
  return removed
end

local function carry_out(k, group)
  local first, removed = group.at + 2 * group.drops, 0
  for i = first, first + 7 * group.others - 1, 7 do
    local mine = redis.call('LREM', KEYS[k], '-1', ARGV[i + 1])
    if mine == 1 then
      removed = removed + 1
      finish(k, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
    end
    answers[#answers + 1] = mine
  end
  return removed
end

-- The lock falls by what was counted for this pool: a list of a Go pool can hold entries that have ended.
local changed = {}
local function count_down(k, group, removed)
  local lock, mine = KEYS[k + 2], tonumber(group.mine or '0') or 0
  local left = math.max(0, (tonumber(running[lock] or '0') or 0) - math.min(removed, math.max(0, mine)))
  running[lock] = left
  changed[#changed + 1] = lock
  changed[#changed + 1] = string.format('%.0f', left)
  if mine > removed then
    redis.call('HSET', KEYS[k + 3], group.pool, string.format('%.0f', mine - removed))
  else
    redis.call('HDEL', KEYS[k + 3], group.pool)
  end
end

for i, group in ipairs(groups) do
  local k = 3 + 4 * i
  local removed = drop(k, group) + carry_out(k, group)
  if removed > 0 then count_down(k, group, removed) end
end
if #changed > 0 then redis.call('MSET', unpack(changed)) end -- of two for one key the later counts
return answers
