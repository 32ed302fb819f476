"""`amqp://`: the ports over RabbitMQ, in the form of Buffalo's adapter."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from worksong.adapters import rounds
from worksong.adapters.amqp.address import Address, parse
from worksong.adapters.amqp.channel import ChannelClosed
from worksong.adapters.amqp.core import Core
from worksong.adapters.amqp.doctor import Doctor
from worksong.adapters.amqp.headroom import check_size, size_of
from worksong.adapters.amqp.hub import Hub
from worksong.adapters.amqp.names import Names
from worksong.adapters.amqp.topology import refused
from worksong.adapters.base import BaseBackend, precede
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable, ConfigError, InvalidArguments
from worksong.domain.finding import Finding, verdict
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement, following
from worksong.ports.backend import (
    Beat,
    BusyView,
    Listing,
    Orders,
    Pool,
    PoolView,
    QueueView,
    Reaped,
    Want,
    Window,
)
from worksong.wire import amqp

T = TypeVar("T")

LONGEST_NAME = 200
"""Bytes of namespace and job type together; the server allows 255 to a queue's name, and ours add to them."""
LONGEST_ID = 255
"""Bytes of a job's id: a message has no room for more."""
PERIODIC = "periodic:"
"""How the ids of periodic jobs' firings begin."""
_users = itertools.count(1)


class AmqpBackend(BaseBackend):
    """A job type is its queue, arguments have names, the server keeps time and takes back what a worker lost."""

    capabilities = frozenset(
        {
            Capability.SHARED,
            Capability.DURABLE,
            Capability.LEASE,
            Capability.DELAY,
            Capability.SUBSECOND,
            Capability.PURGE,
            Capability.POOLS,
        }
    )

    def __init__(self, url: str, *, namespace: str = "") -> None:
        """`namespace` is the worker's name and means nothing here: Go's queues have none, unless the URL says so."""
        address = parse(url)
        names = self._names(address)
        self._use(address, names, Hub(lambda: Core(address, names)))

    def _names(self, address: Address) -> Names:
        return Names(address.namespace, quorum=address.quorum)

    def _use(self, address: Address, names: Names, hub: Hub) -> None:
        self._address, self._queues, self._hub = address, names, hub
        self._user = next(_users)
        self.name = address.shown
        weakref.finalize(self, hub.forget, self._user).atexit = False  # then the thread ends with all others

    def sibling(self) -> AmqpBackend:
        other = type(self).__new__(type(self))
        other._use(self._address, self._queues, self._hub)
        return other

    async def _do(self, work: Callable[[Core], Coroutine[Any, Any, T]]) -> T:
        """Over there, where the connections are."""
        try:
            return await self._hub.run(self._user, work)
        except ChannelClosed as closed:
            if closed.code:
                raise refused(self.name, closed) from closed
            raise BackendUnavailable(f"the connection to {self.name} broke ({closed.text})") from closed

    async def erase(self) -> None:
        if not self._address.namespace:
            raise ConfigError(f"{self.name}: without a namespace, queues of other programs would be deleted as well")
        await self._do(lambda core: core.erase())

    async def close(self) -> None:
        await self._hub.release(self._user)

    # Broker

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        ready = [(job, self._message(job, now)) for job in jobs]
        if once and any(job.id.startswith(PERIODIC) for job in jobs):
            return await self._do(lambda core: _push_claimed(core, ready, now))
        if ready:
            await self._do(lambda core: core.push(ready, now))
        return [True] * len(ready)

    def _message(self, job: Job, now: float) -> amqp.Message:
        self.check(job)
        if len(self._queues.queue(job.handler).encode()) > LONGEST_NAME:
            raise InvalidArguments(
                f"job type {job.handler!r}: with its namespace it must not exceed {LONGEST_NAME} bytes"
            )
        if len(job.id.encode("utf-8", "surrogatepass")) > LONGEST_ID:
            raise InvalidArguments(f"job {job.handler!r}: its id must not exceed {LONGEST_ID} bytes")
        message = amqp.encode(job, run_at=job.run_at if job.run_at > now else 0.0)
        if len(message.headers) > 1:
            check_size(job.handler, size_of(message))
        return message

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        return await self._do(lambda core: core.lendings.fetch(want, now))

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        if not batch:
            return []
        if any(following(one.outcome) for one in batch):
            # What follows an ending that is repeated would be there twice: ids are not known.
            await precede(self, await self._do(lambda core: _held(core, batch)), now)
        return await self._do(lambda core: core.lendings.settle(batch, now))

    # Upkeep

    async def enlist(self, pool: Pool, now: float) -> None:
        await self._do(lambda core: core.enlist(pool, now))

    async def beat(self, beat: Beat, now: float) -> Orders:
        return await self._do(lambda core: core.beat(beat, now))

    async def leave(self, pool: Pool, now: float) -> int:
        return await self._do(lambda core: core.leave(pool, now))

    async def promote(self, now: float, limit: int) -> int:
        """The server does it by itself."""
        await self._do(lambda core: core.reach())
        return 0

    async def until_due(self, now: float, seconds: float) -> None:
        """Nothing is ever due for `promote`."""
        await self._do(lambda core: core.rest(seconds))

    async def reap(self, now: float, monotonic: float, *, dead: Sequence[str] = ()) -> Reaped:
        return await self._do(lambda core: core.reap(now, monotonic, dead))

    async def prune(self, now: float) -> int:
        await self._do(lambda core: core.reach())
        return 0

    # Inspector: what can be told, although not all that BROWSE and REVIVE promise

    async def queues(self, now: float) -> list[QueueView]:
        return await self._do(lambda core: core.queues())

    async def counts(self) -> dict[State, int]:
        return await self._do(lambda core: core.counts())

    async def jobs(self, state: State, window: Window) -> Listing:
        if state is not State.DEAD:
            self.refuse(Capability.BROWSE)
        return await self._do(lambda core: _dead(core, window))

    async def pools(self) -> list[PoolView]:
        said = await self._do(lambda core: core.roster.ask())
        return sorted((pool for one in said for pool in one.pools), key=lambda pool: pool.id)

    async def busy(self) -> list[BusyView]:
        said = await self._do(lambda core: core.roster.ask())
        return [busy for one in said for busy in one.busy]

    # Admin

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        if state is not State.DEAD:
            self.refuse(Capability.REVIVE)
        return await self._do(lambda core: _requeue(core, job_ids, now))

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        if state is not State.DEAD:
            self.refuse(Capability.REVIVE)
        return await self._do(lambda core: _delete(core, job_ids))

    async def purge(self, name: str) -> int:
        return await self._do(lambda core: core.purge(name))

    # Doctor

    async def admit(self) -> list[Finding]:
        return await self._do(lambda core: Doctor(core).admit())

    async def examine(self, now: float) -> list[Finding]:
        pools, busy = await self.pools(), await self.busy()
        found = await self._do(lambda core: Doctor(core).examine(pools, busy))
        found += verdict("pools", "Every registered pool gives signs of life.", rounds.silent(pools, now))
        lonely = await rounds.unserved(self, pools, now, apart=False)
        found += verdict("jobs.served", "Every job that waits has a worker that knows it.", lonely)
        return [replace(finding, fixable=False) for finding in found]


async def _held(core: Core, batch: Sequence[Settlement]) -> list[Settlement]:
    return [one for one in batch if core.lendings.holds(one.delivery)]


async def _push_claimed(core: Core, ready: Sequence[tuple[Job, amqp.Message]], now: float) -> list[bool]:
    """Every process enqueues the same firings: each of them is left to one."""
    new: list[bool] = []
    for job, message in ready:
        mine = not job.id.startswith(PERIODIC) or await core.claims.claim(job, now)
        if mine:
            try:
                await core.push([(job, message)], now)
            except BaseException:
                if job.id.startswith(PERIODIC):
                    await core.claims.give_up(job)
                raise
        new.append(mine)
    return new


async def _dead(core: Core, window: Window) -> Listing:
    return await core.graveyard.jobs(await core.handlers(), window)


async def _requeue(core: Core, ids: Sequence[str] | None, now: float) -> int:
    count = 0
    for handler in await core.handlers():
        count += len(await core.graveyard.requeue(handler, ids, now))
    return count


async def _delete(core: Core, ids: Sequence[str] | None) -> int:
    count = 0
    for handler in await core.handlers():
        count += await core.graveyard.drop(handler) if ids is None else len(await core.graveyard.delete(handler, ids))
    return count
