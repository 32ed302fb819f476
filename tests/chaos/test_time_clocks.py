"""D1, D2: wall clocks that jump, step back and differ: nobody is taken for dead, and nothing runs early or never."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from chaos.certificates import Certify
from chaos.scale import FULL, SCALE, timeout
from chaos.theatre import NAMESPACE, Theatre, on
from patience import auntil
from worksong import Context, Job, Worker
from worksong.adapters import connect
from worksong.domain import retry
from worksong.domain.job import new_id
from worksong.ports.clock import SystemClock

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
LASTS = 32.0 * SCALE if FULL else 3.0
"""Seconds of jumping."""
BETWEEN = 2.0 if FULL else 0.4
"""Seconds between two jumps; longer ones alternate with steps back of 5 s."""
JUMPS = (DAY, -5.0, -DAY, -5.0, -DAY, -5.0, DAY, -5.0, HOUR, -5.0, -HOUR, -5.0, -HOUR, -5.0, HOUR, -5.0)
SOON = 40
"""Jobs that fall due while the clocks jump."""
FAR = (3 * MINUTE, 4.5 * MINUTE, 20 * MINUTE, 0.9 * HOUR, 5 * HOUR, 0.9 * DAY)
"""Seconds until jobs are due that must not run yet, from the end on, however a clock jumps."""
LIMIT, BACKOFF = 1.0, 3.0 if FULL else 2.0
LATE = 2.0 if FULL else 60.0
"""Seconds that something may take longer than it should: whole seconds, polling, and a busy machine."""

pytestmark = pytest.mark.timeout(timeout(200))


class WrongClock(SystemClock):
    """A wall clock that is wrong by `wrong` seconds; `monotonic` is right."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.wrong = wrong

    def now(self) -> float:
        return super().now() + self.wrong


class Seen:
    """What the handlers saw, by the machine's own clock, which is the server's too."""

    def __init__(self) -> None:
        self.started: defaultdict[str, list[float]] = defaultdict(list)
        self.timed_out: list[float] = []
        self.pools: Counter[str] = Counter()
        """Worker -> how many pools it formed; a second one: it was taken for dead."""


@asynccontextmanager
async def crew(theatre: Theatre, seen: Seen, clocks: Iterable[WrongClock]) -> AsyncIterator[list[Worker]]:
    """A worker per clock."""
    workers = [_worker(theatre, seen, f"worker-{number}", clock) for number, clock in enumerate(clocks)]
    try:
        for worker in workers:
            await worker.astart()
        yield workers
    finally:
        for worker in workers:
            await worker.astop(0.0)


def _worker(theatre: Theatre, seen: Seen, name: str, clock: WrongClock) -> Worker:
    worker = Worker(theatre.url, name=NAMESPACE, concurrency=20, clock=clock)
    worker.on_pool = lambda _: seen.pools.update([name])

    @worker.middleware
    async def note(ctx: Context, call_next: Callable[[Context], object]) -> object:
        seen.started[ctx.job.id].append(time.time())
        return await call_next(ctx)  # type: ignore[misc]

    @worker.job()
    async def due() -> None:
        """Nothing to do but be on time."""

    @worker.job(timeout=LIMIT, max_fails=1)
    async def endless() -> None:
        begun = time.monotonic()
        try:
            await asyncio.Event().wait()
        finally:
            seen.timed_out.append(time.monotonic() - begun)

    @worker.job(max_fails=2, backoff=retry.fixed(BACKOFF))
    async def second_time(ctx: Context) -> None:
        if ctx.job.attempt == 1:
            raise ValueError("try again")

    @worker.job()
    async def lasting() -> None:
        await asyncio.sleep(LASTS)

    return worker


async def _jump(clock: WrongClock, until: float) -> int:
    """Let it jump until then; answers how often."""
    for number, jump in enumerate(itertools.cycle(JUMPS)):
        if time.monotonic() >= until:
            return number
        clock.wrong += jump
        await asyncio.sleep(BETWEEN)
    raise AssertionError("a cycle has no end")


@on("redis")
async def test_d1_d2_wrong_clocks_kill_nobody_and_change_no_time(
    theatre: Theatre, chance: random.Random, certify: Certify
) -> None:
    # Given jobs that fall due soon, and jobs that do not, enqueued by the server's time
    seen, store = Seen(), connect(theatre.url, namespace=NAMESPACE)
    begun = time.time()
    soon = [_job("due", run_at=begun + chance.uniform(1.0, LASTS)) for _ in range(SOON)]
    far = [_job("due", run_at=begun + LASTS + seconds) for seconds in FAR]
    plain = [_job(name) for name in ("endless", "second_time", "lasting") for _ in range(6)]
    jumping = WrongClock()

    # When a worker whose clock jumps, one that is 5 minutes fast and one that is 5 minutes slow work on them
    async with crew(theatre, seen, [jumping, WrongClock(5 * MINUTE), WrongClock(-5 * MINUTE)]) as workers:
        await store.push([*soon, *far, *plain], begun)
        jumps = await _jump(jumping, time.monotonic() + LASTS)
        early = [job.run_at - begun for job in far if seen.started[job.id]]
        assert not early, f"ran at once instead of after so many seconds: {early}"
        await auntil(lambda: all(seen.started[job.id] for job in soon), within=90)
        again = [job for job in plain if job.handler == "second_time"]
        await auntil(lambda: all(len(seen.started[job.id]) == 2 for job in again), within=90)
        refused = sum(worker._shift.engine.stats.refused for worker in workers if worker._shift.engine)
    await store.close()

    # Then no pool was taken for dead, and no job from its worker
    assert set(seen.pools.values()) == {1}, f"taken for dead: {seen.pools}"
    assert refused == 0
    assert all(len(seen.started[job.id]) == 1 for job in [*soon, *plain] if job.handler != "second_time")
    # And what was due ran in time
    lateness = [seen.started[job.id][0] - job.run_at for job in soon]
    assert min(lateness) >= -1.0
    assert max(lateness) <= 1.0 + LATE
    # And limits and backoffs took as long as they should
    assert len(seen.timed_out) == 6
    assert all(LIMIT - 0.1 <= took <= LIMIT + LATE for took in seen.timed_out)
    waits = [second - first for first, second in (seen.started[j.id] for j in plain if j.handler == "second_time")]
    assert all(BACKOFF - 1.0 <= wait <= BACKOFF + 1.0 + LATE for wait in waits), waits
    certify("D2", seconds=LASTS, workers=2, skew=5 * MINUTE, false_reaps=sum(seen.pools.values()) - 3)
    certify(
        "D1",
        seconds=LASTS,
        jumps=jumps,
        workers=3,
        false_reaps=sum(seen.pools.values()) - 3,
        lost=0,
        earliest=min(lateness),
        latest=max(lateness),
        timeout_of_1_s_at_most=max(seen.timed_out),
        backoff_of_3_s_from=min(waits),
        backoff_of_3_s_to=max(waits),
    )


def _job(name: str, run_at: float = 0.0) -> Job:
    return replace(Job(name), id=new_id(), enqueued_at=time.time(), run_at=run_at)
