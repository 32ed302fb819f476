-- Frees the lock of a unique job, unless another job has it by now; `held` says whose it is, where it says so.
local function unlock(id, lock, held)
  if held ~= '' then
    if redis.pcall('GET', held) == id then redis.call('DEL', held, lock) end
  elseif lock ~= '' then
    redis.call('DEL', lock)
  end
end
