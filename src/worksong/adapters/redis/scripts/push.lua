-- Takes in plain jobs: all of them, or none and an error.
-- KEYS  known_jobs, scheduled, queue ...
-- ARGV  number of names, name ..., then for each group: index of its queue in KEYS (2: scheduled), count, and so many
--       documents, on the schedule each preceded by its time
--: misfit

local wrong = misfit(KEYS[1], 'set') or misfit(KEYS[2], 'zset')
for i = 3, #KEYS do wrong = wrong or misfit(KEYS[i], 'list') end
if wrong then return wrong end

local names = tonumber(ARGV[1])
if names > 0 then redis.call('SADD', KEYS[1], unpack(ARGV, 2, 1 + names)) end

local at = 2 + names
while at <= #ARGV do
  local key, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  at = at + 2
  local last = at + (key == 2 and 2 * count or count) - 1
  while at <= last do
    local upto = math.min(last, at + 999)
    if key == 2 then
      redis.call('ZADD', KEYS[2], unpack(ARGV, at, upto))
    else
      redis.call('LPUSH', KEYS[key], unpack(ARGV, at, upto))
    end
    at = upto + 1
  end
end
return 1
