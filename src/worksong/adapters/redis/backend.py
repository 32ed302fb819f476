"""The ports over one Redis namespace, whatever its format: each call goes to the part that does that work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from worksong.adapters.base import BaseBackend
from worksong.adapters.redis.chronicle import RedisChronicle
from worksong.adapters.redis.directing import tell
from worksong.adapters.redis.lookout import Lookout
from worksong.adapters.redis.notebook import RedisNotebook
from worksong.adapters.redis.store import Store
from worksong.domain.course import Grain, Slot
from worksong.domain.errors import ConfigError
from worksong.domain.finding import Finding
from worksong.domain.job import Delivery, Job, JobView
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement
from worksong.domain.tally import Tally
from worksong.ports.backend import (
    Beat,
    BusyView,
    Direction,
    Inspector,
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
from worksong.ports.notebook import Line
from worksong.wire.own_keys import OwnKeys


class Lending(Protocol):
    """Jobs in, lent and settled."""

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool) -> list[bool]: ...
    async def fetch(self, want: Want, now: float) -> list[Delivery]: ...
    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]: ...

    def ring(self) -> None:
        """Something may have become ready: a waiting fetch need not sleep on."""
        ...


class Beating(Protocol):
    """The lives of our own pools."""

    async def enlist(self, pool: Pool, now: float) -> None: ...
    async def beat(self, beat: Beat, now: float) -> Orders: ...
    async def leave(self, pool: Pool, now: float) -> int: ...


class Moving(Protocol):
    """Jobs from one state to another, by the clock or by an operator's hand."""

    async def promote(self, now: float, limit: int) -> int: ...
    async def until_due(self, now: float, seconds: float) -> None: ...
    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int: ...
    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int: ...
    async def close(self) -> None: ...


class Reaping(Protocol):
    """The end of pools that died, and of what is kept for a time."""

    async def reap(self, now: float, monotonic: float, dead: Sequence[str]) -> Reaped: ...
    async def prune(self, now: float) -> int: ...


class Healing(Protocol):
    """What is wrong, but for the examination: formats differ in what that has to look at."""

    async def admit(self) -> list[Finding]: ...
    async def fix(self, finding_id: str, now: float) -> str: ...


class Tracing(Protocol):
    """One job and what stands in its way."""

    async def trace(self, job_id: str) -> Trace: ...


class Parts(NamedTuple):
    """Those who do the work, over one connection."""

    store: Store
    keys: OwnKeys
    lookout: Lookout
    broker: Lending
    pulse: Beating
    mover: Moving
    reaper: Reaping
    views: Inspector
    doctor: Healing
    tracer: Tracing


class RedisBackend(BaseBackend, ABC):
    """Override what a format does in a way of its own."""

    fetches = 2
    _parts: Parts

    @abstractmethod
    def _open(self) -> Parts:
        """New parts, not connected yet."""

    async def erase(self) -> None:
        prefix = self._parts.keys.prefix
        if not prefix:
            raise ConfigError(f"{self.name}: without a namespace, everything in the database would be dropped")
        await self._parts.store.erase(prefix)

    async def close(self) -> None:
        old, self._parts = self._parts, self._open()
        for part in (old.store.redis, old.lookout, old.mover):
            await part.close()

    # Broker

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        for job in jobs:
            self.check(job)
        return await self._parts.broker.push(jobs, now, once=once)

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        return await self._parts.broker.fetch(want, now)

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        return await self._parts.broker.settle(batch, now)

    # Upkeep

    async def enlist(self, pool: Pool, now: float) -> None:
        await self._parts.pulse.enlist(pool, now)

    async def beat(self, beat: Beat, now: float) -> Orders:
        return await self._parts.pulse.beat(beat, now)

    async def leave(self, pool: Pool, now: float) -> int:
        return await self._parts.pulse.leave(pool, now)

    async def promote(self, now: float, limit: int) -> int:
        moved = await self._parts.mover.promote(now, limit)
        if moved:
            self._parts.broker.ring()
        return moved

    async def until_due(self, now: float, seconds: float) -> None:
        await self._parts.mover.until_due(now, seconds)

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        return await self._parts.reaper.reap(now, monotonic, dead)

    async def prune(self, now: float) -> int:
        return await self._parts.reaper.prune(now)

    # Inspector

    async def queues(self, now: float) -> list[QueueView]:
        return await self._parts.views.queues(now)

    async def counts(self) -> dict[State, int]:
        return await self._parts.views.counts()

    async def jobs(self, state: State, window: Window) -> Listing:
        return await self._parts.views.jobs(state, window)

    async def job(self, job_id: str) -> JobView | None:
        return await self._parts.views.job(job_id)

    async def pools(self) -> list[PoolView]:
        return await self._parts.views.pools()

    async def busy(self) -> list[BusyView]:
        return await self._parts.views.busy()

    # Admin

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        moved = await self._parts.mover.requeue(state, job_ids, now)
        self._parts.broker.ring()
        return moved

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        return await self._parts.mover.delete(state, job_ids)

    async def _delete_one(self, job_id: str, states: Iterable[State]) -> bool:
        """Delete it in the first of these states that it is in; whether it was in one."""
        for state in states:
            if await self._parts.mover.delete(state, [job_id]):
                return True
        return False

    async def _stop(self, job_id: str, now: float) -> bool:
        """Have whoever runs the job told to stop; False: nobody runs it."""
        found = await self._parts.views.job(job_id)
        if found is None or found.state is not State.RUNNING:
            return False
        await self._parts.store.call("ZADD", self._parts.keys.cancelled, int(now), job_id)
        return True

    async def pause(self, name: str) -> None:
        await self._parts.store.call("SET", self._parts.keys.paused(name), "1")

    async def resume(self, name: str) -> None:
        await self._parts.store.call("DEL", self._parts.keys.paused(name))
        self._parts.broker.ring()

    async def direct(self, pool_id: str, direction: Direction) -> bool:
        if not await self._hears(pool_id):
            return False
        await tell(self._parts.store, self._parts.keys.told(pool_id), direction)
        return True

    @abstractmethod
    async def _hears(self, pool_id: str) -> bool:
        """Whether such a pool of ours is registered; `InvalidArguments` for one of another library."""

    # Doctor

    async def admit(self) -> list[Finding]:
        return await self._parts.doctor.admit()

    async def fix(self, finding_id: str, now: float) -> str:
        return await self._parts.doctor.fix(finding_id, now)

    async def trace(self, job_id: str) -> Trace:
        return await self._parts.tracer.trace(job_id)

    # Chronicle

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        await self._chronicle.note(tallies, now)

    async def course(self, grain: Grain, since: float, until: float) -> list[Slot]:
        return await self._chronicle.course(grain, since, until)

    # Notebook

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        await self._notebook.jot(lines)

    async def lines(self, page: str) -> list[str]:
        return await self._notebook.lines(page)

    @property
    def _notebook(self) -> RedisNotebook:
        return RedisNotebook(self._parts.store, self._parts.keys.page)

    @property
    def _chronicle(self) -> RedisChronicle:
        return RedisChronicle(self._parts.store, self._parts.keys.course)
