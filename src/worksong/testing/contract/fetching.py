"""Jobs in and jobs lent: order, limits, turns, and two pools at once."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Delivery
from worksong.domain.outcome import Discarded, Done, Released, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Pool
from worksong.testing.contract.steps import (
    T,
    a_job,
    beat,
    fetch,
    join,
    lend,
    lent_ids,
    push,
    settle,
    some_jobs,
)
from worksong.testing.contract.suite import Suite, needs


class Fetching(Suite):
    async def test_nothing_is_lent_by_an_empty_store(self, backend: Backend) -> None:
        pool = await join(backend)
        assert await fetch(backend, pool) == []

    async def test_a_pushed_job_is_lent_once(self, backend: Backend) -> None:
        job = a_job()
        assert await push(backend, job) == [True]
        pool = await join(backend)
        assert await lent_ids(backend, pool) == [job.id]
        assert await lent_ids(backend, pool) == []

    async def test_pushing_nothing_is_fine(self, backend: Backend) -> None:
        assert await push(backend) == []

    async def test_settling_nothing_is_fine(self, backend: Backend) -> None:
        assert await backend.settle([], 0.0) == []

    async def test_the_oldest_job_comes_first(self, backend: Backend) -> None:
        jobs = some_jobs(5)
        for job in jobs:
            await push(backend, job)
        pool = await join(backend)
        assert await lent_ids(backend, pool) == [job.id for job in jobs]

    async def test_jobs_pushed_together_keep_their_order(self, backend: Backend) -> None:
        jobs = some_jobs(250)
        assert await push(backend, *jobs) == [True] * 250
        pool = await join(backend)
        assert await lent_ids(backend, pool, 1000) == [job.id for job in jobs]

    async def test_pushes_of_many_callers_at_once_are_all_taken_in(self, backend: Backend) -> None:
        # Given callers that push at the same time, one of them something that cannot be carried
        pushes = [some_jobs(1 + number % 3) for number in range(100)]
        spoilt = a_job(args={"value": object()})

        # When they have their answers, then each is about its own jobs
        answers = await asyncio.gather(
            *(push(backend, *jobs) for jobs in pushes), push(backend, spoilt), return_exceptions=True
        )
        assert answers[:-1] == [[True] * len(jobs) for jobs in pushes]
        assert isinstance(answers[-1], InvalidArguments)

        # And all the others are lent, those of one caller in their order
        pool = await join(backend)
        lent = await lent_ids(backend, pool, 1000)
        assert sorted(lent) == sorted(job.id for jobs in pushes for job in jobs)
        for jobs in pushes:
            first = lent.index(jobs[0].id)
            assert lent[first : first + len(jobs)] == [job.id for job in jobs]

    async def test_endings_in_any_order_are_carried_out(self, backend: Backend) -> None:
        # Given jobs lent in one order and ended in several others, by several outcomes
        await push(backend, *some_jobs(40))
        pool = await join(backend)
        found: list[Delivery] = []
        while len(found) < 40:  # a fetch may bring fewer than there are
            found += await fetch(backend, pool, 10)
        first, second, third, fourth = (found[start : start + 10] for start in (0, 10, 20, 30))
        mixed = [first[0], *second[::-1], *first[1:]]
        assert await backend.settle([Settlement(delivery, Done()) for delivery in mixed], T) == [True] * 20
        outcomes = [Released() if number % 3 else Discarded("enough") for number in range(10)]
        pairs = zip((*third[:5], *fourth[5:]), outcomes, strict=True)
        assert await backend.settle([Settlement(*pair) for pair in pairs], T) == [True] * 10

        # When all are ended once more, then only those that had not come to an end do
        again = await backend.settle([Settlement(delivery, Done()) for delivery in found], T)
        assert again == [False] * 20 + [False] * 5 + [True] * 5 + [True] * 5 + [False] * 5
        assert await beat(backend, pool) is not None
        back = [
            delivery.job.id for delivery, number in zip((*third[:5], *fourth[5:]), range(10), strict=True) if number % 3
        ]
        assert sorted(await lent_ids(backend, pool, 100)) == sorted(back)

    async def test_jobs_of_several_types_can_be_pushed_together(self, backend: Backend) -> None:
        jobs = [a_job("send"), a_job("call"), a_job("send")]
        await push(backend, *jobs)
        caller, sender = await join(backend, "call"), await join(backend, "send")
        assert await lent_ids(backend, caller) == [jobs[1].id]
        assert await lent_ids(backend, sender) == [jobs[0].id, jobs[2].id]

    async def test_no_more_is_lent_than_asked_for(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5))
        pool = await join(backend)
        assert len(await fetch(backend, pool, 3)) == 3
        assert len(await fetch(backend, pool, 3)) == 2

    async def test_only_job_types_asked_for_are_lent(self, backend: Backend) -> None:
        await push(backend, a_job("send"), a_job("other"))
        pool = await join(backend, "send")
        assert [delivery.job.handler for delivery in await fetch(backend, pool, 10)] == ["send"]

    async def test_no_type_exceeds_its_quota_while_another_has_jobs(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5, "big"), *some_jobs(5, "small"))
        pool = await join(backend, "big", "small")
        found = await fetch(backend, pool, 3, shares=(Share("big", 2), Share("small", 1)))
        assert sorted(delivery.job.handler for delivery in found) == ["big", "big", "small"]

    async def test_what_one_type_cannot_use_goes_to_the_others(self, backend: Backend) -> None:
        await push(backend, *some_jobs(5, "small"))
        pool = await join(backend, "big", "small")
        found = await fetch(backend, pool, 4, shares=(Share("big", 3), Share("small", 1)))
        assert [delivery.job.handler for delivery in found] == ["small"] * 4

    async def test_a_type_without_a_quota_is_asked_when_the_others_have_no_more(self, backend: Backend) -> None:
        await push(backend, *some_jobs(2, "big"), *some_jobs(5, "small"))
        pool = await join(backend, "big", "small")
        found = await fetch(backend, pool, 4, shares=(Share("big", 4), Share("small", 0)))
        assert sorted(delivery.job.handler for delivery in found) == ["big", "big", "small", "small"]
        found = await fetch(backend, pool, 2, shares=(Share("big", 2), Share("small", 0)))
        assert [delivery.job.handler for delivery in found] == ["small"] * 2

    async def test_types_are_asked_in_the_order_of_the_turn(self, backend: Backend) -> None:
        await push(backend, a_job("first"), a_job("second"))
        pool = await join(backend, "first", "second")
        (found,) = await fetch(backend, pool, 1, shares=(Share("second", 1), Share("first", 1)))
        assert found.job.handler == "second"

    @needs(Capability.QUEUES)
    async def test_queues_are_asked_in_the_order_given(self, backend: Backend) -> None:
        low, high = a_job(queue="low"), a_job(queue="high")
        await push(backend, low, high)
        pool = await join(backend)
        found = await fetch(backend, pool, 2, queues=("high", "low"))
        assert [delivery.job.id for delivery in found] == [high.id, low.id]

    @needs(Capability.QUEUES)
    async def test_queues_not_asked_for_lend_nothing(self, backend: Backend) -> None:
        await push(backend, a_job(queue="low"))
        pool = await join(backend)
        assert await fetch(backend, pool, 2, queues=("high",)) == []

    @needs(Capability.QUEUES, Capability.PATTERNS)
    async def test_patterns_stand_for_the_queues_that_fit(self, backend: Backend) -> None:
        jobs = [a_job(queue=queue) for queue in ("low", "high-2", "high-1", "slow", "else")]
        await push(backend, *jobs)
        pool = await join(backend)
        found = await fetch(backend, pool, 9, queues=("high*", "?ow", "!slow"))
        assert [delivery.job.queue for delivery in found] == ["high-1", "high-2", "low"]
        assert [delivery.job.queue for delivery in await fetch(backend, pool, 9, queues=("*",))] == ["else", "slow"]

    @needs(Capability.QUEUES, Capability.PATTERNS)
    async def test_a_fetch_that_waits_hears_of_a_new_queue_that_fits(self, backend: Backend) -> None:
        pool = await join(backend)
        waiting = asyncio.create_task(fetch(backend, pool, wait=60.0, queues=("new*",)))
        await asyncio.sleep(0)
        job = a_job(queue="new-1")
        await push(backend, job)
        assert [delivery.job.id for delivery in await waiting] == [job.id]

    @needs(Capability.QUEUES)
    async def test_without_queues_the_oldest_job_of_all_queues_comes_first(self, backend: Backend) -> None:
        jobs = [a_job(queue="b"), a_job(queue="a"), a_job(queue="b")]
        for job in jobs:
            await push(backend, job)
        pool = await join(backend)
        assert await lent_ids(backend, pool) == [job.id for job in jobs]

    async def test_a_fetch_that_waits_hears_of_a_push(self, backend: Backend) -> None:
        pool = await join(backend)
        waiting = asyncio.create_task(fetch(backend, pool, wait=60.0))
        job = a_job()
        await push(backend, job)
        assert [delivery.job.id for delivery in await waiting] == [job.id]

    async def test_a_cancelled_fetch_loses_no_job(self, backend: Backend) -> None:
        # Given a fetch that is cancelled while a job comes in
        pool, job = await join(backend), a_job()
        waiting = asyncio.create_task(fetch(backend, pool, wait=60.0))
        await asyncio.sleep(0)
        pushing = asyncio.create_task(push(backend, job))
        waiting.cancel()
        await asyncio.wait([waiting, pushing])
        # When the pool beats without holding it, or another fetch comes
        found = await lent_ids(backend, pool)
        for second in range(1, 20):
            await beat(backend, pool, now=second + job.enqueued_at)
            found += await lent_ids(backend, pool, now=second + job.enqueued_at)
        # Then the job is there
        assert job.id in found

    async def test_the_fence_grows_with_every_lending(self, backend: Backend) -> None:
        pool, first = await lend(backend)
        await backend.leave(pool, first.job.enqueued_at)
        other = await join(backend)
        (second,) = await fetch(backend, other)
        assert second.job.id == first.job.id
        assert second.fence > first.fence

    async def test_fences_tell_lendings_of_one_pool_apart(self, backend: Backend) -> None:
        await push(backend, *some_jobs(10))
        pool = await join(backend)
        fences = [delivery.fence for delivery in await fetch(backend, pool, 10)]
        assert len(set(fences)) == 10

    async def test_two_pools_racing_for_a_thousand_jobs_get_each_once(self, backend: Backend) -> None:
        # Given a thousand jobs and two pools, one of them on a sibling
        jobs = some_jobs(1000)
        await push(backend, *jobs)
        other = backend.sibling()
        # When they fetch and settle at the same time
        won = await asyncio.gather(_take_all(backend, await join(backend), 7), _take_all(other, await join(other), 11))
        await other.close()
        # Then every job ran once, in order within each pool
        assert sorted(n for part in won for n in part) == list(range(1000))
        assert all(a < b for part in won for a, b in pairwise(part))


async def _take_all(backend: Backend, pool: Pool, limit: int) -> list[int]:
    """Fetch and settle until nothing is left; answers the jobs' numbers."""
    numbers: list[int] = []
    while found := await fetch(backend, pool, limit):
        for delivery in found:
            assert isinstance(delivery.job.args, dict)
            numbers.append(delivery.job.args["n"])
            assert await settle(backend, delivery)
        await asyncio.sleep(0)
    return numbers
