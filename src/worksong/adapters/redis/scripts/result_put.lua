-- Keeps results and tells whoever waits for one of them.
-- KEYS  for each result: its key, the set of the mailboxes of those who wait for it
-- ARGV  seconds to keep a result, seconds to keep a mailbox nobody reads, then for each result: job id, document
for i = 1, #KEYS, 2 do
  redis.call('SET', KEYS[i], ARGV[i + 3], 'EX', ARGV[1])
  local mailboxes = redis.pcall('SMEMBERS', KEYS[i + 1])
  if #mailboxes > 0 then
    for _, mailbox in ipairs(mailboxes) do
      redis.pcall('LPUSH', mailbox, ARGV[i + 2])
      redis.pcall('EXPIRE', mailbox, ARGV[2])
    end
    redis.call('DEL', KEYS[i + 1])
  end
end
