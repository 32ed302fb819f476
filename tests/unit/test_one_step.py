"""Creating where records and queue are in one place: one step, whatever is created and whoever creates it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from worksong import BackendUnavailable, EnqueueOutcomeUnknown, Pipeline, Worker
from worksong.domain.lifecycle import State
from worksong.ledger import Ledger
from worksong.ports.backend import Window
from worksong.ports.records import Kind
from worksong.service.forms import BatchForm, JobForm, PipelineForm
from worksong.service.jobservice import JobService
from worksong.service.outbox import MISSING_FOR, Outbox, Swept
from worksong.service.refusals import TooLarge
from worksong.testing import FakeClock, inline
from worksong.testing.drain import adrain
from worksong.testing.flaky import Fault, FlakyBackend

CALLERS = 50


class Office:
    """A worker that keeps records in the memory where its queue is, which fails when told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.worker = Worker(records="memory://", clock=self.clock)
        self.ran: list[object] = []

        @self.worker.task("note")
        async def note(params: dict[str, Any], previous: int = 0) -> int:
            self.ran.append(params.get("n"))
            return previous + 1

        @self.worker.job()
        async def count(number: int) -> None:
            self.ran.append(number)

        self.count = count
        self.queue: Any = FlakyBackend(self.worker.backend())
        self.worker.backend = self.worker.broker = lambda: self.queue  # type: ignore[method-assign]
        self.service, self.outbox = JobService(self.worker), Outbox(self.worker)

    @property
    def ledger(self) -> Ledger:
        assert self.worker.ledgers is not None
        return self.worker.ledgers.here()

    async def queued(self) -> list[str]:
        return [view.id for view in await self.queue.inner.jobs(State.QUEUED, Window(100))]

    async def kept(self) -> int:
        """Records of all kinds but results."""
        return sum([len(await self.ledger.store.listed(kind)) for kind in (Kind.JOB, Kind.PIPELINE, Kind.KEY)])


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    yield office
    await office.service.stop()
    await office.worker.astop()


def a_job(n: object = 1) -> JobForm:
    return JobForm(name="a job", task_name="note", task_params={"n": n})


Create: TypeAlias = Callable[[Office], Awaitable[object]]

CREATE: dict[str, tuple[Create, int]] = {
    "job": (lambda office: office.service.create_job(a_job(), "key"), 1),
    "batch": (lambda office: office.service.create_jobs(BatchForm(jobs=[a_job(), a_job()]), "key"), 2),
    "pipeline": (
        lambda office: office.service.create_pipeline(PipelineForm(name="p", jobs=[a_job(), a_job()]), "key"),
        1,
    ),
}
"""What is created, and how many messages that is."""
created = pytest.mark.parametrize(("create", "messages"), CREATE.values(), ids=CREATE)


@created
async def test_it_is_in_the_queue_at_once_and_never_missing_there(
    office: Office, create: Create, messages: int
) -> None:
    await create(office)
    assert len(await office.queued()) == messages
    assert await office.ledger.store.unsent(9e9, 9) == []
    assert office.queue.calls["push"] == 1
    # And nobody writes anything more about it until it runs
    versions = [record.version for record in await office.ledger.store.listed(Kind.JOB)]
    await office.outbox.flush()
    office.clock.advance(MISSING_FOR)
    assert await office.outbox.swept() == Swept(0, 0)
    assert [record.version for record in await office.ledger.store.listed(Kind.JOB)] == versions == [1] * len(versions)


@created
async def test_while_the_place_is_away_nothing_is_taken_in(office: Office, create: Create, messages: int) -> None:
    office.queue.expect("push", [Fault.ERROR])
    with pytest.raises(BackendUnavailable):
        await create(office)
    assert (await office.queued(), await office.kept()) == ([], 0)


@created
async def test_of_a_lost_answer_one_is_told_and_who_asks_again_gets_what_is_there(
    office: Office, create: Create, messages: int
) -> None:
    office.queue.expect("push", [Fault.EXECUTE_THEN_ERROR])
    with pytest.raises(EnqueueOutcomeUnknown):
        await create(office)
    there, kept = await office.queued(), await office.kept()
    assert len(there) == messages
    await create(office)
    assert (await office.queued(), await office.kept()) == (there, kept)


async def test_what_the_queue_cannot_carry_is_refused_with_its_key(office: Office) -> None:
    with pytest.raises(TooLarge):
        await office.service.create_jobs(BatchForm(jobs=[a_job(), a_job("x" * (2 << 20))]), "key")
    assert (await office.queued(), await office.kept()) == ([], 0)


async def test_of_many_callers_with_one_key_one_creates_and_all_are_told_of_it(office: Office) -> None:
    jobs = await asyncio.gather(*(office.service.create_job(a_job(), "key") for _ in range(CALLERS)))
    assert len({job.id for job in jobs}) == 1
    assert await office.queued() == [jobs[0].id]
    await adrain(office.worker)
    assert office.ran == [1]


# pipelines that a program sends


def steps(office: Office) -> Pipeline:
    return Pipeline([office.count.step(number=1), office.count.step(number=2)], name="sums")


async def test_the_pipeline_of_a_program_comes_in_one_step_too(office: Office) -> None:
    handle = await steps(office).aperform()
    assert await office.queued() == [handle.stages[0][0].id]
    assert await office.ledger.store.unsent(9e9, 9) == []
    assert [record.version for record in await office.ledger.store.listed(Kind.PIPELINE)] == [1]
    await adrain(office.worker)
    assert office.ran == [1, 2]


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
async def test_of_the_pipeline_of_a_program_that_met_an_error_nothing_runs(office: Office, fault: Fault) -> None:
    office.queue.expect("push", [fault])
    with pytest.raises(BackendUnavailable):
        await steps(office).aperform()
    assert await office.kept() == 0
    await adrain(office.worker)
    assert office.ran == []


async def test_a_broker_that_was_lent_is_another_place() -> None:
    worker = Worker(records="memory://")
    ran: list[int] = []

    @worker.task("note")
    async def note(params: dict[str, int]) -> None:
        ran.append(params["n"])

    with inline(worker):
        await JobService(worker).create_job(a_job())
        assert ran == [1]
    await worker.astop()
