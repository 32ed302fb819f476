-- Adds what jobs did to the hash of each slot of time.
-- KEYS  a hash for each slot
-- ARGV  for each of them the seconds to keep it; then for all of them: field, amount, field, amount ...
-- What is no hash, or a field that is no number, is left as it is: all the others are counted.
for number, key in ipairs(KEYS) do
  for i = #KEYS + 1, #ARGV, 2 do
    redis.pcall('HINCRBY', key, ARGV[i], ARGV[i + 1])
  end
  redis.pcall('EXPIRE', key, ARGV[number])
end
