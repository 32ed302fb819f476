-- Lends many jobs at once: what leaves a queue is in the hands of the pool with the same step.
-- KEYS  queues, fence, lent (of this pool), pause-all-workers
-- ARGV  prefix, prefix of paused, most jobs to lend, largest payload in bytes, most bytes to lend, number of queues,
--       the queues in the order in which they are asked (none: all, the oldest job first),
--       then the turns: a class, its quota
-- Answers {first fence, {queue, {payload, or the size of one too large ...}, queue, {...} ...}, {queue of a wrong kind ...}}
-- Classes that are not asked for stay where they are: other workers, of other programs, share the queues.
local AHEAD, DEEP = 40, 10000 -- entries looked at so that classes have their turns; to find any at all
local prefix, paused, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local largest, heavy, count = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- Fences grow with the time, also when the server lost its last writes: those lendings are never lent again.
local before = tonumber(redis.pcall('GET', KEYS[2])) or 0
local time = redis.call('TIME')
local fence = math.max(tonumber(time[1]) * 1e6 + tonumber(time[2]), before + 1)

local held = redis.pcall('GET', KEYS[4])
if held == 'true' then return {0, {}, {}} end
--: misfit
local unfit = misfit(KEYS[3], 'hash')
if unfit then return unfit end

local names, ordered = {}, count > 0
if ordered then
  for i = 7, 6 + count do names[#names + 1] = ARGV[i] end
else
  names = redis.call('SMEMBERS', KEYS[1])
  table.sort(names)
end
local turns, quotas = {}, {}
for at = 7 + count, #ARGV, 2 do
  turns[#turns + 1] = ARGV[at]
  quotas[ARGV[at]] = tonumber(ARGV[at + 1])
end

-- The class of a payload; nil for what is no job, which is lent to be buried.
local function class(raw)
  local plain = string.match(raw, '^{"class":"([^"\\]+)"')
  if plain then return plain end
  local ok, job = pcall(cjson.decode, raw)
  if ok and type(job) == 'table' and type(job.class) == 'string' and job.class ~= '' then return job.class end
end

local function number(raw)
  return tonumber(string.match(string.sub(raw, -24), ',"n":(%d+)}}$'))
end

-- Jobs at the head of a queue that may be lent, as many as are wanted and some more, so that classes have their turns.
local wrong = {}
local function candidates(place, queue)
  local key, list, looked, bytes, piece = prefix .. 'queue:' .. queue, {}, 0, 0, 16
  if redis.call('EXISTS', paused .. queue) == 1 then return list end
  while true do
    local raws = redis.pcall('LRANGE', key, looked, looked + piece - 1)
    if raws.err then
      wrong[#wrong + 1] = queue
      return {}
    end
    for _, raw in ipairs(raws) do
      looked, bytes = looked + 1, bytes + #raw
      local name = #raw <= largest and class(raw) or nil
      if not name or quotas[name] then
        list[#list + 1] = {queue = place, at = looked, raw = raw, class = name}
      end
    end
    if #raws < piece or looked >= DEEP or bytes > heavy then break end
    if #list >= limit and looked >= AHEAD then break end
    piece = math.min(piece * 2, 1024)
  end
  return list
end

local chosen, room, weight = {}, limit, 0

-- Chooses among jobs that stand in their order: of each class its quota, then whatever there is.
local function choose(list)
  local mine = {}
  local function take(name, most)
    for _, job in ipairs(list) do
      if room == 0 or most == 0 or weight > heavy then return end
      if not job.taken and job.class == name then
        job.taken = true
        weight = weight + (#job.raw <= largest and #job.raw or 0)
        room, most = room - 1, most - 1
        if name then quotas[name] = math.max(0, quotas[name] - 1) end
        mine[#mine + 1] = job
      end
    end
  end
  take(nil, room)
  for _, name in ipairs(turns) do take(name, quotas[name]) end
  for _, name in ipairs(turns) do take(name, room) end
  for _, job in ipairs(mine) do chosen[#chosen + 1] = job end
end

if ordered then
  for place, queue in ipairs(names) do
    if room == 0 or weight > heavy then break end
    choose(candidates(place, queue))
  end
else
  -- By the numbers that our payloads bear. A foreign one is as old as the one before it in its queue; at the head of
  -- a queue as old as the oldest of all, and which of several such queues comes first changes with every fetch.
  local all, oldest = {}, nil
  for place, queue in ipairs(names) do
    for _, job in ipairs(candidates(place, queue)) do
      job.number = number(job.raw)
      if job.number and (not oldest or job.number < oldest) then oldest = job.number end
      all[#all + 1] = job
    end
  end
  local ahead
  for _, job in ipairs(all) do
    -- What was put behind others later, as after a crash of its worker, comes behind them.
    local least = ahead and ahead.queue == job.queue and ahead.number
    job.number = math.max(job.number or least or oldest or 0, least or 0)
    job.turn = (job.queue + before) % #names
    ahead = job
  end
  table.sort(all, function(a, b)
    if a.number ~= b.number then return a.number < b.number end
    if a.turn ~= b.turn then return a.turn < b.turn end
    return a.at < b.at
  end)
  choose(all)
end
if #chosen == 0 then return {0, {}, wrong} end

-- In the order of the queues and of the places there, or of age; then out of the queues, all with one command where
-- they stand together at the head.
local final = fence + #chosen - 1
final = final + (before + 1 - final) % #names -- the next fetch begins with the next queue
redis.call('SET', KEYS[2], string.format('%.0f', final))
local place = {}
if ordered then
  table.sort(chosen, function(a, b)
    if a.queue ~= b.queue then return a.queue < b.queue end
    return a.at < b.at
  end)
else
  table.sort(chosen, function(a, b)
    if a.number ~= b.number then return a.number < b.number end
    if a.turn ~= b.turn then return a.turn < b.turn end
    return a.at < b.at
  end)
end
local parts, last = {}, {}
for i, job in ipairs(chosen) do
  local queue = names[job.queue]
  redis.call('HSET', KEYS[3], string.format('%.0f', fence + i - 1), #queue .. ':' .. queue .. job.raw)
  local shown = #job.raw <= largest and job.raw or #job.raw
  if parts[#parts - 1] == queue then
    local raws = parts[#parts]
    raws[#raws + 1] = shown
  else
    parts[#parts + 1] = queue
    parts[#parts + 1] = {shown}
  end
  local from = place[job.queue] or {count = 0, last = 0, raws = {}}
  place[job.queue] = from
  from.count, from.last = from.count + 1, math.max(from.last, job.at)
  from.raws[from.count] = job.raw
end
for index, from in pairs(place) do
  local key = prefix .. 'queue:' .. names[index]
  if from.count == from.last then
    redis.call('LTRIM', key, string.format('%d', from.count), '-1')
  else
    for _, raw in ipairs(from.raws) do redis.call('LREM', key, '1', raw) end
  end
end
return {string.format('%.0f', fence), parts, wrong}
