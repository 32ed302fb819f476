-- What the doctor asks MySQL and MariaDB; nothing here needs our tables.

-- Whatever there is of these: not every server has all of them.
--: settings
SHOW GLOBAL VARIABLES WHERE variable_name IN (
    'max_allowed_packet', 'max_connections', 'read_only', 'sql_mode', 'super_read_only', 'transaction_isolation',
    'tx_isolation'
)

--: clock
SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)

--: tables
SELECT table_name, coalesce(engine, '') FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name LIKE 'worksong\_%' AND table_type = 'BASE TABLE'
ORDER BY table_name

--: indexes
SELECT index_name, table_name, max(non_unique) = 0, group_concat(column_name ORDER BY seq_in_index SEPARATOR ', ')
FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name LIKE 'worksong\_%'
GROUP BY index_name, table_name

--: transactions
SELECT
    concat('connection ', trx.trx_mysql_thread_id, coalesce(concat(' of ', thread.user), '')), lower(trx.trx_state),
    CAST(timestampdiff(SECOND, trx.trx_started, now()) AS DOUBLE)
FROM information_schema.innodb_trx AS trx
LEFT JOIN information_schema.processlist AS thread ON thread.id = trx.trx_mysql_thread_id
ORDER BY trx.trx_started LIMIT 20

--: sessions
SHOW GLOBAL STATUS LIKE 'Threads_connected'
