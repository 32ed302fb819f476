-- Lends many jobs at once, by the rules of gocraft/work's own script, which lends one.
-- KEYS  fence, dead, then for each job type: paused, lock, max_concurrency;
--       then for each again: queue, in progress of this pool, lock_info
-- ARGV  pool, prefix of unique locks, of held keys, of poison keys, largest document in bytes, most bytes to lend,
--       the name of each job type, in the order of their turns; now, most jobs to lend, the quota of each
-- Where some have less than their quotas, the others may exceed theirs, in the order of their turns.
-- Answers {first fence, {type, {bytes ...}, type, {bytes ...} ...}, {type whose keys are of a wrong kind ...}}
-- A type whose keys cannot be worked with is passed over before anything of it is touched.
local PIECE, GATES = 64, 3000 -- entries looked at in one step; keys asked in one command
local types = (#KEYS - 2) / 6
local pool, largest, heavy = ARGV[1], tonumber(ARGV[5]), tonumber(ARGV[6])
local now, limit = tonumber(ARGV[7 + types]), tonumber(ARGV[8 + types])
local lent, running, wrong, passed_over, rooms = {}, {}, {}, {}, {}
local count, bytes = 0, 0

-- Redis writes numbers out with all the care that fractions need, each time.
local texts = {}
local function text(number)
  local known = texts[number]
  if not known then
    known = string.format('%d', number)
    texts[number] = known
  end
  return known
end

-- Whether a counter is missing or a number that INCRBY takes.
local function whole(value)
  return value == false or value == '0' or (type(value) == 'string' and string.match(value, '^%-?[1-9]%d*$') ~= nil
    and #value < 16)
end

-- The values of all paused, lock and max_concurrency keys; true for one that is no string.
local function gates()
  local found, missing = {}, {}
  for first = 3, 2 + 3 * types, GATES do
    for i, value in ipairs(redis.call('MGET', unpack(KEYS, first, math.min(first + GATES - 1, 2 + 3 * types)))) do
      found[first + i - 1] = value
      if not value then missing[#missing + 1] = KEYS[first + i - 1] end
    end
  end
  for first = 1, #missing, GATES do
    if redis.call('EXISTS', unpack(missing, first, math.min(first + GATES - 1, #missing))) > 0 then
      for i = 3, 2 + 3 * types do
        if not found[i] and redis.call('EXISTS', KEYS[i]) == 1 then found[i] = true end
      end
      break
    end
  end
  return found
end

local gate = gates()

-- How many jobs of a type its gates let through; nil when they are of a wrong kind.
local function room(index)
  local paused, lock, cap = gate[3 * index], gate[3 * index + 1], gate[3 * index + 2]
  if paused then return 0 end
  if not (whole(lock) and whole(cap)) then return nil end
  local most = tonumber(cap or '0')
  return most == 0 and limit or math.max(0, most - tonumber(lock or '0'))
end

-- The bytes to run: a unique job's newest ones, its lock freed when that ends with the start.
local function opened(raw)
  if not string.find(raw, '"unique"', 1, true) then return raw end
  local ok, job = pcall(cjson.decode, raw)
  if not ok or type(job) ~= 'table' or job.unique ~= true or type(job.unique_key) ~= 'string' then return raw end
  local key = job.unique_key
  if string.sub(key, 1, #ARGV[2]) ~= ARGV[2] then return raw end
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' then return raw end
  local newer, again = nil, (tonumber(job.fails) or 0) > 0
  if value ~= '1' then
    local readable, other = pcall(cjson.decode, value)
    if readable and type(other) == 'table' and other.name == job.name then newer = other end
  end
  -- A job that runs again gave its lock back long ago: what is there now is somebody else's.
  if again and not (newer and newer.id == job.id) then return raw end
  if job.unique_until == 'done' then
    if newer then
      redis.call('SET', key, '1', 'KEEPTTL')
      redis.call('SET', ARGV[3] .. key, tostring(newer.id), 'EX', 86400)
    end
  else
    redis.call('DEL', key)
  end
  return newer and value or raw
end

-- Too large to be read anywhere: the bytes stay in the server, under a key of their own.
local function bury(raw, index, fence)
  local id = string.format('%024.0f', fence)
  local name, key = ARGV[6 + index], ARGV[4] .. id
  redis.call('SET', key, raw, 'EX', 15552000)
  local why = 'poison: too_large: ' .. #raw .. ' bytes, ' .. largest .. ' are allowed'
  redis.call('ZADD', KEYS[2], now, cjson.encode({name = name, id = id, t = now, err = why, failed_at = now,
    args = {poison = {reason = 'too_large', where = 'queue', key = key}}}))
end

local time = redis.call('TIME')
local fence = math.max(tonumber(time[1]) * 1e6 + tonumber(time[2]), (tonumber(redis.pcall('GET', KEYS[1])) or 0) + 1)
local first = fence

-- How many of the oldest are not too heavy to be lent together with what is lent already; one always is.
local function bearable(raws)
  local number = 0
  for i = #raws, 1, -1 do
    local size = #raws[i] > largest and 0 or #raws[i]
    if bytes > 0 and bytes + size > heavy then
      bytes = heavy
      break
    end
    bytes, number = bytes + size, number + 1
  end
  return number
end

-- Lends at most so many of a type, in one step; answers whether there may be more of it, nil when its keys are wrong.
local function lend(index, most)
  local lists = 3 * (types + index)
  local number = math.min(rooms[index], most, PIECE)
  if number <= 0 then return false end
  local raws = redis.pcall('LRANGE', KEYS[lists], text(-number), '-1')
  if raws.err then return nil end
  if #raws == 0 then return false end
  if type(redis.pcall('LLEN', KEYS[lists + 1])) ~= 'number' then return nil end
  local more = #raws == number
  local taken, fit = bearable(raws), 0
  for i = #raws, #raws - taken + 1, -1 do
    if #raws[i] <= largest then fit = fit + 1 end
  end
  if fit > 0 then
    local counted = redis.pcall('HINCRBY', KEYS[lists + 2], pool, text(fit)) -- the first write, and so the one that can fail
    if type(counted) == 'table' then
      local code = string.match(counted.err, '^%-?(%u+)')
      if code ~= 'WRONGTYPE' and code ~= 'ERR' then redis.call('HINCRBY', KEYS[lists + 2], pool, fit) end -- says so
      return nil
    end
  end
  redis.call('LTRIM', KEYS[lists], '0', text(-taken - 1))
  local kept = {}
  for i = #raws, #raws - taken + 1, -1 do -- the oldest is the last
    if #raws[i] > largest then
      bury(raws[i], index, fence)
      fence = fence + 1
    else
      kept[#kept + 1] = opened(raws[i])
    end
  end
  if fit > 0 then
    redis.call('LPUSH', KEYS[lists + 1], unpack(kept))
    lent[#lent + 1] = index
    lent[#lent + 1] = kept
    running[index] = (running[index] or 0) + fit
  end
  count, rooms[index] = count + fit, rooms[index] - fit
  return more
end

local function take(index, most)
  if passed_over[index] then return end
  rooms[index] = rooms[index] or room(index)
  local before, more = count, rooms[index] and true
  while more and bytes < heavy do more = lend(index, math.min(most - (count - before), limit - count)) end
  if more == nil then
    wrong[#wrong + 1], passed_over[index] = index, true
  elseif not more and count - before < most then
    passed_over[index] = true -- it has no more
  end
end

--: misfit
local unfit = misfit(KEYS[2], 'zset')
if unfit then return unfit end
for index = 1, types do
  if count >= limit then break end
  local quota = tonumber(ARGV[8 + types + index])
  if quota > 0 then take(index, quota) end
end
for index = 1, types do
  if count >= limit then break end
  take(index, limit)
end
-- The locks count what runs, for all types in one step.
local locks = {}
for index, number in pairs(running) do
  locks[#locks + 1] = KEYS[3 * index + 1]
  locks[#locks + 1] = string.format('%.0f', tonumber(gate[3 * index + 1] or '0') + number)
end
for at = 1, #locks, GATES do redis.call('MSET', unpack(locks, at, math.min(at + GATES - 1, #locks))) end
if fence > first or count > 0 then
  first = fence
  redis.call('SET', KEYS[1], string.format('%.0f', fence + count))
end
return {string.format('%.0f', first), lent, wrong}
