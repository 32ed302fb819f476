-- Carries out changes of records: all of them, or none.
-- KEYS  unsent, until; then for each change two: the record, the list of its kind
-- ARGV  for each change eight: its name in unsent and until, its id, the version it has now ('' if it is not there), the
--       record ('' to take it away), time of creation, status, unsent since, until ('0' for not at all)
-- A record is a string: version, time of creation, status, unsent since and until in its first line, then its body. The
-- lists of one status are the list of the kind, a colon and the status.
-- Answers 1: done; 0: one was not as it was said to be.
--: records
local unfit, before = records.unfit(KEYS, ARGV)
if unfit then return unfit end
records.write(KEYS, ARGV, before)
return 1
