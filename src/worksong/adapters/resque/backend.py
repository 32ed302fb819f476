"""The ports over one Resque namespace; each part of the work has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.adapters.base import BaseBackend, precede
from worksong.adapters.redis.client import Redis
from worksong.adapters.redis.lookout import Lookout
from worksong.adapters.resque.address import Place, read
from worksong.adapters.resque.broker import ResqueBroker
from worksong.adapters.resque.doctor import ResqueDoctor, Tracer
from worksong.adapters.resque.mover import Mover
from worksong.adapters.resque.pulse import Pulse
from worksong.adapters.resque.reaper import Reaper
from worksong.adapters.resque.schedule import Schedule
from worksong.adapters.resque.space import PURGE, Space, is_held
from worksong.adapters.resque.views import Views
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError
from worksong.domain.finding import Finding
from worksong.domain.job import Delivery, Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement
from worksong.ports.backend import (
    Beat,
    BusyView,
    Listing,
    Orders,
    Pool,
    PoolView,
    QueueView,
    Reaped,
    Trace,
    Want,
    Window,
)
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


class ResqueBackend(BaseBackend):
    """Jobs in Resque's lists: queues stand apart from classes, times are whole seconds, arguments are a list."""

    capabilities = frozenset(Capability) - LACKS

    def __init__(self, url: str, *, namespace: str = "") -> None:
        """The namespace is the URL's own `?namespace=`, else that of all peers: not the worker's name."""
        self._use(read(url))

    def _use(self, place: Place) -> None:
        self._place = place
        self.name = place.shown
        self._reopen()

    def _reopen(self) -> None:
        self._redis = Redis(self._place.address)
        space = Space(self._redis, Keys(self._place.namespace), plain=self._place.plain)
        schedule = Schedule(space)
        self._space, self._lookout, self._pulse = space, Lookout(space.redis, space.gate, is_held), Pulse(space)
        self._broker = ResqueBroker(space, self._lookout)
        self._mover, self._reaper = Mover(space, schedule), Reaper(space, new_id())
        self._views = Views(space, self._mover, schedule)
        self._doctor, self._tracer = ResqueDoctor(space, self._views, self._reaper), Tracer(space, self._views)

    def sibling(self) -> ResqueBackend:
        other = ResqueBackend.__new__(ResqueBackend)
        other._use(self._place)
        return other

    async def erase(self) -> None:
        if not self._space.keys.prefix:
            raise ConfigError(f"{self.name}: without a namespace, everything in the database would be dropped")
        await self._space.erase(self._space.keys.prefix)

    async def close(self) -> None:
        redis, lookout, mover, crews = self._redis, self._lookout, self._mover, self._space.crews
        self._reopen()
        self._space.crews.update(crews)
        for part in (redis, lookout, mover):
            await part.close()

    # Broker

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        for job in jobs:
            self.check(job)
        return await self._broker.push(jobs, now, once=once)

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        return await self._broker.fetch(want, now)

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        await precede(self, batch, now)
        return await self._broker.settle(batch, now)

    # Upkeep

    async def enlist(self, pool: Pool, now: float) -> None:
        await self._pulse.enlist(pool, now)

    async def beat(self, beat: Beat, now: float) -> Orders:
        return await self._pulse.beat(beat, now)

    async def leave(self, pool: Pool, now: float) -> int:
        return await self._pulse.leave(pool, now)

    async def promote(self, now: float, limit: int) -> int:
        moved = await self._mover.promote(now, limit)
        if moved:
            self._broker.ring()
        return moved

    async def until_due(self, now: float, seconds: float) -> None:
        await self._mover.until_due(now, seconds)

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        return await self._reaper.reap(now, monotonic, dead)

    async def prune(self, now: float) -> int:
        return await self._reaper.prune(now)

    # Inspector

    async def queues(self, now: float) -> list[QueueView]:
        return await self._views.queues(now)

    async def counts(self) -> dict[State, int]:
        return await self._views.counts()

    async def jobs(self, state: State, window: Window) -> Listing:
        return await self._views.jobs(state, window)

    async def job(self, job_id: str) -> JobView | None:
        return await self._views.job(job_id)

    async def pools(self) -> list[PoolView]:
        return await self._views.pools()

    async def busy(self) -> list[BusyView]:
        return await self._views.busy()

    # Admin

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        moved = await self._mover.requeue(state, job_ids, now)
        self._broker.ring()
        return moved

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        return await self._mover.delete(state, job_ids)

    async def cancel(self, job_id: str, now: float) -> bool:
        async for queue, _, raw in self._views.waiting(job_id):
            if await self._space.call("LREM", self._space.keys.queue(queue), 1, raw):
                return True
        shared = job_id.startswith(resque.FOREIGN)  # with equal jobs, also later ones: a mark would stop them all
        for state in (State.SCHEDULED, State.RETRY) if shared else (State.SCHEDULED, State.RETRY, State.DEAD):
            if await self._mover.delete(state, [job_id]):
                return True
        found = None if shared else await self._views.job(job_id)
        if found is None or found.state is not State.RUNNING:
            return False
        await self._space.call("ZADD", self._space.keys.cancelled, int(now), job_id)
        return True

    async def pause(self, name: str) -> None:
        await self._space.call("SET", self._space.keys.paused(name), "1")

    async def resume(self, name: str) -> None:
        await self._space.call("DEL", self._space.keys.paused(name))
        self._broker.ring()

    async def purge(self, name: str) -> int:
        """The queue itself stays known, as Resque's own tools leave it."""
        return int(await self._space.run(PURGE, (self._space.keys.queue(name),), ()))

    # Doctor

    async def admit(self) -> list[Finding]:
        return await self._doctor.admit()

    async def examine(self, now: float) -> list[Finding]:
        return await self._doctor.examine(self.capabilities, now)

    async def fix(self, finding_id: str, now: float) -> str:
        return await self._doctor.fix(finding_id, now)

    async def trace(self, job_id: str) -> Trace:
        return await self._tracer.trace(job_id)
