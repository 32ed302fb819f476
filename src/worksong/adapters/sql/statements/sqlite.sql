-- What SQLite says in its own way: its time is that of the caller, since it runs in the same machine.

--: clock(fragment)
:now

--: observed(fragment)
beats

-- A search that reads no more than it finds, whatever else waits.
--: by_time(fragment)
INDEXED BY worksong_job_timed

-- By its number alone: another index would be read from its beginning for each chunk, and sorted.
--: by_seq(fragment)
NOT INDEXED

--: data_version
PRAGMA data_version

--: journal_mode
PRAGMA journal_mode

--: synchronous
PRAGMA synchronous

-- Whoever asks for synchronous=NORMAL in the URL knows what it risks.
--: risks
SELECT ''
