"""Jobs that must not be there twice: unique ones, and ids pushed `once`."""

from __future__ import annotations

from typing import Any

import pytest

from worksong.domain.capability import Capability
from worksong.domain.job import Job, Unique
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import (
    T,
    a_job,
    die,
    fetch,
    join,
    lend,
    lent_ids,
    listed,
    push,
    settle,
)
from worksong.testing.contract.suite import Suite, needs

MODES: list[Unique] = ["until_start", "until_done"]
WAYS_BACK = ["released", "left", "reaped"]
FINAL: list[Outcome] = [Done(), Buried("boom"), Discarded("no")]
AGAIN: list[Outcome] = [Retried(T + 60, "boom"), Snoozed(T + 60), Released()]


def alone(mode: Unique | bool = "until_done", user: int = 1, **fields: Any) -> Job:
    """A unique job for this user."""
    return a_job(args={"user": user}, unique=mode or None, **fields)


def keyed(text: str, **fields: Any) -> Job:
    """A job of which one may wait, whatever its text."""
    return a_job(args={"text": text}, unique="until_start", unique_by={"user": 1}, **fields)


async def lend_and_return(backend: Backend, job: Job, way: str) -> Job:
    """A job that has been lent and waits again."""
    pool, delivery = await lend(backend, job)
    if way == "released":
        assert await settle(backend, delivery, Released())
    elif way == "left":
        assert await backend.leave(pool, T) == 1
    else:
        assert (await die(backend, pool)).recovered == 1
    return job


class UniqueJobs(Suite):
    @needs(Capability.UNIQUE)
    @pytest.mark.parametrize("mode", MODES)
    async def test_an_equal_job_is_refused_while_one_waits(self, backend: Backend, mode: Unique) -> None:
        first = alone(mode)
        assert await push(backend, first) == [True]
        assert await push(backend, alone(mode)) == [False]
        assert await lent_ids(backend, await join(backend)) == [first.id]

    @needs(Capability.UNIQUE)
    @pytest.mark.parametrize("mode", MODES)
    async def test_the_second_of_two_equal_jobs_pushed_together_is_refused(
        self, backend: Backend, mode: Unique
    ) -> None:
        assert await push(backend, alone(mode), alone(mode, 2), alone(mode)) == [True, True, False]
        assert len(await lent_ids(backend, await join(backend))) == 2

    @needs(Capability.UNIQUE)
    async def test_other_arguments_are_another_job(self, backend: Backend) -> None:
        assert await push(backend, alone(user=1), alone(user=2)) == [True, True]

    @needs(Capability.UNIQUE)
    async def test_another_type_is_another_job(self, backend: Backend) -> None:
        assert await push(backend, alone(handler="send"), alone(handler="call")) == [True, True]

    @needs(Capability.UNIQUE)
    async def test_the_order_of_names_does_not_matter(self, backend: Backend) -> None:
        one, other = (
            a_job(args={"a": 1, "b": 2}, unique="until_done"),
            a_job(args={"b": 2, "a": 1}, unique="until_done"),
        )
        assert await push(backend, one, other) == [True, False]

    @needs(Capability.UNIQUE)
    async def test_a_job_that_is_not_unique_is_never_refused(self, backend: Backend) -> None:
        assert await push(backend, alone(), alone(False), alone(False)) == [True, True, True]

    @needs(Capability.UNIQUE)
    async def test_until_start_the_lock_is_free_once_the_job_is_lent(self, backend: Backend) -> None:
        await lend(backend, alone("until_start"))
        assert await push(backend, alone("until_start")) == [True]
        assert await push(backend, alone("until_start")) == [False]

    @needs(Capability.UNIQUE)
    async def test_until_done_the_lock_holds_while_the_job_runs(self, backend: Backend) -> None:
        await lend(backend, alone("until_done"))
        assert await push(backend, alone("until_done")) == [False]

    @needs(Capability.UNIQUE)
    @pytest.mark.parametrize("outcome", FINAL, ids=lambda outcome: type(outcome).__name__)
    async def test_until_done_the_lock_is_free_at_the_end(self, backend: Backend, outcome: Outcome) -> None:
        _, delivery = await lend(backend, alone("until_done"))
        await settle(backend, delivery, outcome)
        assert await push(backend, alone("until_done")) == [True]
        assert await push(backend, alone("until_done")) == [False]

    @needs(Capability.UNIQUE, Capability.DELAY)
    @pytest.mark.parametrize("outcome", AGAIN, ids=lambda outcome: type(outcome).__name__)
    async def test_until_done_the_lock_holds_from_try_to_try(self, backend: Backend, outcome: Outcome) -> None:
        # Given a job that will run again
        pool, delivery = await lend(backend, alone("until_done"))
        await settle(backend, delivery, outcome)
        assert await push(backend, alone("until_done")) == [False]
        # When it is lent again
        await backend.promote(T + 60, 10)
        (again,) = await fetch(backend, pool, now=T + 60)
        # Then the lock holds until it is done
        assert await push(backend, alone("until_done"), now=T + 60) == [False]
        await settle(backend, again, now=T + 60)
        assert await push(backend, alone("until_done"), now=T + 60) == [True]

    @needs(Capability.UNIQUE, Capability.LEASE)
    async def test_until_done_the_lock_outlives_the_worker(self, backend: Backend) -> None:
        pool, _ = await lend(backend, alone("until_done"))
        await die(backend, pool)
        assert await push(backend, alone("until_done")) == [False]

    @needs(Capability.UNIQUE, Capability.DELAY)
    @pytest.mark.parametrize("mode", MODES)
    async def test_a_scheduled_job_holds_its_lock(self, backend: Backend, mode: Unique) -> None:
        await push(backend, alone(mode, run_at=T + 60))
        assert await push(backend, alone(mode)) == [False]
        await join(backend)
        await backend.promote(T + 60, 10)
        assert await push(backend, alone(mode), now=T + 60) == [False]

    @needs(Capability.UNIQUE, Capability.DELAY)
    async def test_a_job_scheduled_for_weeks_holds_its_lock(self, backend: Backend) -> None:
        await push(backend, alone(run_at=T + 30 * 86400))
        await backend.prune(T + 29 * 86400)
        assert await push(backend, alone(), now=T + 29 * 86400) == [False]

    @needs(Capability.UNIQUE, Capability.DELAY, Capability.REVIVE)
    @pytest.mark.parametrize("mode", MODES)
    async def test_deleting_a_scheduled_job_frees_its_lock(self, backend: Backend, mode: Unique) -> None:
        job = alone(mode, run_at=T + 60)
        await push(backend, job)
        assert await backend.delete(State.SCHEDULED, [job.id]) == 1
        assert await push(backend, alone(mode)) == [True]

    @needs(Capability.UNIQUE, Capability.DELAY, Capability.REVIVE)
    async def test_deleting_a_retry_frees_its_lock(self, backend: Backend) -> None:
        _, delivery = await lend(backend, alone("until_done"))
        await settle(backend, delivery, Retried(T + 60, "boom"))
        assert await backend.delete(State.RETRY, None) == 1
        assert await push(backend, alone("until_done")) == [True]

    @needs(Capability.UNIQUE, Capability.CANCEL)
    @pytest.mark.parametrize("mode", MODES)
    async def test_cancelling_a_waiting_job_frees_its_lock(self, backend: Backend, mode: Unique) -> None:
        job = alone(mode)
        await push(backend, job)
        assert await backend.cancel(job.id, T)
        assert await push(backend, alone(mode)) == [True]

    @needs(Capability.UNIQUE, Capability.PURGE)
    @pytest.mark.parametrize("mode", MODES)
    async def test_purging_a_queue_frees_the_locks(self, backend: Backend, mode: Unique) -> None:
        await push(backend, alone(mode))
        assert await backend.purge(self.queue_of(backend, "send")) == 1
        assert await push(backend, alone(mode)) == [True]

    @needs(Capability.UNIQUE, Capability.LEASE)
    @pytest.mark.parametrize("way", WAYS_BACK)
    async def test_a_job_lent_again_frees_no_lock_of_another_one(self, backend: Backend, way: str) -> None:
        # Given a job that gave its lock back at the start and waits again, and an equal one enqueued meanwhile
        first = await lend_and_return(backend, alone("until_start"), way)
        assert await push(backend, alone("until_start")) == [True]
        # When the first one is lent again
        (again,) = await fetch(backend, await join(backend))
        assert again.job.id == first.id
        # Then the second one still holds the lock
        assert await push(backend, alone("until_start")) == [False]


class UniqueByKey(Suite):
    @needs(Capability.UNIQUE)
    async def test_an_equal_key_is_refused_whatever_the_arguments(self, backend: Backend) -> None:
        assert await push(backend, keyed("old")) == [True]
        assert await push(backend, keyed("new")) == [False]
        assert len(await lent_ids(backend, await join(backend))) == 1

    @needs(Capability.UNIQUE)
    async def test_another_key_is_another_job(self, backend: Backend) -> None:
        other = a_job(args={"text": "old"}, unique="until_start", unique_by={"user": 2})
        assert await push(backend, keyed("old"), other) == [True, True]

    @needs(Capability.UNIQUE)
    async def test_the_refused_duplicate_renews_what_waits(self, backend: Backend) -> None:
        await push(backend, keyed("old"))
        await push(backend, keyed("newer"))
        await push(backend, keyed("newest"))
        (delivery,) = await fetch(backend, await join(backend), 10)
        assert delivery.job.args == {"text": "newest"}

    @needs(Capability.UNIQUE, Capability.DELAY)
    async def test_the_refused_duplicate_renews_what_is_scheduled(self, backend: Backend) -> None:
        await push(backend, keyed("old", run_at=T + 60))
        assert await push(backend, keyed("new")) == [False]
        pool = await join(backend)
        assert await lent_ids(backend, pool) == []
        assert await backend.promote(T + 60, 10) == 1
        (delivery,) = await fetch(backend, pool, now=T + 60)
        assert delivery.job.args == {"text": "new"}

    @needs(Capability.UNIQUE)
    async def test_the_renewed_job_keeps_its_place(self, backend: Backend) -> None:
        await push(backend, keyed("old"), a_job(args={"text": "other"}))
        await push(backend, keyed("new"))
        found = await fetch(backend, await join(backend), 10)
        assert [delivery.job.args for delivery in found] == [{"text": "new"}, {"text": "other"}]

    @needs(Capability.UNIQUE)
    async def test_a_renewed_job_can_be_settled(self, backend: Backend) -> None:
        await push(backend, keyed("old"))
        await push(backend, keyed("new"))
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        assert await settle(backend, delivery)
        assert await backend.leave(pool, T) == 0
        assert await lent_ids(backend, await join(backend)) == []

    @needs(Capability.UNIQUE, Capability.LEASE)
    async def test_a_renewed_job_runs_renewed_again_after_a_crash(self, backend: Backend) -> None:
        await push(backend, keyed("old"))
        await push(backend, keyed("new"))
        pool = await join(backend)
        await fetch(backend, pool)
        await die(backend, pool)
        (again,) = await fetch(backend, await join(backend))
        assert again.job.args == {"text": "new"}

    @needs(Capability.UNIQUE)
    async def test_a_running_job_is_not_renewed(self, backend: Backend) -> None:
        pool, delivery = await lend(backend, keyed("old"))
        assert await push(backend, keyed("new")) == [True]
        (second,) = await fetch(backend, pool)
        assert (delivery.job.args, second.job.args) == ({"text": "old"}, {"text": "new"})

    @needs(Capability.UNIQUE, Capability.LEASE)
    @pytest.mark.parametrize("way", WAYS_BACK)
    async def test_a_job_lent_again_keeps_its_own_data(self, backend: Backend, way: str) -> None:
        # Given a job that gave its lock back at the start and waits again, and an equal one enqueued meanwhile
        first, second = keyed("first"), keyed("second")
        await lend_and_return(backend, first, way)
        assert await push(backend, second) == [True]
        # When both are lent
        found = await fetch(backend, await join(backend), 10)
        # Then neither was taken for the other
        args = {delivery.job.id: delivery.job.args for delivery in found}
        assert args == {first.id: {"text": "first"}, second.id: {"text": "second"}}


class Ids(Suite):
    @needs(Capability.DEDUP)
    async def test_an_id_pushed_once_is_refused_the_second_time(self, backend: Backend) -> None:
        job = a_job()
        assert await push(backend, job, once=True) == [True]
        assert await push(backend, job, once=True) == [False]
        assert await lent_ids(backend, await join(backend)) == [job.id]

    @needs(Capability.DEDUP)
    async def test_an_id_is_refused_long_after_its_job_is_done(self, backend: Backend) -> None:
        job = a_job(id="order-17")
        await push(backend, job, once=True)
        (delivery,) = await fetch(backend, await join(backend))
        await settle(backend, delivery)
        later = T + 47 * 3600
        await backend.prune(later)
        assert await push(backend, job, now=later, once=True) == [False]

    @needs(Capability.DEDUP)
    async def test_an_id_twice_in_one_batch_is_taken_once(self, backend: Backend) -> None:
        job, other = a_job(), a_job()
        assert await push(backend, job, other, job, once=True) == [True, True, False]
        assert await lent_ids(backend, await join(backend)) == [job.id, other.id]

    @needs(Capability.DEDUP, Capability.DELAY)
    async def test_a_scheduled_id_is_taken_once(self, backend: Backend) -> None:
        job = a_job(id="periodic:send:@hourly:1700000060", run_at=T + 60)
        assert await push(backend, job, once=True) == [True]
        assert await push(backend, job, once=True) == [False]
        await join(backend)
        assert await backend.promote(T + 60, 10) == 1
        assert await push(backend, job, once=True, now=T + 61) == [False]

    @needs(Capability.DEDUP, Capability.UNIQUE)
    async def test_an_id_refused_as_a_duplicate_was_not_taken_in(self, backend: Backend) -> None:
        # Given a job refused because an equal one waits
        refused = alone(id="order-17")
        _, delivery = await lend(backend, alone())
        assert await push(backend, refused, once=True) == [False]
        # When the other one is done
        await settle(backend, delivery)
        # Then it can be enqueued
        assert await push(backend, refused, once=True) == [True]

    @needs(Capability.DEDUP)
    async def test_an_id_lent_out_is_refused(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job, once=True)
        await fetch(backend, await join(backend))
        assert await push(backend, job, once=True) == [False]

    @needs(Capability.DEDUP, Capability.BROWSE)
    async def test_a_refused_id_changes_nothing(self, backend: Backend) -> None:
        job = a_job(args={"text": "first"})
        await push(backend, job, once=True)
        await push(backend, a_job(args={"text": "second"}, id=job.id), once=True)
        (view,) = await listed(backend, State.QUEUED)
        assert view.job.args == {"text": "first"}
