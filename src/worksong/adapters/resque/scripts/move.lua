-- Moves payloads off the schedule or out of the failures, each only if it is still there: the bytes are the client's.
-- KEYS  queues, order, schedule, retries, failed, cancelled, Ruby's and node's lock of the scheduler
-- ARGV  prefix, '1' if the locks are obeyed, then for each payload seven: due second ('' for a failure), its bytes,
--       action, queue, bytes to write, '1' if they are numbered, job id
-- Actions  queue: to the tail of a queue, which ends a cancellation; bury: to the failures; drop
-- Answers for each payload 1: moved, 0: it was gone, -1: its queue is of a wrong kind; or -2 alone: another scheduler
-- holds a lock, and nothing was touched.
-- Checks everything before the first write.
local prefix = ARGV[1]
--: misfit
for i, kind in ipairs({'set', 'string', 'zset', 'zset', 'list', 'zset', 'string', 'string'}) do
  local wrong = misfit(KEYS[i], kind)
  if wrong then return wrong end
end
if ARGV[2] == '1' and redis.call('EXISTS', KEYS[7], KEYS[8]) > 0 then return {-2} end

local order = redis.call('GET', KEYS[2]) or '0'
if not string.match(order, '^%d+$') or #order > 15 or (#order > 1 and string.sub(order, 1, 1) == '0') then
  for at = 3, #ARGV, 7 do
    if ARGV[at + 5] == '1' then
      return redis.error_reply('WRONGTYPE key ' .. KEYS[2] .. ' holds a text where a number belongs')
    end
  end
end

local function is_list(key)
  return not misfit(key, 'list')
end

local answers, touched = {}, {}
for at = 3, #ARGV, 7 do
  local due, raw, action, queue, new = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local key = prefix .. 'queue:' .. queue
  local from = due == '' and KEYS[5] or prefix .. 'delayed:' .. due
  local moved
  if action == 'queue' and not is_list(key) then
    moved = -1
  elseif not is_list(from) then
    moved = 0
  else
    moved = redis.call('LREM', from, '1', raw)
  end
  if moved == 1 then
    if due ~= '' then
      redis.pcall('SREM', prefix .. 'timestamps:' .. raw, 'delayed:' .. due)
      redis.call('ZREM', KEYS[4], raw)
      touched[due] = true
    end
    if action == 'queue' then
      if ARGV[at + 5] == '1' then
        new = string.sub(new, 1, -3) .. ',"n":' .. string.format('%d', redis.call('INCR', KEYS[2])) .. '}}'
      end
      redis.call('SADD', KEYS[1], queue)
      redis.call('RPUSH', key, new)
      redis.call('ZREM', KEYS[6], ARGV[at + 6])
    elseif action == 'bury' then
      redis.call('RPUSH', KEYS[5], new)
    end
  end
  answers[#answers + 1] = moved
end
for due in pairs(touched) do
  if redis.call('EXISTS', prefix .. 'delayed:' .. due) == 0 then redis.call('ZREM', KEYS[3], due) end
end
return answers
