"""The ports over one gocraft/work namespace; each part of the work has a module of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from worksong.adapters.gocraft.beside import GocraftBeside
from worksong.adapters.gocraft.broker import GocraftBroker
from worksong.adapters.gocraft.cargo import GocraftCargo
from worksong.adapters.gocraft.doctor import GocraftDoctor, Tracer
from worksong.adapters.gocraft.intake import GocraftIntake
from worksong.adapters.gocraft.mover import Mover
from worksong.adapters.gocraft.pulse import Pulse
from worksong.adapters.gocraft.reaper import Reaper
from worksong.adapters.gocraft.space import REMOVE, Space, is_held
from worksong.adapters.gocraft.views import Views
from worksong.adapters.redis.address import Address, parse
from worksong.adapters.redis.backend import Parts, RedisBackend
from worksong.adapters.redis.client import Arg, Redis
from worksong.adapters.redis.lookout import Lookout
from worksong.adapters.redis.records import RedisRecords
from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.domain.finding import Finding
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.parcel import Parcel
from worksong.domain.poison import Poison
from worksong.ports.backend import Beside
from worksong.ports.cargo import Known, Landing, Load
from worksong.ports.records import RecordStore
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


class GocraftBackend(RedisBackend):
    """Jobs in gocraft/work's lists and sets: a job type is its queue, times are whole seconds, arguments have names."""

    capabilities = frozenset(Capability) - LACKS

    def __init__(self, url: str, *, namespace: str) -> None:
        """The URL's own `?namespace=` goes before `namespace`."""
        address = parse(url)
        self._use(address, namespace if address.namespace is None else address.namespace)

    def _use(self, address: Address, namespace: str) -> None:
        self._address, self._namespace = address, namespace
        self.name = address.shown
        self._parts = self._open()

    def _open(self) -> Parts:
        space = self._space = Space(Redis(self._address), Keys(self._namespace))
        lookout = Lookout(space.redis, space.gate, is_held)
        mover = self._mover = Mover(space)
        views = self._views = Views(space, mover)
        reaper, self._cargo = Reaper(space, new_id()), GocraftCargo(space)
        doctor = self._doctor = GocraftDoctor(space, views, reaper)
        self._intake = GocraftIntake(space, lookout)
        broker, pulse, tracer = GocraftBroker(space, lookout), Pulse(space), Tracer(space, views)
        return Parts(space, space.keys, lookout, broker, pulse, mover, reaper, views, doctor, tracer)

    def sibling(self) -> GocraftBackend:
        other = GocraftBackend.__new__(GocraftBackend)
        other._use(self._address, self._namespace)
        return other

    def beside(self, records: RecordStore) -> Beside | None:
        """In one namespace only: other keys may lie in another slot of a cluster."""
        if not isinstance(records, RedisRecords) or (records.name, records.namespace) != (self.name, self._namespace):
            return None
        return partial(GocraftBeside, self._space, self._intake, ring=self._parts.broker.ring)

    # Upkeep

    async def prune(self, now: float) -> int:
        if self._address.medic:
            await self._mover.revive(now)
        return await super().prune(now)

    # Admin

    async def cancel(self, job_id: str, now: float) -> bool:
        if await self._delete_one(job_id, (State.SCHEDULED, State.RETRY, State.DEAD)):
            return True
        async for _, key, raw in self._views.waiting(job_id):
            if await self._space.run(REMOVE, (key,), self._removal(raw)):
                return True
        return await self._stop(job_id, now)

    def _removal(self, raw: bytes) -> tuple[Arg, ...]:
        """What the remove script takes for one waiting job."""
        try:
            job = gocraft.decode(raw, limit=64 * gocraft.LIMIT)
        except Poison:
            return raw, "", "", ""
        held = self._space.held(job)
        return raw, job.id, self._space.lock_of(job) if held or not job.fails else "", held

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

    async def _hears(self, pool_id: str) -> bool:
        k = self._space.keys
        there, ours = await self._space.gather(
            [("SISMEMBER", k.worker_pools, pool_id), ("ZSCORE", k.own_pools, pool_id)]
        )
        if there and ours is None:
            raise InvalidArguments(
                f"the pool {pool_id} belongs to a worker of gocraft/work, which takes no orders from here: "
                "send its process a signal"
            )
        return bool(there)

    # Doctor

    async def examine(self, now: float) -> list[Finding]:
        return await self._doctor.examine(self, self.capabilities, now)

    # Cargo

    async def load(self, state: State, *, passed: int, most: int, destination: str, now: float) -> Load | None:
        return await self._cargo.load(state, passed, most, Load(new_id(), destination))

    def carried(self, parcel: Parcel) -> Parcel:
        return self._cargo.carried(parcel)

    async def unload(self, load: Load, without: Collection[str], now: float) -> Landing:
        landing = await self._cargo.unload(load, without)
        self._parts.broker.ring()
        return landing

    async def release(self, load_id: str, staying: Collection[str], now: float) -> int:
        return await self._cargo.release(load_id, staying)

    async def known(self, after: str, most: int) -> tuple[Sequence[Known], str]:
        return await self._cargo.known(after, most)

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        return await self._cargo.know(ids, now)
