"""What is held back: job types at their limit, and queues that are paused."""

from __future__ import annotations

import pytest

from worksong.domain.capability import Capability
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import T, a_job, die, fetch, join, lend, lent_ids, push, settle, some_jobs
from worksong.testing.contract.suite import Suite, needs

ENDINGS: list[Outcome] = [
    Done(),
    Retried(T + 60, "boom"),
    Snoozed(T + 60),
    Buried("boom"),
    Discarded("no"),
    Released(),
]


class Limits(Suite):
    @needs(Capability.LIMIT)
    async def test_one_fetch_stays_within_the_limit(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5))
        pool = await join(backend, limits={"send": 2})
        assert len(await fetch(backend, pool, 10)) == 2

    @needs(Capability.LIMIT)
    async def test_all_pools_together_stay_within_the_limit(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5))
        one, other = await join(backend, limits={"send": 3}), await join(backend, limits={"send": 3})
        assert len(await fetch(backend, one, 2)) == 2
        assert len(await fetch(backend, other, 2)) == 1
        assert await fetch(backend, one, 2) == []

    @needs(Capability.LIMIT)
    @pytest.mark.parametrize("outcome", ENDINGS, ids=lambda outcome: type(outcome).__name__)
    async def test_every_ending_makes_room_for_one(self, backend: Backend, outcome: Outcome) -> None:
        await push(backend, *some_jobs(5))
        pool = await join(backend, limits={"send": 2})
        first, _ = await fetch(backend, pool, 10)
        await settle(backend, first, outcome)
        assert len(await fetch(backend, pool, 10)) == 1
        assert await fetch(backend, pool, 10) == []

    @needs(Capability.LIMIT)
    async def test_settling_twice_makes_room_once(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5))
        pool = await join(backend, limits={"send": 2})
        first, _ = await fetch(backend, pool, 10)
        await settle(backend, first)
        await settle(backend, first)
        assert len(await fetch(backend, pool, 10)) == 1

    @needs(Capability.LIMIT)
    async def test_a_type_at_its_limit_does_not_hold_up_the_others(self, backend: Backend) -> None:
        await push(backend, *some_jobs(3, "send"), *some_jobs(3, "call"))
        pool = await join(backend, "send", "call", limits={"send": 1})
        found = await fetch(backend, pool, 10)
        assert sorted(delivery.job.handler for delivery in found) == ["call", "call", "call", "send"]

    @needs(Capability.LIMIT)
    async def test_a_type_without_a_limit_has_none(self, backend: Backend) -> None:
        await push(backend, *some_jobs(50))
        pool = await join(backend, limits={"other": 1})
        assert len(await fetch(backend, pool, 100)) == 50

    @needs(Capability.LIMIT, Capability.LEASE)
    async def test_a_dead_pool_occupies_nothing(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5))
        dead, pool = await join(backend, limits={"send": 2}), await join(backend, limits={"send": 2})
        await fetch(backend, dead, 10)
        assert await fetch(backend, pool, 10) == []
        await die(backend, dead)
        assert len(await fetch(backend, pool, 10)) == 2

    @needs(Capability.LIMIT)
    async def test_a_pool_that_left_occupies_nothing(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5))
        leaving, pool = await join(backend, limits={"send": 2}), await join(backend, limits={"send": 2})
        await fetch(backend, leaving, 10)
        assert await backend.leave(leaving, T) == 2
        assert len(await fetch(backend, pool, 10)) == 2

    @needs(Capability.LIMIT)
    async def test_a_limit_leaks_nothing_over_many_jobs(self, backend: Backend) -> None:
        await push(backend, *some_jobs(60))
        pool = await join(backend, limits={"send": 2})
        for turn in range(30):
            found = await fetch(backend, pool, 10)
            assert len(found) == 2
            for delivery in found:
                assert await settle(backend, delivery, ENDINGS[turn % 5])
        assert await fetch(backend, pool, 10) == []


class Pauses(Suite):
    @needs(Capability.PAUSE)
    async def test_a_paused_queue_lends_nothing(self, backend: Backend) -> None:
        await push(backend, a_job())
        await backend.pause(self.queue_of(backend, "send"))
        assert await lent_ids(backend, await join(backend)) == []

    @needs(Capability.PAUSE)
    async def test_a_resumed_queue_lends_again(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job)
        await backend.pause(self.queue_of(backend, "send"))
        await backend.resume(self.queue_of(backend, "send"))
        assert await lent_ids(backend, await join(backend)) == [job.id]

    @needs(Capability.PAUSE)
    async def test_a_paused_queue_takes_jobs_in(self, backend: Backend) -> None:
        await backend.pause(self.queue_of(backend, "send"))
        job = a_job()
        assert await push(backend, job) == [True]
        await backend.resume(self.queue_of(backend, "send"))
        assert await lent_ids(backend, await join(backend)) == [job.id]

    @needs(Capability.PAUSE)
    async def test_other_queues_go_on(self, backend: Backend) -> None:
        paused, other = a_job("send", queue="low"), a_job("call", queue="high")
        await push(backend, paused, other)
        await backend.pause(self.queue_of(backend, "send", "low"))
        assert await lent_ids(backend, await join(backend, "send", "call")) == [other.id]

    @needs(Capability.PAUSE, Capability.QUEUES)
    async def test_a_pause_holds_even_when_the_queue_is_asked_for(self, backend: Backend) -> None:
        await push(backend, a_job(queue="low"))
        await backend.pause("low")
        assert await fetch(backend, await join(backend), 5, queues=("low",)) == []

    @needs(Capability.PAUSE)
    async def test_running_jobs_of_a_paused_queue_go_on(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        await backend.pause(self.queue_of(backend, "send"))
        assert await settle(backend, delivery)

    @needs(Capability.PAUSE)
    async def test_pausing_and_resuming_twice_is_fine(self, backend: Backend) -> None:
        job, name = a_job(), self.queue_of(backend, "send")
        await push(backend, job)
        for verb in (backend.resume, backend.pause, backend.pause, backend.resume):
            await verb(name)
        assert await lent_ids(backend, await join(backend)) == [job.id]

    @needs(Capability.PAUSE, Capability.BROWSE)
    async def test_a_pause_is_listed(self, backend: Backend) -> None:
        name = self.queue_of(backend, "send")
        await push(backend, a_job())
        await backend.pause(name)
        assert [queue.paused for queue in await backend.queues(T) if queue.name == name] == [True]
        await backend.resume(name)
        assert [queue.paused for queue in await backend.queues(T) if queue.name == name] == [False]

    @needs(Capability.PAUSE, Capability.DELAY)
    async def test_a_job_promoted_into_a_paused_queue_waits(self, backend: Backend) -> None:
        job, name = a_job(run_at=T + 60), self.queue_of(backend, "send")
        await push(backend, job)
        pool = await join(backend)
        await backend.pause(name)
        await backend.promote(T + 60, 10)
        assert await lent_ids(backend, pool, now=T + 60) == []
        await backend.resume(name)
        assert await lent_ids(backend, pool, now=T + 60) == [job.id]
