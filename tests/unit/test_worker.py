"""The life of a worker: started and stopped, by whom and how often, and what becomes of its jobs then."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine_bench import Ledger, on, until
from patience import PATIENCE
from worksong import (
    Context,
    Handle,
    Job,
    NotStarted,
    ResultTimeout,
    Stopped,
    Worker,
    WorksongError,
    current,
)
from worksong.adapters.memory import MemoryBackend
from worksong.domain.errors import BackendUnavailable
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Released
from worksong.ports.backend import Pool
from worksong.shift import Shift
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error


def nothing() -> None: ...


def add(a: int, b: int = 1) -> int:
    return a + b


def test_a_stop_before_the_start_is_no_stop() -> None:
    worker = Worker()
    worker.register("x", nothing)
    worker.stop()
    worker.stop()
    assert worker.perform(Job("x"))
    assert worker.admin.counts()[State.QUEUED] == 1


def test_stopping_twice_is_stopping_once() -> None:
    worker = Worker()
    worker.start()
    worker.stop()
    worker.stop()
    with pytest.raises(Stopped):
        worker.perform(Job("x"))


def test_starting_twice_is_starting_once() -> None:
    worker = Worker()
    worker.start()
    worker.start()
    assert len(worker.admin.pools()) == 1
    worker.stop()
    assert worker.admin.pools() == []


def test_starting_from_many_threads_is_starting_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that takes its time to enlist a pool
    class Slow(Ledger):
        async def enlist(self, pool: Pool, now: float) -> None:
            for _ in range(50):
                await asyncio.sleep(0)
            await super().enlist(pool, now)

    worker = on(Slow(), monkeypatch)

    # When many threads start the worker at once, then there is one pool
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: worker.start(), range(8)))
    assert len(worker.admin.pools()) == 1
    worker.stop()
    assert worker.admin.pools() == []


def test_a_start_that_fails_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that is away for one call
    ledger = Ledger()
    worker = on(FlakyBackend(ledger, {"enlist": [error]}), monkeypatch)
    ran = threading.Event()
    worker.register("x", ran.set)

    # When the worker is started, then it says so; and it can be started again
    with pytest.raises(BackendUnavailable):
        worker.start()
    assert worker.perform(Job("x"))
    worker.start()
    assert ran.wait(PATIENCE)
    worker.stop()


async def test_async_with_starts_and_stops(worker: Worker) -> None:
    async with worker as same:
        assert same is worker
        assert len(await worker.admin.apools()) == 1
    assert await worker.admin.apools() == []
    with pytest.raises(Stopped):
        await worker.aperform(Job("x"))


async def test_async_with_stops_when_its_body_fails(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with worker:
            raise ZeroDivisionError
    assert await worker.admin.apools() == []


async def test_what_is_registered_after_the_start_runs_too(worker: Worker, backend: Ledger) -> None:
    # Given a worker that is started
    worker.register("x", nothing)
    seen: list[str] = []
    async with worker:
        # When more is registered, and more stands around
        worker.register("late", add, aliases="later")

        @worker.middleware
        async def note(context: Context, call_next: Any) -> Any:
            seen.append(context.job.handler)
            return await call_next(context)

        # Then that runs
        for name in ("late", "later"):
            handle = await worker.aperform(Job(name, {"a": 1}))
            assert handle
            assert await backend.ending(handle.id) == Done(2)
    assert seen == ["late", "later"]


async def test_what_is_registered_after_the_start_is_announced(
    backend: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a running pool
    clock = FakeClock()
    worker = on(backend, monkeypatch, clock=clock)
    worker.register("x", nothing)
    async with worker:
        await clock.aadvance(1.0)

        # When more is registered, then its next beat says so, under the same id
        [before] = await worker.admin.apools()
        worker.register("late", nothing, max_concurrency=3)
        await clock.aadvance(1.0)
        [after] = await worker.admin.apools()
        assert (before.handlers, after.handlers) == (("x",), ("late", "x"))
        assert before.id == after.id
        assert backend._store.limits == {"late": 3}


# stopping


async def test_a_graceful_stop_waits_for_running_jobs(worker: Worker, backend: Ledger) -> None:
    # Given a running job
    begun, gate = asyncio.Event(), asyncio.Event()

    @worker.job()
    async def waits() -> str:
        begun.set()
        await gate.wait()
        return "done"

    await worker.astart()
    handle = await waits.aperform()
    await begun.wait()

    # When the worker is stopped, then it waits for it
    stopping = asyncio.create_task(worker.astop(PATIENCE))
    await asyncio.sleep(0)
    assert not stopping.done()
    gate.set()
    await stopping
    assert backend.endings[handle.id] == [Done("done")]


@pytest.mark.parametrize("threaded", [False, True])
async def test_after_its_grace_a_stop_hands_jobs_back_to_the_front(
    backend: Ledger, monkeypatch: pytest.MonkeyPatch, threaded: bool
) -> None:
    # Given a job that takes long, and another behind it
    worker = on(backend, monkeypatch, concurrency=1)
    release, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def waits(number: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    def blocks(number: int) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(PATIENCE)

    slow = worker.job(name="slow")(blocks if threaded else waits)
    await worker.astart()
    handles = [await slow.aperform(1)]
    await begun.wait()
    handles.append(await slow.aperform(2))

    # When the worker is stopped without grace
    await worker.astop(0)

    # Then the job is back in front of the other, and no attempt is counted
    waiting = await worker.admin.alist(State.QUEUED)
    assert [view.id for view in waiting] == [handle.id for handle in handles]
    assert [view.job.attempt for view in waiting] == [1, 1]
    assert [view.job.error for view in waiting] == ["", ""]
    assert backend.endings[handles[0].id] == [Released()]

    # And it runs first when the worker is started again
    release.set()
    begun.clear()
    await worker.astart()
    await begun.wait()
    [running] = await worker.admin.alist(State.RUNNING)
    assert running.id == handles[0].id
    await worker.astop(0)


async def test_a_quiet_worker_finishes_what_runs_and_fetches_nothing_more(worker: Worker, backend: Ledger) -> None:
    # Given a running job
    begun, gate = asyncio.Event(), asyncio.Event()

    @worker.job()
    async def waits() -> None:
        begun.set()
        await gate.wait()

    async with worker:
        first = await waits.aperform()
        await begun.wait()

        # When the worker is made quiet, and more is enqueued
        worker.quiet()
        second = await waits.aperform()
        gate.set()

        # Then the first one ends, and the second waits
        assert await backend.ending(first.id) == Done()
        for _ in range(50):
            await asyncio.sleep(0)
        view = await worker.admin.ajob(second.id)
        assert view
        assert view.state is State.QUEUED


def test_quiet_without_a_start_is_nothing() -> None:
    Worker().quiet()


def test_a_function_may_enqueue_while_the_worker_waits_for_it_to_stop() -> None:
    # Given a function in a thread that will enqueue when the worker is being stopped
    worker = Worker()
    begun, stopping = threading.Event(), threading.Event()
    enqueued: list[Handle[Any] | None] = []

    @worker.job()
    def enqueues() -> None:
        begun.set()
        stopping.wait(PATIENCE)
        enqueued.extend((enqueues.perform_in(0), enqueues.perform_in(5)))

    worker.start()
    enqueues.perform()
    assert begun.wait(PATIENCE)

    # When it is stopped, then the run ends well, and only what comes after the stop is refused
    threading.Timer(0.05, stopping.set).start()
    worker.stop(PATIENCE)
    assert len(enqueued) == 2
    assert worker.stats.done == 1
    with pytest.raises(Stopped):
        enqueues.perform()


async def test_a_coroutine_may_enqueue_while_the_worker_waits_for_it_to_stop(worker: Worker) -> None:
    # Given a handler that will enqueue when the worker is being stopped
    begun, stopping = asyncio.Event(), asyncio.Event()

    @worker.job()
    async def enqueues() -> None:
        begun.set()
        await stopping.wait()
        await enqueues.aperform()

    await worker.astart()
    await enqueues.aperform()
    await begun.wait()

    # When it is stopped, then the run ends well, and only what comes after the stop is refused
    stop = asyncio.create_task(worker.astop(PATIENCE))
    await asyncio.sleep(0)
    stopping.set()
    await stop
    assert worker.stats.done == 1
    with pytest.raises(Stopped):
        await enqueues.aperform()


async def test_a_stop_whose_caller_gives_up_goes_on_and_can_be_waited_for_again(worker: Worker) -> None:
    # Given a job that runs, and a stop that is given up while it waits
    begun, end = asyncio.Event(), asyncio.Event()

    @worker.job()
    async def slow() -> None:
        begun.set()
        await end.wait()

    await worker.astart()
    await slow.aperform()
    await begun.wait()
    given_up = asyncio.create_task(worker.astop(PATIENCE))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])

    # When the job ends, then so does a second stop, and the pool is gone
    end.set()
    await worker.astop(PATIENCE)
    assert worker.stats.done == 1
    assert await worker.admin.apools() == []


def test_a_program_that_leaves_without_a_stop_comes_to_its_end() -> None:
    program = """
import asyncio
from worksong import Worker
async def main():
    await Worker().astart()
    raise SystemExit(3)
asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=False)

    assert ran.returncode == 3


def test_a_worker_forgets_the_loops_that_are_closed() -> None:
    worker = Worker()
    worker.register("add", add)

    for _ in range(5):
        asyncio.run(worker.aperform(Job("add", {"a": 1})))

    assert worker._stores.jobs.loops == 1


async def test_delayed_jobs_survive_a_stop(backend: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job for later, on a worker that is stopped meanwhile
    clock = FakeClock()
    worker = on(backend, monkeypatch, clock=clock)
    worker.register("x", add)
    async with worker:
        handle = await worker.aperform_in(Job("x", {"a": 1}), 3600)
    assert handle
    await clock.aadvance(7200)

    # When it is started again after the time, then the job runs
    async with worker:
        await clock.aadvance(1)
        assert await backend.ending(handle.id) == Done(2)


# several threads and loops


def test_a_blocking_call_in_the_workers_own_loop_is_refused_and_told() -> None:
    # Given a worker in the background, and a coroutine that enqueues by the blocking call
    worker = Worker()
    told: list[str] = []
    ended = threading.Event()

    @worker.job()
    async def enqueues() -> None:
        for call in (lambda: worker.perform(Job("enqueues")), worker.admin.counts, worker.stop):
            try:
                call()
            except WorksongError as refused:
                told.append(str(refused))
        ended.set()

    worker.start()
    enqueues.perform()

    # When it runs, then it is told what to call instead, and nothing hangs
    assert ended.wait(PATIENCE)
    worker.stop()
    assert (
        told
        == ["this call would wait for the very loop it is made in: use its twin with `a` in front, as in aperform"] * 3
    )


async def test_a_blocking_stop_in_the_loop_the_worker_runs_in_is_refused(worker: Worker) -> None:
    async with worker:
        with pytest.raises(WorksongError, match="this call would wait for the very loop it is made in"):
            worker.stop()
        assert len(await worker.admin.apools()) == 1


def test_threads_and_loops_may_all_enqueue_to_one_worker() -> None:
    # Given a worker in the background
    worker = Worker()
    seen: list[int] = []
    all_there, guard = threading.Event(), threading.Lock()

    @worker.job()
    def note(number: int) -> None:
        with guard:
            seen.append(number)
            if len(seen) == 800:
                all_there.set()

    @worker.job()
    async def note_later(number: int) -> None:
        await note.aperform(number)

    def by_calls(start: int) -> None:
        for number in range(start, start + 100):
            (note if number % 2 else note_later).perform(number)

    def by_loop(start: int) -> None:
        async def enqueue() -> None:
            await asyncio.gather(*(note.aperform(number) for number in range(start, start + 100)))

        asyncio.run(enqueue())

    # When four threads enqueue by calls, and four by loops of their own
    worker.start()
    with ThreadPoolExecutor(8) as threads:
        for index in range(8):
            threads.submit(by_calls if index % 2 else by_loop, index * 100)

    # Then everything runs exactly once
    assert all_there.wait(PATIENCE)
    worker.stop()
    assert sorted(seen) == list(range(800))


async def test_a_worker_in_one_loop_can_be_stopped_from_another_thread(worker: Worker) -> None:
    await worker.astart()
    await asyncio.to_thread(worker.stop)
    assert await worker.admin.apools() == []


async def test_admin_answers_in_any_loop(worker: Worker) -> None:
    worker.register("x", nothing)
    await worker.aperform(Job("x"))
    here = await worker.admin.acounts()
    assert here == await asyncio.to_thread(worker.admin.counts)
    assert here == await asyncio.to_thread(lambda: asyncio.run(worker.admin.acounts()))


def test_a_burst_in_the_foreground_says_what_it_did() -> None:
    # Given jobs, of which one fails
    worker = Worker()

    @worker.job(max_fails=1)
    async def divide(a: int) -> float:
        return 1 / a

    worker.perform_many([divide.job(number) for number in range(10)])

    # When they are worked off, then the numbers tell
    stats = worker.run(burst=True)
    assert (stats.done, stats.buried, stats.ran) == (9, 1, 10)


def test_no_job_runs_outside_of_a_handler() -> None:
    with pytest.raises(NotStarted, match="no job is running here"):
        current()


def test_statistics_are_empty_before_the_start() -> None:
    assert Worker().stats.ran == 0


async def test_another_thread_may_ask_while_it_stops() -> None:
    # Given a worker that somebody stops between two looks of another thread
    class Stopping(Shift):
        looks = 0

        def __getattribute__(self, name: str) -> Any:
            if name == "engine":
                self.looks += 1
                return super().__getattribute__(name) if self.looks <= 1 else None
            return super().__getattribute__(name)

    asks: list[Callable[[Worker], object]] = [lambda it: it.stats, lambda it: it.silence, lambda it: it.quiet()]
    for ask in asks:
        worker = Worker()
        worker._shift = shift = Stopping(worker, worker._stores, None)
        shift.looks = -1000
        await worker.astart()
        try:
            # When it is asked, then it answers
            shift.looks = 0
            ask(worker)
            assert shift.looks == 1
        finally:
            shift.looks = -1000
            await worker.astop()


ASKED_AT_THE_START: dict[str, Callable[[Worker], object]] = {
    "stats": lambda it: it.stats,
    "silence": lambda it: it.silence,
    "quiet": lambda it: it.quiet(),
    "register": lambda it: it.register("late", nothing),
}


@pytest.mark.parametrize("ask", ASKED_AT_THE_START)
async def test_it_may_be_asked_while_the_server_admits_it(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that takes its time to admit a worker
    entrance = Entrance(monkeypatch)
    worker = Worker()
    starting = asyncio.create_task(worker.astart())
    await entrance.reached.wait()
    # When it is asked for something, then it answers, and starts as ever
    ASKED_AT_THE_START[ask](worker)
    entrance.open.set()
    await starting
    assert worker.was_started
    await worker.astop()


async def test_a_stop_while_the_server_admits_it_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that takes its time to admit a worker
    entrance = Entrance(monkeypatch)
    worker = Worker()
    worker.register("x", nothing)
    starting = asyncio.create_task(worker.astart())
    await entrance.reached.wait()
    # When it is stopped meanwhile
    await worker.astop()
    entrance.open.set()
    await starting
    # Then it is, and has not begun
    assert (worker.was_started, worker.silence) == (False, None)
    with pytest.raises(Stopped):
        await worker.aperform(Job("x"))
    # And it can be started again
    async with worker:
        assert worker.was_started
        assert len(await worker.admin.apools()) == 1


@pytest.mark.parametrize("step", ["admit", "enlist"])
async def test_a_start_that_a_stop_overtakes_leaves_no_connection(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker that keeps results apart and tells its release, at a server that takes its time
    entrance = Entrance(monkeypatch, step)
    worker = Worker(results="memory://")
    worker.release = "1.0"
    worker.register("x", nothing)
    starting = asyncio.create_task(worker.astart())
    await entrance.reached.wait()
    # When it is stopped meanwhile
    await worker.astop()
    entrance.open.set()
    await starting
    # Then nothing is open that nobody would close
    stores = worker._stores
    assert [store.loops for store in (stores.jobs, stores.apart) if store] == [0, 0]


class Entrance:
    """To a memory that admits nobody before it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str = "admit") -> None:
        """`step`: what takes so long, of those that lead in."""
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        usual: Callable[..., Awaitable[Any]] = getattr(MemoryBackend, step)

        async def let_in(*asked: Any) -> Any:
            self.reached.set()
            await self.open.wait()
            return await usual(*asked)

        monkeypatch.setattr(MemoryBackend, step, let_in)


async def test_statistics_count_while_it_runs(worker: Worker, backend: Ledger) -> None:
    worker.register("x", add)
    async with worker:
        handles = await worker.aperform_many([Job("x", {"a": 1})] * 3)
        for handle in handles:
            assert handle
            await backend.ending(handle.id)
        await until(lambda: worker.stats.done == 3)


# at exit

FORGOTTEN = """
from worksong import Job, Worker
worker = Worker()
worker.register("x", print)
for _ in range(3):
    {enqueue}
{then}
"""


def exits(enqueue: str, then: str = "") -> Iterator[str]:
    """What a program that ends like this says at its end."""
    program = FORGOTTEN.format(enqueue=enqueue, then=then)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return iter(ran.stderr.splitlines())


@pytest.mark.parametrize("enqueue", ['worker.perform(Job("x"))', 'worker.perform_in(Job("x"), 60)'])
def test_jobs_in_memory_that_were_never_run_are_told_at_exit(enqueue: str) -> None:
    assert list(exits(enqueue)) == [
        "worksong: 3 jobs in memory:// end with this process and were never run; "
        "start the worker in it, or use a backend that keeps them"
    ]


@pytest.mark.parametrize(
    ("enqueue", "then"),
    [("pass", ""), ('worker.perform(Job("x"))', "worker.run(burst=True)"), ("worker.start()", "worker.stop()")],
)
def test_nothing_is_told_when_there_is_nothing_to_tell(enqueue: str, then: str) -> None:
    assert list(exits(enqueue, then)) == []


@pytest.mark.parametrize("kept", ["results", "records"])
def test_a_new_name_is_also_that_of_what_is_kept_apart(kept: str, tmp_path: Path) -> None:
    # Given a worker that is called otherwise than it was made
    apart: dict[str, Any] = {kept: f"sqlite:///{tmp_path}/kept.db"}
    worker = Worker(name="shop", **apart)
    worker.connect("memory://", name="till")
    # When it has run a job
    with on_duty(worker):
        handle = worker.register("add", add).perform(1, b=2)
        assert handle.result(PATIENCE) == 3
    # Then who goes by that name finds what came of it, and who goes by the old one does not
    till, shop = (Worker(name=name, **apart).handle(handle.job.id) for name in ("till", "shop"))
    assert till.result(PATIENCE) == 3
    with pytest.raises(ResultTimeout):
        shop.result(0)


@contextmanager
def on_duty(worker: Worker) -> Generator[None]:
    worker.start()
    yield
    worker.stop()
