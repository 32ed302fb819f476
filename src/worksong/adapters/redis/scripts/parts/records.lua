-- Changes of records; their keys and arguments are those of record_write.
local records = {}

--: misfit

local function note(key, name, time)
  if time == '0' then redis.call('ZREM', key, name) else redis.call('ZADD', key, time, name) end
end

-- Why they cannot be carried out, an error or 0 for one that is not as it was said to be; else nil, and the statuses of
-- those that are there.
function records.unfit(keys, args)
  local wrong, before = misfit(keys[1], 'zset') or misfit(keys[2], 'zset'), {}
  for i = 3, #keys, 2 do
    local at = (i - 3) * 4
    wrong = wrong or misfit(keys[i], 'string') or misfit(keys[i + 1], 'zset')
      or misfit(keys[i + 1] .. ':' .. args[at + 6], 'zset')
    if wrong then return wrong end
    local head = redis.call('GETRANGE', keys[i], 0, 199)
    if head == '' then
      if args[at + 3] ~= '' then return 0 end
    else
      local version, status = head:match('^(%d+) [^ \n]+ (%d+) [^ \n]+ [^ \n]+\n')
      if not version then return redis.error_reply('ERR key ' .. keys[i] .. ' holds no record') end
      if version ~= args[at + 3] then return 0 end
      before[i] = status
      wrong = misfit(keys[i + 1] .. ':' .. status, 'zset')
      if wrong then return wrong end
    end
  end
  return nil, before
end

-- Carries out changes that are not unfit.
function records.write(keys, args, before)
  for i = 3, #keys, 2 do
    local at = (i - 3) * 4
    local name, id, record, created = args[at + 1], args[at + 2], args[at + 4], args[at + 5]
    local list = keys[i + 1]
    if before[i] then redis.call('ZREM', list .. ':' .. before[i], id) end
    if record == '' then
      redis.call('DEL', keys[i])
      redis.call('ZREM', list, id)
      note(keys[1], name, '0')
      note(keys[2], name, '0')
    else
      redis.call('SET', keys[i], record)
      redis.call('ZADD', list, created, id)
      redis.call('ZADD', list .. ':' .. args[at + 6], created, id)
      note(keys[1], name, args[at + 7])
      note(keys[2], name, args[at + 8])
    end
  end
end
