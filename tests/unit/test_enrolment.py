"""Pipelines that a program sends: where its worker keeps records, they are in them as those of the service are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from worksong import BackendUnavailable, JobFailed, Pipeline, ResultTimeout, Stopped, Worker
from worksong.domain import pipeline
from worksong.domain.chain import again, first_of, marked, records_of, stage_of
from worksong.domain.pipeline import Step
from worksong.domain.record import JobRecord, PipelineRecord, Status
from worksong.domain.result import Result
from worksong.ledger import Ledger
from worksong.pipeline import PipelineHandle
from worksong.service.audit import QUIET_FOR, Audit
from worksong.service.jobservice import JobService
from worksong.service.outbox import MISSING_FOR, Outbox
from worksong.service.pipelines import one_pipeline
from worksong.testing import FakeClock, inline
from worksong.testing.drain import adrain
from worksong.testing.flaky import Fault, FlakyBackend
from worksong.wire.record import ref_of

PENDING, IN_PROGRESS, COMPLETED, FAILED = Status.PENDING, Status.IN_PROGRESS, Status.COMPLETED, Status.FAILED


class Shop:
    """A worker that keeps records, and a service that knows nothing of its pipelines."""

    def __init__(self, url: str = "memory://") -> None:
        self.clock = FakeClock()
        self.worker = worker = Worker(url, records="memory://", clock=self.clock)
        self.breaks: set[int] = set()
        """Steps of this number fail."""
        self.ran: list[object] = []

        @worker.job(max_fails=1)
        async def count(*, number: int = 0, previous: object = None) -> int:
            self.ran.append(number)
            if number in self.breaks:
                raise ValueError("broken")
            return number + (sum(previous) if isinstance(previous, list) else int(str(previous or 0)))

        @worker.job()
        async def plain(*numbers: int) -> int:
            return sum(numbers)

        @worker.task("note")
        async def note(params: dict[str, int], previous: int = 0) -> int:
            return params["n"] + previous

        self.count, self.plain, self.note = count, plain, note
        self.queue = FlakyBackend(worker.backend())
        worker.broker = lambda: self.queue
        self.outbox, self.service = Outbox(worker), JobService(worker)

    @property
    def ledger(self) -> Ledger:
        assert self.worker.ledgers is not None
        return self.worker.ledgers.here()

    def fan(self, *numbers: int) -> Pipeline:
        """One step, several side by side, and one behind them."""
        return Pipeline(
            [
                self.count.step(number=1),
                [self.count.step(number=number) for number in numbers],
                self.count.step(previous=True),
            ]
        )

    async def status(self, handle: PipelineHandle) -> Status:
        return (await self.service.pipeline(handle.id)).status

    async def statuses(self, handle: PipelineHandle) -> list[Status]:
        return [job.status for job in await self.service.pipeline_jobs(handle.id)]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    yield shop
    await shop.outbox.close()
    await shop.worker.astop()


async def test_a_pipeline_of_a_program_is_told_as_one_of_the_service(shop: Shop) -> None:
    # Given a pipeline that a program sends, whose steps are named, positional and in Valet's form
    stages = [shop.plain.step(1, 2), shop.count.step(number=3, previous=True), shop.note.step({"n": 4}, previous=True)]
    handle = await Pipeline(stages, name="sums").aperform()
    # Then it is listed, with the jobs that are still to come
    kept = await shop.service.pipeline(handle.id)
    assert (kept.name, kept.status, len(await shop.service.pipelines())) == ("sums", PENDING, 1)
    jobs = await shop.service.pipeline_jobs(handle.id)
    assert [job.id for job in jobs] == [stage[0].id for stage in handle.stages]
    assert [(job.task, job.status, job.previous) for job in jobs] == [
        ("plain", PENDING, False),
        ("count", PENDING, True),
        ("note", PENDING, True),
    ]
    assert [job.next_id for job in jobs] == [jobs[1].id, jobs[2].id, ""]
    assert (jobs[1].params, jobs[2].params) == ({"number": 3}, {"n": 4})
    assert await shop.ledger.unsent([record.ref for record in await shop.ledger.store.unsent(9e9, 10)]) == []
    # And when it has run, that is told, too
    await adrain(shop.worker)
    assert await handle.aresult(60) == 10
    assert (await shop.status(handle), await shop.statuses(handle)) == (COMPLETED, [COMPLETED] * 3)
    assert (await shop.service.result(jobs[2].id)).value == b"10"
    found = await one_pipeline(shop.ledger, handle.id)
    assert found is not None
    assert (found[0].done, found[0].total) == (3, 3)


async def test_a_pipeline_for_later_says_when(shop: Shop) -> None:
    handle = await shop.fan(2, 3).aperform_in(60)
    kept = await shop.service.pipeline(handle.id)
    assert kept.due == shop.clock.now() + 60
    assert kept.run_at.endswith("Z")
    shop.clock.advance(61)
    await adrain(shop.worker)
    assert await shop.status(handle) is COMPLETED


async def test_what_runs_side_by_side_is_through_when_all_of_it_is(shop: Shop) -> None:
    # Given a pipeline that ends in three steps side by side
    handle = await Pipeline(
        [shop.count.step(number=1), [shop.count.step(number=number) for number in (2, 3, 4)]]
    ).aperform()
    first, *last = [job.id for stage in handle.stages for job in stage]
    # When two of the three have ended
    await _run(shop.ledger, first)
    assert await shop.status(handle) is IN_PROGRESS
    for job_id in last[:2]:
        await _run(shop.ledger, job_id)
    # Then the pipeline has not, and nothing of it is to be forgotten
    assert await shop.status(handle) is IN_PROGRESS
    assert await shop.ledger.store.prune(9e12) == 0
    # When the third has
    await _run(shop.ledger, last[2])
    assert (await shop.status(handle), await shop.statuses(handle)) == (COMPLETED, [COMPLETED] * 4)


async def _run(ledger: Ledger, job_id: str) -> None:
    assert await ledger.begin(job_id)
    await ledger.put([Result(job_id, ledger.clock.now())])


async def test_one_that_failed_fails_the_pipeline_until_it_is_retried(shop: Shop) -> None:
    # Given a pipeline of which one of two that run side by side fails
    shop.breaks = {3}
    handle = await shop.fan(2, 3).aperform()
    await adrain(shop.worker)
    # Then it has failed, whatever became of the other
    assert sorted(await shop.statuses(handle)) == [PENDING, COMPLETED, COMPLETED, FAILED]
    assert await shop.status(handle) is FAILED
    with pytest.raises(JobFailed):
        await handle.aresult(60)
    # When an operator retries it
    shop.breaks = set()
    failed = next(job for job in await shop.service.pipeline_jobs(handle.id) if job.status is FAILED)
    assert await shop.worker.admin.aretry_dead(failed.id)
    # Then it goes on, at once in the records as well
    assert (await shop.service.job(failed.id)).status is Status.SCHEDULED
    assert await shop.status(handle) is IN_PROGRESS
    await adrain(shop.worker)
    assert await shop.status(handle) is COMPLETED
    assert await handle.aresult(60) == 5


async def test_what_cannot_be_enqueued_is_not_kept(shop: Shop) -> None:
    # Given a queue that is away, or one whose answer is lost
    for fault in Fault:
        shop.queue.expect("push", [fault])
        with pytest.raises(BackendUnavailable):
            await shop.fan(2).aperform()
        assert await shop.service.pipelines() == []
    # Then what got there all the same does not run
    await adrain(shop.worker)
    assert (shop.ran, await shop.service.jobs()) == ([], [])
    await shop.worker.astop()
    shop.worker._shift.ended = True
    with pytest.raises(Stopped):
        await shop.fan(2).aperform()
    assert await shop.service.pipelines() == []


async def test_a_pipeline_whose_program_died_before_it_was_sent_is_sent(shop: Shop) -> None:
    # Given one whose first steps run side by side, of which the record alone was written
    steps = [[Step("count", {"number": 1}), Step("count", {"number": 2})], [Step("count", None, previous=True)]]
    record, jobs = records_of("p1", "", steps, shop.clock.now())
    await shop.ledger.open_pipeline(record, jobs)
    # When somebody looks after a while
    shop.clock.advance(MISSING_FOR)
    assert await shop.outbox.sweep() == 1
    await adrain(shop.worker)
    # Then all of it runs
    assert sorted(map(str, shop.ran)) == ["0", "1", "2"]
    kept = await shop.ledger.kept_result(record.job_ids[-1])
    assert kept is not None
    assert kept.value == b"3"


@pytest.mark.parametrize("group", [[Step("count"), Step("count")], [Step("count", alone=True)]])
async def test_a_step_that_the_queue_has_lost_runs_with_what_those_before_it_returned(
    tmp_path: Path, group: list[Step]
) -> None:
    # Given a pipeline whose last step waits, on a queue that knows ids and loses everything
    shop = Shop(f"sqlite:///{tmp_path}/jobs.db?synchronous=NORMAL")
    record, jobs = records_of("p1", "", [group, [Step("count", None, previous=True)]], 0.0)
    await shop.ledger.open_pipeline(record, jobs)
    await shop.ledger.sent([ref_of(PipelineRecord, record.id)])
    for number, job in enumerate(jobs[:-1], 20):
        await shop.ledger.begin(job.id)
        await shop.ledger.put([Result(job.id, shop.clock.now(), b"%d" % number)])
    # When it is nowhere at two looks
    audit = Audit(shop.worker, shop.ledger)
    for _ in range(2):
        shop.clock.advance(QUIET_FOR + 1)
        await audit.look()
    # Then it runs again
    await adrain(shop.worker)
    kept = await shop.ledger.kept_result(jobs[-1].id)
    assert kept is not None
    assert kept.value == (b"41" if len(group) > 1 else b"20")
    await shop.worker.astop()


async def test_cancelling_one_cancels_it_in_the_records(shop: Shop) -> None:
    handle = await shop.fan(2, 3).aperform()
    assert await handle.acancel()
    assert await shop.status(handle) is FAILED
    await adrain(shop.worker)
    assert shop.ran == []


def test_what_runs_inline_is_in_no_records() -> None:
    worker = Worker(records="memory://")

    @worker.job()
    def count(number: int = 0, previous: int = 0) -> int:
        return number + previous

    with inline(worker):
        handle = Pipeline([count.step(2), count.step(3, previous=True)]).perform()
        assert handle.result(60) == 5
    with pytest.raises(ResultTimeout):
        handle.result(0)


# records and jobs


def test_a_list_of_one_is_read_back_as_one() -> None:
    steps = [[Step("count")], [Step("count", alone=True)], [Step("count", previous=True)]]
    record, jobs = records_of("p1", "", steps, 0.0)
    assert [job.alone for job in jobs] == [False, True, False]
    way = pipeline.way_of(again(record, jobs, 1, None))
    assert way is not None
    assert (way.alone, way.rest[0][0].alone) == (True, False)


def stages(*widths: int) -> list[list[Step]]:
    return [[Step("count", {"number": number}) for number in range(width)] for width in widths]


@pytest.mark.parametrize("widths", [(1,), (1, 1, 1), (3,), (2, 1, 3), (1, 4)])
def test_the_jobs_that_records_are_read_back_as_are_those_that_were_sent(widths: tuple[int, ...]) -> None:
    steps = stages(*widths)
    record, jobs = records_of("p1", "", steps, 1.0)
    assert record.widths == (widths if max(widths) > 1 else ())
    sent = pipeline.first("p1", "", marked(steps))
    assert first_of(record, jobs) == sent
    number = 0
    for width in widths:
        here = range(number, number + width)
        assert [stage_of(record, one) for one in here] == [here] * width
        assert [again(record, jobs, one, None) for one in here] == sent
        number += width
        way = pipeline.way_of(sent[0])
        assert way is not None
        sent = list(pipeline.following(way, None, 0.0))


def test_ids_that_came_from_elsewhere_are_kept_on_the_way() -> None:
    record = PipelineRecord(id="p1", job_ids=("a", "b"))
    jobs = [JobRecord(id=one, task="note", pipeline_id="p1") for one in record.job_ids]
    (first,) = first_of(record, jobs)
    way = pipeline.way_of(first)
    assert way is not None
    (second,) = pipeline.following(way, 1, 0.0)
    assert (first.id, second.id, again(record, jobs, 1, 1).id) == ("a", "b", "b")
