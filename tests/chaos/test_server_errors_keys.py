"""Somebody else's value under one of our keys: what needs that key says which, what it holds, and what to do."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest

from worksong import Job, Worker
from worksong.adapters.gocraft import GocraftBackend
from worksong.adapters.redis.store import MEND
from worksong.domain.errors import BackendRefused
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Settlement
from worksong.domain.turns import Share
from worksong.faces.cli.commands import Failure
from worksong.ports.backend import Beat, Pool, Want, Window

T = 1_700_000_000.0
POOL = Pool(id="p", handlers=("a",), limits={"a": 3})


@pytest.fixture
async def backend(redis_url: str) -> AsyncIterator[GocraftBackend]:
    backend = GocraftBackend(redis_url, namespace=f"keys-{uuid.uuid4().hex}")
    yield backend
    await backend.erase()
    await backend.close()


def a_job() -> Job:
    return Job("a", {}, id=new_id(), enqueued_at=T)


async def push(backend: GocraftBackend) -> None:
    await backend.push([a_job()], T)


async def push_once(backend: GocraftBackend) -> None:
    await backend.push([a_job()], T, once=True)


async def enlist(backend: GocraftBackend) -> None:
    await backend.enlist(POOL, T)


async def fetch(backend: GocraftBackend) -> None:
    await backend.fetch(Want("p", 1, 0.0, (Share("a", 1),)), T)


async def beat(backend: GocraftBackend) -> None:
    await backend.beat(Beat(POOL), T)


async def promote(backend: GocraftBackend) -> None:
    await backend.promote(T, 100)


async def reap(backend: GocraftBackend) -> None:
    await backend.reap(T, 0.0)


async def prune(backend: GocraftBackend) -> None:
    await backend.prune(T)


async def queues(backend: GocraftBackend) -> None:
    await backend.queues(T)


async def pools(backend: GocraftBackend) -> None:
    await backend.pools()


async def retries(backend: GocraftBackend) -> None:
    await backend.jobs(State.RETRY, Window())


async def scheduled(backend: GocraftBackend) -> None:
    await backend.jobs(State.SCHEDULED, Window())


async def dead(backend: GocraftBackend) -> None:
    await backend.jobs(State.DEAD, Window())


async def find(backend: GocraftBackend) -> None:
    await backend.job("nobody")


async def requeue(backend: GocraftBackend) -> None:
    await backend.requeue(State.DEAD, None, T)


async def purge(backend: GocraftBackend) -> None:
    await backend.purge("a")


Do: TypeAlias = Callable[[GocraftBackend], Awaitable[None]]
NEEDS: dict[str, tuple[str, tuple[Do, ...]]] = {
    "known_jobs": ("set", (push, push_once, enlist, reap, queues)),
    "scheduled": ("zset", (push, scheduled, find)),
    "retry": ("zset", (retries, find)),
    "dead": ("zset", (fetch, prune, dead, requeue, find)),
    "worker_pools": ("set", (enlist, beat, reap, pools)),
    "worksong:recovered_at": ("zset", (prune,)),
    "worksong:cancelled": ("zset", (prune,)),
    "worksong:pools": ("zset", (prune,)),
    "jobs:a": ("list", (push, push_once, purge)),
}
"""Our keys -> what belongs there, and what cannot be done without."""
CASES = [(key, kind, do) for key, (kind, needing) in NEEDS.items() for do in needing]


@pytest.mark.parametrize(("key", "belongs", "do"), CASES, ids=[f"{key} {do.__name__}" for key, _, do in CASES])
async def test_what_needs_the_key_names_it_and_how_to_mend_it(
    backend: GocraftBackend, key: str, belongs: str, do: Do
) -> None:
    # Given a value of a wrong type under one of our keys
    full = f"{backend._space.keys.prefix}{key}"
    await backend._space.call("SET", full, "somebody else's")
    # When something is done that needs it
    with pytest.raises(BackendRefused) as refused:
        await do(backend)
    # Then the error names the key, what it holds, and the next step
    said = str(refused.value)
    assert said.startswith("WRONGTYPE ")
    assert f"key {full} holds a string where a {belongs} belongs" in said or f"{full} (string)" in said
    assert said.endswith(MEND)
    # and when that step is taken, it can be done
    await backend._space.call("RENAME", full, f"{full}.aside")
    await do(backend)


@pytest.mark.parametrize("key", [key for key in NEEDS if key not in ("worker_pools", "known_jobs")])
async def test_a_wrong_key_can_be_looked_around(backend: GocraftBackend, key: str) -> None:
    # Given jobs, and a value of a wrong type under a key that not every listing needs
    for _ in range(3):
        await push(backend)
    await enlist(backend)
    await backend._space.call("DEL", f"{backend._space.keys.prefix}{key}")
    await backend._space.call("SET", f"{backend._space.keys.prefix}{key}", "somebody else's")
    # Then the overview is shown without it
    assert [queue.name for queue in await backend.queues(T)] == ["a"]
    assert [pool.id for pool in await backend.pools()] == ["p"]
    assert await backend.busy() == []
    assert (await backend.counts())[State.QUEUED] == (0 if key == "jobs:a" else 3)


async def test_a_worker_that_starts_says_which_key_is_wrong(backend: GocraftBackend) -> None:
    # Given a wrong key that every pool needs
    full = backend._space.keys.worker_pools
    await backend._space.call("SET", full, "somebody else's")
    worker = Worker(f"{backend._address.shown}?namespace={backend._namespace}")
    worker.register("a", lambda: None)
    # When a worker is started, then it says so in one line, as the command line shows it
    with pytest.raises(BackendRefused, match=re.escape(full)) as refused:
        await worker.astart()
    assert "\n" not in Failure(refused.value).message
    assert "Traceback" not in Failure(refused.value).message
    await worker.astop(0)


async def test_due_jobs_whose_queue_is_wrong_are_told_of_with_the_key(
    backend: GocraftBackend, caplog: pytest.LogCaptureFixture
) -> None:
    await enlist(backend)
    await backend.push([Job("a", {}, id="x", enqueued_at=T, run_at=T + 1)], T)
    await backend._space.call("SET", backend._space.keys.jobs("a"), "somebody else's")
    assert await backend.promote(T + 2, 100) == 1
    assert f"{backend._space.keys.jobs('a')}; {MEND}" in caplog.text


async def test_a_job_type_whose_keys_are_wrong_holds_up_no_other(backend: GocraftBackend) -> None:
    # Given a type with a wrong queue, and another one
    await backend._space.call("SET", backend._space.keys.jobs("x"), "somebody else's")
    pool = Pool(id="q", handlers=("x", "a"))
    await backend.enlist(pool, T)
    await push(backend)
    # When both are fetched, then the other one is lent and ends
    async with asyncio.timeout(60):
        (lent,) = await backend.fetch(Want("q", 9, 0.0, (Share("x", 9), Share("a", 9))), T)
    assert await backend.settle([Settlement(lent, Done())], T) == [True]
