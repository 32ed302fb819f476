-- Takes in jobs: all of them, but for those whose id is known, or none and an error.
-- KEYS  queues, order, schedule
-- ARGV  prefix, seconds for which an id is known, then for each job five: queue, payload, due second ('' for now),
--       '1' if the payload ends in our member, which is then numbered, the key of its id or ''
-- Answers for each job 1: taken in, or 0: its id is known.
-- Checks everything before the first write.
local prefix, kept = ARGV[1], ARGV[2]
--: misfit_once

local wrong = misfit_once(KEYS[1], 'set') or misfit_once(KEYS[2], 'string') or misfit_once(KEYS[3], 'zset')
local numbered = 0
for at = 3, #ARGV, 5 do
  if ARGV[at + 2] == '' then
    wrong = wrong or misfit_once(prefix .. 'queue:' .. ARGV[at], 'list')
    if ARGV[at + 3] == '1' then numbered = numbered + 1 end
  else
    wrong = wrong or misfit_once(prefix .. 'delayed:' .. ARGV[at + 2], 'list')
    wrong = wrong or misfit_once(prefix .. 'timestamps:' .. ARGV[at + 1], 'set')
  end
end
if wrong then return wrong end

local number = 0
if numbered > 0 then number = redis.call('INCRBY', KEYS[2], numbered) - numbered end

local answers, names, queues = {}, {}, {}
for at = 3, #ARGV, 5 do
  local queue, payload, due, once = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 4]
  if once ~= '' and not redis.call('SET', once, '1', 'NX', 'EX', kept) then
    answers[#answers + 1] = 0
  elseif due == '' then
    if ARGV[at + 3] == '1' then
      number = number + 1
      payload = string.sub(payload, 1, -3) .. ',"n":' .. string.format('%d', number) .. '}}'
    end
    local waiting = queues[queue]
    if not waiting then
      waiting = {}
      queues[queue] = waiting
      names[#names + 1] = queue
    end
    waiting[#waiting + 1] = payload
    answers[#answers + 1] = 1
  else
    local bucket = 'delayed:' .. due
    redis.call('RPUSH', prefix .. bucket, payload)
    redis.call('SADD', prefix .. 'timestamps:' .. payload, bucket)
    redis.call('ZADD', KEYS[3], due, due)
    answers[#answers + 1] = 1
  end
end
for _, queue in ipairs(names) do
  local waiting = queues[queue]
  redis.call('SADD', KEYS[1], queue)
  for first = 1, #waiting, 1000 do
    redis.call('RPUSH', prefix .. 'queue:' .. queue, unpack(waiting, first, math.min(first + 999, #waiting)))
  end
end
return answers
