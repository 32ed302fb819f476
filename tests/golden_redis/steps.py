"""What the stories about poison and recovery have in common: jobs, pools, and the words for what happens to them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from golden_redis.stored import T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.job import Delivery, Job, JobView
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Outcome, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Orders, Pool, Want, Window

_numbers = itertools.count(1)


def a_job(name: str = "a", args: Any = None, **fields: Any) -> Job:
    """A job as the client hands it over."""
    number = next(_numbers)
    given = {"id": f"{number:024x}", "enqueued_at": float(T), **fields}
    return Job(name, {"n": number} if args is None else args, **given)


def good(count: int, name: str = "a") -> list[bytes]:
    """Documents of good jobs."""
    return [f'{{"name":"{name}","id":"good-{n}","t":{T},"args":{{"n":{n}}}}}'.encode() for n in range(count)]


def good_ids(count: int) -> list[str]:
    """Their ids, the oldest first."""
    return [f"good-{n}" for n in range(count)]


def a_pool(*names: str, pool_id: str = "", **fields: Any) -> Pool:
    """A pool that is not yet enlisted."""
    return Pool(id=pool_id or f"{next(_numbers):024x}", handlers=names or ("a",), **fields)


async def join(backend: GocraftBackend, *names: str, **fields: Any) -> Pool:
    """Enlist a new pool for these job types."""
    pool = a_pool(*names, **fields)
    await backend.enlist(pool, T)
    return pool


async def push(backend: GocraftBackend, *jobs: Job, now: float = T) -> list[bool]:
    """Enqueue them all."""
    return await backend.push(jobs, now)


async def fetch(backend: GocraftBackend, pool: Pool, limit: int = 1, *, now: float = T) -> list[Delivery]:
    """Lend to the pool once."""
    shares = tuple(Share(name, 1 << 30) for name in pool.handlers)
    return await backend.fetch(Want(pool.id, limit, 0.0, shares), now)


async def lend(backend: GocraftBackend, *jobs: Job, names: tuple[str, ...] = ("a",)) -> tuple[Pool, list[Delivery]]:
    """Enqueue the jobs and lend them to a new pool."""
    await push(backend, *jobs)
    pool = await join(backend, *names)
    return pool, await fetch(backend, pool, len(jobs))


async def settle(backend: GocraftBackend, delivery: Delivery, outcome: Outcome | None = None, now: float = T) -> bool:
    """End one job; done, unless told otherwise."""
    (held,) = await backend.settle([Settlement(delivery, outcome or Done())], now)
    return held


async def beat(backend: GocraftBackend, pool: Pool, held: Sequence[Delivery] = (), now: float = T) -> Orders:
    """One beat of a pool that holds these."""
    return await backend.beat(Beat(pool, (), tuple(held)), now)


async def listed(backend: GocraftBackend, state: State) -> list[JobView]:
    """All jobs of a state."""
    return list(await backend.jobs(state, Window(limit=10_000)))


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    """Their jobs' ids."""
    return [delivery.job.id for delivery in deliveries]
