-- Holds a job type's lock against what is really in progress: lock = sum of the lists, lock_info = each list's length.
-- KEYS  lock, lock_info
-- ARGV  what stands before and after a pool's id in the name of its in-progress list, 1 to mend, then registered pools
-- Answers 1 when they differ (or differed). Zeros that Go pools leave in lock_info are no difference.
-- A Go pool leaves entries of jobs unique by key in its list when they have ended, beyond what it counts: not running.
for _, kind in ipairs({{KEYS[1], 'string'}, {KEYS[2], 'hash'}}) do
  local found = redis.call('TYPE', kind[1]).ok
  if found ~= 'none' and found ~= kind[2] then return 0 end
end
local info, said, right, total, differ = redis.call('HGETALL', KEYS[2]), {}, {}, 0, false
for i = 1, #info, 2 do said[info[i]] = info[i + 1] end
for i = 4, #ARGV do said[ARGV[i]] = said[ARGV[i]] or '0' end
for pool, count in pairs(said) do
  local length = redis.pcall('LLEN', ARGV[1] .. pool .. ARGV[2])
  if type(length) ~= 'number' then length = 0 end -- what is no list holds no job
  local beyond = length - math.max(0, tonumber(count) or 0)
  if beyond > 0 then
    local by_key = 0
    for _, raw in ipairs(redis.call('LRANGE', ARGV[1] .. pool .. ARGV[2], 0, -1)) do
      if string.find(raw, '"unique_key"', 1, true) then by_key = by_key + 1 end
    end
    length = length - math.min(beyond, by_key)
  end
  total = total + length
  if string.format('%.0f', length) ~= count then
    differ, right[pool] = true, length
  end
end
if (redis.call('GET', KEYS[1]) or '0') ~= string.format('%.0f', total) then differ = true end
if differ and ARGV[3] == '1' then
  redis.call('SET', KEYS[1], string.format('%.0f', total))
  for pool, length in pairs(right) do
    if length > 0 then redis.call('HSET', KEYS[2], pool, length) else redis.call('HDEL', KEYS[2], pool) end
  end
end
return differ and 1 or 0
