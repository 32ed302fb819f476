"""Looking without touching: counts, queues, pages of jobs, pools and busy workers."""

from __future__ import annotations

import json

from worksong.domain.capability import Capability
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Retried
from worksong.ports.backend import Backend, Running, Window
from worksong.testing.contract.steps import (
    T,
    a_job,
    beat,
    die,
    fetch,
    join,
    lend,
    lent_ids,
    listed,
    look,
    push,
    queue_count,
    settle,
    some_jobs,
)
from worksong.testing.contract.suite import Suite, needs

EVERYWHERE = (State.QUEUED, State.SCHEDULED, State.RUNNING, State.RETRY, State.DEAD)


async def one_in_each(backend: Backend) -> dict[State, str]:
    """A job in every state; answers their ids."""
    ids: dict[State, str] = {}
    for state, outcome in ((State.RETRY, Retried(T + 60, "boom")), (State.DEAD, Buried("boom"))):
        _, delivery = await lend(backend)
        await settle(backend, delivery, outcome)
        ids[state] = delivery.job.id
    _, running = await lend(backend)
    queued, scheduled = a_job(), a_job(run_at=T + 60)
    await push(backend, queued, scheduled)
    return ids | {State.RUNNING: running.job.id, State.QUEUED: queued.id, State.SCHEDULED: scheduled.id}


class Listings(Suite):
    @needs(Capability.BROWSE)
    async def test_an_empty_store_counts_nothing(self, backend: Backend) -> None:
        counts = await backend.counts()
        assert [counts[state] for state in EVERYWHERE] == [0] * 5
        for state in EVERYWHERE:
            assert (await listed(backend, state)).total == 0

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_every_job_is_counted_where_it_is(self, backend: Backend) -> None:
        await one_in_each(backend)
        counts = await backend.counts()
        assert [counts[state] for state in EVERYWHERE] == [1] * 5

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_every_job_is_listed_where_it_is(self, backend: Backend) -> None:
        ids = await one_in_each(backend)
        for state in EVERYWHERE:
            assert [view.id for view in await listed(backend, state)] == [ids[state]]

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_every_job_is_found_by_its_id(self, backend: Backend) -> None:
        for state, job_id in (await one_in_each(backend)).items():
            view = await backend.job(job_id)
            assert view is not None
            assert (view.state, view.id, view.job.handler) == (state, job_id, "send")

    @needs(Capability.BROWSE)
    async def test_an_id_that_is_not_there_is_none(self, backend: Backend) -> None:
        assert await backend.job("nothing") is None

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_looking_changes_nothing(self, backend: Backend) -> None:
        await one_in_each(backend)
        before = await backend.counts()
        for state in EVERYWHERE:
            await listed(backend, state)
        await backend.queues(T + 100)
        assert await backend.counts() == before

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_pages_follow_one_another(self, backend: Backend) -> None:
        jobs = [a_job(run_at=T + n) for n in range(1, 46)]
        await push(backend, *jobs)
        found: list[str] = []
        for offset, expected in ((0, 20), (20, 20), (40, 5), (60, 0)):
            page = await backend.jobs(State.SCHEDULED, Window(20, offset))
            assert (len(page), page.total) == (expected, 45)
            found += [view.id for view in page]
        assert found == [job.id for job in jobs]

    @needs(Capability.BROWSE)
    async def test_waiting_jobs_are_listed_oldest_first(self, backend: Backend) -> None:
        jobs = [a_job(enqueued_at=T + n) for n in range(30)]
        await push(backend, *jobs)
        assert [view.id for view in await listed(backend, State.QUEUED)] == [job.id for job in jobs]
        page = await backend.jobs(State.QUEUED, Window(10, 5))
        assert [view.id for view in page] == [job.id for job in jobs[5:15]]

    @needs(Capability.BROWSE)
    async def test_dead_jobs_are_listed_oldest_death_first(self, backend: Backend) -> None:
        jobs = some_jobs(5)
        for age, job in enumerate(jobs):
            _, delivery = await lend(backend, job)
            await settle(backend, delivery, Buried(f"boom {age}"), now=T + age)
        dead = await listed(backend, State.DEAD)
        assert [(view.id, view.at, view.error) for view in dead] == [
            (job.id, T + age, f"boom {age}") for age, job in enumerate(jobs)
        ]

    @needs(Capability.BROWSE)
    async def test_a_waiting_job_tells_since_when_it_waits(self, backend: Backend) -> None:
        job = a_job(enqueued_at=T - 30)
        await push(backend, job)
        assert (await look(backend, job)).at == T - 30

    @needs(Capability.BROWSE)
    async def test_queues_tell_their_length_and_latency(self, backend: Backend) -> None:
        await push(backend, a_job(enqueued_at=T), a_job(enqueued_at=T + 10))
        name = self.queue_of(backend, "send")
        (queue,) = [queue for queue in await backend.queues(T + 60) if queue.name == name]
        assert (queue.count, queue.latency, queue.paused) == (2, 60.0, False)

    @needs(Capability.BROWSE)
    async def test_a_lent_job_waits_no_longer(self, backend: Backend) -> None:
        await lend(backend)
        assert await queue_count(backend, self.queue_of(backend, "send")) == 0

    @needs(Capability.BROWSE)
    async def test_queues_are_listed_apart(self, backend: Backend) -> None:
        await push(backend, *some_jobs(2, "send", queue="low"), *some_jobs(3, "call", queue="high"))
        low, high = self.queue_of(backend, "send", "low"), self.queue_of(backend, "call", "high")
        counts = {queue.name: queue.count for queue in await backend.queues(T)}
        assert (counts[low], counts[high]) == (2, 3)

    @needs(Capability.BROWSE)
    async def test_a_latency_is_never_negative(self, backend: Backend) -> None:
        await push(backend, a_job(enqueued_at=T + 60))
        assert [queue.latency for queue in await backend.queues(T)] == [0.0]

    @needs(Capability.BROWSE)
    async def test_arguments_and_queue_are_listed(self, backend: Backend) -> None:
        job = a_job(args={"text": "ß", "list": [1]}, queue="low")
        await push(backend, job)
        view = await look(backend, job)
        assert (view.job.args, view.job.queue) == ({"text": "ß", "list": [1]}, "low")


class Pools(Suite):
    @needs(Capability.POOLS)
    async def test_an_enlisted_pool_is_listed(self, backend: Backend) -> None:
        pool = await join(backend, "call", "send")
        (view,) = await backend.pools()
        assert (view.id, sorted(view.handlers), view.concurrency) == (pool.id, ["call", "send"], 2)
        assert (view.host, view.pid, view.started_at) == ("barge", 4711, T)
        assert sorted(view.worker_ids) == sorted(pool.worker_ids)

    @needs(Capability.POOLS)
    async def test_a_beating_pool_stays_listed(self, backend: Backend) -> None:
        pool = await join(backend)
        await beat(backend, pool, now=T + 5)
        (view,) = await backend.pools()
        assert (view.id, view.concurrency) == (pool.id, 2)
        assert view.heartbeat_at > 0

    @needs(Capability.POOLS)
    async def test_a_pool_that_left_is_not_listed(self, backend: Backend) -> None:
        pool, other = await join(backend), await join(backend)
        await backend.leave(pool, T)
        assert [view.id for view in await backend.pools()] == [other.id]

    @needs(Capability.POOLS, Capability.LEASE)
    async def test_a_dead_pool_is_not_listed(self, backend: Backend) -> None:
        pool, _ = await lend(backend)
        await die(backend, pool)
        assert await backend.pools() == []
        assert await backend.busy() == []

    @needs(Capability.POOLS)
    async def test_a_busy_worker_is_listed_with_its_job(self, backend: Backend) -> None:
        # Given a pool that runs a job in its second slot
        pool, delivery = await lend(backend, a_job(args={"user": 1}))
        running = Running(delivery, 1, T + 1, checkin="i=10", checkin_at=T + 2)
        # When it beats
        await beat(backend, pool, delivery, running=[running], now=T + 3)
        # Then the worker is busy
        (view,) = await backend.busy()
        assert (view.worker_id, view.pool_id) == (pool.worker_ids[1], pool.id)
        assert (view.handler, view.job_id, view.started_at) == ("send", delivery.job.id, T + 1)
        assert json.loads(view.args) == {"user": 1}
        assert (view.checkin, view.checkin_at) == ("i=10", T + 2)

    @needs(Capability.POOLS)
    async def test_a_worker_is_busy_no_longer_after_its_job(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await beat(backend, pool, delivery, running=[Running(delivery, 0, T)])
        await settle(backend, delivery)
        await beat(backend, pool, now=T + 1)
        assert await backend.busy() == []

    @needs(Capability.POOLS)
    async def test_nobody_is_busy_in_a_pool_that_left(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await beat(backend, pool, delivery, running=[Running(delivery, 0, T)])
        await backend.leave(pool, T)
        assert await backend.busy() == []

    @needs(Capability.POOLS)
    async def test_listing_pools_takes_nothing_from_them(self, backend: Backend) -> None:
        await push(backend, *some_jobs(2))
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        await backend.pools()
        await backend.busy()
        assert await settle(backend, delivery)
        assert len(await lent_ids(backend, pool)) == 1
