"""Several at once over one database: what the transactions of each dialect must hold apart."""

from __future__ import annotations

import asyncio
import random

from worksong.adapters.sql.backend import SqlBackend
from worksong.domain.job import Delivery
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Retried, Settlement
from worksong.testing.contract.steps import T, a_job, fetch, join, lend, lent_ids, listed, push, settle, some_jobs

MANY = 6


async def test_a_limit_holds_however_many_fetch_at_once(backend: SqlBackend) -> None:
    # Given a limit of three, and more pools than that
    await push(backend, *some_jobs(50))
    others = [backend.sibling() for _ in range(MANY)]
    pools = [await join(other, limits={"send": 3}) for other in others]
    # When all fetch at the same time, again and again
    for _ in range(5):
        found = await asyncio.gather(*(fetch(other, pool, 2) for other, pool in zip(others, pools, strict=True)))
        lent = [delivery for part in found for delivery in part]
        # Then no more than three run
        assert len(lent) == 3
        assert all(await backend.settle([Settlement(delivery, Done()) for delivery in lent], T))
    await asyncio.gather(*(other.close() for other in others))


async def test_an_id_pushed_once_by_many_is_taken_once(backend: SqlBackend) -> None:
    others = [backend.sibling() for _ in range(MANY)]
    for number in range(5):
        job = a_job(id=f"order-{number}")
        new = await asyncio.gather(*(push(other, job, once=True) for other in others))
        assert sorted(new) == [[False]] * (MANY - 1) + [[True]]
    assert len(await lent_ids(backend, await join(backend))) == 5
    await asyncio.gather(*(other.close() for other in others))


async def test_a_unique_job_pushed_by_many_is_taken_once(backend: SqlBackend) -> None:
    others = [backend.sibling() for _ in range(MANY)]
    for number in range(5):
        new = await asyncio.gather(*(push(other, a_job(args={"n": number}, unique="until_done")) for other in others))
        assert sorted(new) == [[False]] * (MANY - 1) + [[True]]
    await asyncio.gather(*(other.close() for other in others))


async def test_batches_of_the_same_unique_jobs_in_any_order_do_not_stop_one_another(backend: SqlBackend) -> None:
    """Locks taken in another order are a deadlock: the server ends one, which is tried again."""
    others = [backend.sibling() for _ in range(4)]
    draw = random.Random(7)

    async def push_all(other: SqlBackend) -> int:
        numbers = draw.sample(range(100), 100)
        jobs = [a_job(args={"n": number}, unique="until_done") for number in numbers]
        return sum(await push(other, *jobs))

    assert sum(await asyncio.gather(*(push_all(other) for other in others))) == 100
    await asyncio.gather(*(other.close() for other in others))


async def test_due_jobs_are_promoted_once_however_many_promote(backend: SqlBackend) -> None:
    await push(backend, *(a_job(run_at=T + 10) for _ in range(500)))
    others = [backend.sibling() for _ in range(4)]

    async def promote_all(other: SqlBackend) -> int:
        moved = misses = 0
        while misses < 3:  # what others have under their hands right now is passed over
            part = await other.promote(T + 11, 40)
            moved, misses = moved + part, 0 if part else misses + 1
        return moved

    assert sum(await asyncio.gather(*(promote_all(other) for other in others))) == 500
    assert len(await lent_ids(backend, await join(backend), 1000, now=T + 11)) == 500
    await asyncio.gather(*(other.close() for other in others))


async def test_one_ending_settled_by_many_counts_once(backend: SqlBackend) -> None:
    _, delivery = await lend(backend)
    others = [backend.sibling() for _ in range(MANY)]
    held = await asyncio.gather(*(settle(other, delivery, Retried(T + 60, "boom")) for other in others))
    assert sorted(held) == [False] * (MANY - 1) + [True]
    (view,) = await listed(backend, State.RETRY)
    assert view.job.attempt == 2
    await asyncio.gather(*(other.close() for other in others))


async def test_operations_cancelled_at_any_moment_lose_nothing_and_break_nothing(backend: SqlBackend) -> None:
    # Given pushes and fetches of which most are cancelled at some point
    draw, pool, held = random.Random(7), await join(backend), dict[int, Delivery]()
    known: set[str] = set()

    async def one(number: int) -> None:
        job = a_job(id=f"job-{number}")
        assert await push(backend, job) == [True]
        known.add(job.id)
        for delivery in await fetch(backend, pool):
            held[delivery.fence] = delivery

    tasks = [asyncio.create_task(one(number)) for number in range(150)]
    for task in tasks:
        await asyncio.sleep(draw.uniform(0, 0.003))
        if draw.random() < 0.7:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # When all that is held is settled, and the pool leaves
    assert all(await backend.settle([Settlement(delivery, Done()) for delivery in held.values()], T))
    await backend.leave(pool, T)
    # Then every job that was pushed has run, or waits
    waiting = await lent_ids(backend, await join(backend), 1000)
    assert known <= {delivery.job.id for delivery in held.values()} | set(waiting)
    assert len(waiting) == len(set(waiting))
