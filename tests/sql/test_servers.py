"""Database servers: tables that are missing, connections that break, logins that are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from sql.stage import fresh, opened, told
from worksong.adapters.sql import mysql_failures
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.failures import Verdict
from worksong.adapters.sql.steps import Step
from worksong.domain.errors import BackendUnavailable, ConfigError
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Settlement
from worksong.ports.backend import Window
from worksong.testing.contract.steps import T, a_job, fetch, join, lend, lent_ids, push, settle, some_jobs

SERVERS = ["postgres", "mariadb"]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> str:
    """A database with tables."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def empty(url: str) -> Iterator[str]:
    """A database without tables."""
    with fresh(url) as found:
        yield found


# tables


async def test_without_tables_the_mend_is_named(empty: str) -> None:
    backend = opened(empty)
    with pytest.raises(ConfigError, match=r"no worksong tables in .*run `worksong migrate --url"):
        await push(backend, a_job())
    await backend.close()


async def test_tables_are_made_once_however_many_migrate(empty: str) -> None:
    backends = [opened(empty, "mine") for _ in range(4)]
    found = await asyncio.gather(*(backend.migrate() for backend in backends))
    (newest,) = {now for _, now in found}
    assert sorted(before for before, _ in found) == [0, newest, newest, newest]
    assert await push(backends[0], a_job()) == [True]
    await asyncio.gather(*(backend.close() for backend in backends))


async def test_tables_make_themselves_when_asked_to(empty: str) -> None:
    backend = opened(f"{empty}?migrate=auto")
    assert await push(backend, a_job()) == [True]
    await backend.close()


async def test_tables_that_a_breaking_step_made_are_refused_at_the_start_only(empty: str) -> None:
    # Given a worker at work
    working = opened(empty, "mine")
    await working.migrate()
    await push(working, *some_jobs(3))
    # When the tables are migrated to a version that it does not know
    await told(working, "INSERT INTO worksong_schema (version) VALUES (1000)")
    # Then it works on, and no other begins
    assert len(await lent_ids(working, await join(working))) == 3
    new = opened(empty, "mine")
    with pytest.raises(ConfigError, match="of version 1000, and this worksong knows versions up to"):
        await push(new, a_job())
    with pytest.raises(ConfigError, match="of version 1000"):
        await new.migrate()
    await asyncio.gather(working.close(), new.close())


async def test_tables_to_which_a_newer_version_added_are_worked_with(empty: str) -> None:
    # Given tables that are ahead of this program, by a step that only added
    working = opened(empty, "mine")
    await working.migrate()
    await told(working, "INSERT INTO worksong_schema (version) VALUES (999)")
    # When a worker begins, then it works, and a migration leaves them as they are
    new = opened(empty, "mine")
    assert await push(new, a_job()) == [True]
    assert await new.migrate() == (999, 999)
    await asyncio.gather(working.close(), new.close())


async def test_words_to_pools_that_are_gone_are_forgotten(url: str) -> None:
    # Given a word to a pool, and one to a pool that somebody struck off who knows of no words
    backend = opened(url)
    space, pool = backend._namespace, await join(backend)
    for name in (pool.id, "gone"):
        await told(backend, f"INSERT INTO worksong_told (space, pool, word) VALUES ('{space}', '{name}', 'quiet')")
    # When the store is pruned, then it is there no more, and the other one is
    await backend.prune(T)
    found = await told(backend, f"SELECT pool FROM worksong_told WHERE space = '{space}'")
    assert found == [pool.id]
    await backend.close()


# listings


async def test_pages_show_each_job_once_though_many_have_the_same_place(url: str) -> None:
    """Two processes may draw the same microsecond."""
    # Given waiting jobs whose places are the same, and whose rows lie in another order than they came
    namespace = new_id()
    backend = opened(url, namespace)
    jobs = some_jobs(60)
    await push(backend, *jobs)
    for rest in (0, 1):
        await told(backend, f"UPDATE worksong_job SET place = 5 WHERE space = '{namespace}' AND seq % 2 = {rest}")
    # When they are looked at page by page
    pages = [await backend.jobs(State.QUEUED, Window(limit=7, offset=offset)) for offset in range(0, 60, 7)]
    # Then each is shown once
    assert sorted(view.id for page in pages for view in page) == sorted(job.id for job in jobs)
    await backend.close()


# connections


async def test_connections_that_the_server_ended_are_replaced_unseen(url: str) -> None:
    # Given a backend whose connections are idle
    backend = opened(url)
    pool, delivery = await lend(backend)
    # When the server ends them all
    await _cut_all(backend, url)
    # Then the next operations do not notice
    assert await settle(backend, delivery)
    assert await push(backend, a_job()) == [True]
    assert len(await fetch(backend, pool, 5)) == 1
    await backend.close()


async def _cut_all(backend: SqlBackend, url: str) -> None:
    if url.startswith("postgres"):
        await told(
            backend,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        return
    mine = (await told(backend, "SELECT CONNECTION_ID()"))[0]
    others = await told(backend, f"SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> {mine}")
    for one in others:
        try:
            await told(backend, f"KILL {one}")
        except Exception as gone:
            assert "1094" in str(gone) or "1095" in str(gone), gone


async def test_a_fetch_that_was_given_up_lends_nothing_to_a_pool_that_has_left(url: str) -> None:
    onlooker = opened(url)
    await push(onlooker, *some_jobs(3))
    for turns in range(0, 40, 2):
        # Given a fetch whose caller is cancelled somewhere on its way
        backend = opened(url, onlooker._namespace)
        pool = await join(backend)
        fetching = asyncio.create_task(fetch(backend, pool, 3))
        for _ in range(turns):
            await asyncio.sleep(0)
        fetching.cancel()
        await asyncio.wait([fetching])
        # When the pool leaves, then nothing stays lent to it
        await backend.leave(pool, T)
        await backend.close()
        counts = await onlooker.counts()
        assert (counts[State.RUNNING], counts[State.QUEUED]) == (0, 3), f"after {turns} turns"
    await onlooker.close()


async def test_jobs_that_somebody_holds_keep_no_other_pool_from_being_buried(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("postgres", "mysql"):
        monkeypatch.setattr(f"worksong.adapters.sql.{module}.LEASH", 600)
    # Given two dead pools with a job each, and somebody who holds the row of the first one's
    namespace = new_id()
    backend = opened(f"{url}?timeout=3s", namespace)
    pools = []
    for name in ("first", "second"):
        await push(backend, a_job(name))
        pools.append(await join(backend, name))
        assert len(await fetch(backend, pools[-1])) == 1
    store: Any = backend._store
    holder = await store.dial()
    await store.begin(holder, write=True)
    await store.execute(holder, Step("holdings", {"space": namespace, "pool": pools[0].id}))
    # When both are said to be dead
    reaped = await backend.reap(T, 0.0, dead=[pool.id for pool in pools])
    # Then the second one's job is recovered, and the first one's when it can be had
    assert (reaped.pools, reaped.recovered) == ((pools[1].id,), 1)
    await store.rollback(holder)
    reaped = await backend.reap(T, 0.0, dead=[pools[0].id])
    assert (reaped.pools, reaped.recovered) == ((pools[0].id,), 1)
    store.hang_up(holder)
    await backend.close()


async def test_a_close_waits_for_no_server_that_does_not_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("postgres", "mysql"):
        monkeypatch.setattr(f"worksong.adapters.sql.{module}.LEASH", 600)
    # Given an operation that waits for somebody who holds the rows of its pool
    backend = opened(f"{url}?timeout=600s")
    await push(backend, a_job())
    pool = await join(backend)
    assert len(await fetch(backend, pool)) == 1
    store: Any = backend._store
    holder = await store.dial()
    await store.begin(holder, write=True)
    await store.execute(holder, Step("holdings", {"space": backend._namespace, "pool": pool.id}))
    leaving = asyncio.create_task(backend.leave(pool, T))
    await asyncio.sleep(0)  # it has begun
    # When the backend is closed, then that ends, and so does whoever waits for it
    async with asyncio.timeout(60):
        await backend.close()
        with pytest.raises(BackendUnavailable, match="was closed"):
            await leaving
    # And nothing has happened
    await store.rollback(holder)
    store.hang_up(holder)
    again = opened(url, backend._namespace)
    assert await again.leave(pool, T) == 1
    await again.close()


@pytest.fixture
def on_a_leash(url: str) -> None:
    if url.startswith("mysql"):
        pytest.skip("MySQL ends no transaction because it stands still")


@pytest.mark.usefixtures("on_a_leash")
async def test_the_server_ends_a_commit_of_a_handler_that_stands_still(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given what a handler wrote, and somebody who looks at the connection while the ending is written
    backend = opened(url)
    _, delivery = await lend(backend)
    deed, store = await backend.begin(blocks=False), cast("Any", backend._store)
    carry_out, found = store.carry_out, list[object]()

    async def watched(connection: Any, operation: Any) -> Any:
        found.extend(await store.plain(connection, LEASHES[store.dialect]))
        return await carry_out(connection, operation)

    monkeypatch.setattr(store, "carry_out", watched)
    # When it is, then the server lets nothing stand still there, as with our own connections
    assert await deed.settle(Settlement(delivery, Done()), T)
    assert found in (["8s"], [8])
    await deed.undo()
    await backend.close()


LEASHES = {
    "postgres": "SHOW idle_in_transaction_session_timeout",
    "mysql": "SELECT CAST(@@SESSION.idle_transaction_timeout AS SIGNED)",
}


@pytest.mark.usefixtures("on_a_leash")
@pytest.mark.parametrize("step", ["beat", "lock_limits"])
async def test_a_worker_that_stands_still_in_a_transaction_holds_up_nobody(
    url: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("postgres", "mysql"):
        monkeypatch.setattr(f"worksong.adapters.sql.{module}.LEASH", 1)
    # Given a worker that was frozen in the middle of a transaction, and holds a job
    namespace = new_id()
    frozen, other = opened(url, namespace), opened(url, namespace)
    pool = await join(frozen, limits={"send": 5})
    await push(frozen, *some_jobs(2))
    (held,) = await fetch(frozen, pool)
    store: Any = frozen._store
    connection = await store.dial()
    await store.begin(connection, write=True)
    params = {"space": namespace, "id": pool.id, "now": 1.0, "busy": b"[]"}
    await store.execute(connection, Step(step, params, [("send",)] if step == "lock_limits" else None))
    # When somebody finds it dead, and asks for jobs
    async with asyncio.timeout(60):
        reaped = await other.reap(T, 0.0, dead=[pool.id])
        lent = await fetch(other, await join(other, limits={"send": 5}), 5)
    # Then its job is recovered, and all that waits is lent
    assert (reaped.pools, reaped.recovered) == ((pool.id,), 1)
    assert held.job.id in [delivery.job.id for delivery in lent]
    assert len(lent) == 2
    store.hang_up(connection)
    await asyncio.gather(frozen.close(), other.close())


@pytest.mark.parametrize("server", SERVERS)
async def test_a_wrong_database_is_a_mistake_in_the_configuration(request: pytest.FixtureRequest, server: str) -> None:
    url: str = request.getfixturevalue(f"{server}_url")
    backend = opened(f"{url.rpartition('/')[0]}/nothing_of_that_name")
    with pytest.raises(ConfigError, match="nothing_of_that_name"):
        await push(backend, a_job())
    await backend.close()


async def test_no_password_is_told(url: str) -> None:
    scheme, _, place = url.partition("://")
    backend = opened(f"{scheme}://{place.partition('@')[0]}:hunter2@127.0.0.1:1/nothing")
    with pytest.raises(BackendUnavailable) as failure:
        await push(backend, a_job())
    assert "hunter2" not in f"{failure.value!r} {backend.name} {backend._store.address!r}"
    await backend.close()


@pytest.mark.parametrize("given", ["postgresql://host", "mysql://host/", "mariadb://host/a/b", "postgresql://h:x/d"])
def test_a_url_that_names_no_database_is_refused(given: str) -> None:
    with pytest.raises(ConfigError):
        opened(given)


# wake-up


async def test_a_fetch_that_waits_hears_another_backend_object(url: str) -> None:
    """As another process would: nothing of this process is shared but the server."""
    namespace = new_id()
    waiter, pusher = opened(url, namespace), opened(url, namespace)
    pusher._shared = type(pusher._shared)()
    pool = await join(waiter)
    waiting = asyncio.create_task(fetch(waiter, pool, wait=60.0))
    await asyncio.sleep(0.3)  # long enough for the waiter to wait; if it does not yet, the test holds all the same
    job = a_job()
    await push(pusher, job)
    assert [delivery.job.id for delivery in await waiting] == [job.id]
    await asyncio.gather(waiter.close(), pusher.close())


@pytest.mark.parametrize("option", ["statement_cache=off", "listen=off"])
async def test_behind_a_pooler_nothing_of_a_session_is_used(postgres_url: str, option: str) -> None:
    backend = opened(f"{postgres_url}?{option}")
    pool = await join(backend)
    waiting = asyncio.create_task(fetch(backend, pool, wait=60.0))
    await push(backend, *some_jobs(20))
    (first,) = await waiting
    assert await settle(backend, first)
    assert len(await lent_ids(backend, pool)) == 19
    assert (await backend.counts())[State.RUNNING] == 19
    await backend.close()


@pytest.mark.parametrize(
    ("scheme", "package", "extra"),
    [("postgresql", "asyncpg", "postgres"), ("mysql", "asyncmy", "mysql"), ("mariadb", "asyncmy", "mysql")],
)
def test_a_missing_driver_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "worksong.adapters.sql.postgres", raising=False)
    monkeypatch.delitem(sys.modules, "worksong.adapters.sql.mysql", raising=False)
    with pytest.raises(ConfigError, match=rf"pip install 'worksong\[{extra}\]'"):
        opened(f"{scheme}://host/database")


def test_a_driver_that_cannot_encrypt_a_password_names_the_mend() -> None:
    # Given what asyncmy raises when a user of MySQL logs in for the first time, and without TLS
    lacking = RuntimeError(
        "'cryptography' package is required for sha256_password or caching_sha2_password auth methods"
    )
    assert mysql_failures.meaning(lacking) is Verdict.CONFIG
    assert "install worksong[mysql]" in mysql_failures.mend(lacking)
    assert mysql_failures.meaning(RuntimeError("another")) is Verdict.REFUSED


async def test_a_server_that_forgets_what_it_acknowledged_is_told_of(postgres_url: str) -> None:
    careful, careless = opened(postgres_url), opened(postgres_url)
    dial: Any = careless._store.dial  # type: ignore[attr-defined]

    async def careless_dial() -> Any:
        connection = await dial()
        await connection.execute("SET synchronous_commit = off")
        return connection

    careless._store.dial = careless_dial  # type: ignore[attr-defined]
    assert await careful.admit() == []
    (finding,) = await careless.admit()
    assert (finding.id, finding.detail) == ("sql.forgets", "synchronous_commit = off")
    await asyncio.gather(careful.close(), careless.close())
