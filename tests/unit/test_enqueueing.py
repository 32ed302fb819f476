"""Jobs on their way into the queue: by which verbs, when, and what is refused before anything is pushed."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from engine_bench import Ledger, on, shown
from patience import PATIENCE
from worksong import Handle, InvalidArguments, Job, JobType, Stopped, UnknownHandler, Worker
from worksong.domain.lifecycle import State
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend


def nothing() -> None: ...


def add(a: int, b: int = 1) -> int:
    return a + b


def test_a_job_may_be_enqueued_before_the_start_and_runs_after_it() -> None:
    # Given a job enqueued before the worker is started
    worker, ran = Worker(), threading.Event()
    worker.register("x", ran.set)
    handle = worker.perform(Job("x"))
    assert isinstance(handle, Handle)
    assert handle.id == handle.job.id != ""
    assert worker.admin.counts()[State.QUEUED] == 1
    assert not ran.is_set()

    # When it is started, then the job runs
    worker.start()
    assert ran.wait(PATIENCE)
    worker.stop()


VERBS: dict[str, Callable[[Worker, Job], Any]] = {
    "perform": lambda worker, job: worker.perform(job),
    "perform_in": lambda worker, job: worker.perform_in(job, 5),
    "perform_at": lambda worker, job: worker.perform_at(job, datetime.now(UTC)),
    "perform_many": lambda worker, job: worker.perform_many([job]),
    "aperform": lambda worker, job: asyncio.run(worker.aperform(job)),
    "aperform_in": lambda worker, job: asyncio.run(worker.aperform_in(job, timedelta(seconds=5))),
    "aperform_at": lambda worker, job: asyncio.run(worker.aperform_at(job, datetime.now(UTC))),
    "aperform_many": lambda worker, job: asyncio.run(worker.aperform_many([job])),
    "typed": lambda worker, job: JobType(worker.registry.find("x"), worker, job).perform(),  # type: ignore[arg-type]
}
verbs = pytest.mark.parametrize("verb", VERBS)


@verbs
def test_every_verb_enqueues_without_a_start(verb: str) -> None:
    worker = Worker()
    worker.register("x", nothing)
    VERBS[verb](worker, Job("x"))
    counts = worker.admin.counts()
    assert counts[State.QUEUED] + counts[State.SCHEDULED] == 1


@verbs
def test_after_a_stop_every_verb_says_so_until_the_next_start(verb: str) -> None:
    # Given a stopped worker
    worker = Worker()
    worker.register("x", nothing)
    worker.start()
    worker.stop()

    # When something is enqueued, then it is refused
    with pytest.raises(Stopped):
        VERBS[verb](worker, Job("x"))
    counts = worker.admin.counts()
    assert counts[State.QUEUED] + counts[State.SCHEDULED] == 0

    # And after another start it is not
    worker.start()
    VERBS[verb](worker, Job("x"))
    worker.stop()


def test_a_restarted_worker_runs_its_jobs() -> None:
    # Given a worker that was started and stopped twice
    worker, ran = Worker(), threading.Semaphore(0)
    worker.register("x", ran.release)
    for _ in range(2):
        worker.start()
        worker.perform(Job("x"))
        assert ran.acquire(timeout=PATIENCE)
        worker.stop()

    # When it is started again, then it works as ever
    worker.start()
    worker.perform(Job("x"))
    assert ran.acquire(timeout=PATIENCE)
    worker.stop()


NOT_JOBS: list[Any] = [None, 5, "x", {"handler": "x"}, Job]


@verbs
@pytest.mark.parametrize("thing", NOT_JOBS, ids=shown)
def test_what_is_no_job_is_refused(verb: str, thing: Any) -> None:
    if verb == "typed":
        return
    worker = Worker()
    worker.register("x", nothing)
    with pytest.raises(InvalidArguments, match=r"perform takes a Job, not .*: Job\(handler='send_email'"):
        VERBS[verb](worker, thing)


@verbs
@pytest.mark.parametrize(
    ("job", "kind", "why"),
    [
        (Job(""), InvalidArguments, "no handler name given"),
        (Job("y"), UnknownHandler, "no handler mapped for name 'y'; registered are: x"),
        (Job("x", id=5), InvalidArguments, "an id is a text"),  # type: ignore[arg-type]
        (Job(5), InvalidArguments, "handler 5 cannot be used"),  # type: ignore[arg-type]
        (Job("x", queue=""), InvalidArguments, "queue '' cannot be used"),
        (Job("x", queue="a b"), InvalidArguments, "queue 'a b' cannot be used"),
        (Job("x", queue=None), InvalidArguments, "queue None cannot be used"),  # type: ignore[arg-type]
        (Job("x", "text"), InvalidArguments, "args must be a dict or a list, not str"),  # type: ignore[arg-type]
        (Job("x", 5), InvalidArguments, "args must be a dict or a list, not int"),  # type: ignore[arg-type]
        (Job("x", {"a": math.nan}), InvalidArguments, "args.a is nan, which JSON cannot carry"),
        (Job("x", {"a": {1}}), InvalidArguments, "args.a is of type set"),
        (Job("x", [b"x"]), InvalidArguments, r"args\[0\] is of type bytes"),
        (Job("x", unique="until_dawn"), InvalidArguments, "unique must be True, 'until_start'"),  # type: ignore[arg-type]
    ],
    ids=shown,
)
def test_a_job_that_cannot_run_is_refused_by_every_verb(verb: str, job: Job, kind: type[Exception], why: str) -> None:
    if verb == "typed":
        return
    worker = Worker()
    worker.register("x", nothing)
    with pytest.raises(kind, match=why):
        VERBS[verb](worker, job)
    counts = worker.admin.counts()
    assert counts[State.QUEUED] + counts[State.SCHEDULED] == 0


def test_the_arguments_of_a_job_are_copied() -> None:
    worker = Worker()
    worker.register("x", lambda args: args)
    args: dict[str, Any] = {"a": [1]}
    handle = worker.perform(Job("x", args))
    args["a"].append(2)
    assert handle
    view = worker.admin.job(handle.id)
    assert view
    assert view.job.args == {"a": [1]}


# delays


@pytest.fixture
def timed() -> Worker:
    """A worker with a clock that stands still."""
    worker = Worker(clock=FakeClock(1_000_000.0))
    worker.register("x", nothing)
    return worker


@pytest.mark.parametrize("delay", [5, 5.0, timedelta(seconds=5)])
def test_a_delay_is_seconds_or_a_timedelta(timed: Worker, delay: Any) -> None:
    handle = timed.perform_in(Job("x"), delay)
    assert handle
    assert handle.job.run_at == 1_000_005.0
    [view] = timed.admin.scheduled()
    assert (view.id, view.at) == (handle.id, 1_000_005.0)


@pytest.mark.parametrize("delay", [0, 0.0, timedelta(0)])
def test_no_delay_is_now(timed: Worker, delay: Any) -> None:
    handle = timed.perform_in(Job("x"), delay)
    assert handle
    assert handle.job.run_at == 0.0
    assert timed.admin.counts()[State.QUEUED] == 1


@pytest.mark.parametrize(
    ("delay", "why"),
    [
        (-1, "the delay -1 is negative; use perform to run it at once"),
        (-0.001, "is negative"),
        (timedelta(seconds=-1), "is negative"),
        (math.nan, "a delay is a timedelta or a number of seconds, not nan"),
        (-math.inf, "is negative"),
        (math.inf, "days or more is more than the 3650 days allowed; is the unit right"),
        (1e300, "more than the 3650 days allowed"),
        (10**400, "more than the 3650 days allowed"),
        (-(10**400), "is negative"),
        (1_700_000_000_000, "more than the 3650 days allowed"),
        (timedelta.max, "more than the 3650 days allowed"),
        (timedelta.min, "is negative"),
        (True, "a delay is a timedelta or a number of seconds, not True"),
        ("5", "a delay is a timedelta or a number of seconds, not '5'"),
        (None, "a delay is a timedelta or a number of seconds, not None"),
        (datetime(2026, 1, 1, tzinfo=UTC), "a delay is a timedelta or a number of seconds, not"),
    ],
    ids=shown,
)
def test_a_delay_that_is_none_is_refused(timed: Worker, delay: Any, why: str) -> None:
    with pytest.raises(InvalidArguments, match=why):
        timed.perform_in(Job("x"), delay)
    with pytest.raises(ValueError, match=why):
        timed.register("y", nothing).perform_in(delay)
    assert timed.admin.counts()[State.SCHEDULED] == 0


def test_a_time_is_an_instant_in_any_zone(timed: Worker) -> None:
    east = timezone(timedelta(hours=9))
    handle = timed.perform_at(Job("x"), datetime.fromtimestamp(1_000_060.5, east))
    assert handle
    assert handle.job.run_at == 1_000_060.5


@pytest.mark.parametrize("when", [datetime.fromtimestamp(999_999, UTC), datetime.min.replace(tzinfo=UTC)])
def test_a_time_past_is_now(timed: Worker, when: datetime) -> None:
    handle = timed.perform_at(Job("x"), when)
    assert handle
    assert handle.job.run_at == 0.0
    assert timed.admin.counts()[State.QUEUED] == 1


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (datetime(2026, 1, 1), "has no time zone, so it could mean several instants; use datetime.now"),
        (datetime.max.replace(tzinfo=UTC), "more than the 3650 days allowed"),
        (5, "the time to run at must be a datetime, not 5"),
        ("2026-01-01", "the time to run at must be a datetime, not '2026-01-01'"),
        (None, "the time to run at must be a datetime, not None"),
    ],
    ids=shown,
)
def test_a_time_that_is_no_instant_is_refused(timed: Worker, when: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        timed.perform_at(Job("x"), when)
    assert isinstance(refused.value, InvalidArguments)
    with pytest.raises(ValueError, match=why):
        timed.register("y", nothing).perform_at(when)
    assert timed.admin.counts()[State.SCHEDULED] == 0


# many at once


async def test_many_jobs_are_given_to_the_backend_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a backend that counts
    flaky = FlakyBackend(Ledger())
    worker = on(flaky, monkeypatch)
    worker.register("x", add)

    # When 2500 jobs are enqueued at once
    handles = await worker.aperform_many([Job("x", {"a": number}) for number in range(2500)])

    # Then one call did it, so that all are checked before the first is stored, and the handles are in order
    assert flaky.calls["push"] == 1
    assert [handle.job.args for handle in handles if handle] == [{"a": number} for number in range(2500)]


async def test_none_of_many_means_nothing_to_do(worker: Worker) -> None:
    assert await worker.aperform_many([]) == []


BAD = [
    Job("unknown"),
    Job(""),
    Job("x", queue="a b"),
    Job("x", {"a": math.nan}),
    Job("x", {"a": b"x"}, id="given"),
    Job("x", {"a": 1}, unique=True, unique_by={"by": {1, 2}}),
]


@pytest.mark.parametrize("place", [0, 1, 999, 1000, 2999])
@pytest.mark.parametrize("bad", BAD, ids=shown)
async def test_one_of_many_that_cannot_be_enqueued_means_none_is(worker: Worker, place: int, bad: Job) -> None:
    # Given 3000 jobs, one of which cannot be enqueued
    worker.register("x", add)
    jobs = [Job("x", {"a": number}) for number in range(3000)]
    jobs[place] = bad

    # When they are enqueued together, then none is
    with pytest.raises((InvalidArguments, UnknownHandler)):
        await worker.aperform_many(jobs)
    assert (await worker.admin.acounts())[State.QUEUED] == 0


async def test_jobs_with_and_without_an_id_go_together_in_order(worker: Worker) -> None:
    # Given jobs of which some have an id
    worker.register("x", add)
    jobs = [Job("x", {"a": number}, id=f"id{number}" if number % 3 else "") for number in range(10)]

    # When they are enqueued twice, then those with an id are kept once
    first = await worker.aperform_many(jobs)
    second = await worker.aperform_many(jobs)
    assert all(first)
    assert [bool(handle) for handle in second] == [number % 3 == 0 for number in range(10)]
    assert [handle.id for handle in first if handle and handle.id.startswith("id")] == [j.id for j in jobs if j.id]
    assert (await worker.admin.acounts())[State.QUEUED] == 14


# duplicates


async def test_a_refused_duplicate_is_none(worker: Worker, backend: Ledger) -> None:
    # Given a job type that is unique
    total = worker.job(unique=True)(add)

    # When it is enqueued twice with the same arguments, then the second is none
    first = await total.aperform(1)
    assert first is not None
    assert await total.aperform(1) is None
    assert await worker.aperform(Job("add", {"a": 1}, unique=True)) is None
    assert await worker.aperform_many([total.job(1), total.job(2), total.job(2)]) != [None] * 3

    # And other arguments, or none of the option, are no duplicates
    assert await total.aperform(3) is not None
    assert await total.with_options(unique=False).aperform(1) is not None

    # And when it has run, it may be enqueued again
    async with worker:
        await backend.ending(first.id)
        again = await total.aperform(1)
        assert again is not None
        await backend.ending(again.id)


@pytest.mark.parametrize(("unique", "refused"), [("until_start", False), ("until_done", True)])
async def test_a_running_unique_job_refuses_others_until_it_is_done(
    worker: Worker, backend: Ledger, unique: Any, refused: bool
) -> None:
    # Given a unique job that runs
    begun, gate = asyncio.Event(), asyncio.Event()

    async def waiting() -> None:
        begun.set()
        await gate.wait()

    waits = worker.register("waits", waiting, unique=unique)
    async with worker:
        first = await waits.aperform()
        assert first
        await begun.wait()

        # When an equal one is enqueued, then it depends on the mode
        assert (await waits.aperform() is None) is refused
        gate.set()
        await backend.ending(first.id)


@pytest.mark.parametrize("run_at", [math.nan, 1e18, "soon"])
async def test_a_job_with_a_time_that_cannot_be_is_refused(worker: Worker, run_at: Any) -> None:
    worker.register("x", add)
    with pytest.raises(InvalidArguments, match=r"run_at|days"):
        await worker.aperform(Job("x", {"a": 1}, run_at=run_at))
