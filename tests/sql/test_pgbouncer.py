"""PostgreSQL behind PgBouncer in transaction mode, with fewer connections than there are users: nothing of a session.

The whole contract holds there; here are the parts of it that say most about whose connection is whose.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from sql.stage import ailing, fresh, opened
from worksong.adapters.sql.backend import SqlBackend
from worksong.domain.errors import ConfigError
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Settlement
from worksong.testing.contract.endings import Receipts
from worksong.testing.contract.leases import Crashes
from worksong.testing.contract.once import Ids
from worksong.testing.contract.steps import T, a_job, die, fetch, join, push, some_jobs


class TestBehindPgbouncer(Receipts, Crashes, Ids):
    @pytest.fixture
    async def backend(self, pgbouncer_url: str) -> AsyncIterator[SqlBackend]:
        backend = opened(pgbouncer_url)
        yield backend
        await backend.close()


async def test_many_at_once_share_a_few_connections(pgbouncer_url: str) -> None:
    # Given more backends than PgBouncer has connections
    namespace = new_id()
    backends = [opened(pgbouncer_url, namespace) for _ in range(8)]
    jobs = some_jobs(80)
    # When all push, fetch and settle at the same time
    new = await asyncio.gather(*(push(backends[n % 8], job) for n, job in enumerate(jobs)))
    pools = await asyncio.gather(*(join(backend) for backend in backends))
    found = await asyncio.gather(*(fetch(one, pool, 10) for one, pool in zip(backends, pools, strict=True)))
    ended = [
        await one.settle([Settlement(delivery, Done()) for delivery in part], T)
        for one, part in zip(backends, found, strict=True)
    ]
    # Then each job was lent once, and has ended once
    assert new == [[True]] * 80
    lent = [delivery.job.id for part in found for delivery in part]
    assert len(set(lent)) == len(lent)
    assert all(all(part) for part in ended)
    assert sum((await backends[0].counts()).values()) == 80 - len(lent)
    await asyncio.gather(*(backend.close() for backend in backends))


async def test_a_fetch_that_waits_looks_again_since_nobody_can_tell_it(pgbouncer_url: str, postgres_url: str) -> None:
    # Given a fetch that waits behind PgBouncer
    namespace = new_id()
    waiter, pusher = opened(pgbouncer_url, namespace), opened(postgres_url, namespace)
    pusher._shared = type(pusher._shared)()  # as if it were another process
    pool = await join(waiter)
    waiting = asyncio.create_task(fetch(waiter, pool, wait=60.0))
    # When somebody else pushes, directly
    job = a_job()
    await push(pusher, job)
    # Then the job is lent, and comes back when its pool dies
    (delivery,) = await waiting
    assert delivery.job.id == job.id
    assert (await die(waiter, pool)).recovered == 1
    assert (await pusher.counts())[State.QUEUED] == 1
    await asyncio.gather(waiter.close(), pusher.close())


@pytest.fixture
def empty(postgres_url: str, pgbouncer_url: str) -> Iterator[str]:
    """A database without tables, through PgBouncer."""
    with fresh(postgres_url) as found:
        yield pgbouncer_url.replace("/postgres?", f"/{found.rpartition('/')[2]}?")


async def test_tables_are_made_once_however_many_migrate(empty: str) -> None:
    backends = [opened(empty) for _ in range(3)]
    assert "sql.tables.missing" in await ailing(backends[0])
    found = await asyncio.gather(*(backend.migrate() for backend in backends))
    newest = found[0][1]
    assert sorted(found) == sorted([(0, newest), (newest, newest), (newest, newest)])
    assert await ailing(backends[0]) == {}
    assert await push(backends[0], a_job(), now=time.time()) == [True]
    await asyncio.gather(*(backend.close() for backend in backends))


async def test_without_the_option_the_error_names_it(pgbouncer_url: str) -> None:
    backend = opened(pgbouncer_url.partition("?")[0])
    with pytest.raises(ConfigError, match=r"behind a pooler say \?statement_cache=off in the URL"):
        await push(backend, a_job())
    await backend.close()
