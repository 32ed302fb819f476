"""Tables that go one version ahead, under the feet of programs that do not know that version."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from machine.beside import beside_its_model
from patience import PATIENCE, auntil
from sql.stage import fresh, make_tables, opened, the_next_version
from worksong import Worker
from worksong.domain.job import new_id
from worksong.testing.contract.steps import a_job, push

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
