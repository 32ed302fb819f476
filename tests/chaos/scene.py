"""A worker at work in this process while somebody enqueues all the time, and what became of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from chaos.scale import FULL
from patience import auntil
from worksong import Job, Worker
from worksong.domain.errors import WorksongError

NAMESPACE = "scene"
RECOVERED = 10.0 if FULL else 90.0
"""Seconds until jobs run again after a trouble is over; a loaded machine is given more."""
CONNECTIONS = 4
"""Of one process: for the jobs, for the upkeep, and for each one to hear of changes on."""
AT_ONCE = 2 * CONNECTIONS
"""Lines beyond one in a second: each connection says when it broke and when it is back."""


class Scene:
    """Two job types, "a" and "b", in one worker."""

    def __init__(self, url: str) -> None:
        self.worker = Worker(url, name=NAMESPACE, concurrency=4)
        self.ran: Counter[str] = Counter()
        self.acked: set[str] = set()
        self.errors: list[WorksongError] = []
        self._more_ran = asyncio.Event()
        self._turns = 0
        self.longest = 0.0
        """Seconds of the longest enqueueing."""
        self.worker.register("a", self._run)
        self.worker.register("b", self._run)

    async def _run(self, job: Job) -> None:
        self.ran[job.id] += 1
        self._more_ran.set()

    async def enqueue(self, name: str = "a") -> str:
        """The id, if it was taken in; a typed error is noted, and any other is raised."""
        began = time.monotonic()
        try:
            handle = await self.worker.aperform(Job(name))
        except WorksongError as error:
            self.errors.append(error)
            return ""
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        assert handle
        self.acked.add(handle.id)
        return handle.id

    async def one_runs(self, name: str = "a") -> None:
        """Enqueue until it is taken in, and wait until it has run."""
        job = await auntil(lambda: self.enqueue(name), "an enqueueing that is taken in", within=RECOVERED)
        await self._until(lambda: self.ran[job] > 0)

    async def recovered(self) -> float:
        """Wait until a new job runs, then until all have that were taken in; the seconds until the first."""
        began = time.monotonic()
        async with asyncio.timeout(RECOVERED):
            await self.one_runs()
            first = time.monotonic() - began
            await self._until(lambda: not self.lost)
        return first

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._more_ran.wait()
            self._more_ran.clear()

    @property
    def lost(self) -> set[str]:
        """Taken in, and not run so far."""
        return self.acked - set(self.ran)

    @property
    def doubled(self) -> list[str]:
        """Those that ran more than once, though no worker died."""
        return [job for job, times in self.ran.items() if times > 1]

    async def enqueue_all_the_time(self) -> None:
        while True:
            await self.enqueue()
            self._turns += 1
            await asyncio.sleep(0.05)

    async def met(self, words: str) -> None:
        """Wait until somebody who enqueues gets an error that says this."""
        await auntil(lambda: any(words in str(error) for error in self.errors), words, within=RECOVERED)

    async def begin_anew(self) -> None:
        """Forget the errors so far, once every call that may still meet them has ended."""
        last = self._turns + 2
        await auntil(lambda: self._turns >= last, "the end of two enqueueings", within=RECOVERED)
        self.errors.clear()


@asynccontextmanager
async def working(url: str) -> AsyncIterator[Scene]:
    """The worker runs and the jobs come; one has run already."""
    scene = Scene(url)
    async with scene.worker:
        async with asyncio.timeout(RECOVERED):
            await scene.one_runs()
        producer = asyncio.create_task(scene.enqueue_all_the_time())
        try:
            yield scene
        finally:
            producer.cancel()
            await asyncio.wait([producer])


def said(records: list[logging.LogRecord]) -> list[str]:
    """What worksong logged."""
    return [record.getMessage() for record in records if record.name.startswith("worksong")]


async def told(records: list[logging.LogRecord]) -> None:
    """Wait until worksong has logged something."""
    await auntil(lambda: said(records), "a line of worksong's log", within=RECOVERED)
