"""Fetches that are given up at the worst of moments: no job goes to nobody, and the next fetch works."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from amqp.server import connected
from amqp.stage import LIMIT, PATIENCE, PATIENT, awaited
from worksong.adapters.amqp import AmqpBackend
from worksong.adapters.amqp.channel import Channel
from worksong.domain.job import new_id
from worksong.testing.contract.steps import a_job, die, fetch, join, lent_ids, push

pytestmark = pytest.mark.timeout(LIMIT)  # the first one waits for the server to start
LONG = 10 * PATIENCE


@pytest.fixture
async def backend(rabbitmq_url: str) -> AsyncIterator[AmqpBackend]:
    backend = AmqpBackend(f"{rabbitmq_url}?namespace={new_id()}&{PATIENT}")
    yield backend
    await backend.close()


class Gate:
    """Holds one call of a method of the channel, once it was carried out, until it is let through."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open: Future[None] = Future()

    def holding(self, method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def held(*args: Any, **options: Any) -> Any:
            answer = await method(*args, **options)
            if not self._reached.is_set():
                self._reached.set()
                await asyncio.wrap_future(self._open)
            return answer

        return held

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE)

    def let_through(self) -> None:
        if not self._open.cancelled():  # by who was cancelled while it waited here
            self._open.set_result(None)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_who_is_cancelled_while_it_asks_to_be_sent_jobs_is_sent_none(
    backend: AmqpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a fetch that has just asked the server to send what comes
    gate, pool = Gate(), await join(backend)
    monkeypatch.setattr(Channel, "consume", gate.holding(Channel.consume))
    waiting = asyncio.create_task(fetch(backend, pool, wait=LONG))
    await gate.reached()
    # When it is cancelled, and a job comes
    await cancelled(waiting)
    gate.let_through()
    job = a_job()
    await push(backend, job)

    # Then whoever fetches next has it
    async def lent() -> bool:
        return await lent_ids(backend, pool) == [job.id]

    await awaited(lent, "the job")


async def test_what_comes_for_who_was_cancelled_goes_back(
    backend: AmqpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a fetch that is cancelled between its question for a job and the answer
    job, pool, do = a_job(), await join(backend), Channel._do
    await push(backend, job)
    asked: list[str] = []

    def gives_up(channel: Channel, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        answer = do(channel, call, *args, **options)
        if call.__name__ == "basic_get" and args[0].endswith(".send") and not asked:
            asked.append(args[0])
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        return answer

    monkeypatch.setattr(Channel, "_do", gives_up)
    with pytest.raises(asyncio.CancelledError):
        await fetch(backend, pool)
    assert asked

    # When others fetch, then they have the job
    async def lent() -> bool:
        return await lent_ids(backend, pool) == [job.id]

    await awaited(lent, "the job")


async def test_a_fetch_that_waits_while_the_one_before_is_given_up_hears_of_jobs(
    backend: AmqpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a fetch that was cancelled, and whose consumers are not gone yet
    gate, pool, job = Gate(), await join(backend), a_job()
    monkeypatch.setattr(Channel, "cancel", gate.holding(Channel.cancel))
    await push(backend, a_job())
    assert len(await fetch(backend, pool, wait=LONG)) == 1
    waiting = asyncio.create_task(fetch(backend, pool, wait=LONG))
    await asyncio.sleep(0)
    await cancelled(waiting)
    await gate.reached()
    # When the next one begins to wait, and a job comes
    waiting = asyncio.create_task(fetch(backend, pool, wait=LONG))
    await asyncio.sleep(0)
    gate.let_through()
    await push(backend, job)
    # Then it is told of it
    async with asyncio.timeout(PATIENCE):
        assert [delivery.job.id for delivery in await waiting] == [job.id]


async def test_a_pool_that_is_taken_for_dead_while_it_fetches_takes_nothing_more(
    backend: AmqpBackend, rabbitmq_url: str
) -> None:
    # Given a fetch that has the server send what comes
    dead, other, job = await join(backend), await join(backend), a_job()
    waiting = asyncio.create_task(fetch(backend, dead, wait=LONG))
    queue = backend._queues.queue(job.handler)

    async def listens() -> bool:
        return await asyncio.to_thread(consumers, rabbitmq_url, queue) == 1

    await awaited(listens, "its consumer")
    # When its pool is taken for dead, and a job comes
    await die(backend, dead)
    assert await waiting == []
    await push(backend, job)

    # Then whoever lives has the job
    async def lent() -> bool:
        return await lent_ids(backend, other) == [job.id]

    await awaited(lent, "the job")


def consumers(url: str, queue: str) -> int:
    with connected(url) as channel:
        return channel.queue_declare(queue, passive=True).method.consumer_count


async def test_jobs_that_come_while_fetches_are_given_up_are_all_there(backend: AmqpBackend) -> None:
    # Given fetches that are cancelled after more and more turns of the loop, while jobs come
    pool, jobs = await join(backend), [a_job() for _ in range(40)]
    for turns, job in enumerate(jobs):
        waiting = asyncio.create_task(fetch(backend, pool, wait=LONG))
        for _ in range(turns):
            await asyncio.sleep(0)
        pushing = asyncio.create_task(push(backend, job))
        await cancelled(waiting)
        await pushing

    # When the pool leaves, which hands back all that it has
    await backend.leave(pool, 0.0)

    # Then all jobs are there, each once
    other, found = await join(backend), list[str]()

    async def all_there() -> bool:
        found.extend(await lent_ids(backend, other, 100))
        return len(found) >= len(jobs)

    await awaited(all_there, "all jobs")
    assert sorted(found) == sorted(job.id for job in jobs)
