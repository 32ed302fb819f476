"""What keeps jobs moving beside running them: beats, promotion, reaping, pruning, periodic jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from worksong.domain.errors import BackendUnavailable, WorksongError
from worksong.domain.job import new_id
from worksong.engine import timetable
from worksong.engine.annals import Annals
from worksong.engine.reminder import Reminder
from worksong.engine.servertime import ServerTime
from worksong.ports import chance
from worksong.ports.backend import BEAT_EVERY, Backend, Beat, Orders, Pool
from worksong.registry import Periodic

PROMOTE = 0.25
LONGEST_WAIT = 5.0
"""Seconds without a look at what is due, where the store says that nothing is."""
REAP = 1.5
PRUNE = 300.0
RECORD = 10.0
"""Seconds between two notes of what jobs did: every process adds to the same rows."""
PROMOTE_BATCH = 100

log = logging.getLogger("worksong")


class Upkeep:
    """The loops of one pool; they share nothing with the lane but what `look` and `obey` carry."""

    def __init__(
        self,
        backend: Backend,
        pool: Pool,
        clock: ServerTime,
        *,
        look: Callable[[], Beat],
        obey: Callable[[Orders], None],
        move_to: Callable[[Pool], None],
        periodic: Sequence[Periodic],
        annals: Annals | None = None,
    ) -> None:
        """`look` answers what the pool holds now; `obey` and `move_to` tell the lane what a beat answered. `annals`:
        what the store is told of the jobs that have ended."""
        self.pool = pool
        self._backend, self._clock = backend, clock
        self._look, self._obey, self._move_to = look, obey, move_to
        self._periodic, self._annals = periodic, annals
        self.beaten: float | None = None
        """When a beat arrived last, by the monotonic clock."""
        self._reminder = Reminder(clock)
        self._timed = asyncio.Event()
        """Set once a beat arrived: before, nobody told the store's time."""

    async def run(self) -> None:
        """Run all loops until cancelled; what goes by the time waits for the first beat, which tells it."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._repeat(self.beat, BEAT_EVERY))
            await self._timed.wait()
            for step, period in (
                (self.promote, PROMOTE),
                (self.reap, REAP),
                (self.prune, PRUNE),
                (self.schedule, timetable.PERIOD),
                *([(self.record, RECORD)] if self._annals else []),
            ):
                loops.create_task(self._repeat(step, period))

    async def _repeat(self, step: Callable[[], Awaitable[object]], period: float) -> None:
        pause = 0.1
        while True:
            try:
                again = await step()
            except BackendUnavailable:
                # The backend tells of the outage once; every loop tries again with full jitter.
                await self._clock.sleep(chance.uniform(0, pause))
                pause = min(period if period > 1.0 else 1.0, pause * 2)
                continue
            except Exception as refusal:  # one loop that fails must not end the others
                self._tell(step.__name__, refusal)
                again = None
            pause = 0.1
            if again is not True:
                await self._clock.sleep(period * chance.uniform(0.9, 1.0))

    def _tell(self, step: str, refusal: Exception) -> None:
        if self._reminder.due(str(refusal)):
            unexpected = None if isinstance(refusal, WorksongError) else refusal
            log.error("upkeep (%s): %s", step, refusal, exc_info=unexpected)

    async def enlist(self) -> None:
        """Register the pool."""
        await self._backend.enlist(self.pool, self._clock.now())

    async def beat(self) -> None:
        """Say that the pool lives; when it was taken for dead meanwhile, go on under a new id."""
        seen = self._look()
        moving = seen.pool.id != self.pool.id
        if moving:  # the lane has not heard yet that it works for a new pool, which holds nothing so far
            seen = Beat(replace(self.pool, handlers=seen.pool.handlers, limits=seen.pool.limits))
        if seen.pool.handlers != self.pool.handlers:  # more were registered
            self.pool = replace(self.pool, handlers=seen.pool.handlers, limits=seen.pool.limits)
            await self.enlist()
        orders = await self._backend.beat(seen, self._clock.now())
        self.beaten = self._clock.monotonic()
        if orders.server_now is not None:
            self._clock.tell(orders.server_now)
        self._timed.set()
        if orders.evicted:
            log.warning(
                "pool %s was taken for dead: its jobs are somebody else's, going on as a new pool", self.pool.id
            )
            self.pool = replace(self.pool, id=new_id())
            await self.enlist()
            self._move_to(self.pool)
        elif orders.cancel or orders.lost or orders.quiet or orders.stop:
            self._obey(orders)

    async def promote(self) -> bool:
        """Queue what is due; True: there may be more."""
        await self._backend.until_due(self._clock.now(), LONGEST_WAIT)
        return await self._backend.promote(self._clock.now(), PROMOTE_BATCH) >= PROMOTE_BATCH

    async def reap(self) -> None:
        """Recover the jobs of dead pools."""
        found = await self._backend.reap(self._clock.now(), self._clock.monotonic())
        if found.pools or found.recovered or found.crashed:
            log.warning(
                "recovered %d jobs of dead pools (%s); %d buried as worker_crashed",
                found.recovered,
                ", ".join(found.pools) or "orphans",
                found.crashed,
            )

    async def prune(self) -> None:
        """Drop what has been kept long enough."""
        await self._backend.prune(self._clock.now())

    async def record(self) -> None:
        """Tell the store what jobs did since the last time."""
        if self._annals:
            await self._annals.write(self._backend, self._clock.now(), self.pool.id)

    async def schedule(self) -> None:
        """Put the periodic jobs of the next minutes on the schedule."""
        await timetable.schedule_ahead(self._backend, self._periodic, self._clock.now())
