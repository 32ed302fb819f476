"""The ports over one Resque namespace; each part of the work has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.adapters.base import precede
from worksong.adapters.redis.backend import Parts, RedisBackend
from worksong.adapters.redis.client import Redis
from worksong.adapters.redis.lookout import Lookout
from worksong.adapters.resque.address import Place, read
from worksong.adapters.resque.broker import ResqueBroker
from worksong.adapters.resque.crew import Crew
from worksong.adapters.resque.doctor import ResqueDoctor, Tracer
from worksong.adapters.resque.mover import Mover
from worksong.adapters.resque.pulse import Pulse
from worksong.adapters.resque.reaper import Reaper
from worksong.adapters.resque.schedule import Schedule
from worksong.adapters.resque.space import PURGE, Space, is_held
from worksong.adapters.resque.views import Views
from worksong.domain.capability import Capability
from worksong.domain.finding import Finding
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement
from worksong.wire import resque
from worksong.wire.resque_keys import Keys

LACKS = {
    Capability.SUBSECOND,
    Capability.PRIORITY,
    Capability.UNIQUE,
    Capability.LIMIT,
    Capability.RESULTS,
    Capability.TRANSACTION,
    Capability.EFFECT,
    Capability.MOVE,
    Capability.THEN,
}


class ResqueBackend(RedisBackend):
    """Jobs in Resque's lists: queues stand apart from classes, times are whole seconds, arguments are a list."""

    capabilities = frozenset(Capability) - LACKS

    def __init__(self, url: str, *, namespace: str = "") -> None:
        """The namespace is the URL's own `?namespace=`, else that of all peers: not the worker's name."""
        self._use(read(url))

    def _use(self, place: Place) -> None:
        self._place = place
        self._crews: dict[str, Crew] = {}
        self.name = place.shown
        self._parts = self._open()

    def _open(self) -> Parts:
        place = self._place
        space = self._space = Space(Redis(place.address), Keys(place.namespace), self._crews, plain=place.plain)
        lookout, schedule = Lookout(space.redis, space.gate, is_held), Schedule(space)
        mover, reaper = Mover(space, schedule), Reaper(space, new_id())
        views = self._views = Views(space, mover, schedule)
        doctor = self._doctor = ResqueDoctor(space, views, reaper)
        broker, pulse, tracer = ResqueBroker(space, lookout), Pulse(space), Tracer(space, views)
        return Parts(space, space.keys, lookout, broker, pulse, mover, reaper, views, doctor, tracer)

    def sibling(self) -> ResqueBackend:
        other = ResqueBackend.__new__(ResqueBackend)
        other._use(self._place)
        return other

    # Broker

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        await precede(self, batch, now)
        return await super().settle(batch, now)

    # Admin

    async def cancel(self, job_id: str, now: float) -> bool:
        async for queue, _, raw in self._views.waiting(job_id):
            if await self._space.call("LREM", self._space.keys.queue(queue), 1, raw):
                return True
        shared = job_id.startswith(resque.FOREIGN)  # with equal jobs, also later ones: a mark would stop them all
        states = (State.SCHEDULED, State.RETRY) if shared else (State.SCHEDULED, State.RETRY, State.DEAD)
        if await self._delete_one(job_id, states):
            return True
        return not shared and await self._stop(job_id, now)

    async def purge(self, name: str) -> int:
        """The queue itself stays known, as Resque's own tools leave it."""
        return int(await self._space.run(PURGE, (self._space.keys.queue(name),), ()))

    async def _hears(self, pool_id: str) -> bool:
        """Workers of other libraries have no pools here."""
        return bool(await self._space.call("SISMEMBER", self._space.keys.pools, pool_id))

    # Doctor

    async def examine(self, now: float) -> list[Finding]:
        return await self._doctor.examine(self.capabilities, now)
