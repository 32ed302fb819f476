-- What the doctor asks a file of SQLite; nothing here needs our tables.

--: journal_mode
PRAGMA journal_mode

--: tables
SELECT name FROM sqlite_master WHERE type = 'table'

--: indexes
SELECT
    found.name, found.tbl_name, list."unique",
    (SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_index_info(found.name) ORDER BY seqno))
FROM sqlite_master AS found
JOIN pragma_index_list(found.tbl_name) AS list ON list.name = found.name
WHERE found.type = 'index'
