"""Dead jobs queued again some a minute, so that what made them die is not hit by all of them at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from worksong.domain.errors import BackendUnavailable, InvalidArguments, WorksongError
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend
from worksong.ports.clock import Clock

SLOWEST, FASTEST = 0.1, 60_000.0
"""Jobs a minute."""
SHORTEST = 1.0
"""Seconds between two steps: where more than one job is due in that time, they are queued together."""
AT_ONCE = 20
"""Trickles of a console."""

log = logging.getLogger("worksong")


class Trickle:
    """The jobs of one group on their way. What is not queued when it ends stays dead."""

    def __init__(self, group: tuple[str, str], job_ids: Sequence[str], per_minute: float) -> None:
        """`group`: job type and error."""
        self.id, self.group, self.per_minute = new_id(), group, per_minute
        self.total, self.done = len(job_ids), 0
        self._left = deque(job_ids)
        self._at_a_time = max(1, round(per_minute * SHORTEST / 60))

    @property
    def left(self) -> int:
        """How many are still dead, as far as nobody else has done something about them."""
        return len(self._left)

    @property
    def words(self) -> str:
        """How it goes."""
        return f"{self.total - self.left:,} of {self.total:,} queued, {self.per_minute:g} a minute"

    async def run(self, backend: Callable[[], Backend], clock: Clock) -> None:
        """Until all are queued. A store that is away is asked again; one that refuses ends it."""
        while self._left:
            chosen = [self._left[place] for place in range(min(self._at_a_time, len(self._left)))]
            try:
                self.done += await backend().requeue(State.DEAD, chosen, clock.now())
            except BackendUnavailable:  # they may be queued or not: again does no harm
                chosen = []
            except WorksongError as refusal:
                log.error("dead jobs are not queued again: %s", refusal)
                return
            for _ in chosen:
                self._left.popleft()
            if self._left:
                await clock.sleep(60 * self._at_a_time / self.per_minute)


class Trickles:
    """Those of one console, each a task of its own, for as long as the process lives."""

    def __init__(self, backend: Callable[[], Backend], clock: Clock) -> None:
        self._backend, self._clock = backend, clock
        self._running: dict[str, tuple[Trickle, asyncio.Task[None]]] = {}

    @property
    def running(self) -> list[Trickle]:
        """The one that was begun first comes first."""
        return [trickle for trickle, _ in self._running.values()]

    def begin(self, group: tuple[str, str], job_ids: Sequence[str], per_minute: float) -> Trickle:
        """Queue the first ones at once, and the others at that pace."""
        if any(trickle.group == group for trickle in self.running):
            raise InvalidArguments("the jobs of this group are being queued already: stop that first")
        if len(self._running) >= AT_ONCE:
            raise InvalidArguments(f"{AT_ONCE} groups are being queued already: wait for one of them, or stop it")
        trickle = Trickle(group, job_ids, per_minute)
        task = asyncio.ensure_future(trickle.run(self._backend, self._clock))
        self._running[trickle.id] = trickle, task
        task.add_done_callback(lambda _: self._running.pop(trickle.id, None))
        return trickle

    def stop(self, trickle_id: str) -> Trickle | None:
        """Queue no more of these; None: it has ended."""
        trickle, task = self._running.pop(trickle_id, (None, None))
        if task:
            task.cancel()
        return trickle

    def leave(self) -> None:
        """The process ends: what is not queued yet stays dead."""
        for trickle in self.running:
            log.warning("%d dead jobs of %s were still to be queued: they stay dead", trickle.left, trickle.group[0])
            self.stop(trickle.id)


def pace_of(text: str) -> float | None:
    """Jobs a minute, as somebody wrote it; None for nothing: all at once. Raises `InvalidArguments`."""
    if not text.strip():
        return None
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not SLOWEST <= pace <= FASTEST:
        raise InvalidArguments(f"{text[:40]!r} is no pace: write jobs a minute, from {SLOWEST:g} to {FASTEST:g}")
    return pace


def trickle_fields(trickle: Trickle) -> dict[str, Any]:
    """A trickle for programs."""
    handler, error = trickle.group
    return {
        "id": trickle.id,
        "handler": handler,
        "error": error,
        "per_minute": trickle.per_minute,
        "total": trickle.total,
        "left": trickle.left,
        "queued": trickle.done,
    }
