"""H2: somebody keeps a transaction open on PostgreSQL: the dead rows of ten minutes of work cannot be cleared away."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from chaos.certificates import Certify
from chaos.scale import FULL, sized, timeout
from chaos.theatre import Theatre, backend, on, quiet
from chaos.theatre_servers import PostgresTheatre
from patience import auntil
from worksong.domain.job import Job, new_id
from worksong.domain.outcome import Done, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Pool, Want

JOBS = sized(30_000) if FULL else 500
"""What 50 jobs in a second are in 10 minutes: they are done one after the other, as fast as it goes."""
AT_ONCE = 10
WAIT = 1.0
"""Seconds that a fetch may wait, as a worker's does."""
PART = 20
"""Of so many parts of the run, the first is compared with the last."""
PATIENCE = 120.0
"""Seconds in which the server clears the dead rows away by itself."""

pytestmark = pytest.mark.timeout(timeout(400))


@on("postgres")
async def test_h2_an_open_transaction_costs_time_and_no_job(theatre: PostgresTheatre, certify: Certify) -> None:
    # Given a transaction that sees the tables as they are now
    async with _reading(theatre):
        # When jobs are enqueued, lent and ended all the time
        async with backend(theatre) as store:
            pool = Pool(id=new_id(), handlers=("work",))
            await store.enlist(pool, time.time())
            took = [await _ten_jobs(store, pool) for _ in range(JOBS // AT_ONCE)]
            await store.leave(pool, time.time())

        # Then all have run, and the rows that they were are still there
        await quiet(theatre, 60)
        dead = await _dead_rows(theatre, lambda count: count >= JOBS)

    # And when the transaction is over, they are cleared away
    over = time.monotonic()
    await _dead_rows(theatre, lambda count: count <= JOBS / 10, cleared=not FULL)
    cleared = time.monotonic() - over
    part = max(1, len(took) // PART)
    first, last = took[:part], took[-part:]
    if FULL:
        assert _p99(last) <= 3 * _p99(first)
    certify(
        "H2",
        jobs=JOBS,
        lost=0,
        dead_rows=dead,
        fetch_p50_us_at_first=round(statistics.median(first) * 1e6),
        fetch_p50_us_at_last=round(statistics.median(last) * 1e6),
        fetch_p99_us_at_first=round(_p99(first) * 1e6),
        fetch_p99_us_at_last=round(_p99(last) * 1e6),
        cleared_after=cleared,
    )


@asynccontextmanager
async def _reading(theatre: Theatre) -> AsyncIterator[None]:
    connection = await asyncpg.connect(theatre.url)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetch("SELECT count(*) FROM worksong_job")
            yield
    finally:
        await connection.close()


async def _ten_jobs(store: Backend, pool: Pool) -> float:
    """Answers how many seconds the fetch took."""
    await store.push([Job("work", {"n": n}, id=new_id(), enqueued_at=time.time()) for n in range(AT_ONCE)], time.time())
    begun = time.perf_counter()
    lent = await store.fetch(Want(pool.id, AT_ONCE, WAIT, (Share("work", AT_ONCE),)), time.time())
    took = time.perf_counter() - begun
    assert len(lent) == AT_ONCE
    assert all(await store.settle([Settlement(delivery, Done()) for delivery in lent], time.time()))
    return took


async def _dead_rows(theatre: PostgresTheatre, reached: Callable[[int], bool], *, cleared: bool = False) -> int:
    """As the server counts them, once they are so many: what a connection did is told some time after.

    `cleared`: by us; at full scale the server has to come by itself.
    """

    async def counted() -> int:
        if cleared:
            await theatre.ask("VACUUM worksong_job")
        (found,) = await theatre.ask("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'worksong_job'")
        return int(found)

    return await auntil(counted, "another count of dead rows", met=reached, within=PATIENCE, pause=0.1)


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]
