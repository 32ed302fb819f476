-- What a pool holds, by the order in which it was lent.
-- KEYS  lent (of the pool)
-- ARGV  largest payload in bytes that is told, most entries, most bytes, 'newest' or 'oldest' first,
--       then the fences that are asked for (none: all)
-- Answers {fence, queue, payload or the size of one too large, fence, ...}
local largest, most, heavy = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local fences = {}
for i = 5, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then fences[#fences + 1] = ARGV[i] end
end
if #ARGV == 4 then fences = redis.call('HKEYS', KEYS[1]) end
table.sort(fences, function(a, b)
  local one, other = tonumber(a) or 0, tonumber(b) or 0
  if ARGV[4] == 'newest' then one, other = other, one end
  return one < other
end)
local answers, bytes = {}, 0
for i = 1, math.min(#fences, most) do
  if bytes > heavy then break end
  local size = redis.call('HSTRLEN', KEYS[1], fences[i])
  local value = redis.call('HGET', KEYS[1], fences[i])
  local length, colon = string.match(value, '^(%d+)():')
  if length then
    local begins = colon + 1 + tonumber(length)
    local large = size - begins + 1 > largest
    bytes = bytes + (large and 0 or size)
    answers[#answers + 1] = fences[i]
    answers[#answers + 1] = string.sub(value, colon + 1, begins - 1)
    answers[#answers + 1] = large and size - begins + 1 or string.sub(value, begins)
  end
end
return answers
