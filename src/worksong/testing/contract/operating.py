"""An operator's hand: cancel, purge, requeue and delete."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from worksong.domain.capability import Capability
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Outcome, Released, Retried, Snoozed
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import (
    T,
    a_job,
    beat,
    die,
    fetch,
    is_gone,
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

ENDINGS: list[Outcome] = [Done(), Retried(T + 60, "cancelled"), Snoozed(T + 60), Released()]


async def bury(backend: Backend, count: int) -> Sequence[Job]:
    """So many dead jobs, the first one died first."""
    jobs = some_jobs(count)
    for age, job in enumerate(jobs):
        _, delivery = await lend(backend, job)
        await settle(backend, delivery, Buried(f"boom {age}"), now=T + age)
    return jobs


async def retrying(backend: Backend) -> Delivery:
    """A job that waits for its second try."""
    _, delivery = await lend(backend)
    await settle(backend, delivery, Retried(T + 60, "boom"))
    return delivery


class Cancelling(Suite):
    @needs(Capability.CANCEL)
    async def test_a_waiting_job_is_dropped(self, backend: Backend) -> None:
        job, other = some_jobs(2)
        await push(backend, job, other)
        assert await backend.cancel(job.id, T)
        assert await lent_ids(backend, await join(backend)) == [other.id]

    @needs(Capability.CANCEL, Capability.DELAY)
    async def test_a_scheduled_job_is_dropped(self, backend: Backend) -> None:
        job = a_job(run_at=T + 60)
        await push(backend, job)
        assert await backend.cancel(job.id, T)
        await join(backend)
        assert await backend.promote(T + 60, 10) == 0

    @needs(Capability.CANCEL, Capability.DELAY, Capability.BROWSE)
    async def test_a_retry_is_dropped(self, backend: Backend) -> None:
        delivery = await retrying(backend)
        assert await backend.cancel(delivery.job.id, T)
        assert await is_gone(backend, delivery)

    @needs(Capability.CANCEL)
    async def test_a_job_that_is_not_there_cannot_be_cancelled(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        await settle(backend, delivery)
        assert not await backend.cancel(delivery.job.id, T)
        assert not await backend.cancel("nothing", T)

    @needs(Capability.CANCEL)
    async def test_the_pool_that_runs_it_is_told(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        assert await backend.cancel(delivery.job.id, T)
        assert delivery.job.id in (await beat(backend, pool, delivery)).cancel

    @needs(Capability.CANCEL)
    async def test_nobody_is_told_without_a_cancellation(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        assert (await beat(backend, pool, delivery)).cancel == frozenset()

    @needs(Capability.CANCEL, Capability.BROWSE)
    @pytest.mark.parametrize("outcome", ENDINGS, ids=lambda outcome: type(outcome).__name__)
    async def test_a_running_job_does_not_run_again(self, backend: Backend, outcome: Outcome) -> None:
        pool, delivery = await lend(backend)
        await backend.cancel(delivery.job.id, T)
        assert await settle(backend, delivery, outcome)
        assert await is_gone(backend, delivery)
        assert await backend.promote(T + 60, 10) == 0
        assert await lent_ids(backend, pool, now=T + 60) == []

    @needs(Capability.CANCEL, Capability.LEASE)
    async def test_a_cancelled_job_does_not_run_again_after_a_crash(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await backend.cancel(delivery.job.id, T)
        await die(backend, pool)
        assert await lent_ids(backend, await join(backend)) == []

    @needs(Capability.CANCEL)
    async def test_a_cancelled_job_does_not_run_again_when_its_pool_leaves(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await backend.cancel(delivery.job.id, T)
        await backend.leave(pool, T)
        assert await lent_ids(backend, await join(backend)) == []

    @needs(Capability.CANCEL, Capability.UNIQUE)
    async def test_a_cancelled_running_job_frees_its_lock_at_the_end(self, backend: Backend) -> None:
        _, delivery = await lend(backend, a_job(args={"u": 1}, unique="until_done"))
        await backend.cancel(delivery.job.id, T)
        await settle(backend, delivery, Retried(T + 60, "cancelled"))
        assert await push(backend, a_job(args={"u": 1}, unique="until_done")) == [True]

    @needs(Capability.CANCEL, Capability.LIMIT)
    async def test_a_cancelled_running_job_occupies_nothing_at_the_end(self, backend: Backend) -> None:
        await push(backend, *some_jobs(2))
        pool = await join(backend, limits={"send": 1})
        (delivery,) = await fetch(backend, pool, 10)
        await backend.cancel(delivery.job.id, T)
        await settle(backend, delivery, Released())
        assert len(await fetch(backend, pool, 10)) == 1


class Purging(Suite):
    @needs(Capability.PURGE)
    async def test_all_waiting_jobs_of_the_queue_are_dropped(self, backend: Backend) -> None:
        await push(backend, *some_jobs(25))
        assert await backend.purge(self.queue_of(backend, "send")) == 25
        assert await lent_ids(backend, await join(backend)) == []

    @needs(Capability.PURGE)
    async def test_other_queues_are_kept(self, backend: Backend) -> None:
        other = a_job("call", queue="high")
        await push(backend, a_job("send", queue="low"), other)
        assert await backend.purge(self.queue_of(backend, "send", "low")) == 1
        assert await lent_ids(backend, await join(backend, "send", "call")) == [other.id]

    @needs(Capability.PURGE, Capability.DELAY)
    async def test_running_and_scheduled_jobs_are_kept(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        await push(backend, a_job(run_at=T + 60))
        assert await backend.purge(self.queue_of(backend, "send")) == 0
        assert await settle(backend, delivery)
        assert await backend.promote(T + 60, 10) == 1

    @needs(Capability.PURGE)
    async def test_purging_an_empty_queue_drops_nothing(self, backend: Backend) -> None:
        assert await backend.purge("nothing") == 0

    @needs(Capability.PURGE, Capability.BROWSE)
    async def test_a_purged_queue_takes_jobs_in_again(self, backend: Backend) -> None:
        name = self.queue_of(backend, "send")
        await push(backend, a_job())
        await backend.purge(name)
        await push(backend, a_job())
        assert await queue_count(backend, name) == 1


class Reviving(Suite):
    @needs(Capability.REVIVE)
    async def test_a_dead_job_is_queued_with_its_failures_forgotten(self, backend: Backend) -> None:
        job, _ = await bury(backend, 2)
        assert await backend.requeue(State.DEAD, [job.id], T + 9) == 1
        (again,) = await fetch(backend, await join(backend), 10, now=T + 9)
        assert (again.job.id, again.job.args, again.job.attempt, again.job.error) == (job.id, job.args, 1, "")
        assert again.job.enqueued_at == T + 9

    @needs(Capability.REVIVE, Capability.BROWSE)
    async def test_all_dead_jobs_are_queued_at_once(self, backend: Backend) -> None:
        jobs = await bury(backend, 7)
        assert await backend.requeue(State.DEAD, None, T + 9) == 7
        assert len(await listed(backend, State.DEAD)) == 0
        assert sorted(await lent_ids(backend, await join(backend))) == sorted(job.id for job in jobs)

    @needs(Capability.REVIVE, Capability.DELAY)
    async def test_a_retry_is_queued_at_once_and_keeps_its_failures(self, backend: Backend) -> None:
        delivery = await retrying(backend)
        assert await backend.requeue(State.RETRY, [delivery.job.id], T) == 1
        (again,) = await fetch(backend, await join(backend))
        assert (again.job.id, again.job.attempt, again.job.error) == (delivery.job.id, 2, "boom")
        assert await backend.promote(T + 60, 10) == 0

    @needs(Capability.REVIVE, Capability.DELAY)
    async def test_a_scheduled_job_is_queued_at_once(self, backend: Backend) -> None:
        job = a_job(run_at=T + 60)
        await push(backend, job)
        assert await backend.requeue(State.SCHEDULED, [job.id], T) == 1
        assert await lent_ids(backend, await join(backend)) == [job.id]
        assert await backend.promote(T + 60, 10) == 0

    @needs(Capability.REVIVE, Capability.BROWSE)
    async def test_a_dead_job_is_deleted(self, backend: Backend) -> None:
        job, other = await bury(backend, 2)
        assert await backend.delete(State.DEAD, [job.id]) == 1
        assert await is_gone(backend, job)
        assert not await is_gone(backend, other)

    @needs(Capability.REVIVE, Capability.BROWSE)
    async def test_all_dead_jobs_are_deleted_at_once(self, backend: Backend) -> None:
        await bury(backend, 7)
        assert await backend.delete(State.DEAD, None) == 7
        assert (await backend.counts())[State.DEAD] == 0

    @needs(Capability.REVIVE, Capability.DELAY)
    async def test_a_deleted_scheduled_job_never_runs(self, backend: Backend) -> None:
        job, other = a_job(run_at=T + 60), a_job(run_at=T + 60)
        await push(backend, job, other)
        assert await backend.delete(State.SCHEDULED, [job.id]) == 1
        pool = await join(backend)
        await backend.promote(T + 60, 10)
        assert await lent_ids(backend, pool, now=T + 60) == [other.id]

    @needs(Capability.REVIVE, Capability.DELAY, Capability.BROWSE)
    async def test_of_many_that_are_named_those_that_are_there_are_deleted(self, backend: Backend) -> None:
        # Given scheduled jobs, some with ids that begin alike
        jobs = [a_job(run_at=T + 60 + number) for number in range(10)]
        jobs += [a_job(id=f"alike:{number}", run_at=T + 90 + number) for number in range(10)]
        await push(backend, *jobs)
        # When some are named, then so many go, and the others stay
        assert await backend.delete(State.SCHEDULED, [*(job.id for job in jobs[10:15]), "alike:none"]) == 5
        assert await backend.delete(State.SCHEDULED, [*(job.id for job in jobs[5:18]), "none"]) == 8
        left = {view.id for view in await listed(backend, State.SCHEDULED)}
        assert left == {job.id for job in (*jobs[:5], *jobs[18:])}

    @needs(Capability.REVIVE, Capability.DELAY)
    async def test_a_deleted_retry_never_runs(self, backend: Backend) -> None:
        delivery = await retrying(backend)
        assert await backend.delete(State.RETRY, [delivery.job.id]) == 1
        assert await backend.promote(T + 60, 10) == 0

    @needs(Capability.REVIVE)
    @pytest.mark.parametrize("state", [State.DEAD, State.RETRY, State.SCHEDULED])
    async def test_ids_that_are_not_there_are_not_counted(self, backend: Backend, state: State) -> None:
        assert await backend.requeue(state, ["nothing"], T) == 0
        assert await backend.delete(state, ["nothing", "nobody"]) == 0
        assert await backend.requeue(state, [], T) == 0
        assert await backend.delete(state, []) == 0
        assert await backend.requeue(state, None, T) == 0
        assert await backend.delete(state, None) == 0

    @needs(Capability.REVIVE, Capability.BROWSE)
    async def test_a_job_in_another_state_is_left_alone(self, backend: Backend) -> None:
        (dead,) = await bury(backend, 1)
        assert await backend.requeue(State.RETRY, [dead.id], T) == 0
        assert await backend.delete(State.SCHEDULED, [dead.id]) == 0
        assert (await look(backend, dead)).state is State.DEAD

    @needs(Capability.REVIVE)
    async def test_a_dead_job_is_requeued_once(self, backend: Backend) -> None:
        (dead,) = await bury(backend, 1)
        assert await backend.requeue(State.DEAD, [dead.id, dead.id], T) == 1
        assert await backend.requeue(State.DEAD, [dead.id], T) == 0
        assert await lent_ids(backend, await join(backend)) == [dead.id]

    @needs(Capability.REVIVE)
    async def test_a_requeued_job_can_be_buried_again(self, backend: Backend) -> None:
        (dead,) = await bury(backend, 1)
        await backend.requeue(State.DEAD, [dead.id], T)
        (again,) = await fetch(backend, await join(backend))
        assert await settle(backend, again, Buried("boom again"))
        assert await backend.requeue(State.DEAD, None, T) == 1
