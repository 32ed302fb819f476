"""What a Valet service has kept becomes records here, and what it had not run runs here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.stage import Firm
from service.valets import EPOCH, Document, Piped, RedisValet, SqlValet, Valet, a_job, a_pipeline, a_result, at
from sql.stage import fresh
from worksong import BackendRefused, BackendUnavailable, ConfigError
from worksong.adapters.valet import connect_valet
from worksong.adapters.valet import redis as valet_redis
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.record import JobRecord, Status
from worksong.domain.verdict import LONGEST_WAIT
from worksong.ledger import RETENTION
from worksong.ports.backend import Window
from worksong.ports.records import Change
from worksong.service.adoption import INTERRUPTED, Running
from worksong.service.takeover import Report, Takeover
from worksong.wire import gotime
from worksong.wire.record import encode

PENDING, SCHEDULED, IN_PROGRESS = Status.PENDING, Status.SCHEDULED, Status.IN_PROGRESS
COMPLETED, FAILED = Status.COMPLETED, Status.FAILED
STORES = ("redis", "postgres", "mariadb")


@pytest.fixture(scope="module")
def stores(request: pytest.FixtureRequest) -> Iterator[dict[str, Valet]]:
    """One of each kind that was asked for so far."""
    with ExitStack() as databases:
        yield _Stores(request, databases)


class _Stores(dict[str, Valet]):
    def __init__(self, request: pytest.FixtureRequest, databases: ExitStack) -> None:
        self._request, self._databases = request, databases

    def __missing__(self, kind: str) -> Valet:
        url = self._request.getfixturevalue(f"{kind}_url")
        if kind == "redis":
            self[kind] = RedisValet(url, f"valet-{new_id()}")
        else:
            tables = SqlValet(self._databases.enter_context(fresh(url)))
            asyncio.run(tables.make())
            self[kind] = tables
        return self[kind]


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Firm]:
    """A firm whose queue and records are in a file, not at work yet."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    firm = Firm(url, records=url)
    yield firm
    firm.may_end.set()
    await firm.service.stop()
    await firm.worker.astop()


@pytest.fixture(params=STORES)
def valet(request: pytest.FixtureRequest, stores: dict[str, Valet]) -> Iterator[Valet]:
    """A store of Valet's of each kind, in which nothing is kept yet."""
    found = stores[request.param]
    yield found
    asyncio.run(found.empty())


@pytest.fixture
def redis(stores: dict[str, Valet]) -> Iterator[RedisValet]:
    """The one where anything can be written."""
    found = stores["redis"]
    assert isinstance(found, RedisValet)
    yield found
    asyncio.run(found.empty())


async def taken_over(firm: Firm, valet: Valet, **options: Any) -> Report:
    """Everything that Valet keeps there."""
    source = connect_valet(valet.url)
    try:
        return await Takeover(firm.worker, source, **options).run()
    finally:
        await source.close()


async def queued(firm: Firm) -> list[str]:
    return [view.id for view in await firm.worker.backend().jobs(State.QUEUED, Window(100))]


def result_of(piped: Piped, number: int, value: object) -> Document:
    return a_result(piped.jobs[number], value)


async def test_what_has_ended_is_told_as_valet_told_it(valet: Valet, firm: Firm) -> None:
    # Given a job that completed and one that failed, in Valet
    done = a_job(COMPLETED, task_params={"n": 2, "of": ["it's", {"b\\a": None}]}, timeout=7, description="twice")
    failed = a_job(FAILED, run_at=at(5), scheduled_at=at(6))
    results = [a_result(done, {"sum": 4}), a_result(failed, error="no luck")]
    await valet.keep(done, failed, results=results)
    # When they are taken over
    report = await taken_over(firm, valet, unit=0.001)
    # Then both are there, with all that was known of them
    assert report.found == report.taken == {"jobs": 2, "pipelines": 0, "results": 2}
    assert (report.unseen, report.waiting, report.queued, report.missing) == (0, 0, 0, [])
    kept = await firm.service.job(done["id"])
    assert (kept.name, kept.task, kept.description, kept.timeout) == ("a job", "double", "twice", 0.007)
    assert kept.params == done["task_params"]
    assert (kept.status, kept.created_at, kept.started_at, kept.completed_at) == (
        COMPLETED,
        EPOCH,
        EPOCH + 10,
        EPOCH + 13,
    )
    assert (await firm.service.result(done["id"])).value == b'{"sum":4}'
    other = await firm.service.job(failed["id"])
    assert (other.status, other.failure_reason, other.run_at, other.scheduled_at) == (
        FAILED,
        "no luck",
        at(5),
        EPOCH + 6,
    )
    failure = (await firm.service.result(failed["id"])).failure
    assert failure and failure.message == "no luck"
    # And they are kept as long as what ended today
    assert await firm.service._ledger.prune() == 0


async def test_what_had_not_run_runs_here(valet: Valet, firm: Firm) -> None:
    # Given jobs that waited, that were about to run, that ran, and one whose time is far ahead
    waited, handed, ran = (
        a_job(status, task_params={"n": n}) for n, status in ((1, PENDING), (2, SCHEDULED), (3, IN_PROGRESS))
    )
    tomorrow = gotime.write(int(firm.worker.clock.now()) + 86400)
    later = a_job(PENDING, run_at=tomorrow)
    await valet.keep(waited, handed, ran, later)
    # When they are taken over, and the worker begins
    report = await taken_over(firm, valet)
    assert (report.waiting, report.queued, report.unseen) == (4, 4, 0)
    assert sorted(await queued(firm)) == sorted([waited["id"], handed["id"], ran["id"]])
    await firm.worker.astart()
    # Then those that are due run, under the ids that they had
    for number, job in enumerate((waited, handed, ran), 1):
        assert (await firm.ended(job["id"])).status is COMPLETED
        assert (await firm.service.result(job["id"])).value == b"%d" % (2 * number)
    ahead = await firm.service.job(later["id"])
    assert (ahead.status, ahead.run_at) == (PENDING, tomorrow)
    assert [view.id for view in await firm.worker.admin.ascheduled()] == [later["id"]]


async def test_a_pipeline_goes_on_behind_its_last_completed_job(valet: Valet, firm: Firm) -> None:
    # Given a pipeline whose first job has completed, and whose second ran when Valet ended
    piped = a_pipeline(IN_PROGRESS, COMPLETED, IN_PROGRESS, PENDING)
    await valet.keep(piped=[piped], results=[result_of(piped, 0, 5)])
    # When it is taken over, and the worker begins
    report = await taken_over(firm, valet)
    assert report.taken == {"jobs": 3, "pipelines": 1, "results": 1}
    assert [job.status for job in await firm.service.pipeline_jobs(piped.pipeline["id"])] == [
        COMPLETED,
        PENDING,
        PENDING,
    ]
    ledger = firm.service._ledger
    assert await ledger.store.prune(firm.worker.clock.now() + 2 * ledger.retention) == 0  # however long it waits
    await firm.worker.astart()
    # Then the other two run, with what the first one returned in Valet, and under their own ids
    last = await firm.service.result(piped.jobs[-1]["id"], wait=60.0)
    assert (last.value, firm.runs) == (b"20", [5, 10])
    pipeline = await firm.service.pipeline(piped.pipeline["id"])
    assert (pipeline.status, pipeline.started_at) == (COMPLETED, EPOCH + 10)


async def test_a_pipeline_that_has_ended_stays_as_it_is(valet: Valet, firm: Firm) -> None:
    done, failed = a_pipeline(COMPLETED, COMPLETED, COMPLETED), a_pipeline(FAILED, FAILED, PENDING)
    # And one whose last job has failed, of which Valet did not hear any more
    cut = a_pipeline(IN_PROGRESS, COMPLETED, FAILED)
    await valet.keep(piped=[done, failed, cut])
    report = await taken_over(firm, valet)
    assert (report.taken["pipelines"], report.waiting, await queued(firm)) == (3, 0, [])
    statuses = [(await firm.service.pipeline(one.pipeline["id"])).status for one in (done, failed, cut)]
    assert statuses == [COMPLETED, FAILED, FAILED]
    assert [job.id for job in await firm.service.pipeline_jobs(done.pipeline["id"])] == [job["id"] for job in done.jobs]


async def test_an_import_that_is_given_again_takes_the_rest_and_doubles_nothing(valet: Valet, firm: Firm) -> None:
    # Given an import that was interrupted: one job is here, and ran here meanwhile
    first, piped = a_job(PENDING, task_params={"n": 1}), a_pipeline(PENDING, PENDING, PENDING)
    await valet.keep(first)
    await taken_over(firm, valet)
    await firm.worker.astart()
    await firm.ended(first["id"])
    # When the command is given again
    await valet.keep(a_job(COMPLETED), piped=[piped])
    report = await taken_over(firm, valet)
    # Then the rest comes, and what was here goes on being what it is
    assert report.known == {"jobs": 1, "pipelines": 0, "results": 0}
    assert (report.taken["jobs"], report.taken["pipelines"], report.unseen) == (3, 1, 0)
    await firm.service.result(piped.jobs[-1]["id"], wait=60.0)
    again = await taken_over(firm, valet)
    assert (again.taken["jobs"], again.known["jobs"], again.waiting, again.queued) == (0, 4, 0, 0)
    assert firm.runs == [{"n": 1}, {}, 2]


async def test_what_has_run_here_and_was_forgotten_does_not_come_again(redis: RedisValet, firm: Firm) -> None:
    # Given a job and a pipeline that were taken over and ran here
    job, piped = a_job(PENDING, task_params={"n": 1}), a_pipeline(PENDING, PENDING, PENDING)
    await redis.keep(job, piped=[piped])
    await taken_over(firm, redis)
    await firm.worker.astart()
    await firm.ended(job["id"])
    await firm.service.result(piped.jobs[-1]["id"], wait=60.0)
    # When their records were kept long enough, and the import is given again
    while await firm.service._ledger.store.prune(firm.worker.clock.now() + RETENTION + 3600):
        pass
    assert await firm.is_gone(job["id"])
    report = await taken_over(firm, redis)
    # Then they are known, and nothing runs twice
    assert report.known == {"jobs": 3, "pipelines": 1, "results": 0}
    assert (report.taken["jobs"], report.waiting, report.queued, report.unseen) == (0, 0, 0, 0)
    assert await queued(firm) == []


async def test_what_the_queue_refuses_is_not_told_as_queued(
    redis: RedisValet, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a queue that says no
    async def refuse(*given: object) -> None:
        raise BackendRefused("WRONGTYPE")

    await redis.keep(a_job(PENDING), a_job(PENDING))
    monkeypatch.setattr("worksong.enqueueing.enqueue", refuse)
    # When jobs are taken over, then they are kept, and it is said that they are not queued
    report = await taken_over(firm, redis)
    assert (report.taken["jobs"], report.waiting, report.queued, report.refused) == (2, 2, 0, 2)


async def test_an_import_that_broke_off_loses_nothing(
    redis: RedisValet, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an import that breaks off behind its second page
    monkeypatch.setattr(valet_redis, "PAGE", 1)
    piped = [a_pipeline(PENDING, PENDING, PENDING) for _ in range(4)]
    await redis.keep(a_job(PENDING), piped=piped)

    def stop(looked: int) -> None:
        if looked > 3:
            raise BackendUnavailable("the store is away")

    with pytest.raises(BackendUnavailable):
        await taken_over(firm, redis, told=stop)
    # Then what was taken is kept, and none of it is queued
    assert (len(await firm.service.pipelines()), await queued(firm)) == (2, [])
    # When it is given again, then all is here, and all of it is queued
    report = await taken_over(firm, redis)
    assert (report.known["pipelines"], report.taken["pipelines"], report.queued) == (2, 2, 5)
    assert len(await queued(firm)) == 5


@pytest.mark.parametrize("running", [Running.FAIL, Running.LEAVE])
async def test_an_operator_chooses_what_becomes_of_jobs_that_ran(
    redis: RedisValet, firm: Firm, running: Running
) -> None:
    ran, piped = a_job(IN_PROGRESS), a_pipeline(IN_PROGRESS, COMPLETED, IN_PROGRESS)
    await redis.keep(ran, a_job(PENDING), piped=[piped], results=[result_of(piped, 0, 5)])
    report = await taken_over(firm, redis, running=running)
    assert (len(await queued(firm)), report.unseen, report.misfits) == (1, 0, [])
    if running is Running.LEAVE:
        assert {one.id for one in report.running} == {ran["id"], piped.pipeline["id"]}
        assert await firm.is_gone(ran["id"])
    else:
        job = await firm.service.job(ran["id"])
        assert (job.status, job.failure_reason, job.started_at) == (FAILED, INTERRUPTED, EPOCH + 10)
        failure = (await firm.service.result(ran["id"])).failure
        assert failure and failure.message == INTERRUPTED
        assert (await firm.service.pipeline(piped.pipeline["id"])).status is FAILED


async def test_a_survey_changes_nothing(valet: Valet, firm: Firm) -> None:
    await valet.keep(a_job(PENDING), a_job(COMPLETED), piped=[a_pipeline(PENDING, PENDING, PENDING)])
    source = connect_valet(valet.url)
    report = await Takeover(firm.worker, source).survey()
    await source.close()
    assert (report.taken, report.waiting) == ({"jobs": 4, "pipelines": 1, "results": 0}, 2)
    assert (await firm.service.jobs(), await queued(firm)) == ([], [])


# what cannot be taken over


async def test_what_is_bad_is_told_and_keeps_nothing_else_from_coming(redis: RedisValet, firm: Firm) -> None:
    # Given all that can be wrong with a store of Valet's, and a job with which nothing is
    good, unknown, odd = a_job(PENDING), a_job(PENDING, task_name="gone"), a_job(COMPLETED, id="no-uuid")
    status, late = a_job(COMPLETED) | {"status": "DONE"}, a_job(PENDING, run_at="2022-01-01T00:00:00")
    torn, said = a_pipeline(IN_PROGRESS, COMPLETED, PENDING), a_pipeline(COMPLETED, COMPLETED, PENDING)
    skips, old = a_pipeline(IN_PROGRESS, PENDING, COMPLETED), a_job(COMPLETED, task_name="gone")
    await redis.keep(good, unknown, odd, status, late, old, piped=[torn, said, skips], results=[a_result(a_job(), 1)])
    await redis._call("DEL", f"{redis._prefix}:job:{torn.jobs[1]['id']}")
    stray = a_job(PENDING, pipeline_id=new_id())
    await redis.keep(stray)
    broken, void = a_job()["id"], a_job()["id"]
    await redis.put(f"job:{broken}", "{")
    await redis.put(f"pipeline:{void}", "[]")
    # When it is taken over
    report = await taken_over(firm, redis)
    # Then the good ones are here, also one that ended whose task nobody here has
    assert await queued(firm) == [good["id"]]
    assert (await firm.service.job(old["id"])).status is COMPLETED
    # And the others are told by their ids, each with a reason
    told = {one.id: one.why for one in report.misfits}
    reasons = {
        unknown["id"]: "the application has no task 'gone'",
        odd["id"]: "badly formed",
        status["id"]: "'DONE' is no status",
        late["id"]: "cannot parse",
        torn.pipeline["id"]: f"its job {torn.jobs[1]['id']} is missing",
        said.pipeline["id"]: "it is COMPLETED, and its jobs are not",
        skips.pipeline["id"]: "a job of it has completed, and one before that has not",
        stray["id"]: "does not have it",
        broken: "task_name",
        void: "none of its jobs is there",
    }
    assert {record_id: told[record_id] for record_id, why in reasons.items() if why not in told[record_id]} == {}
    assert len(report.misfits) == len(reasons) + 1  # and the result of no job
    assert report.unseen == 0


async def test_a_pipeline_that_lacks_its_first_job_does_not_run_from_its_second(valet: Valet, firm: Firm) -> None:
    torn = a_pipeline(PENDING, PENDING, PENDING)
    await valet.keep(piped=[torn._replace(jobs=torn.jobs[1:])])
    report = await taken_over(firm, valet)
    assert [one.id for one in report.misfits] == [torn.pipeline["id"]]
    assert "what the one before returned, and that is missing" in report.misfits[0].why
    assert (report.unseen, await queued(firm)) == (0, [])


async def test_jobs_that_a_pipeline_names_must_be_there(redis: RedisValet, firm: Firm) -> None:
    # Given a pipeline whose second job is given nothing, and whose first is gone
    torn = a_pipeline(PENDING, PENDING, PENDING)
    torn.jobs[1]["use_previous_results"] = False
    await redis.keep(piped=[torn])
    await redis._call("DEL", f"{redis._prefix}:job:{torn.jobs[0]['id']}")
    # And pipelines whose jobs are none
    odd = {a_job()["id"]: jobs for jobs in ('["x"]', "3", '{"id": "x"}', "[null]", '"x"')}
    for pipeline_id, jobs in odd.items():
        await redis.put(f"pipeline:{pipeline_id}", f'{{"jobs": {jobs}}}')
    # When they are taken over, then nothing of them runs, and each is named
    report = await taken_over(firm, redis)
    told = {one.id: one.why for one in report.misfits}
    assert told.pop(torn.pipeline["id"]) == f"its job {torn.jobs[0]['id']} is missing"
    assert told == dict.fromkeys(odd, "none of its jobs is there")
    assert (report.unseen, await queued(firm)) == (0, [])


async def test_a_step_whose_next_wants_its_result_must_have_one(valet: Valet, firm: Firm) -> None:
    # Given two pipelines that have lost a result, which the next step is to be given in one of them
    wanting, free = (a_pipeline(IN_PROGRESS, COMPLETED, PENDING) for _ in range(2))
    free.jobs[1]["use_previous_results"] = False
    await valet.keep(piped=[wanting, free])
    report = await taken_over(firm, valet)
    # Then that one is left out, and the other goes on
    (left,) = report.misfits
    assert (left.id, left.why.partition(",")[0]) == (
        wanting.pipeline["id"],
        f"the result of its job {wanting.jobs[0]['id']} is missing",
    )
    assert (report.taken["pipelines"], report.queued, report.unseen) == (1, 1, 0)


async def test_a_pipeline_whose_time_is_too_far_ahead_is_told(redis: RedisValet, firm: Firm) -> None:
    far = gotime.write(int(firm.worker.clock.now() + LONGEST_WAIT) + 86400)
    late = a_pipeline(PENDING, PENDING, PENDING, run_at=far)
    await redis.keep(piped=[late])
    report = await taken_over(firm, redis)
    assert [(one.id, one.why.partition("is more")[2]) for one in report.misfits] == [
        (late.pipeline["id"], f" than {LONGEST_WAIT / 86400:.0f} days ahead")
    ]


@pytest.mark.parametrize("valet", ["postgres", "mariadb"], indirect=True)
async def test_a_job_of_a_pipeline_that_is_not_there_is_told(valet: Valet, firm: Firm) -> None:
    stray, piped = (
        a_job(PENDING, pipeline_id="7f0ddc2f-1f1d-4c76-9f5b-2a4b7e0a9d11"),
        a_pipeline(PENDING, PENDING, PENDING),
    )
    await valet.keep(stray, piped=[piped], results=[a_result(stray, 1)])
    report = await taken_over(firm, valet)
    assert [(one.id, one.results) for one in report.misfits] == [(stray["id"], 1)]
    assert (report.taken["jobs"], report.unseen) == (2, 0)


async def test_an_id_that_another_record_has_is_told(redis: RedisValet, firm: Firm) -> None:
    # Given a pipeline, the id of whose second job belongs to a record here
    taken, free = a_pipeline(COMPLETED, COMPLETED, COMPLETED), a_pipeline(COMPLETED, COMPLETED, COMPLETED)
    other = encode(JobRecord(id=taken.jobs[1]["id"], task="double", status=COMPLETED))
    assert await firm.service._ledger.store.write([Change(other.ref, None, other)])
    await redis.keep(piped=[taken, free])
    report = await taken_over(firm, redis)
    assert [one.id for one in report.misfits] == [taken.pipeline["id"]]
    assert (report.taken["pipelines"], report.unseen) == (1, 0)


@pytest.mark.parametrize("url", ["redis", "postgres", "mariadb"])
async def test_where_valet_kept_nothing_nothing_is_imported(request: pytest.FixtureRequest, url: str) -> None:
    found = request.getfixturevalue(f"{url}_url")
    source = connect_valet(f"{found}?namespace={new_id()}" if url == "redis" else found)
    with pytest.raises(ConfigError, match="of Valet"):
        await source.stock()
    await source.close()


def test_other_stores_are_refused() -> None:
    with pytest.raises(ConfigError, match="Valet keeps nothing at a URL of the scheme 'sqlite'"):
        connect_valet("sqlite:///jobs.db")


async def test_a_queue_that_ends_with_its_process_is_filled_at_the_next_start(
    redis: RedisValet, tmp_path: Path
) -> None:
    # Given records on a disk, and a queue in memory
    records, job = f"sqlite:///{tmp_path}/records.db", a_job(PENDING, task_params={"n": 4})
    importing = Firm(records=records)
    await redis.keep(job)
    report = await taken_over(importing, redis)
    await importing.worker.astop()
    assert (report.waiting, report.queued) == (1, 0)
    # When another process serves them
    serving = Firm(records=records)
    async with serving.worker:
        await serving.service.start()
        # Then it runs there
        assert (await serving.ended(job["id"])).status is COMPLETED
        await serving.service.stop()
