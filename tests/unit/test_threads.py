"""Threads for plain functions: never more than agreed, replaced when given up, gone when closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from engine_bench import throw, until
from patience import PATIENCE
from worksong.engine.threads import Threads


class Crowd:
    """Functions in threads that wait to be let go, and how many there are at once."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.inside = self.most = 0
        self.entered: asyncio.Queue[int] = asyncio.Queue()
        self._guard = threading.Lock()
        self._loop = asyncio.get_running_loop()

    def enter(self, number: int, gate: threading.Event | None = None) -> int:
        with self._guard:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self._loop.call_soon_threadsafe(self.entered.put_nowait, number)
        (gate or self.gate).wait(PATIENCE)
        with self._guard:
            self.inside -= 1
        return number

    async def present(self, count: int) -> set[int]:
        """The next `count` that come in."""
        async with asyncio.timeout(PATIENCE):
            return {await self.entered.get() for _ in range(count)}


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    pool = Threads(2)
    yield pool
    pool.close()


async def test_no_more_threads_than_the_limit_run_at_once(threads: Threads) -> None:
    # Given more calls than threads
    crowd = Crowd()
    calls = [asyncio.create_task(threads.call(crowd.enter, [number], {})) for number in range(10)]

    # When two are in, then the others wait their turn
    assert await crowd.present(2) == {0, 1}
    assert crowd.entered.empty()
    crowd.gate.set()
    assert await asyncio.gather(*calls) == list(range(10))
    assert crowd.most <= 2


async def test_a_thread_is_used_again(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worksong.engine.threads.PATIENCE", 10 * PATIENCE)  # on a slow machine one may be late
    found = {await threads.call(threading.get_ident, [], {}) for _ in range(50)}
    assert len(found) == 1


async def test_one_thread_runs_what_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given calls of which none waits long enough for another thread
    monkeypatch.setattr("worksong.engine.threads.PATIENCE", 10 * PATIENCE)
    threads = Threads(50)
    calls = [threads.call(threading.get_ident, [], {}) for _ in range(200)]
    assert len(set(await asyncio.gather(*calls))) == 1
    threads.close()


async def test_a_slow_call_holds_up_none_behind_it(threads: Threads) -> None:
    # Given a call that does not come back, and others behind it
    crowd, stuck = Crowd(), threading.Event()
    slow = asyncio.create_task(threads.call(crowd.enter, [0, stuck], {}))
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*(threads.call(lambda: 5, [], {}) for _ in range(10))) == [5] * 10
    assert not slow.done()
    stuck.set()
    await slow


async def test_what_is_given_up_before_it_began_is_not_run(threads: Threads) -> None:
    # Given two threads that are taken, and a call behind them that is given up
    crowd = Crowd()
    taken = [asyncio.create_task(threads.call(crowd.enter, [number], {})) for number in (1, 2)]
    await crowd.present(2)
    ran: list[int] = []
    given_up = asyncio.create_task(threads.call(ran.append, [1], {}))
    await asyncio.sleep(0)
    threads._limit -= 1  # giving up makes room for one more thread: here it shall wait
    given_up.cancel()
    await asyncio.wait([given_up])

    # When they are through, then it is not run
    threads._limit += 1
    crowd.gate.set()
    await asyncio.gather(*taken)
    await until(lambda: not threads._busy)
    assert ran == []
    await _same_limit(threads, 2)


async def test_a_thread_given_up_is_replaced_until_it_comes_back(threads: Threads) -> None:
    # Given two threads taken by calls that were given up
    crowd, stuck = Crowd(), threading.Event()
    given_up = [asyncio.create_task(threads.call(crowd.enter, [number, stuck], {})) for number in (1, 2)]
    await crowd.present(2)
    for call in given_up:
        call.cancel()
    await asyncio.wait(given_up)

    # When others come, then there are two more threads for them, and no third
    calls = [asyncio.create_task(threads.call(crowd.enter, [number], {})) for number in range(10, 16)]
    assert await crowd.present(2) == {10, 11}
    assert crowd.inside == 4

    # And when those given up have come back, then there are two as before
    crowd.gate.set()
    stuck.set()
    await asyncio.gather(*calls)
    await until(lambda: not threads._busy)
    await _same_limit(threads, 2)


async def _same_limit(threads: Threads, limit: int) -> None:
    """Of more calls than that, just so many are in at once, and all come out."""
    crowd = Crowd()
    calls = [asyncio.create_task(threads.call(crowd.enter, [number], {})) for number in range(limit * 3)]
    await crowd.present(limit)
    crowd.gate.set()
    await asyncio.gather(*calls)
    assert crowd.most == limit


async def test_a_call_given_up_when_its_result_is_there_costs_no_thread(threads: Threads) -> None:
    # Given a call that is cancelled in the same turn of the loop that brings its result
    deliver = threads._deliver

    def deliver_and_cancel() -> None:
        deliver()
        call.cancel()

    threads._deliver = deliver_and_cancel  # type: ignore[method-assign]
    for _ in range(20):
        call = asyncio.create_task(threads.call(lambda: 5, [], {}))
        with pytest.raises(asyncio.CancelledError):
            await call
    threads._deliver = deliver  # type: ignore[method-assign]

    # When others come, then there are as many threads as ever
    await _same_limit(threads, 2)


async def test_a_function_that_raises_cancelled_error_costs_no_thread(threads: Threads) -> None:
    for _ in range(20):
        with pytest.raises(asyncio.CancelledError):
            await threads.call(throw(asyncio.CancelledError()), [], {})
    await _same_limit(threads, 2)


async def test_results_that_are_there_at_once_wake_the_loop_once() -> None:
    # Given a loop that is busy while fifty functions come to their end
    threads = Threads(50)
    delivered = 0
    deliver = threads._deliver

    def counting() -> None:
        nonlocal delivered
        delivered += 1
        deliver()

    threads._deliver = counting  # type: ignore[method-assign]
    left = threading.Semaphore(0)
    crowd = Crowd()

    def function(number: int) -> int:
        crowd.enter(number)
        left.release()
        return number

    calls = [asyncio.create_task(threads.call(function, [number], {})) for number in range(50)]
    await crowd.present(50)
    crowd.gate.set()
    for _ in range(50):
        assert left.acquire(timeout=PATIENCE)

    # When it looks, then it gets them in few chunks
    assert await asyncio.gather(*calls) == list(range(50))
    assert delivered <= 25  # one by one it would be 50
    threads.close()


async def test_closed_threads_end_when_they_are_through() -> None:
    # Given threads, one of them busy
    threads = Threads(2)
    crowd = Crowd()
    names: list[threading.Thread] = []

    def busy(number: int) -> int:
        names.append(threading.current_thread())
        return crowd.enter(number)

    calls = [asyncio.create_task(threads.call(busy, [number], {})) for number in (1, 2)]
    await crowd.present(2)

    # When they are closed, then what they do is finished first
    threads.close()
    crowd.gate.set()
    assert await asyncio.gather(*calls) == [1, 2]
    for thread in names:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_result_for_a_closed_loop_ends_the_thread_quietly() -> None:
    # Given a call in a loop that is over before the function is
    gate, worker = threading.Event(), []

    def late() -> None:
        worker.append(threading.current_thread())
        entered.set()
        gate.wait(PATIENCE)

    entered = threading.Event()

    async def leave() -> None:
        call = asyncio.create_task(Threads(1).call(late, [], {}))
        await asyncio.to_thread(entered.wait, PATIENCE)
        call.cancel()
        await asyncio.wait([call])

    asyncio.run(leave())

    # When it comes to its end, then its thread does too
    gate.set()
    worker[0].join(PATIENCE)
    assert not worker[0].is_alive()
