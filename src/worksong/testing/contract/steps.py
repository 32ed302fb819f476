"""The words in which the contract is written: jobs, pools, and what happens to them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from worksong.domain.job import Delivery, Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Outcome, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Beat, Listing, Orders, Pool, Reaped, Running, Want, Window

T = 1_700_000_000.0
"""When every test begins. A whole second: not every format has finer ones."""
PLENTY = 1 << 30

_numbers = itertools.count(1)


def a_job(handler: str = "send", args: Any = None, **fields: Any) -> Job:
    """A job as the client would hand it over."""
    given: dict[str, Any] = {"id": new_id(), "enqueued_at": T, **fields}
    return Job(handler, {"n": next(_numbers)} if args is None else args, **given)


def some_jobs(count: int, handler: str = "send", **fields: Any) -> list[Job]:
    """Jobs with arguments n = 0, 1, 2 ..."""
    return [a_job(handler, {"n": n}, **fields) for n in range(count)]


async def join(backend: Backend, *handlers: str, limits: Mapping[str, int] | None = None, now: float = T) -> Pool:
    """Enlist a new pool for these job types."""
    pool = Pool(
        id=new_id(),
        handlers=handlers or ("send",),
        limits=limits or {},
        concurrency=2,
        worker_ids=(new_id(), new_id()),
        host="barge",
        pid=4711,
        started_at=now,
    )
    await backend.enlist(pool, now)
    return pool


async def push(backend: Backend, *jobs: Job, now: float = T, once: bool = False) -> list[bool]:
    """Push all of them at once."""
    return await backend.push(jobs, now, once=once)


async def fetch(
    backend: Backend,
    pool: Pool,
    limit: int = 1,
    *,
    now: float = T,
    wait: float = 0.0,
    shares: Sequence[Share] | None = None,
    queues: tuple[str, ...] | None = None,
) -> list[Delivery]:
    """Lend to the pool; without `shares` all its job types may take everything."""
    turns = tuple(shares or (Share(name, PLENTY) for name in pool.handlers))
    return await backend.fetch(Want(pool.id, limit, wait, turns, queues), now)


async def lend(backend: Backend, job: Job | None = None, *, now: float = T) -> tuple[Pool, Delivery]:
    """Push a job and lend it to a new pool."""
    given = job or a_job()
    assert await push(backend, given, now=now) == [True]
    pool = await join(backend, given.handler, now=now)
    (delivery,) = await fetch(backend, pool, now=now)
    return pool, delivery


async def settle(backend: Backend, delivery: Delivery, outcome: Outcome | None = None, *, now: float = T) -> bool:
    """Settle one delivery; done, unless told otherwise."""
    (held,) = await backend.settle([Settlement(delivery, outcome or Done())], now)
    return held


async def beat(
    backend: Backend, pool: Pool, *held: Delivery, running: Sequence[Running] = (), now: float = T
) -> Orders:
    """A sign of life of a pool that holds these."""
    return await backend.beat(Beat(pool, tuple(running), held), now)


async def fresh_beat(backend: Backend, pool: Pool, *held: Delivery, now: float = T) -> Orders:
    """A beat that others can tell from the one before: a store with a clock of its own may write whole seconds."""
    first = await beat(backend, pool, *held, now=now)
    orders = first
    while first.server_now is not None and int(orders.server_now or 0) == int(first.server_now):
        await asyncio.sleep(0.02)
        orders = await beat(backend, pool, *held, now=now)
    return orders


async def die(backend: Backend, *pools: Pool, now: float = T) -> Reaped:
    """The supervisor of these pools says that they are dead."""
    return await backend.reap(now, 0.0, dead=[pool.id for pool in pools])


async def lent_ids(backend: Backend, pool: Pool, limit: int = 100, *, now: float = T) -> list[str]:
    """Ids of whatever can be fetched now, in order."""
    return [delivery.job.id for delivery in await fetch(backend, pool, limit, now=now)]


async def listed(backend: Backend, state: State) -> Listing:
    """All jobs of a state."""
    return await backend.jobs(state, Window(limit=1000))


async def look(backend: Backend, job: Job | Delivery) -> JobView:
    """The job where it is now."""
    view = await backend.job(job.job.id if isinstance(job, Delivery) else job.id)
    assert view is not None, f"{job} is gone"
    return view


async def is_gone(backend: Backend, job: Job | Delivery) -> bool:
    """Whether nothing is left of the job."""
    return await backend.job(job.job.id if isinstance(job, Delivery) else job.id) is None


async def queue_count(backend: Backend, name: str, *, now: float = T) -> int:
    """How many wait in a queue; a queue not listed is empty."""
    return sum(queue.count for queue in await backend.queues(now) if queue.name == name)
