"""What is wrong with the store, and what stands in the way of one job."""

from __future__ import annotations

import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.domain.finding import Finding, Severity
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import (
    T,
    a_job,
    beat,
    die,
    fetch,
    join,
    lend,
    push,
    settle,
    some_jobs,
)
from worksong.testing.contract.suite import Suite, needs


async def found(backend: Backend, finding_id: str, now: float = T) -> list[Finding]:
    """The findings of this id."""
    return [finding for finding in await backend.examine(now) if finding.id == finding_id]


class Examining(Suite):
    async def test_every_finding_says_what_it_means_and_how_to_mend_it(self, backend: Backend) -> None:
        await push(backend, a_job())
        findings = await backend.examine(T)
        assert findings
        for finding in findings:
            assert finding.id == finding.id.lower()
            assert finding.title.endswith(".")
            assert bool(finding.mend) == (finding.severity is not Severity.OK)

    async def test_an_empty_store_has_nothing_that_could_be_mended(self, backend: Backend) -> None:
        assert [finding for finding in await backend.examine(T) if finding.fixable] == []

    async def test_what_begins_to_work_here_is_warned_at_most(self, backend: Backend) -> None:
        assert all(finding.severity is not Severity.OK for finding in await backend.admit())

    async def test_a_finding_that_cannot_be_mended_is_refused(self, backend: Backend) -> None:
        with pytest.raises(InvalidArguments):
            await backend.fix("nothing.of.this.name", T)

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_an_examination_changes_nothing(self, backend: Backend) -> None:
        _, running = await lend(backend)
        await push(backend, *some_jobs(3), a_job(run_at=T + 60))
        before = await backend.counts()
        await backend.examine(T)
        assert await backend.counts() == before
        assert await settle(backend, running)

    @needs(Capability.BROWSE, Capability.PAUSE)
    async def test_a_paused_queue_is_found(self, backend: Backend) -> None:
        await push(backend, a_job())
        assert await found(backend, "queues.paused") == []
        await backend.pause(self.queue_of(backend, "send"))
        (finding,) = await found(backend, "queues.paused")
        assert self.queue_of(backend, "send") in finding.detail

    @needs(Capability.BROWSE, Capability.MOVE)
    async def test_jobs_that_a_move_left_aside_are_found(self, backend: Backend) -> None:
        await push(backend, a_job())
        assert await found(backend, "jobs.aside") == []
        load = await backend.load(State.QUEUED, passed=0, most=9, destination="the other store", now=T)
        assert load
        (finding,) = await found(backend, "jobs.aside")
        assert "1 jobs, on their way to the other store" in finding.detail
        await backend.release(load.id, [], T)
        assert await found(backend, "jobs.aside") == []

    @needs(Capability.BROWSE, Capability.POOLS)
    async def test_waiting_jobs_of_a_type_that_nobody_knows_are_found(self, backend: Backend) -> None:
        # Given two types, and a pool that knows one of them
        await join(backend, "call")
        await push(backend, a_job("send"), a_job("call"))
        # When the store is examined
        (finding,) = await found(backend, "jobs.unserved")
        # Then the other one is found, until somebody knows it
        assert "send" in finding.detail
        assert "call" not in finding.detail
        await join(backend, "send")
        assert await found(backend, "jobs.unserved") == []

    @needs(Capability.BROWSE, Capability.DELAY)
    async def test_jobs_that_nobody_promotes_are_found(self, backend: Backend) -> None:
        await push(backend, a_job(run_at=T + 60))
        assert await found(backend, "jobs.overdue", now=T + 3600)
        await backend.promote(T + 3600, 10)
        assert await found(backend, "jobs.overdue", now=T + 3600) == []


class Tracing(Suite):
    @needs(Capability.BROWSE)
    async def test_nothing_is_known_of_an_id_that_never_was(self, backend: Backend) -> None:
        trace = await backend.trace("nothing")
        assert (trace.job, trace.taken_in, trace.cancelled, trace.crashes) == (None, False, False, 0)

    @needs(Capability.BROWSE)
    async def test_a_waiting_job_tells_how_many_go_first(self, backend: Backend) -> None:
        jobs = some_jobs(3)
        await push(backend, *jobs)
        assert [(await backend.trace(job.id)).ahead for job in jobs] == [0, 1, 2]

    @needs(Capability.BROWSE, Capability.PAUSE)
    async def test_a_waiting_job_tells_that_its_queue_is_paused(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job)
        assert not (await backend.trace(job.id)).paused
        await backend.pause(self.queue_of(backend, "send"))
        assert (await backend.trace(job.id)).paused

    @needs(Capability.BROWSE, Capability.LIMIT)
    async def test_a_waiting_job_tells_the_limit_of_its_type_and_how_many_run(self, backend: Backend) -> None:
        first, second = some_jobs(2)
        await push(backend, first, second)
        pool = await join(backend, limits={"send": 1})
        await fetch(backend, pool, 2)
        trace = await backend.trace(second.id)
        assert (trace.limit, trace.running) == (1, 1)

    @needs(Capability.BROWSE, Capability.POOLS)
    async def test_a_running_job_tells_who_holds_it(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await join(backend)
        trace = await backend.trace(delivery.job.id)
        assert trace.job
        assert (trace.job.state, trace.pool, trace.cancelled) == (State.RUNNING, pool.id, False)

    @needs(Capability.BROWSE, Capability.CANCEL)
    async def test_a_running_job_tells_that_it_was_cancelled(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await beat(backend, pool, delivery)
        await backend.cancel(delivery.job.id, T)
        assert (await backend.trace(delivery.job.id)).cancelled

    @needs(Capability.BROWSE)
    async def test_a_dead_job_tells_its_error(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        await settle(backend, delivery, Buried("boom"))
        trace = await backend.trace(delivery.job.id)
        assert trace.job
        assert (trace.job.state, trace.job.error) == (State.DEAD, "boom")

    @needs(Capability.BROWSE, Capability.DEDUP)
    async def test_an_id_pushed_once_is_known_when_its_job_is_done(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job, once=True)
        (delivery,) = await fetch(backend, await join(backend))
        await settle(backend, delivery)
        trace = await backend.trace(job.id)
        assert (trace.job, trace.taken_in) == (None, True)

    @needs(Capability.BROWSE, Capability.LEASE)
    async def test_a_job_whose_worker_died_tells_so(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await die(backend, pool)
        trace = await backend.trace(delivery.job.id)
        assert trace.job
        assert (trace.job.state, trace.crashes, trace.pool) == (State.QUEUED, 1, "")
