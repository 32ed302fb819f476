-- Removes waiting jobs from a queue, with their unique locks.
-- KEYS  queue
-- ARGV  for each job four: its bytes, id, lock or '', held or ''
-- Answers how many were removed.
local function unlock(id, lock, held)
  if held ~= '' then
    if redis.pcall('GET', held) == id then redis.call('DEL', held, lock) end
  elseif lock ~= '' then
    redis.call('DEL', lock)
  end
end

local removed = 0
for at = 1, #ARGV, 4 do
  if redis.call('LREM', KEYS[1], -1, ARGV[at]) == 1 then
    removed = removed + 1
    unlock(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
  end
end
return removed
