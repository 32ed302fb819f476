"""One job and what stands in its way."""

from __future__ import annotations

from typing import Any

from worksong.adapters.redis.doctor import tracing
from worksong.adapters.resque.space import Space
from worksong.adapters.resque.views import Views
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
        k, known = self._space.keys, dict[str, Any]()
        if found.state is State.QUEUED:
            entry = await anext(self._views.waiting(found.id), None)
            if entry:
                known["ahead"] = entry[1]
        elif found.state is State.RUNNING:
            async for pool, one in self._views.lent():
                if one.id == found.id:
                    known["pool"] = pool
        paused, everybody = await self._space.try_all([("EXISTS", k.paused(found.job.queue)), ("GET", k.pause_all)])
        return known | {"paused": bool(paused) or everybody == b"true"}
