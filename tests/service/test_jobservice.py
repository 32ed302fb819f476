"""What the job service does, whoever asks for it."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.scenarios import LATER
from service.stage import Firm, a_job, a_pipeline
from worksong import ConfigError, Worker
from worksong.domain.chain import under_way
from worksong.domain.errors import BackendFull
from worksong.domain.outcome import Failure
from worksong.domain.record import JobRecord, PipelineRecord, ResultRecord, Status
from worksong.domain.result import Result
from worksong.ledger import Edit, Ledger
from worksong.ports.records import Change
from worksong.service import following
from worksong.service.forms import BatchForm, JobForm, PipelineForm, Reader
from worksong.service.jobservice import JobService, status_of
from worksong.service.lookup import Sought
from worksong.service.refusals import Busy, Conflict, Invalid, Missing, Refusal
from worksong.wire.record import encode, ref_of

NOBODY = "7f0ddc2f-1f1d-4c76-9f5b-2a4b7e0a9d11"


async def test_a_job_is_created_runs_and_leaves_its_result(firm: Firm) -> None:
    job = await firm.service.create_job(a_job(task_params={"n": 21}, description="twice"))
    assert (job.status, job.task, job.description) == (Status.PENDING, "double", "twice")
    result = await firm.service.result(job.id, wait=60.0)
    assert result.value == b"42"
    assert (await firm.service.job(job.id)).status is Status.COMPLETED
    assert firm.runs == [{"n": 21}]


async def test_other_job_types_take_their_arguments_by_name(firm: Firm) -> None:
    job = await firm.service.create_job(a_job("greet", task_params={"name": "Ada", "times": 2}))
    assert (await firm.service.result(job.id, wait=60.0)).value == b'"hello Ada, hello Ada"'


async def test_a_task_that_fails_is_not_tried_again(firm: Firm) -> None:
    job = await firm.service.create_job(a_job("fail"))
    ended = await firm.ended(job.id)
    assert (ended.status, ended.failure_reason, len(firm.runs)) == (Status.FAILED, "no such customer", 1)


async def test_a_failure_without_a_text_is_one() -> None:
    # Given a pipeline whose first job fails without a word, which Valet takes for success
    firm = Firm()

    @firm.worker.task("mute")
    async def mute(params: dict[str, Any]) -> None:
        raise ValueError

    form = PipelineForm(name="p", jobs=[a_job("mute"), a_job()])
    async with firm.worker:
        pipeline, (first, second) = await firm.service.create_pipeline(form)
        # When it has run, then it has failed, and what is behind it has not run
        ended = await firm.ended(first.id)
        assert (ended.status, ended.failure_reason) == (Status.FAILED, "ValueError")
        assert (await firm.service.pipeline(pipeline.id)).status is Status.FAILED
        assert (await firm.service.job(second.id)).status is Status.PENDING
        await firm.service.stop()


async def test_a_job_that_failed_is_run_once_more_when_somebody_says_so(firm: Firm) -> None:
    # Given a job that failed
    job = await firm.service.create_job(a_job("fail"))
    await firm.ended(job.id)

    # When it is retried
    await firm.service.retry_job(job.id)

    # Then it runs a second time; and while it has not failed, it cannot be retried
    await firm.ran(2)
    good = await firm.service.create_job(a_job())
    await firm.ended(good.id)
    with pytest.raises(Conflict, match="COMPLETED: only one that FAILED"):
        await firm.service.retry_job(good.id)


async def test_a_retried_job_is_open_again_before_anybody_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job that failed, and nobody who would run it again
    monkeypatch.setattr(following, "LOOKS_EVERY", 0.01)
    firm = Firm()
    job = await firm.service.create_job(a_job("fail"))
    await firm.worker.astart(burst=True)
    await firm.ended(job.id)
    await firm.worker.astop()

    # When it is retried
    retried = await firm.service.retry_job(job.id)

    # Then it waits, whoever follows it is told so, and it can be cancelled
    assert (retried.status, retried.completed_at) == (Status.SCHEDULED, 0.0)
    with pytest.raises(Missing):
        await firm.service.result(job.id)
    events = firm.service.follow(job.id)
    told = await anext(events)
    assert told is not None
    assert told.kind == "status"
    assert (await firm.service.cancel_job(job.id)).status is Status.FAILED
    await events.aclose()
    await firm.service.stop()


async def test_a_failure_that_the_queue_has_not_heard_of_is_retried_somewhat_later() -> None:
    # Given a job whose failure is noted, while the queue still has it
    firm = Firm()
    job = await firm.service.create_job(a_job("fail"))
    ledger = the_ledger(firm)
    await ledger.begin(job.id)
    await ledger.put([Result(job.id, firm.worker.clock.now(), failure=Failure("ValueError", "no"))])

    # When somebody retries it at once, then he is asked to come back
    with pytest.raises(Busy, match="try again later"):
        await firm.service.retry_job(job.id)
    await firm.service.stop()


async def test_a_stale_result_holds_up_nobody_who_follows_a_job(firm: Firm) -> None:
    # Given a job that runs, beside which the failure of a run before is kept still
    job = await firm.service.create_job(a_job("slow"))
    await firm.ran(1)
    stale = Result(job.id, 1.0, failure=Failure("ValueError", "before"))
    assert await the_ledger(firm).store.write([Change(ref_of(ResultRecord, job.id), None, encode(one_of(stale)))])

    # When somebody follows it
    async with asyncio.timeout(60):
        events = firm.service.follow(job.id)
        told = [await anext(events), await anext(events), await anext(events)]
        firm.may_end.set()
        last = [event async for event in events if event][-1]

    # Then others go on beside that, and its end is told
    assert told[0] is not None
    assert told[1:] == [None, None]
    assert last.kind == "end"


async def test_a_pipeline_runs_in_order_and_hands_on_what_came_before(firm: Firm) -> None:
    pipeline, jobs = await firm.service.create_pipeline(a_pipeline("double", "double", "double"))
    assert [job.next_id for job in jobs] == [jobs[1].id, jobs[2].id, ""]
    assert (await firm.service.result(jobs[-1].id, wait=60.0)).value == b"8"
    assert (await firm.service.pipeline(pipeline.id)).status is Status.COMPLETED
    assert [job.status for job in await firm.service.pipeline_jobs(pipeline.id)] == [Status.COMPLETED] * 3


async def test_a_pipeline_that_is_cancelled_goes_no_further(firm: Firm) -> None:
    # Given a pipeline whose first job runs
    pipeline, jobs = await firm.service.create_pipeline(a_pipeline("slow", "double"))
    await firm.ran(1)

    # When it is cancelled
    await firm.service.cancel_pipeline(pipeline.id)
    await firm.ended(jobs[0].id)

    # Then its second job never runs
    assert (await firm.service.pipeline(pipeline.id)).status is Status.FAILED
    assert (await firm.service.job(jobs[1].id)).status is Status.PENDING
    with pytest.raises(Conflict, match="has ended"):
        await firm.service.cancel_pipeline(pipeline.id)


async def test_a_pipeline_that_has_lost_a_record_can_be_cancelled_as_far_as_it_is_known(firm: Firm) -> None:
    # Given a pipeline for later, and the record of its first job is gone
    pipeline, jobs = await firm.service.create_pipeline(a_pipeline("double", "double", run_at=LATER))
    assert await the_ledger(firm).remove_job(jobs[0].id)

    # When it is cancelled, then that holds for the job behind it
    assert (await firm.service.cancel_pipeline(pipeline.id)).status is Status.FAILED
    assert (await firm.service.job(jobs[1].id)).failure_reason == "cancelled"

    # And where nothing is left to be cancelled, nobody says that it has ended
    empty, jobs = await firm.service.create_pipeline(a_pipeline("double", "double", run_at=LATER))
    for job in jobs:
        await the_ledger(firm).remove_job(job.id)
    with pytest.raises(Conflict, match="is PENDING, but none of its jobs waits or runs: delete it"):
        await firm.service.cancel_pipeline(empty.id)
    await firm.service.delete_pipeline(empty.id)


async def test_a_pipeline_that_ends_while_its_jobs_are_looked_for_has_ended(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, _ = await firm.service.create_pipeline(a_pipeline("slow", "slow"))
    await firm.ran(1)
    ledger = the_ledger(firm)
    jobs_of = ledger.jobs_of

    async def too_late(found: PipelineRecord) -> list[JobRecord]:
        firm.may_end.set()
        await firm.service.pipeline_result(pipeline.id, wait=60.0)
        return await jobs_of(found)

    monkeypatch.setattr(ledger, "jobs_of", too_late)
    with pytest.raises(Conflict, match="has ended: it is COMPLETED"):
        await firm.service.cancel_pipeline(pipeline.id)


@pytest.mark.parametrize(
    ("widths", "there", "at"),
    [
        ((), {1: Status.PENDING}, [1]),
        ((), {0: Status.COMPLETED, 2: Status.PENDING}, [2]),
        ((), {0: Status.COMPLETED, 1: Status.COMPLETED}, []),
        ((2, 1), {0: Status.IN_PROGRESS, 2: Status.PENDING}, [0]),
        ((2, 1), {1: Status.COMPLETED, 2: Status.PENDING}, [2]),
        ((), {}, []),
    ],
)
def test_a_record_that_is_gone_hides_no_job_behind_it(
    widths: tuple[int, ...], there: dict[int, Status], at: list[int]
) -> None:
    pipeline = PipelineRecord(id="p", job_ids=("0", "1", "2"), widths=widths)
    jobs = [JobRecord(id=str(number), task="double", status=status) for number, status in there.items()]
    assert [int(job.id) for job in under_way(pipeline, jobs)] == at


async def test_a_job_that_waits_and_is_cancelled_has_failed_by_that(firm: Firm) -> None:
    # Given a job for later
    job = await firm.service.create_job(a_job(run_at=LATER))

    # When it is cancelled
    cancelled = await firm.service.cancel_job(job.id)

    # Then it has failed, says why, and can be neither cancelled nor retried any more
    assert (cancelled.status, cancelled.failure_reason) == (Status.FAILED, "cancelled")
    assert (await firm.service.result(job.id)).failure is not None
    with pytest.raises(Conflict, match="has ended: it is FAILED"):
        await firm.service.cancel_job(job.id)
    with pytest.raises(Conflict, match="not among the dead jobs any more"):
        await firm.service.retry_job(job.id)


async def test_who_is_deleted_is_forgotten_with_the_result(firm: Firm) -> None:
    job = await firm.service.create_job(a_job())
    await firm.ended(job.id)
    await firm.service.delete_job(job.id)
    assert await firm.is_gone(job.id)
    with pytest.raises(Missing, match=f"job result with ID: {job.id} not found"):
        await firm.service.result(job.id)


async def test_a_pipeline_goes_with_its_jobs_and_they_only_with_it(firm: Firm) -> None:
    pipeline, jobs = await firm.service.create_pipeline(a_pipeline("double", "double"))
    await firm.ended(jobs[1].id)
    with pytest.raises(Conflict) as refused:
        await firm.service.delete_job(jobs[0].id)
    assert "belongs \n\t\t\t\tto a pipeline" in str(refused.value)
    await firm.service.delete_pipeline(pipeline.id)
    assert await firm.is_gone(jobs[0].id)
    with pytest.raises(Missing, match=f"pipeline with ID: {pipeline.id} not found"):
        await firm.service.pipeline(pipeline.id)


async def test_lists_are_narrowed_and_come_in_pages(firm: Firm) -> None:
    jobs = [await firm.service.create_job(a_job("fail" if number % 2 else "double")) for number in range(4)]
    for job in jobs:
        await firm.ended(job.id)
    first = await firm.service.find_jobs(Sought(), None, 3)
    rest = await firm.service.find_jobs(Sought(), first.rest, 3)
    assert sorted(job.id for job in [*first.found, *rest.found]) == sorted(job.id for job in jobs)
    assert {job.id for job in await firm.service.jobs()} == {job.id for job in jobs}
    assert {job.id for job in await firm.service.jobs(Status.FAILED)} == {jobs[1].id, jobs[3].id}


async def test_an_edit_changes_what_it_names(firm: Firm) -> None:
    job = await firm.service.create_job(a_job(description="as it was"))
    await firm.service.edit_job(job.id, Edit(name="anew"))
    found = await firm.service.job(job.id)
    assert (found.name, found.description) == ("anew", "as it was")


@pytest.mark.parametrize("scheme", ["sqlite", "redis"])
async def test_it_is_the_same_on_stores_that_last(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    # Given a service whose queue and records are in one place that outlives it
    url = f"sqlite:///{tmp_path}/jobs.db" if scheme == "sqlite" else request.getfixturevalue("redis_url")
    name = f"test-{uuid.uuid4().hex}"
    firm = Firm(url, url, name=name)
    async with firm.worker:
        await firm.service.start()

        # When jobs and a pipeline are created, and what is not wanted goes
        forms = BatchForm([a_job(task_params={"n": number}) for number in range(5)])
        batches = await asyncio.gather(*(firm.service.create_jobs(forms, key="batch") for _ in range(8)))
        pipeline, steps = await firm.service.create_pipeline(a_pipeline("double", "double"))
        waits = await firm.service.create_job(a_job(run_at=LATER))
        results = [(await firm.service.result(job.id, wait=60.0)).value for job in batches[0]]
        await firm.ended(steps[1].id)
        await firm.service.cancel_job(waits.id)
        await firm.service.edit_job(waits.id, Edit(name="late"))
        await firm.service.delete_job(batches[0][0].id)
        await firm.service.stop()

    # Then the next process knows it all
    anew = Firm(url, url, name=name).service
    part = await anew.find_jobs(Sought(words=("late",)), None, 10)
    assert results == [b"0", b"2", b"4", b"6", b"8"]
    assert len({tuple(job.id for job in jobs) for jobs in batches}) == 1
    assert [job.failure_reason for job in part.found] == ["cancelled"]
    assert len(await anew.jobs()) == 4 + 2 + 1
    assert (await anew.pipeline(pipeline.id)).status is Status.COMPLETED
    assert (await anew.health()).is_well
    with pytest.raises(Missing):
        await anew.job(batches[0][0].id)
    await anew.stop()
    await anew.worker.astop()


# keys


async def test_who_asks_twice_with_one_key_is_given_the_same_job(firm: Firm) -> None:
    asked = [firm.service.create_job(a_job(), key="k") for _ in range(50)]
    assert len({job.id for job in await asyncio.gather(*asked)}) == 1
    assert len(await firm.service.jobs()) == 1
    with pytest.raises(Conflict, match="another request"):
        await firm.service.create_job(a_job(description="other"), key="k")


async def test_a_key_works_for_pipelines_and_outlives_none(firm: Firm) -> None:
    (one, _), (other, jobs) = [await firm.service.create_pipeline(a_pipeline("double", "double"), "k") for _ in "12"]
    assert one.id == other.id
    assert len(jobs) == 2
    await firm.service.delete_pipeline(one.id)
    with pytest.raises(Conflict, match="deleted since"):
        await firm.service.create_pipeline(a_pipeline("double", "double"), "k")


class Gate:
    """A queue whose first push waits until it may be refused; the others go on."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._pushes = inner, 0
        self.came, self.may_fail = asyncio.Event(), asyncio.Event()

    async def push(self, jobs: Any, now: float, *, once: bool = False) -> list[bool]:
        self._pushes += 1
        if self._pushes > 1:
            pushed: list[bool] = await self._inner.push(jobs, now, once=once)
            return pushed
        self.came.set()
        await self.may_fail.wait()
        raise BackendFull("no room")


CREATIONS: dict[str, Callable[[JobService], Awaitable[Any]]] = {
    "job": lambda service: service.create_job(a_job(), "k"),
    "batch": lambda service: service.create_jobs(BatchForm([a_job(), a_job()]), "k"),
    "pipeline": lambda service: service.create_pipeline(a_pipeline("double", "double"), "k"),
}


@pytest.mark.parametrize("create", CREATIONS.values(), ids=CREATIONS)
async def test_what_one_request_was_promised_no_equal_one_withdraws(
    firm: Firm, create: Callable[[JobService], Awaitable[Any]]
) -> None:
    # Given a request whose push is under way
    gate: Any = Gate(firm.worker.broker())
    firm.worker.broker = lambda: gate  # type: ignore[method-assign]
    first = asyncio.ensure_future(create(firm.service))
    await gate.came.wait()

    # When an equal one is answered, and then the first one is refused
    await create(firm.service)
    gate.may_fail.set()
    await first

    # Then all of it runs
    for job in await firm.service.jobs():
        assert (await firm.ended(job.id)).status is Status.COMPLETED
    assert firm.runs


async def test_who_relies_on_what_was_withdrawn_is_told_to_ask_again(firm: Firm) -> None:
    # Given a request that is refused while an equal one is about to push the same
    gate: Any = Gate(firm.worker.broker())
    firm.worker.broker = lambda: gate  # type: ignore[method-assign]
    first = asyncio.ensure_future(firm.service.create_job(a_job(), "k"))
    await gate.came.wait()
    inner = gate._inner.push

    async def slowly(*given: Any, **options: Any) -> list[bool]:
        gate.may_fail.set()
        with pytest.raises(Busy):
            await first
        pushed: list[bool] = await inner(*given, **options)
        return pushed

    gate._inner = SimpleNamespace(push=slowly)

    # When that has pushed it, then it is told so, and whoever asks once more is served
    with pytest.raises(Busy, match="withdrawn"):
        await firm.service.create_job(a_job(), "k")
    gate._inner = SimpleNamespace(push=inner)
    anew = await firm.service.create_job(a_job(), "k")
    assert (await firm.ended(anew.id)).status is Status.COMPLETED


def the_ledger(firm: Firm) -> Ledger:
    assert firm.worker.ledgers is not None
    return firm.worker.ledgers.here()


def one_of(result: Result) -> ResultRecord:
    return ResultRecord(id=result.job_id, result=result)


# what is refused

KNOWN = "valid tasks: [double fail greet slow]"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (JobForm(), "name, task_name required"),
        (JobForm(name="", task_name="double"), "name required"),
        (JobForm(name="x"), "task_name required"),
        (JobForm(name="x", task_name="nap"), f"nap is not a valid task name - {KNOWN}"),
        (a_job(run_at="soon"), 'parsing time "soon"'),
        (JobForm(run_at="soon"), 'parsing time "soon"'),
        (a_job(run_at="2822-06-06T15:04:05Z"), "days ahead; is the year right?"),
        (a_job("greet"), "task_params of greet: .*name"),
        (a_job("greet", task_params={"name": "Ada", "age": 36}), "task_params of greet: .*age"),
    ],
)
async def test_a_job_that_cannot_be_is_refused_and_not_kept(firm: Firm, form: JobForm, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        await firm.service.create_job(form)
    assert await firm.service.jobs() == []
    assert re.search(text if ".*" in text else re.escape(text), str(refused.value))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (PipelineForm(), "name, jobs required"),
        (PipelineForm(name="x", jobs=[]), "jobs required"),
        (PipelineForm(jobs=[a_job(), a_job()]), "name required"),
        (PipelineForm(name="x", jobs=[a_job()]), "pipeline shoud have at least 2 jobs, 1 given"),
        (PipelineForm(jobs=[a_job(), JobForm()]), "name, task_name required"),
        (a_pipeline("double", "double", run_at="soon"), 'parsing time "soon"'),
        (a_pipeline("double", "double", run_at="soon", jobs=[]), "jobs required"),
        (a_pipeline(*["double"] * 1001), "at most 1000 jobs, 1001 given"),
    ],
)
async def test_a_pipeline_that_cannot_be_is_refused_and_not_kept(firm: Firm, form: PipelineForm, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        await firm.service.create_pipeline(form)
    assert text in str(refused.value)
    assert await firm.service.pipelines() == []
    assert await firm.service.jobs() == []


async def test_a_step_that_takes_nothing_from_before_cannot_ask_for_it(firm: Firm) -> None:
    with pytest.raises(Invalid, match="'previous'"):
        await firm.service.create_pipeline(
            PipelineForm(name="x", jobs=[a_job(), a_job("fail", use_previous_results=True)])
        )


@pytest.mark.parametrize("job_id", [NOBODY, "1", "", "..", "a'b", "\x00", f"{NOBODY} "])
async def test_nothing_is_found_under_ids_that_nothing_has(firm: Firm, job_id: str) -> None:
    service, edit = firm.service, Edit(name="x")
    for asked, what in [
        (service.job(job_id), "job"),
        (service.edit_job(job_id, edit), "job"),
        (service.delete_job(job_id), "job"),
        (service.cancel_job(job_id), "job"),
        (service.retry_job(job_id), "job"),
        (service.result(job_id), "job result"),
        (service.delete_result(job_id), "job result"),
        (service.pipeline(job_id), "pipeline"),
        (service.pipeline_jobs(job_id), "pipeline"),
        (service.edit_pipeline(job_id, edit), "pipeline"),
        (service.delete_pipeline(job_id), "pipeline"),
        (service.cancel_pipeline(job_id), "pipeline"),
    ]:
        with pytest.raises(Missing) as refused:
            await asked
        assert str(refused.value) == f"{what} with ID: {job_id} not found"


def test_a_status_is_named_in_any_case() -> None:
    assert (status_of("in_progress"), status_of("")) == (Status.IN_PROGRESS, None)
    for text in ("foo", "undefined", '"', "1"):
        with pytest.raises(Invalid) as refused:
            status_of(text)
        assert str(refused.value) == f'invalid status: "{text.upper()}"'


def test_a_service_needs_records_and_a_sound_unit() -> None:
    with pytest.raises(ConfigError, match="records="):
        JobService(Worker())
    with pytest.raises(ConfigError, match="above 0"):
        JobService(Worker(records="memory://"), unit=0)


async def test_health_tells_what_is_wrong_with_what(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await firm.service.health()).is_well

    async def away() -> None:
        raise ConnectionError("nobody answers at redis://me:secret@there")

    monkeypatch.setattr(firm.worker.admin, "acounts", away)
    health = await firm.service.health()
    assert (health.queue, health.store) == ("nobody answers at redis://***@there", "")
    assert not health.is_well


# bodies

JOBS, PIPELINES = Reader(JobForm), Reader(PipelineForm)


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"a","task_name":"b"}',
        b' {"NAME":"a","Task_Name":"b","unheard":{"of":1}} trailing',
        b'{"name":"a","task_name":"b","timeout":null,"task_params":null}{"name":"c"}',
        b'{"name":"x","Name":"a","task_name":"b"}',
    ],
)
def test_bodies_are_read_as_go_reads_them(body: bytes) -> None:
    form = JOBS.read(body)
    assert (form.name, form.task_name, form.timeout, form.task_params) == ("a", "b", None, None)


def test_the_jobs_of_a_pipeline_are_read_so_too() -> None:
    form = PIPELINES.read(b'{"Name":"p","JOBS":[{"NAME":"a","why":1},{"name":"b"}]}')
    assert form.jobs is not None
    assert [job.name for job in form.jobs] == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff",
        b'{"name":"\\ud800"}',
        b'{"timeout":"10"}',
        b'{"timeout":10.0}',
        b'{"timeout":1e2}',
        b'{"timeout":true}',
        b'{"timeout":123456789012345678901234567890}',
        b'{"name":1}',
        b'{"task_params":[]}',
        b'{"task_params":{"n":NaN}}',
        b'{"task_params":{"n":1e999}}',
        b'{"task_params":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b"9" * 10_000,
    ],
)
def test_what_cannot_be_read_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Invalid, match="the body"):
        JOBS.read(body)


@pytest.mark.parametrize("jobs", [b"[null]", b"[1]", b"{}", b'[{"timeout":1.5}]'])
def test_jobs_that_cannot_be_read_are_refused_too(jobs: bytes) -> None:
    with pytest.raises(Invalid, match="the body does not fit"):
        PIPELINES.read(b'{"name":"p","jobs":' + jobs + b"}")


async def test_refusals_are_one_family() -> None:
    kinds: list[Any] = [kind for kind in Refusal.__subclasses__() if kind.__module__ == Refusal.__module__]
    assert {kind.__name__ for kind in kinds} == {"Invalid", "Missing", "Conflict", "Busy", "TooLarge"}
