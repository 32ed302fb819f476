"""Jobs that come into being together with records: one script brings both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worksong.adapters.gocraft.intake import GocraftIntake
from worksong.adapters.gocraft.space import RECORD_PUSH, Space
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.records import written
from worksong.domain.job import Job
from worksong.ports.records import Change


class GocraftBeside:
    """For one push: see `ports.backend.Beside`. It is a command of the queue's connection."""

    def __init__(
        self, space: Space, intake: GocraftIntake, changes: Sequence[Change], *, ring: Callable[[], None]
    ) -> None:
        """`ring` tells who waits for a job."""
        self._space, self._intake, self._changes, self._ring = space, intake, changes, ring

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        keys, args = written(self._space.keys, self._changes)
        args = [len(self._changes), *args]
        for job, raw in map(self._intake.ready, jobs):
            more: tuple[list[Arg], list[Arg]] = self._intake.guarded(job, raw, now, once=once)
            keys += more[0]
            args += more[1]
        new = bool(await self._intake.sent(RECORD_PUSH, keys, args, jobs))
        self._ring()
        return [new] * len(jobs)
