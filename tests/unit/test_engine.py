"""Whatever a handler does, the other jobs go on, and each job ends exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from engine_bench import Bench, Ledger, after_waiting, as_coroutine, throw, until
from patience import PATIENCE
from worksong import Context, Discard, Job, NotStarted, Retry, Snooze, current
from worksong.adapters.memory import MemoryBackend
from worksong.domain import retry
from worksong.domain.job import Delivery, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Retried, Settlement, Snoozed
from worksong.domain.turns import Share
from worksong.domain.verdict import ERROR_KEPT
from worksong.engine.engine import Engine
from worksong.engine.stats import Stats
from worksong.ports.backend import Orders, Want, Window

COUNT: contextvars.ContextVar[int] = contextvars.ContextVar("count", default=0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# the crash matrix


class Custom(BaseException):
    """Not even an Exception."""


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


PLAIN: dict[str, tuple[Callable[[], Any], str]] = {
    "sys.exit": (lambda: sys.exit(3), "SystemExit: 3"),
    "exit without a code": (throw(SystemExit()), "SystemExit"),
    "KeyboardInterrupt": (throw(KeyboardInterrupt()), "KeyboardInterrupt"),
    "GeneratorExit": (throw(GeneratorExit("x")), "GeneratorExit: x"),
    "custom BaseException": (throw(Custom("x")), "Custom: x"),
    "CancelledError": (throw(asyncio.CancelledError("mine")), "CancelledError: mine"),
    "RecursionError": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "MemoryError": (throw(MemoryError()), "MemoryError"),
    "no text": (throw(Mute()), "Mute: (its message cannot be printed)"),
    "10 MB of text": (throw(ValueError("x" * 10_000_000)), "ValueError: xxx"),
    "ExceptionGroup": (throw(ExceptionGroup("g", [ValueError("x")])), "ExceptionGroup: g (1 sub-exception)"),
    "plain": (throw(ValueError("x")), "ValueError: x"),
}


def in_child(crash: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def parent() -> Any:
        return await asyncio.create_task(as_coroutine(crash)())

    return parent


def in_group(crash: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def parent() -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(after_waiting(crash)())
            await asyncio.Event().wait()

    return parent


def when_cancelled(crash: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def child() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            crash()

    async def parent() -> Any:
        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    return parent


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


async def stops_iterating() -> None:
    raise StopIteration(5)


LEAVING = ("sys.exit", "KeyboardInterrupt", "GeneratorExit")
COROUTINES: dict[str, tuple[Callable[[], Any], str]] = {
    **{name: (as_coroutine(crash), text) for name, (crash, text) in PLAIN.items()},
    **{f"{name}, later": (after_waiting(crash), text) for name, (crash, text) in PLAIN.items()},
    **{f"{name}, in a task": (in_child(PLAIN[name][0]), f"ExitInTask: {PLAIN[name][1]}") for name in LEAVING},
    **{f"{name}, in a group": (in_group(PLAIN[name][0]), "ExceptionGroup: ") for name in LEAVING},
    **{f"{name}, cancelled": (when_cancelled(PLAIN[name][0]), f"ExitInTask: {PLAIN[name][1]}") for name in LEAVING},
    "custom BaseException, in a task": (in_child(PLAIN["custom BaseException"][0]), "Custom: x"),
    "StopIteration": (stops_iterating, "RuntimeError: coroutine raised StopIteration"),
    "cancels itself": (cancels_itself, "CancelledError"),
}
THREADS = {
    **PLAIN,
    "GeneratorExit": (PLAIN["GeneratorExit"][0], "RuntimeError: handler raised GeneratorExit: x"),
    "StopIteration": (throw(StopIteration(5)), "RuntimeError: handler raised StopIteration: 5"),
    "asyncio.run": (lambda: asyncio.run(stops_iterating()), "RuntimeError: coroutine raised StopIteration"),
}


async def hundred_good_jobs(bench: Bench) -> None:
    ids = [await bench.push("good", {"number": number}) for number in range(100)]
    assert [await bench.ledger.ending(job_id) for job_id in ids] == [Done(number) for number in range(100)]


async def good(number: int) -> int:
    """A job that a stray cancellation, a lost slot or a dirty task would not let succeed."""
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        waiting = group.create_task(asyncio.sleep(0, number))
    task = asyncio.current_task()
    assert task and not task.cancelling()
    return waiting.result()


@pytest.mark.parametrize("crash", COROUTINES)
async def test_a_coroutine_that_crashes_costs_no_other_job_anything(bench: Bench, crash: str) -> None:
    # Given a worker of two slots, so that every slot has its share of crashes
    handler, text = COROUTINES[crash]
    bench = Bench(concurrency=2)
    bench.add("crash", handler)
    bench.add("fatal", handler, max_fails=1)
    bench.add("good", good)

    async with bench.running():
        # When jobs crash
        crashed = [await bench.push("crash") for _ in range(4)]
        retried = [await bench.ledger.ending(job_id) for job_id in crashed]
        dead = await bench.push("fatal")
        buried = await bench.ledger.ending(dead)

        # Then the next hundred succeed
        await hundred_good_jobs(bench)

        # And the crashed ones wait for their retry, or are dead, with class and message
        assert all(isinstance(outcome, Retried) and outcome.error.startswith(text) for outcome in retried)
        assert isinstance(buried, Buried)
        assert buried.error.startswith(text)
        assert len(buried.error.encode()) <= ERROR_KEPT
        assert [await bench.state(job_id) for job_id in crashed] == [State.RETRY] * 4
        assert await bench.state(dead) is State.DEAD


@pytest.mark.parametrize("crash", THREADS)
async def test_a_function_that_crashes_in_a_thread_costs_no_other_job_anything(crash: str) -> None:
    # Given a worker of two threads
    handler, text = THREADS[crash]
    bench = Bench(concurrency=2)
    bench.add("crash", handler)
    bench.add("fatal", handler, max_fails=1)
    bench.add("good", lambda number: number)

    async with bench.running():
        # When jobs crash
        retried = [await bench.run("crash") for _ in range(4)]
        buried = await bench.run("fatal")

        # Then the next hundred succeed, and the crashed ones are kept with class and message
        await hundred_good_jobs(bench)
        assert all(isinstance(outcome, Retried) and outcome.error.startswith(text) for outcome in retried)
        assert isinstance(buried, Buried)
        assert buried.error.startswith(text)
        assert len(buried.error.encode()) <= ERROR_KEPT


async def test_a_cancellation_that_a_job_asked_of_itself_and_did_not_wait_for_hits_no_other_job() -> None:
    # Given a handler that cancels its task and returns before that arrives
    def asks_and_returns() -> str:
        task = asyncio.current_task()
        assert task
        task.cancel()
        return "done"

    bench = Bench(concurrency=1)
    bench.add("crash", as_coroutine(asks_and_returns))
    bench.add("good", good)

    # When it runs right before a hundred others, in the same slot
    async with bench.running():
        assert await bench.run("crash") == Done("done")
        await bench.push("crash")

        # Then they succeed
        await hundred_good_jobs(bench)


async def test_a_cancellation_that_arrives_when_the_slot_is_idle_does_not_end_the_slot() -> None:
    # Given a handler that leaves a timer behind, which will cancel its task
    cancelled = asyncio.Event()

    async def leaves_a_timer() -> None:
        task = asyncio.current_task()
        assert task

        def late() -> None:
            task.cancel()
            cancelled.set()

        asyncio.get_running_loop().call_later(0.001, late)

    bench = Bench(concurrency=1)
    bench.add("crash", leaves_a_timer)
    bench.add("good", good)

    # When the timer fires while no job runs
    async with bench.running():
        assert await bench.run("crash") == Done()
        await cancelled.wait()

        # Then the one slot there is still runs jobs
        await hundred_good_jobs(bench)


async def test_leaked_tasks_do_no_harm(bench: Bench) -> None:
    # Given a handler that leaves a thousand tasks behind
    leaked: list[asyncio.Task[Any]] = []

    async def leaks() -> None:
        leaked.extend(asyncio.create_task(asyncio.Event().wait()) for _ in range(1000))

    bench.add("crash", leaks)
    bench.add("good", good)

    # When it has run, then others succeed
    async with bench.running():
        assert await bench.run("crash") == Done()
        await hundred_good_jobs(bench)
    for task in leaked:
        task.cancel()
    await asyncio.wait(leaked)


async def test_a_leaked_task_that_exits_does_no_harm(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    # Given a handler whose task exits when the job is long over
    ended = asyncio.Event()
    leaked: list[asyncio.Task[Any]] = []

    async def exits() -> None:
        await ended.wait()
        sys.exit(3)

    async def leaks() -> None:
        leaked.append(asyncio.create_task(exits()))

    bench.add("crash", leaks)
    bench.add("good", good)

    # When it exits, then the worker goes on
    async with bench.running():
        assert await bench.run("crash") == Done()
        ended.set()
        await hundred_good_jobs(bench)
    assert "SystemExit: 3" in str(leaked[0].exception())


async def test_a_childs_early_cancellation_leaves_nothing_unawaited(bench: Bench) -> None:
    # Given a handler that cancels a task before its first step
    async def cancels_early() -> str:
        child = asyncio.create_task(asyncio.sleep(1))
        child.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await child
        return repr(child.cancelled())

    bench.add("early", cancels_early)

    # When it runs, then no warning (an error in these tests) tells of a coroutine that was never awaited
    async with bench.running():
        assert await bench.run("early") == Done("True")


async def test_tasks_that_no_handler_started_are_as_ever(bench: Bench) -> None:
    async with bench.running():
        coroutine = asyncio.sleep(0, "x")
        task = asyncio.create_task(coroutine, name="mine")
        assert (task.get_coro(), task.get_name(), await task) == (coroutine, "mine", "x")


async def test_a_task_factory_of_the_application_still_makes_its_tasks(bench: Bench) -> None:
    # Given an application with a task factory of its own
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(factory)
    bench.add("crash", in_child(lambda: sys.exit(3)))

    # When a handler starts a task, then the factory made it, and its exit is still contained
    async with bench.running():
        before = len(made)
        outcome = await bench.run("crash")
    assert isinstance(outcome, Retried)
    assert outcome.error == "ExitInTask: SystemExit: 3"
    assert len(made) > before


async def test_a_context_that_cannot_be_made_fails_the_job_and_not_the_slot() -> None:
    # Given a context class whose fields have no defaults
    class Demanding(Context):
        def __init__(self, tenant: str) -> None:
            self.tenant = tenant

    bench = Bench(concurrency=1)
    bench.context = Demanding
    bench.add("any", as_coroutine(lambda: None))

    # When jobs run, then each fails with the reason
    async with bench.running():
        for _ in range(3):
            outcome = await bench.run("any")
            assert isinstance(outcome, Retried)
            assert "missing 1 required positional argument: 'tenant'" in outcome.error


async def test_a_stray_job_is_dead_with_its_reason(bench: Bench) -> None:
    # Given a backend that lends a job nobody asked for
    async def fetch(want: Want, now: float) -> list[Delivery]:
        wider = Want(want.pool, want.limit, want.wait, (*want.handlers, Share("unknown", 10)))
        return await MemoryBackend.fetch(bench.ledger, wider, now)

    bench.add("good", good)
    bench.ledger.fetch = fetch  # type: ignore[method-assign]

    # When it arrives
    async with bench.running():
        outcome = await bench.run("unknown")

        # Then it is kept with a reason, and others go on
        assert outcome == Buried("stray job: no handler (unknown_handler: 'unknown')")
        await hundred_good_jobs(bench)


# decorated handlers


def traced(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """A decorator by a plain function, which hands on the coroutine."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def blocking(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """A decorator that makes a plain function of a coroutine function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return wrapper


def asynchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that makes a coroutine function of a plain function."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return wrapper


class Callables:
    async def __call__(self, number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def method(self, number: int) -> int:
        return await self(number)


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def tripled(number: int) -> int:
    return number * 3


@pytest.mark.parametrize(
    ("handler", "result"),
    [
        (doubled, 10),
        (tripled, 15),
        (traced(doubled), 10),
        (blocking(doubled), 10),
        (asynchronous(tripled), 15),
        (functools.partial(doubled), 10),
        (functools.partial(tripled), 15),
        (lambda number: doubled(number=number), 10),
        (Callables(), 5),
        (Callables().method, 5),
    ],
)
@pytest.mark.parametrize("isolate", [None, "thread"])
async def test_a_coroutine_is_awaited_however_it_comes_about(
    bench: Bench, handler: Callable[..., Any], result: int, isolate: str | None
) -> None:
    bench.add("job", handler, isolate=isolate)
    async with bench.running():
        assert await bench.run("job", {"number": 5}) == Done(result)


# verdicts


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize(
    ("verdict", "state"), [(Retry(60), State.RETRY), (Snooze(60), State.SCHEDULED), (Discard("no"), None)]
)
async def test_a_verdict_may_be_returned_or_raised(
    bench: Bench, verdict: Exception, state: State | None, raised: bool
) -> None:
    async def decides() -> Exception:
        if raised:
            raise verdict
        return verdict

    bench.add("job", decides)
    async with bench.running():
        job_id = await bench.push("job")
        await bench.ledger.ending(job_id)
        assert await bench.state(job_id) is state


# context variables


@pytest.mark.parametrize("threaded", [False, True])
async def test_context_variables_do_not_leak_between_jobs(threaded: bool) -> None:
    # Given a handler that finds its variable as it was, and changes it
    def step() -> int:
        COUNT.set(COUNT.get() + 1)
        return COUNT.get()

    async def waits() -> int:
        step()
        await asyncio.sleep(0)
        return COUNT.get()

    bench = Bench(concurrency=1)
    bench.add("job", step if threaded else waits)

    # When it runs again and again, in one slot
    async with bench.running():
        found = [await bench.run("job") for _ in range(20)]

    # Then every run starts afresh, and nothing is seen outside
    assert found == [Done(1)] * 20
    assert COUNT.get() == 0


async def test_every_run_has_its_own_context(bench: Bench) -> None:
    # Given handlers that ask which job they are, before and after others had their turn
    async def who(number: int) -> tuple[str, str]:
        before = current().job.id
        for _ in range(number % 5):
            await asyncio.sleep(0)
        child = await asyncio.create_task(_current_id())
        assert before == child
        return before, await asyncio.to_thread(lambda: current().job.id)

    def who_in_thread(number: int) -> tuple[str, str]:
        return current().job.id, current().job.id

    bench.add("who", who)
    bench.add("thread", who_in_thread)

    # When many run side by side
    async with bench.running():
        ids = [await bench.push(name, {"number": n}) for n in range(50) for name in ("who", "thread")]

        # Then each knows its own
        for job_id in ids:
            assert await bench.ledger.ending(job_id) == Done((job_id, job_id))
    with pytest.raises(NotStarted):
        current()


async def _current_id() -> str:
    return current().job.id


# cancellation


class Gates:
    """Jobs that wait for their gate, and what was done to each."""

    def __init__(self, count: int) -> None:
        self.gates = {new_id(): asyncio.Event() for _ in range(count)}
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.asked: set[str] = set()
        self.let_go: set[str] = set()
        self.hit: list[str] = []

    async def handler(self, stubborn: bool) -> str:
        job_id = current().job.id
        self.begun.put_nowait(job_id)
        try:
            await self.gates[job_id].wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.hit.append(job_id)
            if stubborn:
                return "went on"
            raise
        return job_id

    def act(self, engine: Engine, job_id: str, steps: str) -> None:
        """Cancel it (c), or let it go (g), or several of that in one turn of the loop."""
        for step in steps:
            if step == "c":
                engine._obey(Orders(cancel=frozenset({job_id})))
                self.asked.add(job_id)
            else:
                self.gates[job_id].set()
                self.let_go.add(job_id)

    def allowed(self, job_id: str) -> list[Outcome]:
        """How it may have ended."""
        let_go: list[Outcome] = [Done(job_id)] if job_id in self.let_go else []
        return [Discarded("cancelled"), Done("went on"), *let_go] if job_id in self.asked else let_go


async def test_of_a_thousand_random_cancellations_none_hits_another_job() -> None:
    # Given four slots, and jobs that wait for their gate
    chance = random.Random(7)
    bench, jobs = Bench(concurrency=4), Gates(1500)
    bench.add("waits", jobs.handler)
    for job_id in jobs.gates:
        await bench.ledger.push([Job("waits", {"stubborn": chance.random() < 0.2}, id=job_id)], bench.clock.now())

    # When they run, and each is cancelled or let go or both, at any moment
    async with bench.running() as engine, asyncio.timeout(PATIENCE * 3):
        running: list[str] = []
        for _ in jobs.gates:
            if not running or (not jobs.begun.empty() and chance.random() < 0.7):
                running.append(await jobs.begun.get())
            chosen = running.pop(chance.randrange(len(running)))
            jobs.act(engine, chosen, chance.choice(["c", "c", "cc", "g", "cg", "gc", "gcc"]))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        endings = {job_id: await bench.ledger.ending(job_id) for job_id in jobs.gates}

    # Then only those asked for were hit, each once, and every job ended once, as it should
    assert len(jobs.asked) > 1000
    assert set(jobs.hit) <= jobs.asked
    assert len(jobs.hit) == len(set(jobs.hit)) > 900
    assert all(ending in jobs.allowed(job_id) for job_id, ending in endings.items())
    assert all(len(found) == 1 for found in bench.ledger.endings.values())


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_timeout_hits_exactly_the_job_that_takes_too_long(threaded: bool) -> None:
    # Given jobs that never end within their time, beside others with time enough
    release = threading.Event()

    async def waits(slow: bool) -> str:
        await (asyncio.Event().wait() if slow else asyncio.sleep(0))
        return "done"

    def blocks(slow: bool) -> str:
        if slow:
            release.wait(PATIENCE)
        return "done"

    bench = Bench(concurrency=3)
    bench.add("limited", blocks if threaded else waits, timeout=0.02)
    bench.add("patient", blocks if threaded else waits, timeout=PATIENCE)
    bench.add("good", good)

    # When they run in few slots
    async with bench.running():
        slow = [await bench.push("limited", {"slow": True}) for _ in range(10)]
        quick = [await bench.push("patient", {"slow": False}) for _ in range(10)]

        # Then exactly those have failed, and the others succeed
        for job_id in slow:
            ending = await bench.ledger.ending(job_id)
            assert isinstance(ending, Retried)
            assert ending.error == "TimeoutError: timed out after 0.02 s"
        assert [await bench.ledger.ending(job_id) for job_id in quick] == [Done("done")] * 10
        await hundred_good_jobs(bench)
    release.set()


async def test_a_timeout_of_the_handlers_own_is_told_as_such(bench: Bench) -> None:
    async def gives_up() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    bench.add("job", gives_up, timeout=60)
    async with bench.running():
        ending = await bench.run("job")
    assert isinstance(ending, Retried)
    assert ending.error == "TimeoutError"


async def test_a_handler_that_swallows_its_cancellation_ends_as_it_says(bench: Bench) -> None:
    # Given a handler that does not let itself be cancelled
    begun = asyncio.Event()

    async def swallows() -> str:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return "done after all"

    bench.add("job", swallows)
    bench.add("good", good)

    # When it is cancelled, then it is done, and the others go on
    async with bench.running() as engine:
        job_id = await bench.push("job")
        await begun.wait()
        engine._obey(Orders(cancel=frozenset({job_id})))
        assert await bench.ledger.ending(job_id) == Done("done after all")
        await hundred_good_jobs(bench)


# stopping


async def test_a_handler_that_never_ends_is_left_behind_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a handler that swallows every cancellation until the test is over
    monkeypatch.setattr("worksong.engine.engine.CANCEL_PATIENCE", 0.05)
    over, begun, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def never_ends() -> None:
        begun.set()
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()
        ended.set()

    bench = Bench(concurrency=1)
    bench.add("stuck", never_ends)

    # When the worker stops
    async with bench.running():
        job_id = await bench.push("stuck")
        await begun.wait()

    # Then it says so, and the job is handed back as it came
    assert (
        f"handlers that would not stop are left behind, their jobs run again elsewhere: stuck {job_id}" in caplog.text
    )
    view = await bench.ledger.job(job_id)
    assert view
    assert (view.state, view.job.attempt) == (State.QUEUED, 1)
    assert await bench.ledger.pools() == []

    # And what it says later counts no more
    over.set()
    await ended.wait()
    await asyncio.sleep(0)
    assert bench.ledger.endings == {}


async def test_a_stop_waits_for_running_jobs_and_does_not_poll() -> None:
    # Given a worker whose only slot is taken
    gate, begun, turns = asyncio.Event(), asyncio.Event(), 0

    async def waits() -> None:
        begun.set()
        await gate.wait()

    bench = Bench(concurrency=1)
    bench.add("job", waits)

    def select(timeout: float | None = None) -> Any:
        """Once per turn of the loop."""
        nonlocal turns
        turns += 1
        return selected(timeout)

    # When it is told to stop, and the job ends a hundred milliseconds later
    async with bench.running() as engine:
        job_id = await bench.push("job")
        await begun.wait()
        loop: Any = asyncio.get_running_loop()
        selected, loop._selector.select = loop._selector.select, select
        loop.call_later(0.1, gate.set)
        await engine.stop(PATIENCE)

    # Then it has waited for it, and slept meanwhile
    assert bench.ledger.endings[job_id] == [Done()]
    assert turns < 50


async def test_a_slot_that_a_second_fetch_asked_for_in_vain_is_filled_as_soon_as_there_is_a_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a backend that is worth two fetches at once, and whose third answer takes long and brings nothing
    bench, gate, answer, begun = Bench(concurrency=2), asyncio.Event(), asyncio.Event(), list[int]()
    bench.ledger.fetches, asked, fetch = 2, list[Want](), bench.ledger.fetch

    async def fetched(want: Want, now: float) -> list[Delivery]:
        asked.append(want)
        if len(asked) == 3:
            await answer.wait()
            return []
        return await fetch(want, now)

    async def waits(number: int) -> None:
        begun.append(number)
        if number:
            await gate.wait()

    monkeypatch.setattr(bench.ledger, "fetch", fetched)
    bench.add("job", waits)
    await bench.push("job", [0])
    await bench.push("job", [1])
    async with bench.running():
        # When the first fetch has filled one slot, and the second one finds nothing for the other
        await until(lambda: begun == [0, 1] and len(asked) == 3)
        answer.set()
        # Then a job that comes in later begins, though the one before goes on
        await bench.push("job", [2])
        await until(lambda: begun == [0, 1, 2])
        gate.set()


@pytest.mark.parametrize("threaded", [False, True])
async def test_plain_functions_are_fetched_for_all_slots_at_once(
    monkeypatch: pytest.MonkeyPatch, *, threaded: bool
) -> None:
    # Given a backend that is worth two fetches at once
    bench, limits, ran = Bench(concurrency=4), list[int](), list[int]()
    bench.ledger.fetches, fetch = 2, bench.ledger.fetch

    async def fetched(want: Want, now: float) -> list[Delivery]:
        limits.append(want.limit)
        return await fetch(want, now)

    async def coroutine(number: int) -> None:
        ran.append(number)

    monkeypatch.setattr(bench.ledger, "fetch", fetched)
    bench.add("job", ran.append if threaded else coroutine)
    jobs = [await bench.push("job", [number]) for number in range(20)]
    # When many jobs run
    async with bench.running(burst=True) as engine:
        await engine.finished.wait()
    # Then all did, and a fetch for functions fills whatever is free, one for coroutines a half
    assert len(ran) == len(jobs)
    assert max(limits) == (4 if threaded else 2)


async def test_two_fetches_at_once_never_take_more_than_there_are_slots() -> None:
    # Given a backend that is worth two fetches at once, and more jobs than slots
    bench, gate, begun = Bench(concurrency=5), asyncio.Event(), list[int]()
    bench.ledger.fetches = 2

    async def waits(number: int) -> None:
        begun.append(number)
        await gate.wait()

    bench.add("job", waits)
    jobs = [await bench.push("job", [number]) for number in range(20)]
    async with bench.running() as engine:
        # When all slots are taken
        await until(lambda: len(begun) == 5 and not engine._lane.fetcher.oldest)
        # Then no more are lent
        assert len(engine._lane.held) == 5
        assert [await bench.state(job_id) for job_id in jobs].count(State.RUNNING) == 5
        # And all run in the end
        gate.set()
        for job_id in jobs:
            assert await bench.ledger.ending(job_id) == Done()


async def test_a_burst_on_two_fetches_at_once_runs_everything() -> None:
    # Given jobs of which each leaves another one behind, four deep
    bench = Bench(concurrency=3)
    bench.ledger.fetches = 2
    ran: list[int] = []

    async def next_one(number: int) -> None:
        await asyncio.sleep(0)
        ran.append(number)
        if number < 30:
            await bench.push("job", [number + 10])

    bench.add("job", next_one)
    for number in range(10):
        await bench.push("job", [number])
    # When they are run until nothing is left
    async with bench.running(burst=True) as engine:
        await engine.finished.wait()
    # Then all ran
    assert sorted(ran) == [*range(40)]


async def test_what_was_fetched_and_not_begun_goes_back_as_it_came() -> None:
    # Given one slot taken by a handler that blocks the loop until all is fetched
    bench = Bench(concurrency=3)
    order: list[int] = []

    async def first(number: int) -> None:
        order.append(number)
        bench.engine.quiet()

    bench.add("job", first)
    ids = [await bench.push("job", {"number": number}) for number in range(3)]

    # When the first job quiets the worker
    async with bench.running():
        await bench.ledger.ending(ids[0])

    # Then the others are back, in order, with nothing counted
    assert order == [0]
    waiting = await bench.ledger.jobs(State.QUEUED, Window(100))
    assert [view.id for view in waiting] == ids[1:]
    assert [view.job.attempt for view in waiting] == [1, 1]


async def test_an_answer_that_may_not_wait_for_its_turn_goes_back_as_it_came() -> None:
    # Given jobs that were lent to a worker which fetches nothing more
    bench = Bench()
    bench.add("job", lambda: None)
    async with bench.running() as engine:
        engine.quiet()
        lane, ids = engine._lane, [await bench.push("job") for _ in range(3)]
        found = await bench.ledger.fetch(Want(lane.pool.id, 3, 0.0, (Share("job", 3),)), bench.clock.now())
        # When they are handed back
        lane.refuse(found)
        await lane.settler.drained()
    # Then they wait in the order that they had
    assert [view.id for view in await bench.ledger.jobs(State.QUEUED, Window(100))] == ids


class Together(Ledger):
    """The second fetch is answered when the third has found something, too, which is told right behind."""

    fetches = 2

    def __init__(self) -> None:
        super().__init__()
        self._third = asyncio.Event()
        self._asked = 0

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        self._asked += 1
        number, found = self._asked, await super().fetch(want, now)
        if number == 2:
            await self._third.wait()
        elif number == 3:
            self._third.set()
            await asyncio.sleep(0)
        return found


async def test_what_waits_for_its_turn_goes_back_behind_what_was_fetched_before_it() -> None:
    # Given two answers of which the second waits for its turn, and a job of the first that quiets the worker
    backend = Together()
    bench = Bench(concurrency=6, backend=backend)
    bench.ledger, ran = backend, list[int]()

    async def note(number: int) -> None:
        ran.append(number)
        if number == 3:
            bench.engine.quiet()

    bench.add("job", note)
    ids = [await bench.push("job", [number]) for number in range(9)]

    # When all has gone back that was not begun
    async with bench.running(), asyncio.timeout(PATIENCE):
        await until(lambda: len(ran) == 4)

    # Then it waits in the order that it had
    assert ran == [0, 1, 2, 3]
    waiting = await bench.ledger.jobs(State.QUEUED, Window(100))
    assert [view.id for view in waiting] == ids[4:]


async def test_snoozed_and_discarded_endings_are_counted(bench: Bench) -> None:
    bench.add("snooze", lambda: Snooze(60))
    bench.add("discard", lambda: Discard("no"))
    bench.add("bury", throw(ValueError("x")), max_fails=1)
    async with bench.running() as engine:
        assert isinstance(await bench.run("snooze"), Snoozed)
        assert await bench.run("discard") == Discarded("no")
        assert await bench.run("bury") == Buried("ValueError: x")
        assert engine.stats == Stats(snoozed=1, discarded=1, buried=1)
        assert engine.stats.ran == 3


async def test_a_failure_is_logged_once_and_a_death_with_its_traceback(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="worksong")
    bench.add("fail", throw(ValueError("x")), backoff=retry.fixed(30))
    bench.add("die", throw(ValueError("y")), max_fails=1)
    async with bench.running():
        failed = await bench.push("fail")
        await bench.ledger.ending(failed)
        died = await bench.push("die")
        await bench.ledger.ending(died)
    assert [record.getMessage() for record in caplog.records] == [
        f"job {failed} (fail) failed, tries again in 30 s: ValueError: x",
        f"job {died} (die) is dead: ValueError: y",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


class LateAnswer(Ledger):
    """The second fetch finds nothing, and its answer arrives when all that was lent has been settled."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self._settled = asyncio.Event()
        self._fetches = 0

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        self._fetches += 1
        found = await super().fetch(want, now)
        if self._fetches == 2:
            self.asked.set()
            await self._settled.wait()
            await asyncio.sleep(0.01)
        return found

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        held = await super().settle(batch, now)
        self._settled.set()
        return held


async def test_a_burst_goes_on_when_a_job_that_ends_during_the_last_look_left_another() -> None:
    # Given a handler that enqueues another job after the server has found nothing more, and ends
    backend = LateAnswer()
    bench = Bench(backend=backend)
    bench.ledger = backend

    async def first() -> None:
        await backend.asked.wait()
        await bench.push("second")

    ran: list[str] = []
    bench.add("first", first)
    bench.add("second", lambda: ran.append("second"))
    await bench.push("first")

    # When a burst has nothing left to do
    async with bench.running(burst=True) as engine, asyncio.timeout(PATIENCE):
        await engine.finished.wait()

    # Then that one has run, too
    assert ran == ["second"]
