-- Carries out changes of records: all of them, or none.
-- KEYS  unsent, until; then for each change two: the record, the list of its kind
-- ARGV  for each change eight: its name in unsent and until, its id, the version it has now ('' if it is not there), the
--       record ('' to take it away), time of creation, status, unsent since, until ('0' for not at all)
-- A record is a string: version, time of creation, status, unsent since and until in its first line, then its body. The
-- lists of one status are the list of the kind, a colon and the status.
-- Answers 1: done; 0: one was not as it was said to be.
local function check(key, want)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= want then
    return 'WRONGTYPE key ' .. key .. ' holds a ' .. found .. ' where a ' .. want .. ' belongs'
  end
end

local wrong = check(KEYS[1], 'zset') or check(KEYS[2], 'zset')
local before = {}
for i = 3, #KEYS, 2 do
  local at = (i - 3) * 4
  wrong = wrong or check(KEYS[i], 'string') or check(KEYS[i + 1], 'zset')
    or check(KEYS[i + 1] .. ':' .. ARGV[at + 6], 'zset')
  if wrong then return redis.error_reply(wrong) end
  local head = redis.call('GETRANGE', KEYS[i], 0, 199)
  if head == '' then
    if ARGV[at + 3] ~= '' then return 0 end
  else
    local version, status = head:match('^(%d+) [^ \n]+ (%d+) [^ \n]+ [^ \n]+\n')
    if not version then return redis.error_reply('ERR key ' .. KEYS[i] .. ' holds no record') end
    if version ~= ARGV[at + 3] then return 0 end
    before[i] = status
    wrong = check(KEYS[i + 1] .. ':' .. status, 'zset')
    if wrong then return redis.error_reply(wrong) end
  end
end

local function note(key, name, time)
  if time == '0' then redis.call('ZREM', key, name) else redis.call('ZADD', key, time, name) end
end

for i = 3, #KEYS, 2 do
  local at = (i - 3) * 4
  local name, id, record, created = ARGV[at + 1], ARGV[at + 2], ARGV[at + 4], ARGV[at + 5]
  local list = KEYS[i + 1]
  if before[i] then redis.call('ZREM', list .. ':' .. before[i], id) end
  if record == '' then
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', list, id)
    note(KEYS[1], name, '0')
    note(KEYS[2], name, '0')
  else
    redis.call('SET', KEYS[i], record)
    redis.call('ZADD', list, created, id)
    redis.call('ZADD', list .. ':' .. ARGV[at + 6], created, id)
    note(KEYS[1], name, ARGV[at + 7])
    note(KEYS[2], name, ARGV[at + 8])
  end
end
return 1
