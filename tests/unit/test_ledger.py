"""The ledger of the job service: what is kept of jobs and pipelines while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from worksong import Worker
from worksong.domain.chain import again, first_of
from worksong.domain.outcome import Failure
from worksong.domain.record import JobRecord, KeyRecord, PipelineRecord, Status, queued
from worksong.domain.result import Result
from worksong.domain.verdict import Snooze
from worksong.entries import CHUNK
from worksong.ledger import Edit, Ledger
from worksong.ports.records import After
from worksong.testing.drain import adrain
from worksong.wire.record import ref_of

NOW = 1_700_000_000.0


class Shop:
    """A worker that keeps records, and its ledger."""

    def __init__(self) -> None:
        self.worker = Worker(records="memory://", concurrency=2)
        self.runs: list[object] = []

        @self.worker.task("double")
        async def double(params: dict[str, int], previous: int | None = None) -> int:
            self.runs.append(previous)
            return 2 * (params["n"] if previous is None else previous)

        @self.worker.task("fail", max_fails=1)
        async def fail(params: dict[str, int]) -> None:
            raise ValueError("no such customer")

        @self.worker.task("slow", max_fails=1)
        async def slow(params: dict[str, int]) -> None:
            await asyncio.sleep(60)

        @self.worker.task("later")
        async def later(params: dict[str, int]) -> Snooze | None:
            self.runs.append("later")
            return Snooze(3600) if len(self.runs) == 1 else None

    @property
    def ledger(self) -> Ledger:
        assert self.worker.ledgers is not None
        return self.worker.ledgers.here()

    async def create(self, job: JobRecord) -> None:
        assert await self.ledger.open_job(job) is None
        await self.worker.aperform(queued(job))

    async def ended(self, job_id: str) -> JobRecord:
        assert await self.worker.results().wait_result(job_id, 60.0)
        return await self.job(job_id)

    async def missing(self) -> list[str]:
        """What is not in the queue, as far as is known."""
        return [record.ref.id for record in await self.ledger.store.unsent(self.worker.clock.now(), 100)]

    async def job(self, job_id: str) -> JobRecord:
        found = await self.ledger.job(job_id)
        assert found is not None
        return found


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    async with shop.worker:
        yield shop


async def test_a_job_is_pending_until_it_runs_and_completed_when_its_result_is_there(shop: Shop) -> None:
    # Given a record of a job that is not in the queue yet
    job = JobRecord(id="j1", task="double", params={"n": 21}, name="twice", created_at=NOW)
    await shop.ledger.open_job(job)
    assert await shop.missing() == ["j1"]

    # When it is enqueued and runs
    await shop.worker.aperform(queued(job))
    ended = await shop.ended("j1")

    # Then its record tells when, and nothing is missing in the queue any more
    assert ended.status is Status.COMPLETED
    assert ended.created_at <= ended.started_at <= ended.completed_at
    result = await shop.ledger.kept_result("j1")
    assert result is not None
    assert result.value == b"42"
    assert await shop.missing() == []


async def test_a_job_that_fails_for_good_says_why(shop: Shop) -> None:
    await shop.create(JobRecord(id="j1", task="fail", params={}))
    ended = await shop.ended("j1")
    assert (ended.status, ended.failure_reason) == (Status.FAILED, "no such customer")


async def test_a_run_may_take_as_long_as_its_record_says(shop: Shop) -> None:
    await shop.create(JobRecord(id="j1", task="slow", timeout=0.05))
    ended = await shop.ended("j1")
    assert (ended.status, ended.failure_reason) == (Status.FAILED, "context deadline exceeded")


async def test_a_job_that_will_run_again_is_scheduled(shop: Shop) -> None:
    # Given a job that snoozes once
    await shop.worker.astop()
    job = JobRecord(id="j1", task="later")
    await shop.ledger.open_job(job)
    await shop.worker.backend().push([queued(job)], NOW)

    # When a worker has run what is due
    await adrain(shop.worker)

    # Then it waits for its next run
    assert (await shop.job("j1")).status is Status.SCHEDULED


async def test_a_job_whose_record_was_deleted_does_not_run(shop: Shop) -> None:
    # Given a job that waits for its time
    await shop.worker.astop()
    job = JobRecord(id="j1", task="double", params={"n": 1})
    await shop.ledger.open_job(job)
    await shop.worker.backend().push([queued(job)], NOW)

    # When its record is deleted before it runs
    assert await shop.ledger.remove_job("j1")
    await shop.worker.astart(burst=True)

    # Then it ends without a run
    found = await shop.worker.results().wait_result("j1", 60.0)
    assert found is not None
    assert found.failure is not None
    assert shop.runs == []


async def test_a_job_that_is_through_is_not_run_again_when_the_queue_brings_it_twice(shop: Shop) -> None:
    await shop.create(JobRecord(id="j1", task="double", params={"n": 4}))
    await shop.ended("j1")
    record = await shop.ledger.begin("j1")
    assert record is not None
    assert record.status is Status.COMPLETED
    result = await shop.ledger.kept_result("j1")
    assert result is not None
    assert result.value == b"8"


async def test_a_job_that_begins_again_after_a_failure_has_no_result_until_it_ends(shop: Shop) -> None:
    # Given a job that failed
    await shop.create(JobRecord(id="j1", task="fail", params={}))
    await shop.ended("j1")
    # When it begins again
    record = await shop.ledger.begin("j1", (await shop.job("j1")).message)
    # Then nobody is told of the failure before it any more
    assert record is not None
    assert record.status is Status.IN_PROGRESS
    assert await shop.ledger.wait_result("j1", 0.0) is None


async def test_a_pipeline_that_failed_goes_on_as_soon_as_the_queue_has_its_job_again(shop: Shop) -> None:
    # Given a pipeline whose first job failed
    pipeline, jobs = a_pipeline("fail", "double")
    await shop.ledger.open_pipeline(pipeline, jobs)
    await shop.worker.aperform(first_of(pipeline, jobs)[0])
    failed = await shop.ended(jobs[0].id)
    # When that is in the queue again
    await shop.ledger.reopen(failed)
    # Then both are open, have no result, are never forgotten, and can be cancelled
    job, found = await shop.job(failed.id), await shop.ledger.pipeline("p1")
    assert found is not None
    assert (job.status, job.completed_at) == (Status.SCHEDULED, 0.0)
    assert (found.status, found.completed_at) == (Status.IN_PROGRESS, 0.0)
    assert await shop.ledger.kept_result(job.id) is None
    assert await shop.ledger.store.prune(shop.worker.clock.now() + 2 * shop.ledger.retention) == 0
    assert await shop.ledger.cancel(job.id)


async def test_what_came_of_a_retry_meanwhile_is_not_opened_again(shop: Shop) -> None:
    # Given a job that failed, and by the time somebody notes that it was queued again has run
    await shop.create(JobRecord(id="j1", task="fail", params={}))
    failed = await shop.ended("j1")
    await shop.ledger.begin("j1", failed.message)
    await shop.ledger.reopen(failed)
    assert (await shop.job("j1")).status is Status.IN_PROGRESS
    await shop.ledger.put([Result("j1", failed.completed_at + 1, failure=Failure("ValueError", "again"))])
    # When that is noted, then the later failure stands
    await shop.ledger.reopen(failed)
    assert (await shop.job("j1")).failure_reason == "again"
    assert (await shop.job("j1")).status is Status.FAILED


async def test_a_worker_that_was_given_up_opens_no_job_that_has_ended(shop: Shop) -> None:
    # Given a job that is through
    await shop.create(JobRecord(id="j1", task="double", params={"n": 4}))
    await shop.ended("j1")
    # When a worker that had it before says that it will run again
    await shop.ledger.put_off("j1", "no connection")
    # Then it stays through
    assert (await shop.job("j1")).status is Status.COMPLETED
    assert await shop.ledger.kept_result("j1") is not None


async def test_a_pipeline_hands_results_on_and_ends_with_its_last_job(shop: Shop) -> None:
    pipeline, jobs = a_pipeline("double", "double", "double")
    await shop.ledger.open_pipeline(pipeline, jobs)
    await shop.worker.aperform(first_of(pipeline, jobs)[0])
    last = await shop.ended(jobs[-1].id)
    ended = await shop.ledger.pipeline(pipeline.id)
    assert ended is not None
    assert (ended.status, last.status) == (Status.COMPLETED, Status.COMPLETED)
    assert shop.runs == [None, 2, 4]
    assert ended.completed_at == last.completed_at


async def test_a_pipeline_fails_with_the_first_job_that_does_and_the_others_stay_pending(shop: Shop) -> None:
    pipeline, jobs = a_pipeline("double", "fail", "double")
    await shop.ledger.open_pipeline(pipeline, jobs)
    await shop.worker.aperform(first_of(pipeline, jobs)[0])
    await shop.ended(jobs[1].id)
    ended = await shop.ledger.pipeline(pipeline.id)
    assert ended is not None
    assert ended.status is Status.FAILED
    found = [job.status for job in await shop.ledger.jobs_of(ended)]
    assert found == [Status.COMPLETED, Status.FAILED, Status.PENDING]


async def test_of_callers_with_one_key_one_creates_and_the_others_are_told_what(shop: Shop) -> None:
    async def ask(number: int) -> KeyRecord | None:
        key = KeyRecord(id="k", request="the same", created_id=f"j{number}")
        return await shop.ledger.open_job(JobRecord(id=f"j{number}", task="double", created_at=NOW), key)

    answers = await asyncio.gather(*map(ask, range(50)))
    created = [number for number, used in enumerate(answers) if used is None]
    assert len(created) == 1
    assert {used.created_id for used in answers if used} == {f"j{created[0]}"}
    assert len(await shop.ledger.jobs()) == 1


async def test_pages_are_in_the_order_of_creation(shop: Shop) -> None:
    for number in range(7):
        await shop.ledger.open_job(JobRecord(id=f"j{6 - number}", task="double", created_at=NOW + number // 2))
    first = await shop.ledger.jobs(Status.PENDING, most=4)
    rest = await shop.ledger.jobs(Status.PENDING, after=After(first[-1].created_at, first[-1].id))
    assert [job.id for job in [*first, *rest]] == ["j5", "j6", "j3", "j4", "j1", "j2", "j0"]
    assert await shop.ledger.jobs(Status.FAILED) == []


async def test_all_are_told_of_however_many_pages_they_take(shop: Shop) -> None:
    for number in range(CHUNK + 1):
        await shop.ledger.open_job(JobRecord(id=f"j{number:04}", task="double", created_at=NOW))
    assert [job.id async for job in shop.ledger.all_jobs()] == [f"j{number:04}" for number in range(CHUNK + 1)]


async def test_an_edit_changes_only_what_it_names(shop: Shop) -> None:
    await shop.ledger.open_job(JobRecord(id="j1", task="double", name="a", description="b"))
    assert await shop.ledger.edit(JobRecord, "j1", Edit(description="c"))
    assert not await shop.ledger.edit(JobRecord, "j2", Edit(description="c"))
    job = await shop.job("j1")
    assert (job.name, job.description) == ("a", "c")


async def test_what_has_ended_is_forgotten_after_its_time(shop: Shop) -> None:
    # Given a pipeline that failed, and a job that waits
    pipeline, jobs = a_pipeline("fail", "double")
    await shop.ledger.open_pipeline(pipeline, jobs)
    await shop.worker.aperform(first_of(pipeline, jobs)[0])
    await shop.ended(jobs[0].id)
    await shop.ledger.open_job(JobRecord(id="waits", task="double"))

    # When the time is over for which they are kept
    kept = await shop.ledger.store.prune(shop.worker.clock.now() + shop.ledger.retention - 60)
    gone = await shop.ledger.store.prune(shop.worker.clock.now() + shop.ledger.retention + 60)

    # Then the pipeline, both jobs and the result are gone
    assert (kept, gone) == (0, 4)
    assert [job.id for job in await shop.ledger.jobs()] == ["waits"]


async def test_results_are_kept_for_as_long_as_their_pipeline_goes_on(shop: Shop) -> None:
    # Given a pipeline whose second job fails, so that somebody has to look into it
    pipeline, jobs = a_pipeline("double", "fail", "double")
    await shop.ledger.open_pipeline(pipeline, jobs)
    ledger, now = shop.ledger, shop.worker.clock.now()
    long_after = now + 2 * ledger.retention
    await ledger.begin(jobs[0].id)
    await ledger.put([Result(jobs[0].id, now, b"2")])

    # When that takes longer than results of other jobs are kept, and it is retried once
    kept = [await ledger.store.prune(long_after)]
    await ledger.begin(jobs[1].id)
    await ledger.put([Result(jobs[1].id, now, failure=Failure("ValueError", "no"))])
    await ledger.reopen(await shop.job(jobs[1].id))
    kept.append(await ledger.store.prune(long_after))

    # Then what the first one returned is there still, until the time of the whole pipeline is over
    assert await ledger.kept_result(jobs[0].id) is not None
    for job in jobs[1:]:
        await ledger.begin(job.id)
        await ledger.put([Result(job.id, long_after, b"4")])
    kept.append(await ledger.store.prune(long_after + 1))
    assert kept == [0, 0, 0]
    assert await ledger.store.prune(long_after + ledger.retention + 1) == 1 + 3 + 3


async def test_what_was_cancelled_has_not_succeeded_and_nothing_follows_it(shop: Shop) -> None:
    # Given a pipeline whose first job is cancelled while it runs, and comes to its end all the same
    pipeline, jobs = a_pipeline("double", "double")
    await shop.ledger.open_pipeline(pipeline, jobs)
    await shop.ledger.begin(jobs[0].id)
    assert await shop.ledger.cancel(jobs[0].id)
    await shop.ledger.put([Result(jobs[0].id, NOW, b"2")])
    assert ((await shop.job(jobs[0].id)).status, (await shop.job(jobs[0].id)).failure_reason) == (
        Status.FAILED,
        "cancelled",
    )

    # When its queue, which was told too late or cannot cancel, sends the next one on, and that was missed meanwhile
    next_one = ref_of(JobRecord, jobs[1].id)
    await shop.ledger.entries.step([next_one], lambda draft: draft.mark(next_one, unsent_since=NOW))
    assert await shop.ledger.unsent([next_one]) == [next_one]
    await shop.worker.aperform(again(pipeline, jobs, 1, 2))
    ended = await shop.ended(jobs[1].id)

    # Then that does not run, and nobody sends it again
    assert (ended.status, ended.failure_reason, shop.runs) == (Status.FAILED, "cancelled", [])
    assert await shop.ledger.unsent([next_one]) == []
    whole = await shop.ledger.pipeline("p1")
    assert whole is not None
    assert whole.status is Status.FAILED


async def test_who_is_through_cannot_be_cancelled_before_the_queue_has_heard_of_that(shop: Shop) -> None:
    # Given a job whose result is kept, while it is in the queue still
    await shop.worker.astop()
    job = JobRecord(id="j1", task="double")
    await shop.ledger.open_job(job)
    await shop.worker.backend().push([queued(job)], NOW)
    await shop.ledger.begin("j1")
    await shop.ledger.put([Result("j1", NOW, b"2")])
    # When somebody cancels it, then it is too late, and the queue is not told to drop what follows it
    assert not await shop.worker.admin.acancel("j1")
    assert (await shop.job("j1")).status is Status.COMPLETED
    assert await shop.worker.admin.ajob("j1") is not None


async def test_what_is_in_the_queue_is_told_of_once(shop: Shop) -> None:
    await shop.ledger.open_job(JobRecord(id="j1", task="double"))
    await shop.ledger.sent([ref_of(JobRecord, "j1")])
    assert await shop.missing() == []


def a_pipeline(*tasks: str) -> tuple[PipelineRecord, list[JobRecord]]:
    from worksong.domain.pipeline import step_id

    ids = [step_id("p1", number, 0) for number in range(len(tasks))]
    jobs = [
        JobRecord(
            id=job_id,
            task=task,
            params={"n": 1},
            pipeline_id="p1",
            next_id=next_id,
            previous=number > 0,
            created_at=NOW,
        )
        for number, (job_id, next_id, task) in enumerate(zip(ids, [*ids[1:], ""], tasks, strict=True))
    ]
    return PipelineRecord(id="p1", job_ids=tuple(ids), created_at=NOW), jobs
