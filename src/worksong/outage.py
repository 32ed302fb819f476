"""Enqueueing while the server is away, if it shall not fail at once: wait, or keep the jobs in memory meanwhile."""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from copy import deepcopy
from typing import Any

from msgspec.structs import replace

from worksong.domain.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    EnqueueOutcomeUnknown,
    InvalidArguments,
)
from worksong.domain.job import Job
from worksong.domain.names import one_line
from worksong.engine.reminder import Reminder
from worksong.ports import chance
from worksong.ports.backend import Intake
from worksong.ports.clock import Clock

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
AT_EXIT = 5.0
"""Seconds that a program which ends waits for its jobs to leave."""

log = logging.getLogger("worksong")


class Patient:
    """Waits for a server that is away, for so many seconds at most; then its error is raised as ever."""

    def __init__(self, broker: Callable[[], Intake], clock: Clock, seconds: float) -> None:
        self._broker, self._clock, self._seconds = broker, clock, seconds

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        """A push whose answer was lost is not repeated: it may have been carried out."""
        end, pause = self._clock.monotonic() + self._seconds, FIRST_PAUSE
        while True:
            try:
                return await self._broker().push(jobs, now, once=once)
            except EnqueueOutcomeUnknown:
                raise
            except BackendUnavailable:
                left = end - self._clock.monotonic()
                if left <= 0:
                    raise
                await self._clock.sleep(min(left, chance.uniform(0, pause)))
                pause = min(LONGEST_PAUSE, pause * 2)


class Buffer:
    """Keeps jobs in memory while the server is away, `most` of them, and pushes them in order when it is back.

    They end with the process; one that the server refuses lets the others pass. A unique job is not kept, since only
    the server can tell whether it is a duplicate.
    """

    def __init__(
        self,
        broker: Callable[[], Intake],
        clock: Clock,
        most: int,
        send: Callable[[Coroutine[Any, Any, None]], Future[None]],
    ) -> None:
        """`send` runs a coroutine in a loop that outlives the caller's."""
        self._broker, self._clock, self._most, self._send = broker, clock, most, send
        self._reminder = Reminder(clock)
        self._kept: deque[Job] = deque()
        self._guard = threading.Lock()
        self._leaving: Future[None] | None = None
        atexit.register(_last_chance, weakref.ref(self))

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        """Behind what is kept already; raises what the server's being away raises when there is no room."""
        if not self._kept or any(job.unique for job in jobs):
            try:
                return await self._broker().push(jobs, now, once=once)
            except EnqueueOutcomeUnknown:
                raise
            except BackendUnavailable as away:
                if any(job.unique for job in jobs):
                    raise
                self._keep(jobs, away)
        else:
            self._keep(jobs, None)
        return [True] * len(jobs)

    async def drained(self, seconds: float) -> None:
        """Wait so long for the kept jobs to leave; says which do not."""
        leaving = self._leaving
        if leaving:
            await asyncio.wait([asyncio.wrap_future(leaving)], timeout=seconds)
        if self._kept:
            log.error("%s", self.left())

    def close(self, seconds: float) -> None:
        """The program ends, but the loop in its thread still runs: wait so long for the kept jobs, say what is lost."""
        if leaving := self._leaving:
            wait_for([leaving], timeout=seconds)
        if self._kept:
            sys.stderr.write(f"worksong: {self.left()}; they are lost\n")

    def left(self) -> str:
        """What is said of jobs that are still kept."""
        ids = [one_line(job.id) for job in list(self._kept)]
        shown = ", ".join(ids[:10]) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
        return f"{len(ids)} jobs were enqueued while the server was away, and are still in memory only: {shown}"

    def _keep(self, jobs: Sequence[Job], away: BackendUnavailable | None) -> None:
        copied = [replace(job, args=deepcopy(job.args), meta=deepcopy(job.meta)) for job in jobs]
        with self._guard:
            held = len(self._kept)
            if held + len(jobs) > self._most:
                raise BackendUnavailable(
                    f"the server is away, and {held} jobs are kept already of {self._most} allowed: "
                    f"{len(jobs)} more were not taken in"
                ) from away
            self._kept += copied
            if self._leaving is None:
                log.warning("the server is away: keeping jobs in memory, %d at most: %s", self._most, away)
                self._leaving = self._send(self._leave())

    async def _leave(self) -> None:
        """Push what is kept, the oldest first, each by itself: what is wrong with one is nothing to the others.

        An id is taken in only once, so a push may be repeated.
        """
        pause = FIRST_PAUSE
        while not self._empty():
            try:
                await self._push_oldest()
                pause = FIRST_PAUSE
            except Exception as refusal:
                if isinstance(refusal, BackendRefused):  # perhaps the next one is welcome
                    with self._guard:
                        self._kept.rotate(-1)
                if not isinstance(refusal, BackendUnavailable) and self._reminder.due(str(refusal)):
                    log.error("jobs kept in memory are refused, trying again: %s", refusal)
                await self._clock.sleep(chance.uniform(0, pause))
                pause = min(LONGEST_PAUSE, pause * 2)

    def _empty(self) -> bool:
        """Whether all have left; whoever keeps one after that sends it off anew."""
        with self._guard:
            if not self._kept:
                self._leaving = None
            return not self._kept

    async def _push_oldest(self) -> None:
        job = self._kept[0]
        try:
            await self._broker().push([job], self._clock.now(), once=True)
        except InvalidArguments as wrong:  # this format cannot carry it, today or ever
            log.error("job %s was kept in memory and cannot be enqueued: %s", one_line(job.id), wrong)
        with self._guard:
            self._kept.popleft()


def chosen(
    patience: float,
    buffer: int,
    broker: Callable[[], Intake],
    clock: Clock,
    send: Callable[[Coroutine[Any, Any, None]], Future[None]],
) -> Patient | Buffer | None:
    """What a worker's options ask for; None: to fail at once."""
    if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not 0 <= patience < math.inf:
        raise ConfigError(f"patience is a number of seconds, not {patience!r}")
    if isinstance(buffer, bool) or not isinstance(buffer, int) or buffer < 0:
        raise ConfigError(f"buffer is a number of jobs, not {buffer!r}")
    if patience and buffer:
        raise ConfigError("patience and buffer are two ways through an outage: choose one")
    if buffer:
        return Buffer(broker, clock, buffer, send)
    return Patient(broker, clock, patience) if patience else None


def _last_chance(reference: weakref.ref[Buffer]) -> None:
    """At exit."""
    if buffer := reference():
        buffer.close(AT_EXIT)
