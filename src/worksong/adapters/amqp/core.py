"""All that lives in the hub's loop: two connections, and what is done over them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

from worksong.adapters.amqp.address import Address
from worksong.adapters.amqp.channel import ChannelClosed
from worksong.adapters.amqp.claims import Claims
from worksong.adapters.amqp.copies import Copies
from worksong.adapters.amqp.graveyard import Graveyard
from worksong.adapters.amqp.holds import Holds
from worksong.adapters.amqp.lendings import Lendings
from worksong.adapters.amqp.link import Link
from worksong.adapters.amqp.names import Names
from worksong.adapters.amqp.outage import Outage
from worksong.adapters.amqp.publisher import Outgoing, Publisher, Unconfirmed
from worksong.adapters.amqp.roster import Roster
from worksong.adapters.amqp.topology import Topology
from worksong.adapters.amqp.types import Types
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown, WorksongError
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.ports.backend import SILENT_FOR, Beat, Orders, Pool, QueueView, Reaped
from worksong.wire.amqp import Message

log = logging.getLogger("worksong.amqp")


class Core:
    """One connection to publish, one to consume: a server that holds back who publishes does not hold back acks."""

    def __init__(self, address: Address, names: Names) -> None:
        self.address, self.names = address, names
        outage = Outage(address.shown)
        self.out = Link(address, "publishes", outage, self._out_lost)
        self.into = Link(address, "consumes", outage, self._into_lost)
        self.topology = Topology(self.out, names, address.exchange)
        self.publisher = Publisher(self.out, self.topology, address.timeout)
        holds = Holds(self.topology, self.publisher, address.consumer_timeout)
        copies = Copies(self.topology, self.publisher)
        self.lendings = Lendings(self.into, self.topology, copies, holds, repair=address.repair_delays)
        self.roster = Roster(self.into, self.topology, names, self.lendings.members)
        self.types = Types(self.out, names, self.publisher)
        self.graveyard = Graveyard(self.out, self.topology, self.publisher)
        self.claims = Claims(self.topology, names)
        self._used: set[str] = set()
        self._seen: dict[str, tuple[int, float]] = {}
        self._errands: set[asyncio.Task[None]] = set()

    def _out_lost(self) -> None:
        self.topology.lost()

    def _into_lost(self) -> None:
        self.lendings.lost()

    async def reach(self) -> None:
        """Raise if the server is away."""
        await self.out.reach()

    async def rest(self, seconds: float) -> None:
        """Sleep, but not while the server is away."""
        try:
            await self.reach()
        except WorksongError:
            return
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        for errand in list(self._errands):
            errand.cancel()
        with contextlib.suppress(WorksongError, ChannelClosed):  # the server takes back everything anyway
            await self.lendings.close()
        await self.into.close()
        await self.out.close()

    # push

    async def push(self, jobs: Sequence[tuple[Job, Message]], now: float) -> None:
        """Have all of them taken in, in their order."""
        if self.out.blocked:  # it would not answer a question for a queue, either
            await self.publisher.ready()
        outgoing = [await self._outgoing(job, message, now) for job, message in jobs]
        try:
            await self.publisher.publish(outgoing)
        except Unconfirmed as lost:
            raise EnqueueOutcomeUnknown([job.id for job, _ in jobs], str(lost)) from lost
        self._used.update(job.handler for job, _ in jobs)

    async def _outgoing(self, job: Job, message: Message, now: float) -> Outgoing:
        if job.run_at > now:
            queue = await self.topology.ensure_delay(job.handler, self.names.rung(job.run_at - now))
            return Outgoing(job.handler, "", queue, message)
        await self.topology.ensure(job.handler)
        return Outgoing(job.handler, self.address.exchange, self.names.queue(job.handler), message)

    # pools

    async def enlist(self, pool: Pool, now: float) -> None:
        await self.out.reach()
        await self.into.reach()
        for handler in pool.handlers:
            await self.topology.ensure(handler)
        self.lendings.join(pool, now)
        await self.roster.open()
        self._beside(pool.handlers)

    def _beside(self, handlers: Iterable[str]) -> None:
        errand = asyncio.get_running_loop().create_task(self._learn(handlers))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def _learn(self, handlers: Iterable[str]) -> None:
        try:
            await self.types.learn(handlers)
        except (WorksongError, ChannelClosed) as failure:
            log.debug("the job types are not noted: %s", failure)

    async def beat(self, beat: Beat, now: float) -> Orders:
        await self.out.reach()
        await self.into.reach()
        member = self.lendings.members.get(beat.pool.id)
        if member is None:
            return Orders(evicted=True, lost=beat.held)
        await self.roster.open()
        member.heartbeat_at, member.running = now, beat.running
        member.beats += 1
        lent, held = self.lendings.fences(beat.pool.id), {delivery.fence for delivery in beat.held}
        unread = bool(beat.fetch) and beat.fetch == member.fetch
        member.fetch = beat.fetch
        if not unread:  # else its loop is blocked, and has perhaps not read what it was lent
            missing = lent - held
            again = missing & member.missed
            member.missed = missing - again
            if again:
                await self.lendings.give_back(beat.pool.id, again)
        if self.lendings.members.get(beat.pool.id) is not member:  # struck off meanwhile
            return Orders(evicted=True, lost=beat.held)
        self.lendings.freshen(beat.pool.id, now)
        if member.tap.hoards:
            await member.tap.rest()
        member.tap.asked = False
        return Orders(lost=tuple(delivery for delivery in beat.held if delivery.fence not in lent))

    async def leave(self, pool: Pool, now: float) -> int:
        back = await self.lendings.dismiss(pool.id)
        self._seen.pop(pool.id, None)
        if not self.lendings.members:
            await self.roster.leave()
        await self.reach()
        return back

    async def reap(self, now: float, monotonic: float, dead: Sequence[str]) -> Reaped:
        """Of the pools of this process: those of others are the server's care, which sees their connections end."""
        await self.reach()
        members = self.lendings.members
        silent = [pool for pool in members if pool in dead or self._silent(pool, monotonic)]
        recovered = 0
        for pool in silent:
            recovered += await self.lendings.dismiss(pool)
            self._seen.pop(pool, None)
        return Reaped(tuple(silent), recovered)

    def _silent(self, pool: str, monotonic: float) -> bool:
        beats, since = self.lendings.members[pool].beats, monotonic
        seen, first = self._seen.get(pool, (-1, monotonic))
        if seen == beats:
            since = first
        self._seen[pool] = (beats, since)
        return monotonic - since >= SILENT_FOR

    # looking

    async def handlers(self) -> list[str]:
        """Every job type that this process, the record, the URL or a live pool knows."""
        known = self._used | set(self.address.handlers) | await self.types.known()
        for member in self.lendings.members.values():
            known.update(member.pool.handlers)
        return sorted(known)

    async def queues(self) -> list[QueueView]:
        found: list[QueueView] = []
        for handler in await self.handlers():
            declared = await self.topology.look(self.names.queue(handler))
            if declared:
                found.append(QueueView(name=handler, count=declared.messages))
        return found

    async def counts(self) -> dict[State, int]:
        """Jobs in delay queues are all counted as scheduled: nobody can tell which of them wait for a retry."""
        handlers = await self.handlers()
        waiting = await self.queues()
        return {
            State.QUEUED: sum(queue.count for queue in waiting),
            State.SCHEDULED: sum([await self._delayed(handler) for handler in handlers]),
            State.RUNNING: sum(len(said.busy) for said in await self.roster.ask()),
            State.RETRY: 0,
            State.DEAD: sum([await self.graveyard.count(handler) for handler in handlers]),
        }

    async def _delayed(self, handler: str) -> int:
        found = [await self.topology.look(self.names.delay(handler, rung)) for rung in self.names.ladder]
        return sum(declared.messages for declared in found if declared)

    # operating

    async def purge(self, handler: str) -> int:
        queue = self.names.queue(handler)
        if await self.topology.look(queue) is None:
            return 0
        return await self.topology.ask(lambda channel: channel.purge(queue))

    async def erase(self) -> None:
        """Every queue of the namespace that anybody could tell of."""
        names = self.names
        for handler in await self.handlers():
            rungs = self.topology.delays.pop(handler, set())
            queues = [names.queue(handler), names.dead(handler), *(names.delay(handler, rung) for rung in rungs)]
            for queue in queues:
                await self._delete(queue)
        await self._delete(names.types)
        self.topology.lost()

    async def _delete(self, queue: str) -> None:
        await self.topology.ask(lambda channel: channel.delete(queue))


__all__ = ["BackendUnavailable", "Core"]
