-- What the doctor asks PostgreSQL; nothing here needs our tables.

--: settings
SELECT name, setting FROM pg_settings
WHERE name IN (
    'autovacuum', 'default_transaction_isolation', 'default_transaction_read_only', 'full_page_writes',
    'max_connections', 'server_version', 'server_version_num', 'superuser_reserved_connections', 'track_counts'
)

--: clock
SELECT extract(epoch FROM clock_timestamp())::float8

--: recovery
SELECT pg_is_in_recovery()

-- Which rights this user lacks on each table, whether vacuum comes by itself, and what it would find.
--: tables
SELECT
    c.relname,
    array_to_string(
        ARRAY(
            SELECT need FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS need
            WHERE NOT has_table_privilege(c.oid, need)
        ),
        ', '
    ),
    coalesce(
        (SELECT option_value::boolean FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'),
        true
    ),
    coalesce(pg_stat_get_live_tuples(c.oid), 0),
    coalesce(pg_stat_get_dead_tuples(c.oid), 0)
FROM pg_class AS c
WHERE c.relkind IN ('r', 'p') AND c.relname LIKE 'worksong\_%' AND pg_table_is_visible(c.oid)
ORDER BY c.relname

--: indexes
SELECT
    i.relname, c.relname, x.indisunique,
    array_to_string(
        ARRAY(
            SELECT pg_get_indexdef(x.indexrelid, number, true) FROM generate_series(1, x.indnkeyatts::int) AS number
            ORDER BY number
        ),
        ', '
    )
FROM pg_index AS x
JOIN pg_class AS c ON c.oid = x.indrelid
JOIN pg_class AS i ON i.oid = x.indexrelid
WHERE c.relname LIKE 'worksong\_%' AND pg_table_is_visible(c.oid)

--: invalid
SELECT i.relname
FROM pg_index AS x
JOIN pg_class AS c ON c.oid = x.indrelid
JOIN pg_class AS i ON i.oid = x.indexrelid
WHERE c.relname LIKE 'worksong\_%' AND pg_table_is_visible(c.oid) AND NOT x.indisvalid
ORDER BY i.relname

-- Those of other databases hold back nothing here, nor does vacuum itself. Whose kind is hidden counts.
--: transactions
SELECT
    'session ' || pid || ' of ' || coalesce(usename, '?') || coalesce(' (' || nullif(application_name, '') || ')', ''),
    coalesce(state, ''), extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_stat_activity
WHERE
    datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    AND coalesce(backend_type, 'client backend') = 'client backend'
UNION ALL
SELECT 'prepared transaction ' || gid || ' of ' || owner, 'prepared', extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_prepared_xacts WHERE database = current_database()
ORDER BY 3 DESC LIMIT 20

--: hidden
SELECT count(*) FROM pg_stat_activity WHERE query = '<insufficient privilege>'

--: sessions
SELECT sum(numbackends)::bigint FROM pg_stat_database

--: ages
SELECT age(datfrozenxid)::bigint, mxid_age(datminmxid)::bigint FROM pg_database WHERE datname = current_database()
