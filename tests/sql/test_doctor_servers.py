"""The doctor of database servers: each thing is broken for real, found, and mended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from patience import auntil
from sql.stage import ailing, fresh, make_tables, opened, ordered, told
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.doctor import postgres, servers
from worksong.domain.errors import BackendRefused
from worksong.domain.finding import Finding, Severity
from worksong.domain.job import new_id
from worksong.testing.contract.steps import push, some_jobs


@pytest.fixture(scope="module", params=["postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of our own, with tables: one test after the other breaks it and mends it."""
    with fresh(request.getfixturevalue(f"{request.param}_url")) as found:
        asyncio.run(make_tables(found))
        yield found


@pytest.fixture
async def backend(url: str) -> AsyncIterator[SqlBackend]:
    backend = opened(url)
    yield backend
    await backend.close()


@pytest.fixture
def on_postgres(url: str) -> None:
    if not url.startswith("postgres"):
        pytest.skip("only PostgreSQL has it")


@pytest.fixture
def on_mariadb(url: str) -> None:
    if url.startswith("postgres"):
        pytest.skip("only MySQL has it")


def database(url: str) -> str:
    return url.rpartition("/")[2]


def elsewhere(url: str) -> str:
    """Another database of the same server: what is set for the one does not hold there."""
    return f"{url.rpartition('/')[0]}/{'postgres' if url.startswith('postgres') else 'mysql'}"


async def until_found(backend: SqlBackend, finding_id: str) -> Finding:
    """Servers tell of themselves with a delay; InnoDB looks anew only when nobody has asked for 100 ms."""
    found = await auntil(lambda: ailing(backend), finding_id, met=lambda found: finding_id in found, pause=0.3)
    return found[finding_id]


async def test_a_healthy_server_passes_every_check(backend: SqlBackend) -> None:
    assert await ailing(backend) == {}


# tables and indexes


@pytest.fixture
def empty(url: str) -> Iterator[str]:
    with fresh(url) as found:
        yield found


async def test_a_database_without_tables_is_told_and_left_without(empty: str) -> None:
    backend = opened(empty)
    for _ in range(2):  # looking makes none
        found = await ailing(backend)
        assert found["sql.tables.missing"].severity is Severity.ERROR
        assert "worksong migrate" in found["sql.tables.missing"].mend
    await backend.close()


async def test_tables_of_another_version_are_told(backend: SqlBackend) -> None:
    for version, severity in ((999, Severity.INFO), (1000, Severity.ERROR)):
        await told(backend, f"INSERT INTO worksong_schema (version) VALUES ({version})")
        newer = (await ailing(backend))["sql.tables.newer"]
        assert f"of version {version}" in newer.detail
        assert newer.severity is severity
    await told(backend, "DELETE FROM worksong_schema WHERE version > 998")
    assert await ailing(backend) == {}


async def test_a_table_that_somebody_took_away_is_named(backend: SqlBackend) -> None:
    await told(backend, "ALTER TABLE worksong_paused RENAME TO somewhere_else")
    assert (await ailing(backend))["sql.tables.gone"].detail == "worksong_paused"
    await told(backend, "ALTER TABLE somewhere_else RENAME TO worksong_paused")
    assert await ailing(backend) == {}


async def test_missing_indexes_are_made_anew(backend: SqlBackend, url: str) -> None:
    # Given tables without two of their indexes
    for name in ("worksong_job_line", "worksong_job_lock"):
        await told(backend, f"DROP INDEX {name}" + ("" if url.startswith("postgres") else " ON worksong_job"))
    # When the doctor looks
    finding = (await ailing(backend))["sql.index.missing"]
    # Then both are named, and it is an error: without the second one nothing is unique
    assert "worksong_job_line on worksong_job" in finding.detail
    assert "without worksong_job_lock jobs may be taken in twice" in finding.detail
    assert (finding.severity, finding.fixable) == (Severity.ERROR, True)
    # And it makes them as the migration did
    assert "CREATE UNIQUE INDEX" in await backend.fix("sql.index.missing", time.time())
    assert await ailing(backend) == {}
    assert await backend.fix("sql.index.missing", time.time()) == "there is nothing to mend by now"


async def test_an_index_with_other_columns_is_told(backend: SqlBackend, url: str) -> None:
    drop = "DROP INDEX worksong_once_until" + ("" if url.startswith("postgres") else " ON worksong_once")
    await told(backend, drop, "CREATE INDEX worksong_once_until ON worksong_once (until, space)")
    detail = (await ailing(backend))["sql.index.other"].detail
    assert detail == "worksong_once_until has (until, space) instead of (space, until)"
    await told(backend, drop)
    await backend.fix("sql.index.missing", time.time())
    assert await ailing(backend) == {}


@pytest.mark.usefixtures("on_postgres")
async def test_an_index_that_was_never_finished_is_made_anew(backend: SqlBackend) -> None:
    # Given an index that failed half-way
    await push(backend, *some_jobs(2))
    with pytest.raises(Exception, match="could not create unique index"):
        await told(backend, "CREATE UNIQUE INDEX CONCURRENTLY worksong_job_try ON worksong_job (handler)")
    assert (await ailing(backend))["postgres.index.invalid"].detail == "worksong_job_try"
    # When it is mended while what hindered it is still there
    with pytest.raises(BackendRefused, match="could not create unique index"):
        await backend.fix("postgres.index.invalid", time.time())
    # Then nothing changes, and afterwards it is mended
    await backend.erase()
    for name in await told(backend, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"):
        if name != "worksong_job_try":  # what the failed attempt left behind
            await told(backend, f"DROP INDEX {name}")
    await backend.fix("postgres.index.invalid", time.time())
    assert "postgres.index.invalid" not in await ailing(backend)
    await told(backend, "DROP INDEX worksong_job_try")


@pytest.mark.usefixtures("on_mariadb")
async def test_a_table_kept_by_another_engine_is_told(backend: SqlBackend) -> None:
    await told(backend, "ALTER TABLE worksong_limit ENGINE = MEMORY")
    assert (await ailing(backend))["mysql.engine"].detail == "worksong_limit is kept by MEMORY"
    await told(backend, "ALTER TABLE worksong_limit ENGINE = InnoDB")
    assert await ailing(backend) == {}


# settings


SETTINGS = [
    ("default_transaction_read_only = on", "sql.read_only", "default_transaction_read_only is on"),
    ("default_transaction_isolation = serializable", "sql.isolation", "default_transaction_isolation is serializable"),
    ("track_counts = off", "postgres.autovacuum.off", "track_counts off"),
    ("synchronous_commit = off", "sql.forgets", "synchronous_commit = off"),
]


@pytest.mark.usefixtures("on_postgres")
@pytest.mark.parametrize(("setting", "finding_id", "detail"), SETTINGS)
async def test_settings_of_a_database_that_do_harm(url: str, setting: str, finding_id: str, detail: str) -> None:
    backend = opened(url)
    name = setting.partition(" ")[0]
    await ordered(elsewhere(url), f"ALTER DATABASE {database(url)} SET {setting}")
    try:
        assert (await ailing(backend))[finding_id].detail == detail
    finally:
        await ordered(elsewhere(url), f"ALTER DATABASE {database(url)} RESET {name}")
        await backend.close()
    assert await ailing(backend) == {}
    await backend.close()


VARIABLES = [
    ("read_only", "1", "sql.read_only", "read_only on"),
    ("innodb_flush_log_at_trx_commit", "2", "sql.forgets", "innodb_flush_log_at_trx_commit = 2"),
    ("sql_mode", "''", "mysql.sql_mode", "sql_mode is empty"),
    ("max_allowed_packet", "1048576", "mysql.packet", "max_allowed_packet is 1,048,576 bytes"),
    ("transaction_isolation", "'SERIALIZABLE'", "sql.isolation", "the server's is serializable"),
]


@pytest.mark.usefixtures("on_mariadb")
@pytest.mark.parametrize(("name", "value", "finding_id", "detail"), VARIABLES)
async def test_settings_of_a_server_that_do_harm(url: str, name: str, value: str, finding_id: str, detail: str) -> None:
    backend = opened(url)
    if name == "transaction_isolation" and url.startswith("mariadb"):
        name = "tx_isolation"
    (before,) = await told(backend, f"SELECT @@GLOBAL.{name}")
    await told(backend, f"SET GLOBAL {name} = {value}")
    try:
        assert (await ailing(backend))[finding_id].detail == detail
    finally:
        await told(backend, f"SET GLOBAL {name} = {before!r}")
    assert await ailing(backend) == {}
    await backend.close()


async def test_clocks_that_differ_are_told(backend: SqlBackend) -> None:
    findings = {finding.id: finding for finding in await backend.examine(time.time() + 3600)}
    assert "seconds behind" in findings["sql.clock"].detail


# what goes on


async def test_a_transaction_that_was_forgotten_is_named(backend: SqlBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a session that has begun something
    store: Any = backend._store
    forgetful = await store.dial()
    who = (await store.plain(forgetful, _WHO[store.dialect]))[0]
    await store.begin(forgetful, write=True)
    await store.plain(forgetful, "SELECT count(*) FROM worksong_job")
    # When that is for longer than may be
    monkeypatch.setattr(servers, "LONG", 0.0)
    finding = await until_found(backend, "sql.transaction.long")
    # Then it is named, until it ends
    assert f" {who} of " in finding.detail
    store.hang_up(forgetful)
    monkeypatch.undo()
    assert await ailing(backend) == {}


_WHO = {"postgres": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}


@pytest.mark.usefixtures("on_postgres")
async def test_a_table_that_is_not_vacuumed_is_told_and_vacuumed_again(
    backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a table without autovacuum, most of whose rows are dead
    monkeypatch.setattr(postgres, "MANY_DEAD", 100)
    await told(backend, "ALTER TABLE worksong_job SET (autovacuum_enabled = off)")
    await push(backend, *some_jobs(200))
    await backend.erase()
    # When the server has noticed
    finding = await until_found(backend, "postgres.vacuum.dead")
    # Then both are told
    assert "worksong_job: " in finding.detail
    assert (await ailing(backend))["postgres.autovacuum.table"].detail == "worksong_job"
    # And the one is mended by the doctor, the other one as it says
    await backend.fix("postgres.autovacuum.table", time.time())
    await told(backend, "VACUUM worksong_job")
    assert await ailing(backend) == {}
    (options,) = await told(backend, "SELECT reloptions::text FROM pg_class WHERE relname = 'worksong_job'")
    assert "autovacuum_enabled" not in options
    assert "fillfactor=70" in options


# rights


@pytest.fixture
async def somebody(url: str) -> AsyncIterator[tuple[str, Callable[[str], Awaitable[Any]]]]:
    """The URL of a user who may read jobs and nothing else; and a way to give more rights."""
    name, admin = f"u{new_id()[:10]}", opened(url)
    user = name if url.startswith("postgres") else f"{name}@'%'"
    everything = "ALL TABLES IN SCHEMA public" if url.startswith("postgres") else f"{database(url)}.*"
    create = f"CREATE ROLE {name} LOGIN" if url.startswith("postgres") else f"CREATE USER {user}"
    on = "worksong_job" if url.startswith("postgres") else f"{database(url)}.worksong_job"
    await told(admin, create, f"GRANT SELECT ON {on} TO {user}")

    async def give(what: str) -> None:
        await told(admin, f"GRANT {what} ON {everything} TO {user}")

    scheme, _, rest = url.partition("://")
    yield f"{scheme}://{name}@{rest.partition('@')[2]}", give
    drops = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"] if url.startswith("postgres") else [f"DROP USER {user}"]
    await told(admin, *drops)


async def test_what_a_user_may_not_do_is_told(somebody: tuple[str, Callable[[str], Awaitable[Any]]]) -> None:
    # Given a user who may only read the jobs
    url, give = somebody
    await give("SELECT")
    backend = opened(url)
    # When the doctor looks
    found = await ailing(backend)
    # Then it says what is missing, and what it could not see
    assert found["sql.rights"].severity is Severity.ERROR
    assert "INSERT" in found["sql.rights"].detail
    assert "on worksong_course" in found["sql.rights"].detail
    # And with all rights there is nothing to say
    await give("INSERT, UPDATE, DELETE")
    assert "sql.rights" not in await ailing(backend)
    await backend.close()


async def test_what_a_user_may_not_see_is_a_finding_and_no_failure(
    somebody: tuple[str, Callable[[str], Awaitable[Any]]],
) -> None:
    url, _ = somebody
    backend, other = opened(url), opened(_of_the_owner(url))
    store: Any = other._store
    held = await store.dial()  # a session of somebody else, so that there is something to hide
    try:
        found = await ailing(backend)
    finally:
        store.hang_up(held)
    assert "INSERT" in found["sql.rights"].detail
    assert "GRANT" in found["sql.unchecked"].mend
    assert found["sql.unchecked"].severity is Severity.INFO
    await backend.close()


def _of_the_owner(url: str) -> str:
    owner = "postgres" if url.startswith("postgres") else "root"
    return f"{url.partition('://')[0]}://{owner}@{url.partition('@')[2]}"
