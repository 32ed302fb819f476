"""A clock that stands still until a test turns it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from typing import NamedTuple

SETTLING_TURNS = 64
"""Turns of the loop that everything awake has before `aadvance` returns."""


class _Sleeper(NamedTuple):
    due: float
    order: int
    loop: asyncio.AbstractEventLoop
    bell: asyncio.Future[None]


class FakeClock:
    """``Worker(clock=FakeClock())``: an hour passes when the test says so, and takes no time.

    Time jumps: whoever sleeps wakes up once, at the end of the jump, however long that was.
    """

    def __init__(self, start: float | None = None) -> None:
        """`start`: Unix seconds; the present second, unless the date matters. A server goes by its own clock."""
        self._wall = float(int(time.time())) if start is None else start
        self._elapsed = 0.0
        self._sleepers: list[_Sleeper] = []
        self._orders = itertools.count()
        self._guard = threading.Lock()

    def now(self) -> float:
        """Unix seconds."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was turned so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        bell: asyncio.Future[None] = loop.create_future()
        with self._guard:
            sleeper = _Sleeper(self._elapsed + seconds, next(self._orders), loop, bell)
            heapq.heappush(self._sleepers, sleeper)
        try:
            await bell
        finally:
            self._forget(sleeper)

    def advance(self, seconds: float) -> None:
        """Let time pass and wake who is due, soonest first, in whichever loop they sleep."""
        if seconds < 0:
            raise ValueError(f"time does not go back by {-seconds} s; set_wall steps the wall clock")
        with self._guard:
            self._wall += seconds
            self._elapsed += seconds
            due: list[_Sleeper] = []
            while self._sleepers and self._sleepers[0].due <= self._elapsed:
                due.append(heapq.heappop(self._sleepers))
        for sleeper in due:
            _wake(sleeper)

    async def aadvance(self, seconds: float) -> None:
        """`advance`, then wait until whatever woke up in this loop has run as far as it can."""
        self.advance(seconds)
        for _ in range(SETTLING_TURNS):
            await asyncio.sleep(0)

    def set_wall(self, now: float) -> None:
        """Step the wall clock, as an operator or NTP would; `monotonic` and sleepers take no notice."""
        self._wall = now

    @property
    def sleepers(self) -> int:
        """How many sleep now."""
        return len(self._sleepers)

    def _forget(self, sleeper: _Sleeper) -> None:
        """Strike off who was cancelled in its sleep."""
        with self._guard:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)


def _wake(sleeper: _Sleeper) -> None:
    if not sleeper.loop.is_closed():
        sleeper.loop.call_soon_threadsafe(_ring, sleeper.bell)


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)
