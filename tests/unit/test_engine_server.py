"""Whatever the server does, nothing is lost, nothing ends twice, and the worker goes on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
from collections import Counter
from typing import Any

import msgspec
import pytest

from engine_bench import Bench, Hasty, Ledger, as_coroutine, throw, until
from patience import PATIENCE
from worksong import Context, Snooze, current
from worksong.adapters.memory import MemoryBackend
from worksong.domain import cron, retry
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendRefused, BackendUnavailable
from worksong.domain.job import Delivery
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Discarded, Done, Released
from worksong.engine.engine import Engine
from worksong.engine.stats import Stats
from worksong.ports.backend import Backend, Beat, Orders, Pool, Want, Window
from worksong.registry import Periodic
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import Fault, FlakyBackend, error, execute_then_error


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def hundred_good_jobs(bench: Bench) -> None:
    ids = [await bench.push("good", {"number": number}) for number in range(100)]
    assert [await bench.ledger.ending(job_id) for job_id in ids] == [Done(number) for number in range(100)]


async def good(number: int) -> int:
    await asyncio.sleep(0)
    return number


# a server that comes and goes


def faults(chance: random.Random, *kinds: Fault | None) -> list[Fault | None]:
    return [chance.choice(kinds) for _ in range(40)]


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_and_nothing_ends_twice_on_a_flaky_server(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server whose calls fail at random, before they were carried out or after
    ledger, chance = Ledger(), random.Random(seed)
    plan = {
        "settle": faults(chance, None, error, execute_then_error),
        "fetch": faults(chance, None, error, error),
        **{name: faults(chance, None, error, execute_then_error) for name in ("beat", "promote", "reap", "prune")},
    }
    bench = Bench(backend=FlakyBackend(ledger, plan), clock=Hasty(), concurrency=8)
    bench.ledger = ledger
    runs: Counter[int] = Counter()

    async def counts(number: int) -> int:
        runs[number] += 1
        await asyncio.sleep(0)
        return number

    bench.add("count", counts)

    # When a worker works off three hundred jobs
    async with bench.running() as engine:
        ids = [await bench.push("count", {"number": number}) for number in range(300)]
        endings = [await ledger.ending(job_id) for job_id in ids]
        await engine._lane.settler.drained()

    # Then every job has run and ended exactly once, and nobody was told otherwise
    assert endings == [Done(number) for number in range(300)]
    assert [len(found) for found in ledger.endings.values()] == [1] * 300
    assert set(runs.values()) == {1}
    assert (engine.stats.refused, engine.stats.released, engine.stats.retried) == (0, 0, 0)
    assert set((await ledger.counts()).values()) == {0}
    assert caplog.records == []


async def test_a_stop_without_the_server_leaves_no_task_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that goes away while a job runs
    monkeypatch.setattr("worksong.engine.engine.CANCEL_PATIENCE", 0.05)
    ledger = Ledger()
    flaky = FlakyBackend(ledger)
    bench = Bench(backend=flaky)
    bench.ledger = ledger
    ran = asyncio.Event()

    async def runs() -> None:
        ran.set()

    bench.add("job", runs)
    before = asyncio.all_tasks()

    # When the worker is stopped, then it stops, and says what becomes of the job
    async with bench.running():
        for method in ("settle", "leave"):
            flaky.expect(method, itertools.repeat(error))
        job_id = await bench.push("job")
        await ran.wait()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert await bench.state(job_id) is State.RUNNING
    assert "stopped without the server" in caplog.text
    assert "what was running runs again when the pool is reaped" in caplog.text


async def test_a_fetch_that_fails_unexpectedly_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    # Given a backend with a bug, which shows twice
    bench = Bench(clock=Hasty())
    bench.add("good", good)
    fetch = bench.ledger.fetch
    failures = [ZeroDivisionError("a bug"), BackendRefused("WRONGTYPE")]

    async def broken(want: Want, now: float) -> list[Delivery]:
        if failures:
            raise failures.pop()
        return await fetch(want, now)

    bench.ledger.fetch = broken  # type: ignore[method-assign]

    # When a worker fetches, then it says so, and jobs run in the end
    async with bench.running():
        await hundred_good_jobs(bench)
    assert [record.getMessage() for record in caplog.records] == [
        "fetching jobs failed, trying again every second: WRONGTYPE",
        "fetching jobs failed, trying again every second: a bug",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


async def test_a_start_without_the_server_fails_and_can_be_repeated() -> None:
    # Given a server that is away at first
    ledger = Ledger()
    bench = Bench(backend=FlakyBackend(ledger, {"enlist": [error]}))
    bench.ledger = ledger
    bench.add("good", good)

    # When a worker starts, then it says so; and when it starts again, it works
    with pytest.raises(BackendUnavailable):
        async with bench.running():
            raise AssertionError("it has started")
    async with bench.running():
        await hundred_good_jobs(bench)


async def test_a_stop_while_it_starts_leaves_nothing_running(bench: Bench) -> None:
    # Given a server that takes its time to enlist a pool
    gate, asked = asyncio.Event(), asyncio.Event()
    enlist = bench.ledger.enlist

    async def slow(pool: Pool, now: float) -> None:
        asked.set()
        await gate.wait()
        await enlist(pool, now)

    bench.ledger.enlist = slow  # type: ignore[method-assign]
    before = asyncio.all_tasks()
    engine = Engine(bench.ledger, bench.registry, clock=bench.clock)

    # When the engine is stopped meanwhile
    starting = asyncio.create_task(engine.start())
    await asked.wait()
    await engine.stop(0)
    gate.set()
    await starting

    # Then no pool is left, and no task
    assert await bench.ledger.pools() == []
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_worker_told_to_be_quiet_while_it_starts_fetches_nothing(bench: Bench) -> None:
    # Given a job, and a server that takes its time to enlist a pool
    gate, asked = asyncio.Event(), asyncio.Event()
    enlist = bench.ledger.enlist

    async def slow(pool: Pool, now: float) -> None:
        asked.set()
        await gate.wait()
        await enlist(pool, now)

    bench.ledger.enlist = slow  # type: ignore[method-assign]
    bench.add("good", good)
    job_id = await bench.push("good")
    # When the engine is told to be quiet meanwhile
    engine = Engine(bench.ledger, bench.registry, clock=bench.clock)
    starting = asyncio.create_task(engine.start())
    await asked.wait()
    engine.quiet()
    gate.set()
    await starting
    for _ in range(50):
        await asyncio.sleep(0)
    # Then it has begun, and the job still waits
    assert len(await bench.ledger.pools()) == 1
    assert [view.id for view in (await bench.ledger.jobs(State.QUEUED, Window(10))).jobs] == [job_id]
    await engine.stop(0)


async def test_a_start_given_up_while_the_server_enlists_the_pool_leaves_no_pool(bench: Bench) -> None:
    # Given a server that has enlisted the pool, and does not say so
    enlisted = asyncio.Event()
    enlist = bench.ledger.enlist

    async def silent(pool: Pool, now: float) -> None:
        await enlist(pool, now)
        enlisted.set()
        await asyncio.Event().wait()

    bench.ledger.enlist = silent  # type: ignore[method-assign]
    engine = Engine(bench.ledger, bench.registry, clock=bench.clock)

    # When the start is given up
    starting = asyncio.create_task(engine.start())
    await enlisted.wait()
    starting.cancel()
    await asyncio.wait([starting])

    # Then no pool is left that others would have to reap
    assert starting.cancelled()
    assert await bench.ledger.pools() == []


async def test_an_idle_worker_does_not_wait_for_a_server_that_never_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that hears a farewell and answers nothing
    monkeypatch.setattr("worksong.engine.engine.LEAVE_PATIENCE", 0.05)

    async def never(pool: Pool, now: float) -> int:
        await asyncio.Event().wait()
        raise AssertionError

    bench.ledger.leave = never  # type: ignore[method-assign]
    bench.add("good", good)

    # When a worker that holds nothing stops, then it ends
    async with asyncio.timeout(PATIENCE), bench.running():
        await hundred_good_jobs(bench)
    assert [record.getMessage() for record in caplog.records] == [
        "stopped without an answer of the server: the pool will be reaped"
    ]


# taken for dead


@pytest.fixture
def turned() -> Bench:
    """A bench whose time the test turns."""
    return Bench(clock=FakeClock(), concurrency=3)


async def _advance(bench: Bench, seconds: float) -> None:
    assert isinstance(bench.clock, FakeClock)
    await bench.clock.aadvance(seconds)


async def test_an_evicted_pool_stops_its_jobs_and_goes_on_under_a_new_id(
    turned: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a worker that runs three jobs, and has two more waiting
    bench, gate, begun = turned, asyncio.Event(), Counter[str]()
    lost: list[bool] = []

    async def waits() -> str:
        context = current()
        begun[context.job.id] += 1
        if begun[context.job.id] == 1:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                lost.append(context.lease_lost)
                raise
        return context.job.id

    bench.add("job", waits)
    async with bench.running() as engine:
        ids = [await bench.push("job") for _ in range(3)]
        await until(lambda: len(begun) == 3)

        # When the pool is taken for dead, and hears so at its next beat
        [first] = bench.pools
        found = await bench.ledger.reap(bench.clock.now(), bench.clock.monotonic(), dead=[first])
        assert (found.pools, found.recovered) == ((first,), 3)
        await _advance(bench, 1.0)

        # Then its jobs were cancelled and told that their lease is lost, and run again in a new pool
        endings = [await bench.ledger.ending(job_id) for job_id in ids]
        assert lost == [True] * 3
        assert endings == [Done(job_id) for job_id in ids]
        assert dict(begun) == dict.fromkeys(ids, 2)
        assert engine._lane.pool.id != first
        assert engine._lane.held == {}

        # And nothing was settled twice: what the old pool handed back was refused
        assert [len(bench.ledger.endings[job_id]) for job_id in ids] == [1, 1, 1]
        assert all(one.outcome == Released() for one in bench.ledger.refused)
        assert engine.stats.done == 3
        assert [view.id for view in await bench.ledger.pools()] == [engine._lane.pool.id]
        assert f"pool {first} was taken for dead" in caplog.text

        # And the new pool beats, so that nobody takes it for dead
        for _ in range(20):
            await _advance(bench, 1.0)
            await bench.ledger.reap(bench.clock.now(), bench.clock.monotonic())
        assert len(await bench.ledger.pools()) == 1


async def test_an_evicted_job_that_ends_all_the_same_changes_nothing(turned: Bench) -> None:
    # Given a handler that does not let itself be cancelled
    bench, begun = turned, Counter[str]()
    gate = asyncio.Event()

    async def stubborn() -> int:
        job_id = current().job.id
        begun[job_id] += 1
        run = begun[job_id]
        while run == 1 and not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        return run

    bench.add("job", stubborn)
    async with bench.running() as engine:
        job_id = await bench.push("job")
        await until(lambda: begun)

        # When its pool is taken for dead, and it ends much later
        await bench.ledger.reap(bench.clock.now(), bench.clock.monotonic(), dead=bench.pools)
        await _advance(bench, 1.0)
        assert await bench.ledger.ending(job_id) == Done(2)
        gate.set()
        await engine._lane.settler.drained()
        await _advance(bench, 1.0)

        # Then only the second run has counted
        assert bench.ledger.endings[job_id] == [Done(2)]
        assert engine.stats.done == 1


async def test_what_a_fetch_brings_after_an_eviction_goes_back(turned: Bench) -> None:
    # Given a fetch whose answer is under way
    bench, asked, answer, ran = turned, asyncio.Event(), asyncio.Event(), list[str]()
    fetch = bench.ledger.fetch

    async def slow(want: Want, now: float) -> list[Delivery]:
        found = await fetch(want, now)
        if found and not answer.is_set():
            asked.set()
            await answer.wait()
        return found

    async def job() -> None:
        ran.append(current().job.id)

    bench.ledger.fetch = slow  # type: ignore[method-assign]
    bench.add("job", job)
    async with bench.running():
        job_id = await bench.push("job")
        await asked.wait()

        # When its pool is taken for dead, and the answer comes
        await bench.ledger.reap(bench.clock.now(), bench.clock.monotonic(), dead=bench.pools)
        await _advance(bench, 1.0)
        answer.set()

        # Then what it brought is not run on the old claim, but on a new one, once
        assert await bench.ledger.ending(job_id) == Done()
        await _advance(bench, 1.0)
        assert ran == [job_id]
        assert [one.outcome for one in bench.ledger.refused] == [Released()]


async def test_what_waits_for_a_slot_when_the_pool_is_evicted_goes_back_in_order() -> None:
    # Given a worker of one slot that was told of an eviction by its first job, in the middle of three
    bench, ran = Bench(concurrency=3), list[int]()

    async def note(number: int) -> None:
        ran.append(number)
        if ran == [0]:
            pool = bench.engine._lane.pool
            bench.engine._lane.move_to(msgspec.structs.replace(pool, id="another"))

    bench.add("note", note)
    ids = [await bench.push("note", {"number": number}) for number in range(3)]

    # When all have run, then each did so once, in order
    async with bench.running():
        for job_id in ids:
            await bench.ledger.ending(job_id)
        await until(lambda: len(ran) == 3)
    assert ran == [0, 1, 2]


async def test_a_lost_delivery_is_stopped_and_not_settled(turned: Bench) -> None:
    # Given a worker that runs two jobs
    bench, gate, contexts = turned, asyncio.Event(), list[Context]()

    async def waits() -> str:
        contexts.append(current())
        await gate.wait()
        return "done"

    bench.add("job", waits)
    bench.add("good", good)
    async with bench.running() as engine:
        lost, kept = await bench.push("job"), await bench.push("job")
        await until(lambda: len(contexts) == 2)

        # When a beat answers that one of them is somebody else's
        [delivery] = [one for one in engine._lane.held.values() if one.job.id == lost]
        bench.ledger.orders = Orders(lost=(delivery,))
        await _advance(bench, 1.0)

        # Then that one is stopped, and the other goes on
        told = {context.job.id: context.lease_lost for context in contexts}
        assert told == {lost: True, kept: False}
        gate.set()
        assert await bench.ledger.ending(kept) == Done("done")
        await _advance(bench, 1.0)
        assert (bench.ledger.endings[lost], bench.ledger.refused) == ([], [])

        # And its slot is free for others
        await hundred_good_jobs(bench)


async def test_a_cancelled_job_hears_so_at_the_next_beat(turned: Bench) -> None:
    # Given a running job
    bench, begun = turned, asyncio.Event()

    async def waits() -> None:
        begun.set()
        await asyncio.Event().wait()

    bench.add("job", waits)
    async with bench.running() as engine:
        job_id = await bench.push("job")
        await begun.wait()

        # When it is cancelled
        assert await bench.ledger.cancel(job_id, bench.clock.now())
        await _advance(bench, 1.0)

        # Then it ends, and is not run again
        assert await bench.ledger.ending(job_id) == Discarded("cancelled")
        assert await bench.state(job_id) is None
        assert engine.stats == Stats(discarded=1)


# upkeep


@pytest.mark.parametrize(
    ("method", "step"), [("beat", 0.5), ("promote", 0.5), ("reap", 2.0), ("prune", 10.0), ("push", 10.0)]
)
@pytest.mark.parametrize("failure", [error, execute_then_error])
async def test_upkeep_goes_on_when_the_server_comes_back(
    turned: Bench, method: str, step: float, failure: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that is away for one of the loops
    flaky = FlakyBackend(turned.ledger, {method: [failure] * 5})
    turned.backend = flaky
    turned.add("tick", as_coroutine(lambda: None))
    turned.registry.periodic.append(Periodic(cron.parse("* * * * *"), "tick", None, "default"))

    # When the time passes
    async with turned.running():
        await _advance(turned, 0)
        for _ in range(400):
            await _advance(turned, step)
            if flaky.calls[method] > 6:
                break

        # Then it was tried again until it succeeded, and further on; and nothing was said again and again
        assert flaky.calls[method] > 6
        assert caplog.records == []
        assert len(await turned.ledger.pools()) == 1


@pytest.mark.parametrize("failure", [BackendRefused("READONLY"), ZeroDivisionError("a bug")])
async def test_one_loop_that_fails_does_not_end_the_others(
    turned: Bench, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a store that refuses to be pruned, or has a bug there
    async def prune(now: float) -> int:
        raise failure

    turned.ledger.prune = prune  # type: ignore[method-assign]
    turned.add("good", good)

    # When the time passes, then each try is told, and the worker beats and works
    async with turned.running():
        for _ in range(3):
            await _advance(turned, 300.0)
        [view] = await turned.ledger.pools()
        assert view.heartbeat_at == turned.clock.now()
        await hundred_good_jobs(turned)
    told = {record.getMessage() for record in caplog.records}
    assert told == {f"upkeep (prune): {failure}"}
    assert len(caplog.records) <= 4


async def test_beats_go_on_while_a_handler_blocks_the_loop() -> None:
    # Given a store that other processes watch, and one that counts its beats
    beaten = threading.Semaphore(0)

    class Shared(Ledger):
        capabilities = frozenset(Capability)

        def sibling(self) -> MemoryBackend:
            return _Sibling(self, beaten)

    bench = Bench(clock=FakeClock())
    bench.ledger = bench.backend = Shared()
    clock = bench.clock

    async def blocks() -> int:
        assert isinstance(clock, FakeClock)
        beats = 0
        for _ in range(5):
            clock.advance(1.0)
            beats += beaten.acquire(timeout=PATIENCE)
        return beats

    bench.add("blocks", blocks)

    # When a handler blocks the loop for five seconds, then there are five beats meanwhile
    async with bench.running():
        assert beaten.acquire(timeout=PATIENCE)
        assert await bench.run("blocks") == Done(5)


class _Sibling(MemoryBackend):
    def __init__(self, other: MemoryBackend, beaten: threading.Semaphore) -> None:
        super().__init__()
        self._store, self._bells, self._beaten = other._store, other._bells, beaten

    async def beat(self, beat: Beat, now: float) -> Orders:
        orders = await super().beat(beat, now)
        asyncio.get_running_loop().call_later(0.005, self._beaten.release)  # when the next sleep has begun
        return orders


# burst


async def test_a_burst_ends_when_nothing_is_left_to_do(bench: Bench) -> None:
    # Given jobs that enqueue others, fail, snooze, and are scheduled
    async def spawns(depth: int) -> None:
        await asyncio.sleep(0)
        if depth:
            for _ in range(2):
                await bench.push("spawn", {"depth": depth - 1})

    bench.add("spawn", spawns)
    bench.add("fail", throw(ValueError("x")), backoff=retry.fixed(3600))
    bench.add("snooze", lambda: Snooze(3600))
    await bench.push("spawn", {"depth": 4})
    await bench.push("fail")
    await bench.push("snooze")
    await bench.push("spawn", {"depth": 0}, run_at=bench.clock.now() + 3600)

    # When a burst runs
    async with bench.running(burst=True) as engine, asyncio.timeout(PATIENCE):
        await engine.finished.wait()

        # Then all that was due is done, what comes later waits
        assert engine.stats == Stats(done=31, retried=1, snoozed=1)
    counts = await bench.ledger.counts()
    assert (counts[State.QUEUED], counts[State.RETRY], counts[State.SCHEDULED]) == (0, 1, 2)


async def test_a_burst_without_jobs_ends_at_once(bench: Bench) -> None:
    bench.add("good", good)
    async with bench.running(burst=True) as engine, asyncio.timeout(PATIENCE):
        await engine.finished.wait()


async def test_a_burst_without_job_types_ends_at_once(bench: Bench) -> None:
    async with bench.running(burst=True) as engine, asyncio.timeout(PATIENCE):
        await engine.finished.wait()


# queues where a job type is its queue


class Typed(Ledger):
    """A backend on which a job type is its queue."""

    capabilities = Ledger.capabilities - {Capability.QUEUES}


@pytest.mark.parametrize(
    ("queues", "weights"),
    [
        (None, {"a": 1, "b": 5, "c": 1}),
        (["b", "a"], {"b": 5, "a": 1}),
        ({"b": 7, "a": 2}, {"b": 7, "a": 2}),
        ({"b": 7, "unknown": 2}, {"b": 7}),
    ],
)
async def test_the_queues_asked_for_choose_and_weigh_the_job_types(
    queues: Any, weights: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    # Given three job types
    bench, ran = Bench(), list[str]()
    bench.ledger = bench.backend = Typed()
    for name, priority in (("a", 1), ("b", 5), ("c", 1)):
        bench.add(name, lambda: ran.append(current().job.handler), priority=priority)
    engine = Engine(bench.backend, bench.registry, clock=bench.clock, queues=queues)

    # When a worker of certain queues runs, then it takes those types by those weights
    assert engine._weights() == weights
    for name in "abc":
        await bench.push(name)
    await engine.start(burst=True)
    await engine.finished.wait()
    await engine.stop(0)
    assert sorted(ran) == sorted(weights)
    assert ("queues ['unknown'] are no job types of this worker" in caplog.text) is ("unknown" in (queues or ()))


async def test_a_backend_with_planned_faults_has_every_method_of_a_backend() -> None:
    flaky = FlakyBackend(Ledger(), {"wait_result": [error]})
    assert [name for name in dir(Backend) if not name.startswith("_") and not hasattr(flaky, name)] == []
    with pytest.raises(BackendUnavailable):
        await flaky.wait_result("a", 0.0)
    assert await flaky.result("a") is None
