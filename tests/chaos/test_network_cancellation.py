"""A thousand tasks cancelled anywhere in a command: nobody gets another's answer, and no connection is left over."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

import servers
from chaos.proxy import Proxy
from chaos.scale import SEED
from worksong.adapters.gocraft import GocraftBackend
from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import Redis, Script
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Window

TASKS = 1000
ECHO = Script("return ARGV[1]")


@pytest.fixture
def chance() -> random.Random:
    print(f"seed {SEED}")
    return random.Random(SEED)


@pytest.fixture
async def backend(redis_server: servers.Redis) -> AsyncIterator[tuple[GocraftBackend, Proxy]]:
    with Proxy(redis_server.port) as proxy:
        backend = GocraftBackend(proxy.url, namespace=f"cancel-{uuid.uuid4().hex}")
        yield backend, proxy
        await backend.erase()
        await backend.close()


async def cancelled_at_random(tasks: list[asyncio.Task[None]], chance: random.Random) -> int:
    """Cancel half of them, each after some turns of the loop; how many of all were cancelled before they ended."""
    victims = chance.sample(tasks, len(tasks) // 2)
    while victims:
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0 if chance.random() < 0.9 else 0.002)
        for _ in range(min(len(victims), chance.randrange(1, 9))):
            victims.pop().cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)]
    assert failures == []
    return sum(isinstance(end, asyncio.CancelledError) for end in ends)


async def test_nobody_gets_the_answer_of_a_cancelled_caller(
    redis_server: servers.Redis, chance: random.Random, certify: Callable[..., None]
) -> None:
    wrong: list[tuple[bytes, object]] = []

    async def ask(redis: Redis, name: int) -> None:
        for turn in range(5):
            text = f"{name}-{turn}".encode()
            match (name + turn) % 3:
                case 0:
                    answer = await redis.call("ECHO", text)
                case 1:
                    answer = await redis.script(ECHO, (), (text,))
                case _:
                    answer = (await redis.gather([("PING",), ("ECHO", text)]))[1]
            if answer != text:
                wrong.append((text, answer))

    with Proxy(redis_server.port) as proxy:
        # Given a thousand tasks on a client that is not yet connected
        redis = Redis(parse(proxy.url))
        tasks = [asyncio.create_task(ask(redis, name)) for name in range(TASKS)]
        # When half of them are cancelled wherever they are
        cancelled = await cancelled_at_random(tasks, chance)
        # Then nobody got a wrong answer, and there is one connection, in step
        assert wrong == []
        assert cancelled > TASKS / 10
        assert await redis.call("ECHO", "still in step") == b"still in step"
        assert (len(proxy.connects), proxy.open) == (1, 1)
        await redis.close()
    certify("C9", tasks=TASKS, cancelled=cancelled, wrong_answers=0, leaked_connections=0)


async def test_a_cancelled_enqueueing_happened_once_or_not_at_all(
    backend: tuple[GocraftBackend, Proxy], chance: random.Random
) -> None:
    store, proxy = backend
    taken: set[str] = set()

    async def enqueue(job: Job) -> None:
        if await store.push([job], 1.0, once=bool(int(job.id, 16) % 2)):
            taken.add(job.id)

    # Given a thousand tasks that enqueue one job each
    jobs = [Job("a", {}, id=new_id(), enqueued_at=1.0) for _ in range(TASKS)]
    tasks = [asyncio.create_task(enqueue(job)) for job in jobs]
    # When half of them are cancelled wherever they are
    await cancelled_at_random(tasks, chance)
    # Then whatever was taken in is there, and nothing is there twice
    there = Counter(view.id for view in await store.jobs(State.QUEUED, Window(limit=10 * TASKS)))
    assert taken <= set(there) <= {job.id for job in jobs}
    assert set(there.values()) == {1}
    assert (len(proxy.connects), proxy.open) == (1, 1)
