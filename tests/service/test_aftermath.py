"""What an operator does to chosen jobs in the console is in the records of the service at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.stage import a_job
from worksong import Worker
from worksong.domain.lifecycle import State
from worksong.domain.record import CANCELLED, JobRecord, Status
from worksong.faces.web.console import store_of
from worksong.service.desk import Desk
from worksong.service.jobservice import JobService
from worksong.service.search import Search
from worksong.testing import FakeClock
from worksong.testing.drain import adrain
from worksong.wire import gotime


class Office:
    """A service, a console of the same worker, and a task that fails."""

    def __init__(self) -> None:
        self.worker = Worker(records="memory://", clock=FakeClock())
        self.service, self.desk = JobService(self.worker), Desk(store_of(self.worker))

        @self.worker.task("fail")
        async def fail(params: dict[str, int]) -> None:
            raise ValueError("no such customer")

    async def create(self, delay: float = 0.0) -> str:
        run_at = gotime.write(self.worker.clock.now() + delay) if delay else None
        return (await self.service.create_job(a_job("fail", run_at=run_at))).id

    async def order(self, state: State, act: str, *job_ids: str) -> int:
        """How many jobs it reached."""
        _, done = await self.desk.carry_out(await self.desk.on_jobs(state, act, job_ids, Search()))
        return done

    async def job(self, job_id: str) -> JobRecord:
        return await self.service.job(job_id)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    yield office
    await office.service.stop()
    await office.worker.astop()


async def test_a_job_that_is_deleted_while_it_waits_has_failed(office: Office) -> None:
    # Given two jobs for later
    one, other = await office.create(3600), await office.create(3600)
    # When one of them is deleted, together with one that is not there
    assert await office.order(State.SCHEDULED, "delete", one, "gone") == 1
    # Then its record says so, and the other waits
    assert ((await office.job(one)).status, (await office.job(one)).failure_reason) == (Status.FAILED, CANCELLED)
    assert (await office.service.result(one)).failure is not None
    assert (await office.job(other)).status is Status.PENDING


async def test_a_job_that_is_cancelled_while_it_waits_has_failed(office: Office) -> None:
    job_id = await office.create()
    assert await office.order(State.QUEUED, "cancel", job_id) == 1
    assert (await office.job(job_id)).failure_reason == CANCELLED


async def test_a_dead_job_that_is_queued_again_is_told_as_such(office: Office) -> None:
    # Given a job that has failed for good
    job_id = await office.create()
    await adrain(office.worker)
    assert (await office.job(job_id)).status is Status.FAILED
    # When it is queued again, then it will run once more, and that failure is no result of it
    assert await office.order(State.DEAD, "requeue", job_id) == 1
    assert (await office.job(job_id)).status is Status.SCHEDULED
    await adrain(office.worker)
    assert (await office.job(job_id)).failure_reason == "no such customer"
    # And deleted for good, it stays what it is
    assert await office.order(State.DEAD, "delete", job_id) == 1
    assert (await office.job(job_id)).failure_reason == "no such customer"


async def test_a_job_for_later_that_is_to_run_now_runs_now(office: Office) -> None:
    job_id = await office.create(3600)
    assert await office.order(State.SCHEDULED, "requeue", job_id) == 1
    await adrain(office.worker)
    assert (await office.job(job_id)).status is Status.FAILED
