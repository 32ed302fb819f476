"""Jobs for later: never early, queued once due, unaltered but for the time."""

from __future__ import annotations

import asyncio

import pytest

from worksong.domain.capability import Capability
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Outcome, Retried, Snoozed
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import T, a_job, fetch, join, lend, lent_ids, listed, look, push, settle
from worksong.testing.contract.suite import Suite, needs

PATIENCE = 60.0
"""Seconds in which what has happened must have been heard."""


class Timing(Suite):
    @needs(Capability.DELAY)
    async def test_a_scheduled_job_is_not_lent(self, backend: Backend) -> None:
        assert await push(backend, a_job(run_at=T + 60)) == [True]
        assert await lent_ids(backend, await join(backend), now=T + 60) == []

    @needs(Capability.DELAY, Capability.BROWSE)
    async def test_a_scheduled_job_is_listed_with_its_time(self, backend: Backend) -> None:
        job = a_job(run_at=T + 60)
        await push(backend, job)
        view = await look(backend, job)
        assert (view.state, view.at, view.handler, view.job.args) == (State.SCHEDULED, T + 60, "send", job.args)

    @needs(Capability.DELAY)
    async def test_nothing_is_promoted_early(self, backend: Backend) -> None:
        await push(backend, a_job(run_at=T + 60))
        assert await backend.promote(T + 59, 100) == 0
        assert await lent_ids(backend, await join(backend), now=T + 59) == []

    @needs(Capability.DELAY)
    async def test_what_is_due_is_promoted_and_lent(self, backend: Backend) -> None:
        job = a_job(run_at=T + 60)
        await push(backend, job)
        pool = await join(backend)
        assert await backend.promote(T + 60, 100) == 1
        assert await lent_ids(backend, pool, now=T + 60) == [job.id]

    @needs(Capability.DELAY)
    async def test_who_waits_for_what_is_due_misses_nothing(self, backend: Backend) -> None:
        # Given a job on the schedule, and nothing that is due
        await push(backend, a_job(run_at=T + 60))
        async with asyncio.timeout(PATIENCE):
            await backend.until_due(T, 0.01)
            # When its time has come, then nobody waits on
            await backend.until_due(T + 60, 2 * PATIENCE)
        assert await backend.promote(T + 60, 100) == 1

    @needs(Capability.DELAY)
    async def test_who_waits_for_what_is_due_hears_of_what_comes_in(self, backend: Backend) -> None:
        # Given a store with nothing in it, and one who looks again whenever the wait is over
        async def look() -> int:
            while not (moved := await backend.promote(T + 60, 100)):
                await backend.until_due(T + 60, 2 * PATIENCE)
                await asyncio.sleep(0.01)
            return moved

        looking = asyncio.create_task(look())
        await asyncio.sleep(0)
        # When a sibling schedules a job that is due, then it is queued
        sibling = backend.sibling()
        await push(sibling, a_job(run_at=T + 60))
        async with asyncio.timeout(PATIENCE):
            assert await looking == 1
        await sibling.close()

    @needs(Capability.DELAY)
    async def test_a_job_is_promoted_once(self, backend: Backend) -> None:
        await push(backend, a_job(run_at=T + 60))
        await join(backend)
        assert await backend.promote(T + 60, 100) == 1
        assert await backend.promote(T + 61, 100) == 0

    @needs(Capability.DELAY)
    async def test_a_promoted_job_is_unaltered_but_for_the_time(self, backend: Backend) -> None:
        job = a_job(args={"big": 2**53 - 1, "list": [], "float": 0.1, "text": "ß"}, queue="low", run_at=T + 60)
        await push(backend, job)
        pool = await join(backend)
        await backend.promote(T + 61, 100)
        (delivery,) = await fetch(backend, pool, now=T + 61)
        came = delivery.job
        assert (came.id, came.args, came.queue, came.attempt) == (job.id, job.args, "low", 1)
        assert (came.enqueued_at, came.run_at) == (T + 61, 0.0)

    @needs(Capability.DELAY)
    async def test_no_more_is_promoted_than_asked_for(self, backend: Backend) -> None:
        await push(backend, *(a_job(run_at=T + n) for n in range(1, 6)))
        await join(backend)
        assert await backend.promote(T + 10, 2) == 2
        assert await backend.promote(T + 10, 2) == 2
        assert await backend.promote(T + 10, 2) == 1

    @needs(Capability.DELAY)
    async def test_retries_and_scheduled_jobs_together_stay_within_what_was_asked_for(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        await settle(backend, delivery, Retried(T + 5, "boom"))
        await push(backend, a_job(run_at=T + 5))
        assert await backend.promote(T + 10, 1) == 1
        assert await backend.promote(T + 10, 1) == 1

    @needs(Capability.DELAY)
    async def test_the_soonest_is_promoted_first(self, backend: Backend) -> None:
        late, soon = a_job(run_at=T + 20), a_job(run_at=T + 10)
        await push(backend, late, soon)
        pool = await join(backend)
        await backend.promote(T + 30, 1)
        assert await lent_ids(backend, pool, now=T + 30) == [soon.id]

    @needs(Capability.DELAY)
    async def test_a_time_already_past_means_at_once(self, backend: Backend) -> None:
        job = a_job(run_at=T - 60)
        await push(backend, job)
        pool = await join(backend)
        await backend.promote(T, 100)
        assert await lent_ids(backend, pool) == [job.id]

    @needs(Capability.DELAY)
    async def test_a_job_in_ten_years_is_kept(self, backend: Backend) -> None:
        at = T + 10 * 365 * 86400
        job = a_job(run_at=at)
        await push(backend, job)
        pool = await join(backend)
        assert await backend.promote(at - 1, 100) == 0
        assert await backend.promote(at, 100) == 1
        assert await lent_ids(backend, pool, now=at) == [job.id]

    @needs(Capability.DELAY)
    @pytest.mark.parametrize("outcome", [Retried(T + 10.25, "boom"), Snoozed(T + 10.25)], ids=["retried", "snoozed"])
    async def test_a_fraction_of_a_second_is_never_early(self, backend: Backend, outcome: Outcome) -> None:
        pool, delivery = await lend(backend)
        await settle(backend, delivery, outcome)
        assert await backend.promote(T + 10.2, 100) == 0
        assert await backend.promote(T + 11, 100) == 1
        assert len(await fetch(backend, pool, now=T + 11)) == 1

    @needs(Capability.DELAY)
    async def test_a_scheduled_fraction_of_a_second_is_never_early(self, backend: Backend) -> None:
        await push(backend, a_job(run_at=T + 10.75))
        await join(backend)
        assert await backend.promote(T + 10.7, 100) == 0
        assert await backend.promote(T + 11, 100) == 1

    @needs(Capability.DELAY, Capability.SUBSECOND)
    async def test_a_fraction_of_a_second_is_kept(self, backend: Backend) -> None:
        await push(backend, a_job(run_at=T + 10.25))
        await join(backend)
        assert await backend.promote(T + 10.25, 100) == 1

    @needs(Capability.DELAY)
    async def test_a_retry_comes_back_when_due(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await settle(backend, delivery, Retried(T + 60, "boom"))
        assert await lent_ids(backend, pool, now=T + 59) == []
        assert await backend.promote(T + 60, 100) == 1
        (again,) = await fetch(backend, pool, now=T + 60)
        assert (again.job.id, again.job.attempt, again.job.error) == (delivery.job.id, 2, "boom")
        assert again.job.args == delivery.job.args

    @needs(Capability.DELAY)
    async def test_a_snoozed_job_comes_back_with_nothing_counted(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await settle(backend, delivery, Snoozed(T + 60))
        await backend.promote(T + 60, 100)
        (again,) = await fetch(backend, pool, now=T + 60)
        assert (again.job.id, again.job.attempt, again.job.error) == (delivery.job.id, 1, "")

    @needs(Capability.DELAY)
    async def test_a_snooze_keeps_the_failures_from_before(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await settle(backend, delivery, Retried(T + 10, "boom"))
        await backend.promote(T + 10, 100)
        (again,) = await fetch(backend, pool, now=T + 10)
        await settle(backend, again, Snoozed(T + 20), now=T + 10)
        await backend.promote(T + 20, 100)
        (last,) = await fetch(backend, pool, now=T + 20)
        assert (last.job.attempt, last.job.error) == (2, "boom")

    @needs(Capability.DELAY, Capability.BROWSE)
    async def test_scheduled_and_retry_jobs_are_listed_apart_soonest_first(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        await settle(backend, delivery, Retried(T + 60, "boom"))
        later, sooner = a_job(run_at=T + 90), a_job(run_at=T + 30)
        await push(backend, later, sooner)
        assert [view.id for view in await listed(backend, State.SCHEDULED)] == [sooner.id, later.id]
        assert [view.id for view in await listed(backend, State.RETRY)] == [delivery.job.id]
