"""The outbox of the job service: what is kept gets into the queue, and what is refused is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec.structs import replace

from worksong import Worker
from worksong.domain.errors import BackendFull, BackendRefused, ConfigError, InvalidArguments
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.pipeline import step_id
from worksong.domain.record import JobRecord, KeyRecord, PipelineRecord, Status
from worksong.domain.result import Result
from worksong.ledger import Ledger
from worksong.ports.backend import Window
from worksong.ports.records import Change, Kind, Record
from worksong.service.outbox import MISSING_FOR, UPKEEP_EVERY, Outbox, Swept
from worksong.testing import FakeClock
from worksong.testing.drain import adrain
from worksong.testing.flaky import Fault, FlakyBackend
from worksong.wire.record import ref_of

JOB = JobRecord(id="j1", task="note", params={"n": 1})
KEY = KeyRecord(id="k1", request="r", created_id="j1")
TURNS = 200
"""Of a clock, and of the loop with it: more than any of these stories takes."""


class Office:
    """A worker that keeps records, whose queue fails when told to, and its outbox."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.worker = Worker(records="memory://", clock=self.clock)
        self.ran: list[object] = []

        @self.worker.task("note")
        async def note(params: dict[str, int], previous: int = 0) -> int:
            self.ran.append(params.get("n"))
            return previous + 1

        self.queue = FlakyBackend(self.worker.backend())
        self.worker.broker = lambda: self.queue
        self.outbox = Outbox(self.worker)

    @property
    def ledger(self) -> Ledger:
        assert self.worker.ledgers is not None
        return self.worker.ledgers.here()

    async def missing(self) -> list[str]:
        return [record.ref.id for record in await self.ledger.store.unsent(self.clock.now(), 100)]

    async def queued(self) -> list[str]:
        return [view.id for view in await self.worker.backend().jobs(State.QUEUED, Window(100))]

    async def status(self, job_id: str = "j1") -> Status:
        found = await self.ledger.job(job_id)
        assert found is not None
        return found.status


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    yield office
    await office.outbox.close()
    await office.worker.astop()


def a_pipeline(length: int) -> tuple[PipelineRecord, list[JobRecord]]:
    ids = [step_id("p1", number, 0) for number in range(length)]
    jobs = [
        JobRecord(id=job_id, task="note", params={"n": number}, pipeline_id="p1", next_id=next_id, previous=number > 0)
        for number, (job_id, next_id) in enumerate(zip(ids, [*ids[1:], ""], strict=True))
    ]
    return PipelineRecord(id="p1", job_ids=tuple(ids)), jobs


async def test_what_is_created_is_in_the_queue_and_noted_there_later(office: Office) -> None:
    # Given a job that was just created
    await office.ledger.open_job(JOB)
    # When it is sent
    await office.outbox.send_job(JOB)
    # Then it waits in the queue, and somewhat later that is known
    assert await office.queued() == ["j1"]
    await office.outbox.flush()
    assert await office.missing() == []


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
async def test_what_is_created_while_the_queue_is_away_runs_once_when_it_is_back(office: Office, fault: Fault) -> None:
    # Given a queue that does not answer, whether it did something or not
    office.queue.expect("push", [fault])
    await office.ledger.open_job(JOB)
    # When a job is sent, then the caller is not told of that
    await office.outbox.send_job(JOB)
    assert await office.missing() == ["j1"]
    # And it is sent again after a while, not before
    assert await office.outbox.sweep() == 0
    office.clock.advance(MISSING_FOR)
    assert await office.outbox.sweep() == 1
    assert await office.missing() == []
    await adrain(office.worker)
    assert office.ran == [1]


async def test_what_nobody_came_to_send_is_found(office: Office) -> None:
    # Given a job and a pipeline whose creator died before they were sent
    await office.ledger.open_job(JOB)
    pipeline, jobs = a_pipeline(3)
    await office.ledger.open_pipeline(pipeline, jobs)
    office.clock.advance(MISSING_FOR)
    # When somebody looks
    assert await office.outbox.sweep() == 2
    await adrain(office.worker)
    # Then all of it runs
    assert sorted(map(str, office.ran)) == ["0", "1", "1", "2"]
    found = await office.ledger.pipeline("p1")
    assert found is not None
    assert found.status is Status.COMPLETED


async def test_of_two_who_look_one_sends(office: Office) -> None:
    for number in range(20):
        await office.ledger.open_job(JobRecord(id=f"j{number}", task="note"))
    office.clock.advance(MISSING_FOR)
    swept = await asyncio.gather(office.outbox.sweep(), Outbox(office.worker).sweep())
    assert sum(swept) == 20
    assert len(await office.queued()) == 20


class Refusing:
    """A queue that says no."""

    def __init__(self, refusal: Exception, inner: FlakyBackend) -> None:
        self.refusal, self._inner = refusal, inner

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        if any(job.id == "j1" for job in jobs):
            raise self.refusal
        return await self._inner.push(jobs, now, once=once)


@pytest.mark.parametrize("refusal", [InvalidArguments("too deep"), BackendRefused("WRONGTYPE"), BackendFull("no room")])
async def test_what_the_queue_refuses_is_not_kept(office: Office, refusal: Exception) -> None:
    # Given a queue that refuses a job
    office.worker.broker = lambda: Refusing(refusal, office.queue)  # type: ignore[assignment, return-value]
    await office.ledger.open_job(JOB, KEY)
    # When it is sent, then the caller is told why
    with pytest.raises(type(refusal)):
        await office.outbox.send_job(JOB, KEY)
    # And its id and its key are free again
    assert await office.ledger.job("j1") is None
    assert await office.ledger.open_job(JOB, KEY) is None


async def test_of_several_the_queue_takes_all_or_nothing_is_kept(office: Office) -> None:
    jobs = [JobRecord(id=f"j{number}", task="note") for number in range(3)]
    await office.ledger.open_jobs(jobs, KEY)
    await office.outbox.send_jobs(jobs, KEY)
    assert sorted(await office.queued()) == ["j0", "j1", "j2"]
    office.worker.broker = lambda: Refusing(InvalidArguments("too deep"), office.queue)  # type: ignore[assignment, return-value]
    others = [JobRecord(id=f"{one.id}{number}", task="note") for number, one in enumerate(jobs)]
    refused = [*others, replace(JOB, id="j1")]
    assert await office.ledger.remove_job("j1")
    assert await office.ledger.open_jobs(refused) is None
    with pytest.raises(InvalidArguments):
        await office.outbox.send_jobs(refused)
    assert [job.id for job in await office.ledger.jobs()] == ["j0", "j2"]


async def test_what_no_queue_can_carry_has_failed_and_holds_up_nothing(office: Office) -> None:
    # Given jobs that nobody sent, one of which cannot be carried
    office.worker.broker = lambda: Refusing(InvalidArguments("too deep"), office.queue)  # type: ignore[assignment, return-value]
    for job_id in ("j0", "j1", "j2"):
        await office.ledger.open_job(JobRecord(id=job_id, task="note"))
    office.clock.advance(MISSING_FOR)
    # When somebody looks
    assert await office.outbox.swept() == Swept(went=2, refused=1)
    # Then the others are sent, and it says why it failed
    assert sorted(await office.queued()) == ["j0", "j2"]
    found = await office.ledger.job("j1")
    assert found is not None
    assert (found.status, found.failure_reason) == (Status.FAILED, "too deep")
    assert await office.missing() == []


async def test_a_server_that_says_no_is_asked_again(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.worker.broker = lambda: Refusing(BackendRefused("WRONGTYPE"), office.queue)  # type: ignore[assignment, return-value]
    await office.ledger.open_job(JOB)
    office.clock.advance(MISSING_FOR)
    assert await office.outbox.swept() == Swept(went=0, refused=1)
    assert "WRONGTYPE" in caplog.text
    office.worker.broker = lambda: office.queue
    office.clock.advance(MISSING_FOR)
    await office.outbox.sweep()
    assert await office.queued() == ["j1"]


async def test_a_pipeline_without_its_jobs_holds_up_nothing(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    # Given a pipeline of whose jobs one is gone, whoever did that
    pipeline, jobs = a_pipeline(2)
    await office.ledger.open_pipeline(pipeline, jobs)
    await office.ledger.store.write([Change(ref_of(JobRecord, jobs[1].id), 1, None)])
    await office.ledger.open_job(JOB)
    office.clock.advance(MISSING_FOR)
    # When somebody looks, then it is dropped, and the rest is sent
    assert await office.outbox.sweep() == 1
    assert await office.ledger.pipeline("p1") is None
    assert "p1" in caplog.text
    assert await office.queued() == ["j1"]


async def test_what_nobody_can_read_holds_up_nothing(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    # Given a job that nobody sent, a record before it that is none, and a pipeline of whose jobs one is none
    await office.ledger.store.write([broken("j0", unsent_since=office.clock.now())])
    pipeline, jobs = a_pipeline(2)
    await office.ledger.open_pipeline(pipeline, jobs)
    await office.ledger.store.write([broken(jobs[1].id, was=1)])
    await office.ledger.open_job(JOB)
    office.clock.advance(MISSING_FOR)
    # When somebody looks, then the rest is sent, and nothing is sought for ever
    await office.outbox.sweep()
    assert await office.queued() == ["j1"]
    assert await office.missing() == []
    assert "record job j0 is none" in caplog.text
    assert "pipeline p1 cannot run" in caplog.text
    # And a queue that comes back empty is filled again all the same
    await office.worker.backend().erase()
    await office.outbox.revive()
    await office.outbox.sweep()
    assert await office.queued() == ["j1"]


def broken(job_id: str, was: int | None = None, unsent_since: float = 0.0) -> Change:
    ref = ref_of(JobRecord, job_id)
    version = (was or 0) + 1
    return Change(ref, was, Record(ref, b"{", status=Status.PENDING, unsent_since=unsent_since, version=version))


async def test_a_queue_that_ended_with_its_process_is_filled_again_from_the_records(office: Office) -> None:
    # Given a pipeline whose first step is through, when the process dies with its queue
    pipeline, jobs = a_pipeline(3)
    await office.ledger.open_pipeline(pipeline, jobs)
    await office.outbox.send_pipeline(pipeline, jobs)
    await run_the_first_step_and_die(office)
    await office.outbox.flush()
    assert office.ran == [0]
    records = await kept(office)

    # When another process begins with the same records and an empty queue
    after = Office()
    for record in records:
        assert await after.ledger.store.write([Change(record.ref, None, record)])
    await after.outbox.revive()
    assert await after.outbox.sweep() == 1
    await adrain(after.worker)

    # Then it goes on with the second step, and what the first returned
    assert after.ran == [1, 2]
    result = await after.ledger.kept_result(jobs[-1].id)
    assert result is not None
    assert result.value == b"3"
    await after.worker.astop()


async def test_only_what_has_not_ended_is_missing_in_a_queue_that_came_back_empty(office: Office) -> None:
    # Given more jobs than one page has, some through, some begun
    jobs = [JobRecord(id=f"j{number:04}", task="note", created_at=float(number)) for number in range(1200)]
    await office.ledger.open_jobs(jobs)
    await office.ledger.sent([ref_of(JobRecord, job.id) for job in jobs])
    for job in jobs[::100]:
        await office.ledger.begin(job.id, "a message")
    await office.ledger.put([Result(job.id, office.clock.now(), b"1") for job in jobs[::200]])
    # When the queue is empty
    await office.outbox.revive()
    assert await office.outbox.sweep() == 1200 - 6
    # Then what had begun with a message that is lost begins with another one
    await adrain(office.worker)
    assert len(office.ran) == 1200 - 6
    assert await office.ledger.jobs(Status.IN_PROGRESS) == []


async def run_the_first_step_and_die(office: Office) -> None:
    """The worker dies before what follows the step is enqueued."""
    first = step_id("p1", 0, 0)
    await office.ledger.begin(first)
    office.ran.append(0)
    await office.ledger.put([Result(first, office.clock.now(), b"1")])


async def kept(office: Office) -> list[Record]:
    return [record for kind in Kind for record in await office.ledger.store.listed(kind)]


async def test_whoever_looks_after_the_records_goes_on_through_outages_and_forgets_in_time(office: Office) -> None:
    # Given a job that ended long ago, one that nobody sent, and a queue that is away
    await office.ledger.open_job(JobRecord(id="old", task="note"))
    await office.outbox.send_job(JobRecord(id="old", task="note"))
    await adrain(office.worker)
    office.clock.advance(office.ledger.retention)
    await office.ledger.open_job(JOB)
    office.queue.expect("push", [Fault.ERROR] * 2)

    # When somebody looks after them while the time passes
    looking = asyncio.create_task(office.outbox.run())
    for _ in range(TURNS):
        await office.clock.aadvance(UPKEEP_EVERY / 10)

    # Then the one is forgotten and the other in the queue
    assert await office.queued() == ["j1"]
    assert await office.ledger.job("old") is None
    assert await office.missing() == []
    looking.cancel()
    await asyncio.wait([looking])
    assert looking.cancelled()


def test_an_outbox_needs_records() -> None:
    with pytest.raises(ConfigError, match="records=URL"):
        Outbox(Worker())
