"""Tables that go one version ahead, under the feet of programs that do not know that version."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import pytest

from machine.beside import beside_its_model
from patience import PATIENCE, auntil
from sql.stage import ailing, fresh, make_tables, opened, ordered, the_next_version, told
from worksong import Worker
from worksong.adapters.sql import migrate
from worksong.domain.errors import WorksongError
from worksong.domain.job import new_id
from worksong.testing.contract.steps import a_job, fetch, join, push

STEPS = 200


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own, with the tables of this version."""
    with ExitStack() as made:
        if request.param == "sqlite":
            found = f"sqlite:///{tmp_path}/jobs.db?synchronous=NORMAL"
        else:
            found = made.enter_context(fresh(request.getfixturevalue(f"{request.param}_url")))
        asyncio.run(make_tables(found))
        yield found


async def to_the_next_version(url: str) -> None:
    with the_next_version():
        before, now = await make_tables(url)
    assert now == before + 1


async def test_workers_go_on_while_the_tables_go_ahead(url: str) -> None:
    # Given a worker at work on jobs of every kind
    worker = Worker(url, name="mine", concurrency=4)
    ran: Counter[str] = Counter()
    under_way, all_ran = asyncio.Event(), asyncio.Event()

    async def note(key: str) -> str:
        ran[key] += 1
        if ran.total() == 30:
            under_way.set()
        if key.startswith("again") and ran[key] == 1:
            raise RuntimeError("not yet")
        if done(ran) == 225:
            all_ran.set()
        return key

    plain = worker.job(name="plain")(note)
    again = worker.job(name="again", backoff=lambda _: 0.0)(note)
    only = worker.job(name="only", unique=True)(note)
    single = worker.job(name="single", max_concurrency=1)(note)

    async def enqueue(begin: int) -> list[str]:
        keys = range(begin, begin + 15)
        handles = [await kind.aperform(f"{kind.name}{key}") for key in keys for kind in (plain, again, only, single)]
        handles += [await plain.aperform_in(0.001, f"plain{key + 1000}") for key in keys]
        return [handle.id for handle in handles if handle]

    ids = await enqueue(0)
    async with worker:
        await asyncio.wait_for(under_way.wait(), PATIENCE)
        ids += await enqueue(100)
        # When somebody who has the next version of the program migrates the tables
        await to_the_next_version(url)
        ids += await enqueue(200)
        # Then every job runs, none twice, and the results are kept
        await asyncio.wait_for(all_ran.wait(), PATIENCE)
        for job_id in ids:
            assert await worker.handle(job_id).aresult(timeout=PATIENCE)
    assert {key: times for key, times in ran.items() if times != (2 if key.startswith("again") else 1)} == {}
    # And who begins now works with them too
    late = opened(url, "mine")
    assert await push(late, a_job()) == [True]
    await late.close()


def test_the_model_holds_on_tables_of_the_next_version(url: str) -> None:
    # Given tables that are one version ahead
    asyncio.run(to_the_next_version(url))
    # When the statements of this version go through random steps, then they do what the model says
    beside_its_model(lambda: opened(url, new_id()), steps=STEPS)


def done(ran: Counter[str]) -> int:
    """Jobs that need not run again."""
    return sum(times == (2 if key.startswith("again") else 1) for key, times in ran.items())


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_a_migration_that_meets_workers_in_a_deadlock_is_tried_anew(url: str) -> None:
    # Given a worker in a transaction that has read one table, and will read the other
    worker, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
    await worker.execute("SET deadlock_timeout = '100s'")  # so that it is the migration that the server ends
    await worker.execute("BEGIN; SELECT count(*) FROM worksong_result")
    # When a migration that needs both has the other one
    migrating = asyncio.create_task(to_the_next_version(url))
    await until_somebody_waits(watcher)
    reading = asyncio.create_task(worker.execute("SELECT count(*) FROM worksong_job"))
    await reading
    await worker.execute("COMMIT")
    # Then it is done all the same
    await asyncio.wait_for(migrating, PATIENCE)
    await asyncio.gather(worker.close(), watcher.close())


async def until_somebody_waits(watcher: asyncpg.Connection) -> None:
    await auntil(lambda: watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


# an index that is built beside the work


@pytest.fixture
def nothing(postgres_url: str) -> Iterator[str]:
    """An empty database."""
    with fresh(postgres_url) as url:
        yield url


@contextmanager
def the_version_before() -> Iterator[None]:
    """Within, this program knows four steps."""
    known = migrate.migrations
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda dialect: known(dialect)[:4])
        yield


async def test_while_an_index_is_built_jobs_are_taken_in(nothing: str) -> None:
    # Given a worker of the version before
    backend = opened(nothing)
    with the_version_before():
        assert await backend.migrate() == (0, 4)
        assert await push(backend, a_job()) == [True]
    # When a migration builds an index, and waits for somebody who is in the middle of a change
    somebody, watcher = await asyncpg.connect(nothing), await asyncpg.connect(nothing)
    await somebody.execute("BEGIN; DELETE FROM worksong_job WHERE id = ''")
    migrating = asyncio.create_task(make_tables(f"{nothing}?timeout=600s"))
    await until_somebody_waits(watcher)
    # Then jobs are taken in and lent all the same
    assert await asyncio.wait_for(push(backend, a_job()), PATIENCE) == [True]
    assert len(await fetch(backend, await join(backend), 2)) == 2
    # And the index is there when that somebody is through
    await somebody.execute("COMMIT")
    assert (await asyncio.wait_for(migrating, PATIENCE))[0] == 4
    assert await ailing(backend) == {}
    await asyncio.gather(backend.close(), somebody.close(), watcher.close())


async def test_an_index_that_was_left_unfinished_is_built_anew(nothing: str) -> None:
    # Given jobs of which two have one id, so that it cannot be built
    with the_version_before():
        await make_tables(nothing)
        rows = "SELECT space, 'twice', 'send', 1, 1, 1 FROM unnest(ARRAY['here', 'here']) AS space"
        columns = "space, id, handler, place, at, enqueued_at"
        await ordered(nothing, "DROP INDEX worksong_job_id", f"INSERT INTO worksong_job ({columns}) {rows}")
    with pytest.raises(WorksongError, match="twice"):
        await make_tables(nothing)
    # When that is mended
    mended = "CREATE UNIQUE INDEX worksong_job_id ON worksong_job (space, id)"
    await ordered(nothing, "DELETE FROM worksong_job", mended)
    # Then the next migration makes it whole
    assert (await make_tables(nothing))[0] == 4
    backend = opened(nothing)
    assert await ailing(backend) == {}
    await backend.close()


@pytest.fixture
def nothing_on_mysql(mariadb_url: str) -> Iterator[str]:
    """An empty database."""
    with fresh(mariadb_url) as url:
        yield url


async def test_a_migration_of_mysql_that_was_cut_short_goes_on(nothing_on_mysql: str) -> None:
    # Given one that was killed: what it made stays there, and nobody noted it
    _, newest = await make_tables(nothing_on_mysql)
    backend = opened(nothing_on_mysql)
    await told(backend, "DELETE FROM worksong_schema", "DROP TABLE worksong_told")
    # When the next one comes, then it makes what is missing
    assert await make_tables(nothing_on_mysql) == (0, newest)
    assert await ailing(backend) == {}
    await backend.close()
