"""How jobs run on a worker: middleware and context, failures and retries, limits, turns, cron, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from engine_bench import Ledger, shown, until
from patience import PATIENCE
from worksong import Context, Discard, Job, JobType, Retry, Snooze, Worker, current
from worksong.domain import retry
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Retried, Snoozed
from worksong.middleware import limits
from worksong.testing.clock import FakeClock

START = 1_700_000_000.0


class Trace(Context):
    """A context with fields for the middleware to fill."""

    tenant: str = ""

    def __init__(self) -> None:
        self.steps: list[str] = []


class Stage:
    """Workers on one store, whose endings are noted and whose time the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger, self.clock = Ledger(), FakeClock(START)
        monkeypatch.setattr("worksong.stores.connect", lambda url, *, namespace: self.ledger)
        monkeypatch.setattr(Ledger, "sibling", lambda ledger: ledger)

    def worker(self, **options: Any) -> Worker:
        return Worker(clock=self.clock, **options)

    async def ending(self, worker: Worker, job: Job, *, times: int = 1) -> Outcome:
        """Enqueue the job; how it ends."""
        handle = await worker.aperform(job)
        assert handle
        return await self.ledger.ending(handle.id, times=times)

    async def view(self, job_id: str) -> JobView:
        view = await self.ledger.job(job_id)
        assert view
        return view

    async def is_gone(self, job_id: str) -> bool:
        return await self.ledger.job(job_id) is None


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


# middleware


async def test_middleware_stands_around_the_handler_outermost_first(stage: Stage) -> None:
    # Given three layers, one of them plain, registered before and after the handler
    worker, steps = stage.worker(), list[str]()

    @worker.middleware
    async def outer(ctx: Context, call_next: Any) -> Any:
        steps.append("outer in")
        try:
            return await call_next(ctx)
        finally:
            steps.append("outer out")

    @worker.middleware
    def plain(ctx: Context, call_next: Any) -> Any:
        steps.append("plain")
        return call_next(ctx)

    @worker.job()
    async def job() -> str:
        steps.append("job")
        return "done"

    @worker.middleware
    async def inner(ctx: Context, call_next: Any) -> Any:
        steps.append("inner in")
        value = await call_next(ctx)
        steps.append("inner out")
        return value

    # When a job runs
    async with worker:
        assert await stage.ending(worker, job.job()) == Done("done")

    # Then they were passed in order
    assert steps == ["outer in", "plain", "inner in", "job", "inner out", "outer out"]


async def test_middleware_stands_around_functions_in_threads_too(stage: Stage) -> None:
    worker, threads = stage.worker(), list[int]()

    @worker.middleware
    async def note(ctx: Context, call_next: Any) -> Any:
        threads.append(threading.get_ident())
        return await call_next(ctx)

    @worker.job()
    def thread() -> int:
        return threading.get_ident()

    async with worker:
        ending = await stage.ending(worker, Job("thread"))
    assert isinstance(ending, Done)
    assert threads == [threading.get_ident()] != [ending.value]


async def test_middleware_may_be_any_callable(stage: Stage) -> None:
    class Layer:
        async def __call__(self, ctx: Context, call_next: Any) -> Any:
            return f"<{await call_next(ctx)}>"

        async def method(self, ctx: Context, call_next: Any) -> Any:
            return f"[{await call_next(ctx)}]"

    worker = stage.worker()
    worker.middleware(Layer())
    worker.middleware(Layer().method)
    worker.middleware(lambda ctx, call_next: call_next(ctx))
    worker.register("job", lambda: "x")
    async with worker:
        assert await stage.ending(worker, Job("job")) == Done("<[x]>")


@pytest.mark.parametrize("plain", [False, True])
async def test_middleware_may_answer_itself(stage: Stage, plain: bool) -> None:
    # Given a layer that does not call the handler
    worker, ran = stage.worker(), list[int]()

    async def swallow(ctx: Context, call_next: Any) -> str:
        return "not today"

    worker.middleware((lambda ctx, call_next: "not today") if plain else swallow)
    worker.register("job", lambda: ran.append(1))

    # When a job runs, then its answer is the result
    async with worker:
        assert await stage.ending(worker, Job("job")) == Done("not today")
    assert ran == []


@pytest.mark.parametrize("plain", [False, True])
async def test_a_failure_in_middleware_is_the_jobs_failure(stage: Stage, plain: bool) -> None:
    worker = stage.worker()

    def fail(ctx: Context, call_next: Any) -> Any:
        raise ValueError("middleware")

    async def fail_async(ctx: Context, call_next: Any) -> Any:
        fail(ctx, call_next)

    worker.middleware(fail if plain else fail_async)
    worker.register("job", lambda: None)
    async with worker:
        ending = await stage.ending(worker, Job("job"))
    assert isinstance(ending, Retried)
    assert ending.error == "ValueError: middleware"


async def test_middleware_may_decide_what_a_failure_means(stage: Stage) -> None:
    # Given a layer that turns one failure into a result, one into a verdict, and lets others pass
    worker = stage.worker()

    @worker.middleware
    async def decide(ctx: Context, call_next: Any) -> Any:
        try:
            return await call_next(ctx)
        except KeyError:
            return "mended"
        except OSError:
            raise Snooze(60) from None

    @worker.job()
    def job(kind: str) -> None:
        raise {"key": KeyError("x"), "os": OSError("x"), "value": ValueError("x")}[kind]

    # When jobs fail, then each ends as decided
    async with worker:
        assert await stage.ending(worker, job.job("key")) == Done("mended")
        assert await stage.ending(worker, job.job("os")) == Snoozed(stage.clock.now() + 60)
        assert isinstance(await stage.ending(worker, job.job("value")), Retried)


async def test_middleware_may_run_the_handler_again(stage: Stage) -> None:
    worker, tries = stage.worker(), list[int]()

    @worker.middleware
    async def twice(ctx: Context, call_next: Any) -> Any:
        with contextlib.suppress(ValueError):
            return await call_next(ctx)
        return await call_next(ctx)

    @worker.job()
    async def job() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("first")
        return len(tries)

    async with worker:
        assert await stage.ending(worker, job.job()) == Done(2)


# context


async def test_a_run_has_one_context_which_middleware_and_handler_share(stage: Stage) -> None:
    # Given middleware that fills a field of its own, and handlers that read it in every way there is
    worker, contexts = stage.worker(context=Trace), list[Context]()

    @worker.middleware
    async def fill(ctx: Trace, call_next: Any) -> Any:
        ctx.tenant = f"tenant of {ctx.job.id}"
        ctx.steps.append("middleware")
        contexts.append(ctx)
        value = await call_next(ctx)
        assert ctx.steps == ["middleware", "handler"]
        return value

    @worker.job()
    async def injected(ctx: Trace, number: int) -> str:
        ctx.steps.append("handler")
        assert current() is ctx
        return ctx.tenant

    @worker.job()
    def by_current(number: int) -> str:
        found = current()
        assert isinstance(found, Trace)
        found.steps.append("handler")
        return found.tenant

    @worker.job()
    async def by_base(ctx: Context, number: int) -> str:
        assert isinstance(ctx, Trace)
        ctx.steps.append("handler")
        return ctx.tenant

    # When several jobs run at once
    handlers: list[JobType[[int], Any, ..., Any]] = [injected, by_current, by_base]
    async with worker:
        handles = [await one.aperform(number) for number in range(10) for one in handlers]
        for handle in handles:
            # Then each got what was filled in for it
            assert await stage.ledger.ending(handle.id) == Done(f"tenant of {handle.id}")

    # And every run had a context of its own
    assert len({id(context) for context in contexts}) == len(contexts) == 30


async def test_the_job_is_injected_as_it_was_enqueued(stage: Stage) -> None:
    worker, seen = stage.worker(), list[Job]()

    @worker.job(queue="low")
    def takes_job(job: Job, number: int) -> None:
        seen.append(job)

    async with worker:
        handle = await takes_job.aperform(5)
        await stage.ledger.ending(handle.id)
    [job] = seen
    assert job == handle.job
    assert (job.args, job.queue, job.attempt, job.enqueued_at) == ({"number": 5}, "low", 1, START)


async def test_a_fence_grows_with_every_lending(stage: Stage) -> None:
    worker, fences = stage.worker(), list[int]()

    @worker.job(backoff=retry.fixed(1), max_fails=3)
    def fails(ctx: Context) -> None:
        fences.append(ctx.fence)
        raise ValueError("x")

    async with worker:
        handle = await fails.aperform()
        for times in (1, 2, 3):
            await stage.ledger.ending(handle.id, times=times)
            await stage.clock.aadvance(2)
    assert fences == sorted(set(fences))
    assert len(fences) == 3


async def test_check_ins_are_seen_by_operators(stage: Stage) -> None:
    # Given jobs that check in, in the loop and in a thread
    worker, reached, gate = stage.worker(), asyncio.Semaphore(0), threading.Event()
    loop, go = asyncio.get_running_loop(), asyncio.Event()

    @worker.job()
    async def counts(ctx: Context, total: int) -> None:
        ctx.progress(3, total)
        reached.release()
        await go.wait()

    @worker.job()
    def reads(ctx: Context) -> None:
        ctx.checkin("i=1000")
        loop.call_soon_threadsafe(reached.release)
        gate.wait(PATIENCE)

    async with worker:
        first, second = await counts.aperform(10), await reads.aperform()
        for _ in range(2):
            await reached.acquire()

        # When the pool has beaten
        await stage.clock.aadvance(1.0)

        # Then what they do is listed, with their latest words
        busy = {view.job_id: view for view in await worker.admin.abusy()}
        assert (busy[first.id].handler, busy[first.id].checkin, busy[first.id].args) == (
            "counts",
            "3/10",
            '{"total":10}',
        )
        assert (busy[second.id].handler, busy[second.id].checkin) == ("reads", "i=1000")
        assert {view.checkin_at for view in busy.values()} == {START}
        [pool] = await worker.admin.apools()
        assert {view.pool_id for view in busy.values()} == {pool.id}
        assert {view.worker_id for view in busy.values()} <= set(pool.worker_ids)

        # And when they have ended, then nobody is busy
        go.set()
        gate.set()
        await stage.ledger.ending(first.id)
        await stage.ledger.ending(second.id)
        await stage.clock.aadvance(1.0)
        assert await worker.admin.abusy() == []


# failures


async def test_a_failing_job_is_tried_max_fails_times_and_then_dead(stage: Stage) -> None:
    # Given a job that always fails, with a pause of a minute, then two, then three
    worker, attempts = stage.worker(), list[int]()

    @worker.job(max_fails=3, backoff=lambda job: 60.0 * job.fails)
    def fails(job: Job) -> None:
        attempts.append(job.attempt)
        raise ValueError(f"attempt {job.attempt}")

    async with worker:
        handle = await fails.aperform()

        # When the time passes, then it waits for the pause that its backoff says, with its error kept
        for times, pause in ((1, 60), (2, 120)):
            ending = await stage.ledger.ending(handle.id, times=times)
            assert ending == Retried(stage.clock.now() + pause, f"ValueError: attempt {times}")
            view = await stage.view(handle.id)
            assert (view.state, view.job.fails, view.error) == (State.RETRY, times, f"ValueError: attempt {times}")
            await stage.clock.aadvance(pause - 1)
            assert (await stage.view(handle.id)).state is State.RETRY
            await stage.clock.aadvance(2)

        # And in the end it is dead
        assert await stage.ledger.ending(handle.id, times=3) == Buried("ValueError: attempt 3")
        [dead] = await worker.admin.adead()
        assert (dead.id, dead.error, dead.job.fails) == (handle.id, "ValueError: attempt 3", 3)
        assert attempts == [1, 2, 3]

        # And it runs again when an operator says so, its failures forgotten
        assert await worker.admin.aretry_dead(handle.id)
        await stage.ledger.ending(handle.id, times=4)
        assert attempts == [1, 2, 3, 1]


def _raises(failure: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise failure

    return fail


@pytest.mark.parametrize(
    ("options", "failure", "kinds"),
    [
        ({"max_fails": 1}, ValueError("x"), [Buried]),
        ({"max_fails": 1, "skip_dead": True}, ValueError("x"), [Discarded]),
        ({"max_fails": 2, "skip_dead": True}, ValueError("x"), [Retried, Discarded]),
        ({"retry_for": OSError}, ValueError("x"), [Buried]),
        ({"retry_for": OSError, "max_fails": 2}, ConnectionError("x"), [Retried, Buried]),
        ({"discard_on": (OSError, KeyError)}, KeyError("x"), [Discarded]),
        ({"discard_on": OSError, "max_fails": 2}, ValueError("x"), [Retried, Buried]),
        ({"max_fails": 1}, Retry(), [Buried]),
        ({"max_fails": 2}, Retry(5), [Retried, Buried]),
        ({"max_fails": 1}, Discard("no"), [Discarded]),
        ({"max_fails": 1}, Snooze(5), [Snoozed, Snoozed, Snoozed]),
    ],
    ids=shown,
)
async def test_the_options_decide_what_a_failure_means(
    stage: Stage, options: dict[str, Any], failure: Exception, kinds: list[type[Outcome]]
) -> None:
    worker = stage.worker()
    failing = worker.register("fails", _raises(failure), backoff=retry.fixed(5), **options)
    async with worker:
        handle = await failing.aperform()
        for times, kind in enumerate(kinds, 1):
            assert type(await stage.ledger.ending(handle.id, times=times)) is kind
            await stage.clock.aadvance(6)
        if kinds[-1] is Discarded:
            assert await stage.is_gone(handle.id)


async def test_a_snoozed_job_counts_no_failure(stage: Stage) -> None:
    worker, attempts = stage.worker(), list[int]()

    @worker.job()
    async def snoozes(job: Job) -> Snooze | str:
        attempts.append(job.attempt)
        return Snooze(60) if len(attempts) < 3 else "rested"

    async with worker:
        handle = await snoozes.aperform()
        for times in (1, 2):
            assert await stage.ledger.ending(handle.id, times=times) == Snoozed(stage.clock.now() + 60)
            await stage.clock.aadvance(61)
        assert await stage.ledger.ending(handle.id, times=3) == Done("rested")
    assert attempts == [1, 1, 1]


async def test_a_broken_backoff_costs_a_minute(stage: Stage) -> None:
    worker = stage.worker()
    failing = worker.register("fails", _raises(ValueError("x")), backoff=lambda job: 1 / 0)
    async with worker:
        ending = await stage.ending(worker, failing.job())
    told = "ValueError: x (its backoff failed, so it waits 60 s: ZeroDivisionError: division by zero)"
    assert ending == Retried(START + 60, told)


@pytest.mark.parametrize("bad", [{"number": "x"}, {}, {"number": 1, "more": 2}, ["x"], [1, 2]])
async def test_arguments_that_do_not_fit_are_a_failure(stage: Stage, bad: Any) -> None:
    # Given a job that another program enqueued, whose arguments do not fit
    worker, ran = stage.worker(), list[int]()

    @worker.job(max_fails=1)
    def takes(number: int) -> None:
        ran.append(number)

    # When it arrives, then it fails by name, and the handler is not called
    async with worker:
        ending = await stage.ending(worker, Job("takes", bad))
    assert isinstance(ending, Buried)
    assert ending.error.startswith("InvalidArguments: ")
    assert "takes()" in ending.error
    assert ran == []


# limits in time


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_run_that_takes_too_long_has_failed(stage: Stage, threaded: bool) -> None:
    worker, release = stage.worker(), threading.Event()

    async def waits() -> None:
        await asyncio.Event().wait()

    slow = worker.register("slow", (lambda: release.wait(PATIENCE)) if threaded else waits, timeout=0.02, max_fails=1)
    async with worker:
        assert await stage.ending(worker, slow.job()) == Buried("TimeoutError: timed out after 0.02 s")
    release.set()


async def test_a_run_that_will_not_end_is_told_of_as_stuck(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a handler that takes no notice of its cancellation
    monkeypatch.setattr(limits, "STUCK_AFTER", 0.01)
    worker, enough, told = stage.worker(), asyncio.Event(), asyncio.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    async def stubborn() -> str:
        while not enough.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await enough.wait()
        return "at last"

    job = worker.register("stubborn", stubborn, timeout=0.02, max_fails=1).job()
    caplog.set_level(logging.ERROR)
    listener = Told(logging.ERROR)
    limits.log.addHandler(listener)
    async with worker:
        ending = asyncio.ensure_future(stage.ending(worker, job))
        # When it goes on, then the log says so, and so does what its slot shows
        await asyncio.wait_for(told.wait(), PATIENCE)
        await stage.clock.aadvance(2)
        (busy,) = await worker.admin.abusy()
        assert busy.checkin == "stuck: cancelled after 0.02 s, and it goes on"
        # And it ends in its own time, as it says
        enough.set()
        assert await ending == Done("at last")
    limits.log.removeHandler(listener)
    (line,) = caplog.messages
    assert "(stubborn) is stuck: cancelled after 0.02 s, and it goes on; its slot is taken until it ends" in line


async def test_a_timeout_counts_the_middleware_too(stage: Stage) -> None:
    worker = stage.worker()

    @worker.middleware
    async def dawdle(ctx: Context, call_next: Any) -> Any:
        await asyncio.Event().wait()

    slow = worker.register("slow", lambda: None, timeout=0.02, max_fails=1)
    async with worker:
        assert await stage.ending(worker, slow.job()) == Buried("TimeoutError: timed out after 0.02 s")


async def test_a_job_that_has_waited_too_long_is_not_run(stage: Stage) -> None:
    # Given a job that is good for a minute
    worker, ran = stage.worker(), list[int]()
    mail = worker.register("mail", lambda: ran.append(1), expires=60)
    late, due = await mail.aperform(), await mail.aperform_in(3600)

    # When nobody runs it for longer
    await stage.clock.aadvance(62)
    async with worker:
        assert await stage.ledger.ending(late.id) == Discarded("expired: it waited 62.0 s and was good for 60 s")

        # Then it is not run; but one that was due later is, on time
        await stage.clock.aadvance(3600)
        assert await stage.ledger.ending(due.id) == Done()
    assert ran == [1]


# names, queues, turns


async def test_old_names_are_still_run(stage: Stage) -> None:
    worker = stage.worker()
    worker.register("send_email", lambda job_name=None: current().job.handler, aliases=("send_mail", "mail"))
    async with worker:
        for name in ("send_email", "send_mail", "mail"):
            assert await stage.ending(worker, Job(name)) == Done(name)


async def test_job_types_share_the_slots_by_their_priority(stage: Stage) -> None:
    # Given a thousand jobs each of two types, one nine times as important
    worker, order = stage.worker(concurrency=10), list[str]()

    async def note() -> None:
        order.append(current().job.handler)
        await asyncio.sleep(0)

    worker.register("rare", note, priority=10)
    worker.register("busy", note, priority=90)
    await worker.aperform_many([Job(name) for _ in range(1000) for name in ("rare", "busy")])

    # When they are worked off
    async with worker:
        await until(lambda: len(order) >= 500)

    # Then the first five hundred were shared out by it: within five standard deviations
    assert 0.03 < Counter(order[:500])["rare"] / 500 < 0.17


@pytest.mark.parametrize(
    ("queues", "expected"),
    [
        (["high", "low"], ["high", "high", "low", "low"]),
        (["low"], ["low", "low"]),
        (None, ["low", "high", "other", "low", "high"]),
    ],
)
async def test_a_worker_serves_the_queues_it_was_given(
    stage: Stage, queues: list[str] | None, expected: list[str]
) -> None:
    worker, order = stage.worker(queues=queues, concurrency=1), list[str]()
    worker.register("note", lambda: order.append(current().job.queue))
    for queue in ("low", "high", "other", "low", "high"):
        await worker.aperform(Job("note", queue=queue))
    async with worker:
        await until(lambda: len(order) == len(expected))
    assert order == expected


async def test_no_more_than_max_concurrency_run_at_once_on_all_workers(stage: Stage) -> None:
    # Given two workers on one store, and a job type of which three may run at once
    workers = [stage.worker(concurrency=10) for _ in range(2)]
    inside, most, ended, gate = set[str](), list[int](), list[str](), asyncio.Event()

    async def waits() -> None:
        job_id = current().job.id
        inside.add(job_id)
        most.append(len(inside))
        await gate.wait()
        await asyncio.sleep(0)
        inside.discard(job_id)
        ended.append(job_id)

    for worker in workers:
        worker.register("limited", waits, max_concurrency=3)
        await worker.astart()
    await workers[0].aperform_many([Job("limited")] * 60)

    # When they work, then never more than three run
    await until(lambda: len(inside) == 3)
    for _ in range(100):
        await asyncio.sleep(0)
    gate.set()
    await until(lambda: len(ended) == 60)
    assert max(most) == 3
    for worker in workers:
        await worker.astop()


async def test_a_paused_queue_waits_until_it_is_resumed(stage: Stage) -> None:
    worker, order = stage.worker(), list[str]()
    worker.register("note", lambda: order.append(current().job.queue))
    await worker.admin.apause("low")
    async with worker:
        low, high = await worker.aperform(Job("note", queue="low")), await worker.aperform(Job("note", queue="high"))
        assert low
        assert high
        await stage.ledger.ending(high.id)
        assert [queue.paused for queue in await worker.admin.aqueues()] == [True]
        assert (await stage.view(low.id)).state is State.QUEUED
        await worker.admin.aresume("low")
        await stage.ledger.ending(low.id)
    assert order == ["high", "low"]


# cancellation


async def test_a_waiting_job_can_be_cancelled(stage: Stage) -> None:
    worker, ran = stage.worker(), list[int]()
    job = worker.register("job", lambda: ran.append(1), unique=True)
    waiting, later = await job.aperform(), await job.with_options(unique=False).aperform_in(60)

    # When it is cancelled, then it is gone, with its lock
    assert await worker.admin.acancel(waiting.id)
    assert await worker.admin.acancel(later.id)
    assert await stage.is_gone(waiting.id)
    assert await stage.is_gone(later.id)
    assert not await worker.admin.acancel(waiting.id)
    again = await job.aperform()
    assert again

    # And only the other one runs
    async with worker:
        await stage.ledger.ending(again.id)
        await stage.clock.aadvance(120)
    assert ran == [1]


async def test_a_job_that_waits_for_its_retry_can_be_cancelled(stage: Stage) -> None:
    worker = stage.worker()
    failing = worker.register("fails", _raises(ValueError("x")), backoff=retry.fixed(60))
    async with worker:
        handle = await failing.aperform()
        await stage.ledger.ending(handle.id)
        assert await worker.admin.acancel(handle.id)
        await stage.clock.aadvance(120)
        assert await stage.is_gone(handle.id)
    assert len(stage.ledger.endings[handle.id]) == 1


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_running_job_can_be_cancelled(stage: Stage, threaded: bool) -> None:
    # Given two running jobs
    worker, release, go = stage.worker(), threading.Event(), asyncio.Event()
    begun, loop = asyncio.Semaphore(0), asyncio.get_running_loop()

    async def waits() -> str:
        begun.release()
        await go.wait()
        return "done"

    def blocks() -> str:
        loop.call_soon_threadsafe(begun.release)
        release.wait(PATIENCE)
        return "done"

    job = worker.register("job", blocks if threaded else waits, unique="until_done")
    async with worker:
        first = await job.aperform()
        second = await job.with_options(unique=False).aperform()
        for _ in range(2):
            await begun.acquire()

        # When one of them is cancelled, then it ends with the next beat, and is not run again
        assert await worker.admin.acancel(first.id)
        await stage.clock.aadvance(1.0)
        assert await stage.ledger.ending(first.id) == Discarded("cancelled")
        assert await stage.is_gone(first.id)
        assert await job.aperform() is not None

        # And the other one goes on
        go.set()
        release.set()
        assert await stage.ledger.ending(second.id) == Done("done")


# an operator's hand


def test_the_blocking_twins_do_what_the_others_do() -> None:
    # Given jobs in every state but running
    worker = Worker(clock=FakeClock(START))
    worker.register("job", lambda: None)
    ids = [worker.perform(Job("job", queue=queue)) for queue in ("one", "two", "two")]
    later = [worker.perform_in(Job("job"), 60) for _ in range(25)]
    assert all(ids)
    admin = worker.admin

    # When an operator looks, then there they are, by pages of twenty
    assert [(queue.name, queue.count) for queue in admin.queues()] == [("default", 0), ("one", 1), ("two", 2)]
    assert (admin.counts()[State.QUEUED], admin.counts()[State.SCHEDULED]) == (3, 25)
    assert [len(admin.scheduled(page)) for page in (1, 2, 3)] == [20, 5, 0]
    assert [view.id for page in (0, 1) for view in admin.scheduled(page)][:20] == [job.id for job in later if job][:20]
    assert admin.scheduled().total == 25
    assert (len(admin.retries()), len(admin.dead()), admin.busy(), admin.pools()) == (0, 0, [], [])
    assert len(admin.list(State.QUEUED)) == 3

    # And when they act, then it is done
    assert later[0]
    assert [admin.delete_scheduled(later[0].id) for _ in range(2)] == [True, False]
    admin.pause("one")
    assert [queue.paused for queue in admin.queues() if queue.name == "one"] == [True]
    admin.resume("one")
    assert not any(queue.paused for queue in admin.queues())
    assert (admin.purge("two"), admin.purge("two")) == (2, 0)
    assert later[1]
    assert [admin.cancel(later[1].id) for _ in range(2)] == [True, False]
    assert admin.job(later[1].id) is None
    assert (admin.retry_dead("x"), admin.retry_all_dead(), admin.delete_dead("x"), admin.delete_all_dead()) == (
        0,
        0,
        0,
        0,
    )
    assert not admin.delete_retry("x")


async def test_dead_and_retry_jobs_can_be_deleted_and_queued_again(stage: Stage) -> None:
    # Given three dead jobs and one that waits for its retry
    worker = stage.worker()
    worker.register("die", _raises(ValueError("x")), max_fails=1)
    worker.register("fail", _raises(ValueError("x")))
    async with worker:
        handles = await worker.aperform_many([Job("die"), Job("die"), Job("die"), Job("fail")])
        ids = [handle.id for handle in handles if handle]
        for job_id in ids:
            await stage.ledger.ending(job_id)
    admin = worker.admin

    # When an operator acts on them, then each is where it was sent
    assert await admin.adelete_retry(ids[3])
    assert await admin.aretry_dead(ids[0])
    assert (await stage.view(ids[0])).state is State.QUEUED
    assert await admin.adelete_dead(ids[1])
    assert await admin.aretry_all_dead() == 1
    assert await admin.adelete_all_dead() == 0
    counts = await admin.acounts()
    assert (counts[State.QUEUED], counts[State.DEAD], counts[State.RETRY]) == (2, 0, 0)


# periodic jobs


async def test_a_periodic_job_fires_once_per_tick_with_two_workers_on_one_store(stage: Stage) -> None:
    # Given two workers on one store, with the same periodic job
    fired: list[str] = []
    workers = [stage.worker() for _ in range(2)]
    for worker in workers:

        @worker.periodic("*/10 * * * * *")
        @worker.job(queue="ticks")
        async def tick() -> None:
            fired.append(current().job.id)

        await worker.astart()

    # When twenty minutes pass, one of the workers being stopped and started in between
    for second in range(0, 1200, 5):
        if second == 600:
            await workers[0].astop()
        if second == 800:
            await workers[0].astart()
        await stage.clock.aadvance(5)
    for worker in workers:
        await worker.astop()

    # Then every tick has fired exactly once, and in its time
    assert Counter(fired).most_common(1)[0][1] == 1
    ticks = sorted(int(job_id.rpartition(":")[2]) for job_id in fired)
    assert ticks == list(range(int(START) + 10, int(START) + 1201, 10))


async def test_a_periodic_job_gets_its_arguments_and_its_time(stage: Stage) -> None:
    # Given a job that runs daily at seven in Berlin
    worker, seen = stage.worker(), list[Job]()

    def report(job: Job, region: str) -> None:
        seen.append(job)

    worker.register("report", report, queue="reports")
    worker.periodic("0 7 * * *", "report", args={"region": "eu"}, tz="Europe/Berlin")

    # When a day passes by quarters of a minute
    async with worker:
        for _ in range(24 * 60):
            await stage.clock.aadvance(60)

    # Then it has run once, with its arguments
    [job] = seen
    assert (job.handler, job.args, job.queue) == ("report", {"region": "eu"}, "reports")
    at = datetime.fromtimestamp(int(job.id.rpartition(":")[2]), UTC)
    assert (at.hour, at.minute) == (6, 0)


async def test_a_worker_without_the_scheduler_puts_nothing_on_the_schedule(stage: Stage) -> None:
    worker, fired = stage.worker(), list[int]()
    worker.scheduler = False
    worker.register("tick", lambda: fired.append(1))
    worker.periodic("* * * * * *", "tick")
    async with worker:
        for _ in range(10):
            await stage.clock.aadvance(30)
    assert fired == []
