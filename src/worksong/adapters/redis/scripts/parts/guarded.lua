-- One job that may be refused; its keys and arguments are those of push_guarded.
--: misfit
local guarded = {}

-- An error where it cannot be taken in.
function guarded.wrong(keys, args)
  local kind = args[3] == '' and 'list' or 'zset'
  return misfit(keys[1], 'set') or misfit(keys[2], kind)
end

-- Takes it in, and answers 1; or refuses it, and answers 0.
function guarded.push(keys, args)
  if keys[3] ~= keys[1] and redis.call('EXISTS', keys[3]) == 1 then return 0 end
  if keys[4] ~= keys[1] then
    local free = redis.call('SET', keys[4], args[6], 'NX', 'EX', args[7])
    if not free then
      redis.call('SET', keys[4], args[6], 'EX', math.max(tonumber(args[7]), redis.call('TTL', keys[4])))
      return 0
    end
    if keys[5] ~= keys[1] then redis.call('SET', keys[5], args[4], 'EX', args[7]) end
  end
  if keys[3] ~= keys[1] then redis.call('SET', keys[3], '1', 'EX', args[5]) end
  redis.call('SADD', keys[1], args[1])
  if args[3] == '' then
    redis.call('LPUSH', keys[2], args[2])
  else
    redis.call('ZADD', keys[2], args[3], args[2])
  end
  return 1
end
