"""One job and what stands in its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from worksong.adapters.gocraft.mover import is_job
from worksong.adapters.gocraft.space import Space
from worksong.adapters.gocraft.views import Views
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.doctor import tracing
from worksong.adapters.redis.store import whole
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.ports.backend import Trace


class Tracer:
    """Looks through everything: the format has no index by id."""

    def __init__(self, space: Space, views: Views) -> None:
        self._space, self._views = space, views

    async def trace(self, job_id: str) -> Trace:
        return await tracing.trace(self._space, self._space.keys, self._views, job_id, self._place)

    async def _place(self, found: JobView) -> dict[str, Any]:
        name, known = found.job.handler, dict[str, Any]()
        if found.state is State.QUEUED:
            entry = await anext(self._views.waiting(found.id), None)
            if entry:
                name, key, raw = entry
                known["ahead"] = await self._ahead(key, raw)
        elif found.state is State.RUNNING:
            holder = await anext(self._holders(found.id), None)
            if holder:
                name, known["pool"] = holder
        k = self._space.keys
        commands: list[tuple[Arg, ...]] = [
            ("EXISTS", k.paused(name)),
            ("GET", k.max_concurrency(name)),
            ("GET", k.lock(name)),
        ]
        paused, limit, running = await self._space.try_all(commands)
        return known | {"paused": bool(paused), "limit": whole(limit), "running": max(0, whole(running))}

    async def _ahead(self, key: str, raw: bytes) -> int | None:
        """How many entries are nearer to the end from which jobs are taken; None: it has just gone."""
        place, length = await self._space.try_all([("LPOS", key, raw, "RANK", -1), ("LLEN", key)])
        return None if place is None else max(0, (length or 0) - 1 - place)

    async def _holders(self, job_id: str) -> AsyncIterator[tuple[str, str]]:
        """(job type, pool) whose in-progress list holds it."""
        k, known = self._space.keys, set(await self._space.known())
        for pool in await self._views.pools():
            names = sorted({*known, *pool.handlers})
            lists = await self._space.try_all([("LRANGE", k.inprogress(name, pool.id), 0, -1) for name in names])
            for name, raws in zip(names, lists, strict=True):
                if any(is_job(raw, job_id) for raw in raws or ()):
                    yield name, pool.id
