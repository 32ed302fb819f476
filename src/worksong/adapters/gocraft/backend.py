"""The ports over one gocraft/work namespace; each part of the work has a module of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from worksong.adapters.base import BaseBackend
from worksong.adapters.gocraft.broker import GocraftBroker
from worksong.adapters.gocraft.cargo import GocraftCargo
from worksong.adapters.gocraft.doctor import GocraftDoctor, Tracer
from worksong.adapters.gocraft.mover import Mover
from worksong.adapters.gocraft.pulse import Pulse
from worksong.adapters.gocraft.reaper import Reaper
from worksong.adapters.gocraft.space import REMOVE, Space, is_held
from worksong.adapters.gocraft.views import Views
from worksong.adapters.redis.address import Address, parse
from worksong.adapters.redis.client import Arg, Redis
from worksong.adapters.redis.lookout import Lookout
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError
from worksong.domain.finding import Finding
from worksong.domain.job import Delivery, Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement
from worksong.domain.parcel import Parcel
from worksong.domain.poison import Poison
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
from worksong.ports.cargo import Known, Landing, Load
from worksong.wire import gocraft
from worksong.wire.gocraft_keys import Keys

LACKS = {
    Capability.QUEUES,
    Capability.PATTERNS,
    Capability.SUBSECOND,
    Capability.POSITIONAL,
    Capability.RESULTS,
    Capability.TRANSACTION,
    Capability.EFFECT,
}


class GocraftBackend(BaseBackend):
    """Jobs in gocraft/work's lists and sets: a job type is its queue, times are whole seconds, arguments have names."""

    capabilities = frozenset(Capability) - LACKS

    def __init__(self, url: str, *, namespace: str) -> None:
        """The URL's own `?namespace=` goes before `namespace`."""
        address = parse(url)
        self._use(address, namespace if address.namespace is None else address.namespace)

    def _use(self, address: Address, namespace: str) -> None:
        self._address, self._namespace = address, namespace
        self.name = address.shown
        self._reopen()

    def _reopen(self) -> None:
        self._redis = Redis(self._address)
        space = Space(self._redis, Keys(self._namespace))
        self._space, self._lookout, self._pulse = space, Lookout(space.redis, space.gate, is_held), Pulse(space)
        self._broker = GocraftBroker(space, self._lookout)
        self._mover, self._reaper = Mover(space), Reaper(space, new_id())
        self._views, self._cargo = Views(space, self._mover), GocraftCargo(space)
        self._doctor, self._tracer = GocraftDoctor(space, self._views, self._reaper), Tracer(space, self._views)

    def sibling(self) -> GocraftBackend:
        other = GocraftBackend.__new__(GocraftBackend)
        other._use(self._address, self._namespace)
        return other

    async def erase(self) -> None:
        if not self._space.keys.prefix:
            raise ConfigError(f"{self.name}: without a namespace, everything in the database would be dropped")
        await self._space.erase(self._space.keys.prefix)

    async def close(self) -> None:
        redis, lookout, mover = self._redis, self._lookout, self._mover
        self._reopen()
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
        if self._address.medic:
            await self._mover.revive(now)
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
        for state in (State.SCHEDULED, State.RETRY, State.DEAD):
            if await self._mover.delete(state, [job_id]):
                return True
        async for _, key, raw in self._views.waiting(job_id):
            if await self._space.run(REMOVE, (key,), self._removal(raw)):
                return True
        found = await self._views.job(job_id)
        if found is None or found.state is not State.RUNNING:
            return False
        await self._space.call("ZADD", self._space.keys.cancelled, int(now), job_id)
        return True

    def _removal(self, raw: bytes) -> tuple[Arg, ...]:
        """What the remove script takes for one waiting job."""
        try:
            job = gocraft.decode(raw, limit=64 * gocraft.LIMIT)
        except Poison:
            return raw, "", "", ""
        held = self._space.held(job)
        own = self._space.owns(job.unique_key) and bool(held or not job.fails)
        return raw, job.id, job.unique_key if own else "", held

    async def pause(self, name: str) -> None:
        await self._space.call("SET", self._space.keys.paused(name), "1")

    async def resume(self, name: str) -> None:
        await self._space.call("DEL", self._space.keys.paused(name))
        self._broker.ring()

    async def purge(self, name: str) -> int:
        """In chunks, as many as there were at the beginning: what is enqueued meanwhile may stay."""
        key, dropped = self._space.keys.jobs(name), 0
        left = await self._space.call("LLEN", key)
        while left > 0:
            raws = await self._space.call("LRANGE", key, -min(left, 500), -1)
            if not raws:
                break
            args = [part for raw in reversed(raws) for part in self._removal(raw)]
            dropped += await self._space.run(REMOVE, (key,), args)
            left -= len(raws)
        return dropped

    # Doctor

    async def admit(self) -> list[Finding]:
        return await self._doctor.admit()

    async def examine(self, now: float) -> list[Finding]:
        return await self._doctor.examine(self, self.capabilities, now)

    async def fix(self, finding_id: str, now: float) -> str:
        return await self._doctor.fix(finding_id, now)

    async def trace(self, job_id: str) -> Trace:
        return await self._tracer.trace(job_id)

    # Cargo

    async def load(self, state: State, *, passed: int, most: int, destination: str, now: float) -> Load | None:
        return await self._cargo.load(state, passed, most, Load(new_id(), destination))

    def carried(self, parcel: Parcel) -> Parcel:
        return self._cargo.carried(parcel)

    async def unload(self, load: Load, without: Collection[str], now: float) -> Landing:
        landing = await self._cargo.unload(load, without)
        self._broker.ring()
        return landing

    async def release(self, load_id: str, staying: Collection[str], now: float) -> int:
        return await self._cargo.release(load_id, staying)

    async def known(self, after: str, most: int) -> tuple[Sequence[Known], str]:
        return await self._cargo.known(after, most)

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        return await self._cargo.know(ids, now)
