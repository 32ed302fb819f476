"""Pushes and fetches in as few statements as the database allows: most need one, which is a transaction by itself.

What that leaves over goes step by step; endings have a way of their own, in `finish`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from worksong.adapters.bells import Bells
from worksong.adapters.sql.broker import SqlBroker, Taken
from worksong.adapters.sql.front import REST, Front, Places
from worksong.adapters.sql.rows import is_fresh
from worksong.adapters.sql.store import Refused, Store
from worksong.domain.errors import BackendUnavailable, WorksongError
from worksong.domain.job import Delivery, Job
from worksong.ports.backend import Want


class Shortest:
    """Over one store."""

    def __init__(self, store: Store, broker: SqlBroker, front: Front, bells: Bells) -> None:
        self._store, self._broker, self._front, self._bells = store, broker, front, bells
        self._looking: asyncio.Task[None] | None = None

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool) -> list[bool]:
        """Many at first as if none of them was there."""
        if self._store.copies and len(jobs) > 1 and not once and not any(job.unique for job in jobs):
            with contextlib.suppress(Refused):  # one was there: the other way finds out which
                return await self._copied(jobs, now)
        rows = self._broker.rows(jobs, now)
        if len(jobs) == 1 and not once and jobs[0].unique_by is None:
            return await self._store.run(lambda: self._broker.push_one(rows[0]), alone=self._store.one_step)
        return await self._store.run(lambda: self._broker.push(jobs, rows, now, once=once))

    async def _copied(self, jobs: Sequence[Job], now: float) -> list[bool]:
        if all(map(is_fresh, jobs)):
            push = partial(self._broker.push_fresh, self._broker.fresh(jobs, now))
        else:
            push = partial(self._broker.push_new, self._broker.rows(jobs, now))
        return await self._store.run(push, alone=True)

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        """Where the last fetch met a type with a limit, or others hold all that is left, step by step."""
        if self._store.one_step and want.limit > 0 and not self._broker.limited:
            near = self._front.near(want)
            taken = await self._take(want, now, near)
            if self._front.due(taken.took, time.monotonic()):
                self._look_around(want)
            if taken.deliveries or taken.poisoned or not taken.lines:
                return await self._completed(want, taken, now, near)
        return await self._store.run(lambda: self._broker.fetch(want, now), lasting=False)

    @property
    def patience(self) -> float:
        """Seconds after which a fetch that found nothing is to look again, though nothing was heard."""
        return REST if self._front.dear else math.inf

    async def _take(self, want: Want, now: float, near: Places, *, quotas: bool = True) -> Taken:
        taken = await self._store.run(lambda: self._broker.take(want, now, near, quotas=quotas), alone=True)
        self._front.reach(taken.rows, near)
        return taken

    async def _completed(self, want: Want, taken: Taken, now: float, near: Places) -> list[Delivery]:
        """Together with what others have beyond their quotas; what is no job goes to the dead."""
        found, poisoned = taken.deliveries, taken.poisoned
        left = want.limit - len(found) - len(poisoned)
        with contextlib.suppress(BackendUnavailable):  # what was lent already is not to be lost
            if left and taken.lines > 1:
                more = await self._take(replace(want, limit=left), now, near, quotas=False)
                found, poisoned = found + more.deliveries, poisoned + more.poisoned
            if poisoned:
                await self._store.run(lambda: self._broker.bury(poisoned, now))
        return found

    def _look_around(self, want: Want) -> None:
        """Beside the fetches, so that none of them waits for it."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look({share.name for share in want.handlers}))

    async def _look(self, names: set[str]) -> None:
        with contextlib.suppress(WorksongError):  # a fetch will say what is wrong, and the next one looks again
            if await self._store.run(lambda: self._front.look(names, time.monotonic()), write=False, alone=True):
                self._bells.ring()

    async def close(self) -> None:
        """Before the store, which ends what was ordered."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait([self._looking])
