"""The fetches of a lane: how many jobs are asked for at a time, and what comes of a server that does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from worksong.domain.errors import BackendUnavailable, WorksongError
from worksong.domain.job import Delivery
from worksong.domain.turns import Sampled, Strict
from worksong.engine.reminder import Reminder
from worksong.ports import chance
from worksong.ports.backend import Broker, Pool, Want
from worksong.ports.clock import Clock

DOUBT = 0.01
"""Seconds between two looks whether the pool may fetch again."""
WAIT = 1.0
"""Seconds a fetch may block when there is nothing."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds until the next try when the server does not answer."""
FEW = 4
"""Jobs of one fetch from which on their endings are worth gathering with those of the next."""

log = logging.getLogger("worksong")


class Taker(Protocol):
    """Who runs what is fetched."""

    pool: Pool
    held: dict[int, Delivery]
    trusted: Callable[[], bool]

    @property
    def free(self) -> int:
        """Slots that have no job."""
        ...

    @property
    def laden(self) -> bool:
        """Nothing more can be taken in before something has ended."""
        ...

    def take(self, found: Sequence[Delivery]) -> bool:
        """Run these; answers whether most of them run in threads."""
        ...

    def refuse(self, found: Sequence[Delivery]) -> None:
        """Hand these back: they were lent to a pool that is no more, or there is no waiting for their turn."""
        ...

    def gather_endings(self, plenty: bool, /) -> None:
        """Whether endings come so fast that they may gather for a moment before they are sent."""
        ...

    def make_room(self) -> None:
        """Whoever waits for an ending may look again."""
        ...

    async def next_ending(self) -> None:
        """Wait until something has ended."""
        ...


class Fetcher:
    """Waits for jobs; while there are plenty a second fetch is under way beside the first, each for half of the slots.

    So the server looks for the jobs of one half while those of the other run, and the endings of a half leave together
    with the next request for its slots. Plain functions take the interpreter from the loop while they run, and a second
    answer would be read no sooner: for them one fetch asks for all slots.
    """

    def __init__(
        self, broker: Broker, taker: Taker, slots: int, *, turns: Sampled, queues: Sampled | Strict | None, clock: Clock
    ) -> None:
        self.turns = turns
        """In which order job types are asked for."""
        self._broker, self._taker, self._queues, self._clock = broker, taker, queues, clock
        self._abreast = min(broker.fetches, slots)
        self._slots, self._portion = slots, -(-slots // self._abreast)
        self._threaded = False
        """Most of what was found last runs in threads."""
        self._asked: dict[int, int] = {}
        """Number of a fetch under way -> jobs that it asked for."""
        self.oldest = 0
        """The number of the fetch that has waited longest for its answer; 0: none is under way."""
        self.begun = 0
        """The number of the one that began last."""
        self._pause = FIRST_PAUSE
        self._plenty = asyncio.Event()
        self._turn = asyncio.Lock()
        self._early: dict[int, Sequence[Delivery]] = {}
        """What a fetch found that waits for its turn, by the number of the fetch."""
        self._reminder = Reminder(clock)
        self._answered_at = clock.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    # life

    def start(self, burst: Callable[[], object] | None) -> None:
        """Begin; with `burst`, end and call it once there is nothing left."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._fetch_all(burst))]
        self._tasks += [loop.create_task(self._fetch_beside()) for _ in range(1, self._abreast)]

    def cancel(self) -> None:
        """Ask for nothing more. What waits for its turn goes back at once, before what was taken in earlier can."""
        while self._early:
            _, found = self._early.popitem()
            self._taker.refuse(found)
        for task in self._tasks:
            task.cancel()

    @property
    def ended(self) -> bool:
        """Nothing is asked for any more, or this is about to end, as when the loop closes."""
        return not self._tasks or self._tasks[0].done() or self._tasks[0].cancelling() > 0

    @property
    def silence(self) -> float:
        """Seconds since a fetch was answered, while there is room for more jobs; 0 while there is none."""
        return self._clock.monotonic() - self._answered_at if self._taker.free > 0 else 0.0

    # asking

    async def _fetch_all(self, burst: Callable[[], object] | None) -> None:
        taker = self._taker
        while True:
            while self._room <= 0 or taker.laden:
                await taker.next_ending()
                self._answered_at = self._clock.monotonic()
            if not taker.trusted():
                await asyncio.sleep(DOUBT)
                continue
            # Asked before the fetch: what ends while it is under way may leave something to do.
            idle = not taker.held and not self._asked
            answer = await self._try(0.0 if burst else WAIT)
            if answer is None:
                continue
            found, asked = answer
            if found == asked and not self._threaded:
                self._plenty.set()
            if not burst or found:
                continue
            if idle:
                for beside in self._tasks[1:]:
                    beside.cancel()
                burst()
                return
            if taker.held:
                await taker.next_ending()

    async def _try(self, wait: float) -> tuple[int, int] | None:
        """`_fetch`; None, after a pause, when the server does not answer, or refuses."""
        try:
            answer = await self._fetch(wait)
        except BackendUnavailable:
            await self._clock.sleep(chance.uniform(0, self._pause))
            self._pause = min(LONGEST_PAUSE, self._pause * 2)  # the backend rests by itself
            return None
        except Exception as refusal:
            if self._reminder.due(str(refusal)):
                unexpected = None if isinstance(refusal, WorksongError) else refusal
                log.error("fetching jobs failed, trying again every second: %s", refusal, exc_info=unexpected)
            await self._clock.sleep(LONGEST_PAUSE)
            return None
        self._pause, self._answered_at = FIRST_PAUSE, self._clock.monotonic()
        return answer

    async def _fetch_beside(self) -> None:
        """What goes wrong here is left to the first to tell: it asks the same server."""
        taker = self._taker
        while True:
            await self._plenty.wait()
            found, asked = 0, 1
            if self._room > 0 and not taker.laden and taker.trusted():
                try:
                    found, asked = await self._fetch(0.0)
                except Exception:
                    log.debug("a fetch beside the first one failed", exc_info=True)
            if found < asked or self._threaded:
                self._plenty.clear()

    @property
    def _room(self) -> int:
        return self._taker.free - sum(self._asked.values())

    async def _fetch(self, wait: float) -> tuple[int, int]:
        """Ask for a part of what there is room for, and have it run; answers (jobs found, jobs asked for)."""
        taker, limit = self._taker, min(self._room, self._slots if self._threaded else self._portion)
        pool = taker.pool.id
        queues = tuple(share.name for share in self._queues.take(limit)) if self._queues else None
        want = Want(pool, limit, wait, self.turns.take(limit), queues)
        self.begun = number = self.begun + 1
        self._asked[number] = limit
        self.oldest = self.oldest or number
        try:
            found = await self._broker.fetch(want, self._clock.now())
            await self._next_turn(number, found)
        finally:
            del self._asked[number]
            self.oldest = next(iter(self._asked), 0)
            taker.make_room()  # what was asked for may be asked for again
        try:
            if pool != taker.pool.id:  # taken for dead while the answer was under way
                taker.refuse(found)
                return 0, limit
            plenty = self._abreast > 1 and len(found) == limit >= FEW
            taker.gather_endings(plenty)
            if found:
                self._threaded = taker.take(found)
                # Jobs that need no waiting are through before the next fetch, which takes a turn of the loop. If their
                # endings are to leave with it, these take one more to be gathered, and one to be sent.
                for _ in range(1 if plenty else 3):
                    await asyncio.sleep(0)
            return len(found), limit
        finally:
            self._turn.release()

    async def _next_turn(self, number: int, found: Sequence[Delivery]) -> None:
        """One half after the other, else both would wait for the server together."""
        self._early[number] = found
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:
            self._taker.refuse(self._early.get(number, ()))
            raise
        finally:
            self._early.pop(number, None)
