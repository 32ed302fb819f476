-- What SQLite says in its own way: its time is that of the caller, since it runs in the same machine.

--: clock(fragment)
:now

--: observed(fragment)
beats

--: data_version
PRAGMA data_version

--: journal_mode
PRAGMA journal_mode

--: synchronous
PRAGMA synchronous

-- Whoever asks for synchronous=NORMAL in the URL knows what it risks.
--: risks
SELECT ''
