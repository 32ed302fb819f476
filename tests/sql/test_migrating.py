"""Tables that go one version ahead, under the feet of programs that do not know that version."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from machine.beside import beside_its_model
from patience import PATIENCE, auntil
from sql.stage import ailing, fresh, make_tables, opened, ordered, the_next_version, told
from worksong import Worker
from worksong.adapters.sql import migrate, postgres_index
from worksong.adapters.sql.address import Address
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.postgres import PostgresStore
from worksong.domain.errors import ConfigError, WorksongError
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
    async with connected(url) as worker, connected(url) as watcher, asyncio.TaskGroup() as group:
        await worker.execute("SET deadlock_timeout = '100s'")  # so that it is the migration that the server ends
        await worker.execute("BEGIN; SELECT count(*) FROM worksong_result")
        # When a migration that needs both has the other one
        migrating = group.create_task(to_the_next_version(url))
        await until_somebody_waits(watcher)
        await worker.execute("SELECT count(*) FROM worksong_job")
        await worker.execute("COMMIT")
        # Then it is done all the same
        await asyncio.wait_for(migrating, PATIENCE)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection, gone afterwards together with what it left open."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def until_somebody_waits(watcher: asyncpg.Connection) -> None:
    await auntil(lambda: watcher.fetchval(WAITING))


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


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


@pytest.fixture
async def before(nothing: str) -> AsyncIterator[SqlBackend]:
    """A backend of the version before, with a job."""
    backend = opened(nothing)
    with the_version_before():
        assert await backend.migrate() == (0, 4)
        assert await push(backend, a_job()) == [True]
    yield backend
    await backend.close()


async def test_while_an_index_is_built_jobs_are_taken_in(
    before: SqlBackend, nothing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a migration that builds an index, and waits for somebody who is in the middle of a change
    monkeypatch.setattr(postgres_index, "QUIET", 0.0)
    async with connected(nothing) as somebody, connected(nothing) as watcher, asyncio.TaskGroup() as group:
        await somebody.execute("BEGIN; DELETE FROM worksong_job WHERE id = ''")
        migrating = group.create_task(make_tables(nothing))
        await until_somebody_waits(watcher)
        # Then that is told of, and jobs are taken in and lent all the same
        await auntil(lambda: "pg_stat_activity names them" in caplog.text)
        assert await asyncio.wait_for(push(before, a_job()), PATIENCE) == [True]
        assert len(await fetch(before, await join(before), 2)) == 2
        # And the index is there when that somebody is through
        await somebody.execute("COMMIT")
        assert (await asyncio.wait_for(migrating, PATIENCE))[0] == 4
    assert await ailing(before) == {}


async def test_no_timeout_of_the_url_cuts_an_index_short() -> None:
    # Given a connection that notes what it is told
    address = Address(scheme="postgresql", host="here", database="jobs", options={"timeout": "1s"})
    store, connection = PostgresStore(address, ""), Noting()
    # When statements build an index, then they have years
    await store.build(connection, ["CREATE INDEX CONCURRENTLY worksong_it ON worksong_job (at)"])
    assert connection.timeouts == [postgres_index.HOWEVER_LONG]


class Noting:
    """An asyncpg connection on which there is no index yet."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    async def fetch(self, _sql: str) -> list[tuple[object, ...]]:
        return []

    async def execute(self, _sql: str, **given: float) -> None:
        self.timeouts.append(given["timeout"])


async def test_an_application_that_reads_for_long_stops_no_worker_and_costs_no_second_index(
    before: SqlBackend, nothing: str
) -> None:
    # Given somebody who has read the jobs, and does not end his transaction
    async with connected(nothing) as somebody, connected(nothing) as watcher:
        await somebody.execute("BEGIN; SELECT count(*) FROM worksong_job")
        # When a migration has built its index, and waits until it may drop the old one
        migrating = asyncio.create_task(make_tables(nothing))
        try:
            await auntil(lambda: watcher.fetchval(FINISHED))
            index = await watcher.fetchval(FINISHED)
            await auntil(lambda: migrating.done() or watcher.fetchval(WAITING))
            # Then jobs are taken in meanwhile
            assert await asyncio.wait_for(push(before, a_job()), PATIENCE) == [True]
            await somebody.execute("COMMIT")
        finally:
            with suppress(WorksongError):  # on a slow machine it may have given up: then it is run again
                await asyncio.wait_for(migrating, PATIENCE)
        await make_tables(nothing)
        # And the index is the same one at the end
        assert await watcher.fetchval(FINISHED) == index
    assert await ailing(before) == {}


FINISHED = "SELECT indexrelid FROM pg_index WHERE indexrelid = to_regclass('worksong_job_known') AND indisvalid"


async def test_a_worker_that_makes_its_tables_leaves_a_long_step_to_an_operator(
    before: SqlBackend, nothing: str
) -> None:
    # Given tables of the version before, when somebody comes to work who may migrate in passing
    late = opened(f"{nothing}?migrate=auto")
    try:
        # Then he is told who builds an index, and how
        with pytest.raises(ConfigError, match=r"of version 4; .*run `worksong migrate --url postgresql://"):
            await push(late, a_job())
        # And can work when that was done
        await make_tables(nothing)
        assert await push(late, a_job()) == [True]
    finally:
        await late.close()


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
