-- Removes waiting jobs from a queue, with their unique locks.
-- KEYS  queue
-- ARGV  for each job four: its bytes, id, lock or '', held or ''
-- Answers how many were removed.
--: unlock

local removed = 0
for at = 1, #ARGV, 4 do
  if redis.call('LREM', KEYS[1], -1, ARGV[at]) == 1 then
    removed = removed + 1
    unlock(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
  end
end
return removed
