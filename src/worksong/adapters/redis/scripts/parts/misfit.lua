-- An error if the key holds something of another kind than belongs there.
local function misfit(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE key ' .. key .. ' holds a ' .. found .. ' where a ' .. kind .. ' belongs')
  end
end
