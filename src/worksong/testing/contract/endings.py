"""What becomes of a lent job: every outcome, carried out once and only for the one who holds the job."""

from __future__ import annotations

import pytest

from worksong.domain.capability import Capability
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Settlement, Snoozed
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import (
    T,
    a_job,
    die,
    fetch,
    is_gone,
    join,
    lend,
    lent_ids,
    listed,
    look,
    push,
    settle,
    some_jobs,
)
from worksong.testing.contract.suite import Suite, needs

OUTCOMES: list[Outcome] = [
    Done(1),
    Retried(T + 60, "boom"),
    Snoozed(T + 60),
    Buried("boom"),
    Discarded("boom"),
    Released(),
]


class Endings(Suite):
    @needs(Capability.BROWSE)
    async def test_a_lent_job_is_running(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert (await look(backend, delivery)).state is State.RUNNING

    @needs(Capability.BROWSE)
    async def test_a_done_job_is_gone(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery, Done({"any": "value"}))
        assert await is_gone(backend, delivery)

    @needs(Capability.BROWSE)
    async def test_a_discarded_job_is_gone(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery, Discarded("not wanted"))
        assert await is_gone(backend, delivery)

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_a_retried_job_waits_with_one_more_failure(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery, Retried(T + 60, "boom"), now=T + 5)
        view = await look(backend, delivery)
        assert (view.state, view.at) == (State.RETRY, T + 60)
        assert (view.job.attempt, view.job.fails, view.job.error, view.job.failed_at) == (2, 1, "boom", T + 5)

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_a_snoozed_job_waits_and_nothing_is_counted(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery, Snoozed(T + 60))
        view = await look(backend, delivery)
        assert (view.state, view.at, view.job.attempt, view.job.error) == (State.SCHEDULED, T + 60, 1, "")

    @needs(Capability.BROWSE)
    async def test_a_buried_job_is_kept_with_its_error(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery, Buried("boom"), now=T + 5)
        view = await look(backend, delivery)
        assert (view.state, view.at) == (State.DEAD, T + 5)
        assert (view.job.fails, view.job.error, view.job.args) == (1, "boom", delivery.job.args)

    async def test_a_released_job_goes_back_to_the_front_as_it_came(self, backend: Backend) -> None:
        # Given two jobs, the first of them lent
        first, second = some_jobs(2)
        await push(backend, first, second)
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        # When it is released
        assert await settle(backend, delivery, Released())
        # Then it comes before the second one, nothing counted
        again, other = await fetch(backend, pool, 2)
        assert (again.job.id, other.job.id) == (first.id, second.id)
        assert (again.job.attempt, again.job.error, again.job.args) == (1, "", first.args)

    @needs(Capability.DELAY)
    async def test_failures_add_up_from_try_to_try(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        for attempt in (1, 2, 3):
            now = T + attempt * 100
            assert delivery.job.attempt == attempt
            assert await settle(backend, delivery, Retried(now + 60, f"boom {attempt}"), now=now)
            assert await backend.promote(now + 60, 10) == 1
            (delivery,) = await fetch(backend, pool, now=now + 60)
        assert (delivery.job.fails, delivery.job.error) == (3, "boom 3")

    async def test_a_batch_of_endings_is_answered_one_by_one(self, backend: Backend) -> None:
        await push(backend, *some_jobs(3))
        pool = await join(backend)
        one, two, three = await fetch(backend, pool, 3)
        await settle(backend, two)
        batch = [Settlement(one, Done()), Settlement(two, Done()), Settlement(three, Discarded("no"))]
        assert await backend.settle(batch, T) == [True, False, True]

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_a_batch_may_hold_every_kind_of_ending(self, backend: Backend) -> None:
        await push(backend, *some_jobs(6))
        pool = await join(backend)
        lent = await fetch(backend, pool, 6)
        batch = [Settlement(delivery, outcome) for delivery, outcome in zip(lent, OUTCOMES, strict=True)]
        assert await backend.settle(batch, T) == [True] * 6
        counts = await backend.counts()
        assert [counts[s] for s in (State.RETRY, State.SCHEDULED, State.DEAD, State.QUEUED)] == [1, 1, 1, 1]
        assert counts[State.RUNNING] == 0

    @needs(Capability.BROWSE)
    async def test_two_endings_of_one_job_in_one_batch_count_once(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        batch = [Settlement(delivery, Buried("boom")), Settlement(delivery, Buried("boom"))]
        assert await backend.settle(batch, T) == [True, False]
        assert len(await listed(backend, State.DEAD)) == 1


class Receipts(Suite):
    @needs(Capability.BROWSE)
    @pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
    async def test_settling_twice_changes_nothing(self, backend: Backend, outcome: Outcome) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery)
        assert not await settle(backend, delivery, outcome)
        assert await is_gone(backend, delivery)

    @needs(Capability.LEASE, Capability.BROWSE)
    @pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
    async def test_a_late_ending_changes_nothing_while_the_job_waits_again(
        self, backend: Backend, outcome: Outcome
    ) -> None:
        pool, delivery = await lend(backend)
        await die(backend, pool)
        assert not await settle(backend, delivery, outcome)
        view = await look(backend, delivery)
        assert (view.state, view.job.attempt) == (State.QUEUED, 1)

    @needs(Capability.LEASE, Capability.BROWSE)
    @pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
    async def test_a_late_ending_changes_nothing_while_the_job_runs_elsewhere(
        self, backend: Backend, outcome: Outcome
    ) -> None:
        # Given a job whose pool was taken for dead, lent to another one
        late, old = await lend(backend)
        await die(backend, late)
        pool = await join(backend)
        (new,) = await fetch(backend, pool)
        # When the first run ends after all
        assert not await settle(backend, old, outcome)
        # Then the second one still holds the job
        assert (await look(backend, new)).state is State.RUNNING
        assert await settle(backend, new)
        assert await is_gone(backend, new)

    async def test_an_old_receipt_of_the_same_pool_is_refused(self, backend: Backend) -> None:
        # Given a job released and lent to the same pool again
        pool, old = await lend(backend)
        await settle(backend, old, Released())
        (new,) = await fetch(backend, pool)
        # When it is settled with the first receipt, then with the second
        assert new.fence != old.fence
        assert not await settle(backend, old)
        assert await settle(backend, new)

    @needs(Capability.DELAY)
    async def test_the_receipt_of_an_earlier_try_is_refused(self, backend: Backend) -> None:
        pool, old = await lend(backend)
        await settle(backend, old, Retried(T + 10, "boom"))
        await backend.promote(T + 10, 10)
        (new,) = await fetch(backend, pool, now=T + 10)
        assert not await settle(backend, old, now=T + 11)
        assert await settle(backend, new, now=T + 11)

    @needs(Capability.LIMIT)
    async def test_a_late_ending_frees_no_slot_of_a_limit(self, backend: Backend) -> None:
        # Given a limit of one, and a job that was taken from one pool and lent to another
        await push(backend, *some_jobs(3))
        late = await join(backend, limits={"send": 1})
        (old,) = await fetch(backend, late)
        await die(backend, late)
        pool = await join(backend, limits={"send": 1})
        assert len(await fetch(backend, pool, 5)) == 1
        # When the first run ends after all
        await settle(backend, old)
        # Then nothing more is lent
        assert await lent_ids(backend, pool) == []

    @needs(Capability.UNIQUE, Capability.LEASE)
    async def test_a_late_ending_frees_no_lock(self, backend: Backend) -> None:
        late, old = await lend(backend, a_job(args={"u": 1}, unique="until_done"))
        await die(backend, late)
        await settle(backend, old)
        assert await push(backend, a_job(args={"u": 1}, unique="until_done")) == [False]
