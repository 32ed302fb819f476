"""Plain functions with nothing around them: they can be given up, lost or handed back like any other job."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
import pytest

from engine_bench import Bench, until
from patience import PATIENCE
from worksong import Context, Job, current
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Discarded, Done, Released, Retried
from worksong.engine.engine import Engine
from worksong.engine.stats import Stats
from worksong.ports.backend import Orders


class Gates:
    """Functions that wait in their threads for a gate of their own."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = {}
        self.begun: asyncio.Queue[Context] = asyncio.Queue()
        self.through: list[str] = []
        self._loop = asyncio.get_running_loop()

    def wait(self) -> str:
        context = current()
        gate = self.gates.setdefault(context.job.id, threading.Event())
        self._loop.call_soon_threadsafe(self.begun.put_nowait, context)
        gate.wait(PATIENCE)
        self.through.append(context.job.id)
        return "done"

    async def present(self, count: int) -> list[Context]:
        """The next `count` that have begun."""
        async with asyncio.timeout(PATIENCE):
            return [await self.begun.get() for _ in range(count)]

    def open(self) -> None:
        for gate in self.gates.values():
            gate.set()


@pytest.fixture
async def gates() -> AsyncIterator[Gates]:
    gates = Gates()
    yield gates
    gates.open()


def _vacant(engine: Engine) -> bool:
    lane = engine._lane
    return sorted(lane._vacant) == list(range(len(lane.slots))) and lane._free == len(lane.slots)


async def test_a_cancelled_function_keeps_no_other_job_from_its_slot(gates: Gates) -> None:
    # Given a worker whose slots are taken by functions
    bench = Bench(concurrency=2)
    bench.add("waits", gates.wait)
    bench.add("good", lambda: "good")
    async with bench.running() as engine:
        cancelled = {await bench.push("waits") for _ in range(2)}
        await gates.present(2)

        # When they are cancelled, and more than once
        for _ in range(2):
            engine._obey(Orders(cancel=frozenset(cancelled)))

        # Then they have ended so, and others run while they are still at it
        assert [await bench.ledger.ending(job_id) for job_id in cancelled] == [Discarded("cancelled")] * 2
        assert await bench.run("good") == Done("good")
        assert gates.through == []

        # And what they say in the end counts no more
        gates.open()
        await until(lambda: len(gates.through) == 2 and not engine._threads._busy)
        assert await bench.run("good") == Done("good")
        assert all(len(found) == 1 for found in bench.ledger.endings.values())
        assert engine._threads._limit == 2
        await until(lambda: _vacant(engine))


async def test_a_function_that_has_not_begun_is_not_called_when_it_was_cancelled(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given one thread for two jobs, and the first takes it
    monkeypatch.setattr("worksong.engine.threads.PATIENCE", 10 * PATIENCE)
    bench, ran = Bench(concurrency=2), list[int]()

    def job(number: int) -> None:
        ran.append(number)

    bench.add("waits", gates.wait)
    bench.add("job", job)
    async with bench.running() as engine:
        first = await bench.push("waits")
        await gates.present(1)
        second = await bench.push("job", {"number": 1})
        await until(lambda: engine._threads._busy == 2)

        # When the second is cancelled before its turn, then it is not called
        engine._threads._limit -= 1  # giving up makes room for one more thread: here it shall wait
        engine._obey(Orders(cancel=frozenset({second})))
        assert await bench.ledger.ending(second) == Discarded("cancelled")
        engine._threads._limit += 1
        gates.open()
        assert await bench.ledger.ending(first) == Done("done")
        await until(lambda: not engine._threads._busy)
        assert ran == []
        assert engine._threads._limit == 2


async def test_of_many_random_cancellations_none_hits_another_function() -> None:
    # Given functions in few threads, some of which end in a failure or with something to await
    chance, bench = random.Random(11), Bench(concurrency=4)

    async def later(job_id: str) -> str:
        await asyncio.sleep(0)
        return job_id

    def job(kind: int) -> Any:
        if kind == 0:
            raise ValueError(current().job.id)
        return later(current().job.id) if kind == 1 else current().job.id

    bench.add("job", job)
    ids = [new_id() for _ in range(1500)]
    jobs = [Job("job", {"kind": chance.randrange(6)}, id=job_id) for job_id in ids]
    await bench.ledger.push(jobs, bench.clock.now())

    # When they run, and whatever runs is cancelled now and then
    asked: set[str] = set()
    async with bench.running() as engine, asyncio.timeout(PATIENCE * 3):
        while len(bench.ledger.endings) < len(ids):
            running = [slot.delivery.job.id for slot in engine._lane.slots if slot]
            if running and chance.random() < 0.5:
                asked.add(chosen := chance.choice(running))
                engine._obey(Orders(cancel=frozenset({chosen})))
            await asyncio.sleep(0)
        await until(lambda: not engine._threads._busy and _vacant(engine))
        assert engine._threads._limit == 4

    # Then every job ended once, as it should, and only those asked for were cancelled
    for job in jobs:
        [ending] = bench.ledger.endings[job.id]
        match ending:
            case Discarded("cancelled"):
                assert job.id in asked
            case Retried(_, error):
                assert (job.args, error) == ({"kind": 0}, f"ValueError: {job.id}")
            case _:
                assert ending == Done(job.id)
    assert len(asked) > 100


async def test_a_lost_function_is_told_so_and_settles_nothing(gates: Gates) -> None:
    # Given two functions that run
    bench = Bench(concurrency=2)
    bench.add("waits", gates.wait)
    async with bench.running() as engine:
        lost, kept = await bench.push("waits"), await bench.push("waits")
        contexts = {context.job.id: context for context in await gates.present(2)}

        # When one of them is somebody else's
        [delivery] = [one for one in engine._lane.held.values() if one.job.id == lost]
        engine._obey(Orders(lost=(delivery,)))

        # Then it can know, its slot is free, and its end settles nothing
        assert (contexts[lost].lease_lost, contexts[kept].lease_lost) == (True, False)
        assert engine._lane._free == 1
        gates.open()
        assert await bench.ledger.ending(kept) == Done("done")
        await until(lambda: len(gates.through) == 2 and not engine._threads._busy)
        await until(lambda: _vacant(engine))
        await engine._lane.settler.drained()
        assert (bench.ledger.endings[lost], bench.ledger.refused) == ([], [])


async def test_an_evicted_pool_hands_back_its_functions(gates: Gates) -> None:
    # Given a function that runs when its pool is taken for dead
    bench = Bench(concurrency=1)
    bench.add("waits", gates.wait)
    async with bench.running() as engine:
        job_id = await bench.push("waits")
        [context] = await gates.present(1)
        engine._lane.move_to(msgspec.structs.replace(engine._lane.pool, id="another"))

        # Then it goes back at once, and runs again
        assert context.lease_lost
        assert await bench.ledger.ending(job_id) == Released()
        await gates.present(1)
        gates.open()
        assert await bench.ledger.ending(job_id, times=2) == Done("done")


async def test_a_function_that_outlasts_the_grace_goes_back_and_is_left_behind(gates: Gates) -> None:
    # Given a function that does not end
    bench = Bench(concurrency=1)
    bench.add("waits", gates.wait)
    async with bench.running(grace=0.0) as engine:
        job_id = await bench.push("waits")
        await gates.present(1)

    # When the worker has stopped without it, then it is back as it came
    assert engine.stats == Stats(released=1)
    view = await bench.ledger.job(job_id)
    assert view
    assert (view.state, view.job.attempt) == (State.QUEUED, 1)

    # And its end changes nothing
    gates.open()
    await until(lambda: gates.through)
    assert bench.ledger.endings[job_id] == [Released()]


async def test_what_a_function_hands_on_is_awaited_in_its_slot_and_can_be_cancelled() -> None:
    # Given plain functions that return a coroutine which waits
    bench, begun, hit = Bench(concurrency=2), asyncio.Queue[str](), list[str]()

    async def waits(job_id: str) -> None:
        assert current().job.id == job_id
        begun.put_nowait(job_id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            hit.append(job_id)
            raise

    def hands_on() -> Coroutine[Any, Any, None]:
        return waits(current().job.id)

    bench.add("hands_on", hands_on)
    bench.add("good", lambda: "good")
    async with bench.running() as engine, asyncio.timeout(PATIENCE):
        ids = [await bench.push("hands_on") for _ in range(2)]
        assert {await begun.get(), await begun.get()} == set(ids)
        assert engine._lane._free == 0

        # When one is cancelled, then it alone ends
        engine._obey(Orders(cancel=frozenset({ids[0]})))
        assert await bench.ledger.ending(ids[0]) == Discarded("cancelled")
        assert hit == ids[:1]
        assert await bench.run("good") == Done("good")


async def test_what_a_function_hands_on_is_not_begun_when_it_was_cancelled_before() -> None:
    # Given a plain function that returns a coroutine
    bench, begun = Bench(concurrency=1), list[str]()

    async def late() -> None:
        begun.append(current().job.id)

    def hands_on() -> Coroutine[Any, Any, None]:
        return late()

    bench.add("hands_on", hands_on)
    bench.add("good", lambda: "good")
    async with bench.running() as engine:
        returned = engine._lane._returned

        def returned_and_cancelled(errand: Any) -> None:
            returned(errand)
            engine._obey(Orders(cancel=frozenset({errand.running.delivery.job.id})))

        engine._lane._returned = returned_and_cancelled  # type: ignore[method-assign]

        # When it is cancelled in the same turn, then the coroutine is not run, and nobody complains of it
        assert await bench.run("hands_on") == Discarded("cancelled")
        assert begun == []
        engine._lane._returned = returned  # type: ignore[method-assign]
        assert await bench.run("good") == Done("good")
        await until(lambda: _vacant(engine))


async def test_a_context_that_cannot_be_made_fails_the_job_and_not_the_slot() -> None:
    class Broken(Context):
        made = 0

        def __init__(self) -> None:
            Broken.made += 1
            if Broken.made <= 2:
                raise ValueError("no context")

    bench = Bench(concurrency=1)
    bench.context = Broken
    bench.add("job", lambda: "done")
    async with bench.running():
        for _ in range(2):
            ending = await bench.run("job")
            assert isinstance(ending, Retried)
            assert ending.error == "ValueError: no context"
        assert await bench.run("job") == Done("done")


async def test_functions_and_coroutines_share_the_slots(gates: Gates) -> None:
    # Given as many functions and coroutines as there are slots
    bench, inside, go = Bench(concurrency=4), list[str](), asyncio.Event()

    async def waits() -> str:
        inside.append(current().job.id)
        await go.wait()
        return "done"

    bench.add("function", gates.wait)
    bench.add("coroutine", waits)
    async with bench.running() as engine:
        ids = [await bench.push(name) for _ in range(2) for name in ("function", "coroutine")]
        await gates.present(2)
        await until(lambda: len(inside) == 2)

        # Then each has a slot of its own, and no more are fetched
        more = [await bench.push(name) for name in ("function", "coroutine")]
        taken = [slot for slot in engine._lane.slots if slot]
        assert [one.slot for one in taken] == [0, 1, 2, 3]
        assert {one.delivery.job.id for one in taken} == set(ids)
        assert engine._lane._free == 0

        # And when they end, then the others have their turn
        go.set()
        gates.open()
        [last] = await gates.present(1)
        gates.open()
        assert last.job.id == more[0]
        assert [await bench.ledger.ending(job_id) for job_id in (*ids, *more)] == [Done("done")] * 6
        await until(lambda: _vacant(engine))
