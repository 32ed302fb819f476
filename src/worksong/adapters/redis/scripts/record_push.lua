-- Carries out changes of records, and takes in jobs: all of it, or nothing.
-- KEYS  those of record_write; then for each job those of push_guarded
-- ARGV  number of changes, the arguments of record_write; then for each job those of push_guarded
-- Answers 1: done; 0: a record was not as it was said to be, or one of the jobs is a duplicate.
--: records
--: guarded
local function part(list, first, last)
  local found = {}
  for i = first, last do found[#found + 1] = list[i] end
  return found
end

local changes = tonumber(ARGV[1])
local keys, args = part(KEYS, 1, 2 + 2 * changes), part(ARGV, 2, 1 + 8 * changes)
local unfit, before = records.unfit(keys, args)
if unfit then return unfit end

local jobs, taken = {}, {}
for i = 0, (#KEYS - #keys) / 5 - 1 do
  local job = {part(KEYS, #keys + 5 * i + 1, #keys + 5 * i + 5), part(ARGV, #args + 7 * i + 2, #args + 7 * i + 8)}
  local wrong = guarded.wrong(job[1], job[2])
  if wrong then return wrong end
  for place = 3, 4 do  -- its id and its lock
    local key = job[1][place]
    if key ~= KEYS[#keys + 1] then
      if taken[key] or redis.call('EXISTS', key) == 1 then return 0 end
      taken[key] = true
    end
  end
  jobs[#jobs + 1] = job
end

records.write(keys, args, before)
for _, job in ipairs(jobs) do guarded.push(job[1], job[2]) end
return 1
