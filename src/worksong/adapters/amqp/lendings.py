"""Jobs lent and jobs settled: who holds which message, and what is said to the server at its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from worksong.adapters.amqp.channel import Channel, ChannelClosed
from worksong.adapters.amqp.copies import Copies
from worksong.adapters.amqp.held import Held
from worksong.adapters.amqp.holds import Holds
from worksong.adapters.amqp.link import Link, Lost
from worksong.adapters.amqp.publisher import Outgoing
from worksong.adapters.amqp.tap import Tap
from worksong.adapters.amqp.topology import Topology
from worksong.adapters.memory import store
from worksong.domain.errors import WorksongError
from worksong.domain.job import Delivery, Job
from worksong.domain.names import one_line
from worksong.domain.outcome import Discarded, Done, Released, Settlement
from worksong.domain.poison import Poison
from worksong.ports.backend import Pool, Want
from worksong.wire import amqp

SOON = 0.02
"""Seconds in which a server with jobs has sent some."""
log = logging.getLogger("worksong.amqp")


class Member(store.Member, kw_only=True):
    """A pool of this process, and what its jobs come through."""

    tap: Tap
    fetch: int = 0
    """The fetch that its last beat had not read the answer of."""


class Receipt(NamedTuple):
    """A delivery tag means something on its channel only, and only while that is open."""

    channel: int
    tag: int


class _Lent(NamedTuple):
    receipt: Receipt
    pool: str
    held: Held
    """Another one each time the job is exchanged; the receipt stays."""
    job: Job


class Lendings:
    """Every message that a pool of this process has in its hands."""

    def __init__(self, link: Link, topology: Topology, copies: Copies, holds: Holds, *, repair: bool = False) -> None:
        """`link`: what jobs come through. `repair`: see `worksong.wire.amqp.decode`."""
        self._link, self._topology, self._copies, self._holds, self._repair = link, topology, copies, holds, repair
        self.members: dict[str, Member] = {}
        self._lent: dict[int, _Lent] = {}
        self._fence = 0
        self._exchanging: set[int] = set()
        self._errands: set[asyncio.Task[bool]] = set()

    def join(self, pool: Pool, now: float) -> None:
        """A new member."""
        known = self.members.get(pool.id)
        if known:
            known.pool = pool
            return
        label = f"{pool.host or 'worksong'}_{pool.pid}"
        tap = Tap(self._link, self._topology, pool.concurrency, label, self._forget)
        self.members[pool.id] = Member(pool, now, tap=tap)

    # lend

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        """As `Broker.fetch`. One that may not wait asks the server; one that may has it send what comes."""
        await self._link.reach()
        member = self.members.get(want.pool)
        if member is None:  # taken for dead, and about to hear of it
            await asyncio.sleep(want.wait)
            return []
        member.tap.asked = True
        try:
            found = await self._buffered(member, want, now)
            if found or want.limit <= 0:
                return found
            if want.wait:
                return await self._waited(member, want, now)
            return await (self._swept(member, want, now) if member.tap.flows else self._drawn(member, want, now))
        except (ChannelClosed, Lost):
            if member.tap.struck_off:  # meanwhile
                return []
            raise
        except asyncio.CancelledError:  # the pool goes quiet: nothing more may pile up here
            self._spawn(_quietly(member.tap))
            raise
        finally:
            member.tap.asked = True

    async def _buffered(self, member: Member, want: Want, now: float) -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < want.limit and (held := member.tap.take(want.handlers, want.limit - len(found))):
            for one in held:
                delivery, _ = self._lend(want.pool, one, now)
                if delivery:
                    found.append(delivery)
        return found

    async def _drawn(self, member: Member, want: Want, now: float) -> list[Delivery]:
        """What is no job, or not yet due, is seen to before the answer."""
        found: list[Delivery] = []
        while len(found) < want.limit:
            held = await member.tap.draw(want.handlers, want.limit - len(found))
            if not held:
                break
            errands: list[asyncio.Task[bool]] = []
            for one in held:
                delivery, errand = self._lend(want.pool, one, now)
                if delivery:
                    found.append(delivery)
                elif errand:
                    errands.append(errand)
            if not errands or not all(await asyncio.gather(*errands)):
                break
        member.tap.drew(len(found) if len(found) >= want.limit else 0)
        return found

    async def _swept(self, member: Member, want: Want, now: float) -> list[Delivery]:
        """What the server sends, until it surely has no more."""
        names = [share.name for share in want.handlers]
        await member.tap.listen(names, want.limit)
        await member.tap.wait(SOON)
        found = await self._buffered(member, want, now)
        while not found and await member.tap.more(names):
            found = await self._buffered(member, want, now)
            if not found and self._errands:
                await asyncio.wait(self._errands, return_when=asyncio.FIRST_COMPLETED)
        return found

    async def _waited(self, member: Member, want: Want, now: float) -> list[Delivery]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        names = [share.name for share in want.handlers]
        while True:
            await member.tap.listen(names, want.limit)
            left = want.wait - (loop.time() - begun)
            if left > 0:
                await member.tap.wait(left)
            found = await self._buffered(member, want, now + (loop.time() - begun))
            if found or left <= 0:
                return found
            await self._link.reach()

    def _lend(self, pool: str, held: Held, now: float) -> tuple[Delivery | None, asyncio.Task[bool] | None]:
        job = self._read(held, now)
        if not isinstance(job, Job):
            return None, job
        if job.run_at > now:  # it came out of its delay queue before its time, and has to pass the next one
            return None, self._swap(held, self._copies.delayed(held, job, job.run_at, now))
        if job.run_at:
            job = replace(job, run_at=0.0)
        self._fence = fence = max(self._fence + 1, time.time_ns() // 1000)
        receipt = Receipt(held.channel.number, held.delivered.tag)
        self._lent[fence] = _Lent(receipt, pool, held, job)
        return Delivery(job, receipt, fence), None

    def _read(self, held: Held, now: float) -> Job | asyncio.Task[bool]:
        """The job; of what is none, its burial."""
        try:
            return amqp.decode(held.delivered.received, held.handler, repair=self._repair)
        except Poison as wrong:
            log.error("poison in the queue of %s went to the dead jobs: %s", held.handler, one_line(str(wrong)))
            return self._swap(held, self._copies.buried(held, wrong, now))

    def _swap(self, held: Held, copy: Coroutine[Any, Any, Outgoing]) -> asyncio.Task[bool]:
        return self._spawn(self._copies.take_place(held, copy))

    def _spawn(self, errand: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = asyncio.get_running_loop().create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    # jobs that run for long

    def freshen(self, pool: str, now: float) -> None:
        """Exchange what the server would take back before long, and give back what would wait here until then."""
        clock = asyncio.get_running_loop().time()
        for fence, lent in self._lent.items():
            if lent.pool == pool and fence not in self._exchanging and self._holds.old(lent.held, clock):
                self._exchanging.add(fence)
                self._spawn(self._exchange(fence, lent))
        for held in self.members[pool].tap.withdraw(lambda held: self._holds.old(held, clock)):
            job = self._read(held, now)
            if isinstance(job, Job):
                self._swap(held, self._copies.waiting(held, job))

    async def _exchange(self, fence: int, lent: _Lent) -> bool:
        try:
            fresh = await self._holds.exchange(lent.held, lent.job)
            self._replace(fence, lent, fresh)
        except (WorksongError, ChannelClosed) as failure:
            if lent.held.channel.open:
                self._holds.failed(lent.held, failure, asyncio.get_running_loop().time())
            return False
        finally:
            self._exchanging.discard(fence)
        return True

    def _replace(self, fence: int, lent: _Lent, fresh: Held) -> None:
        if fence not in self._lent:  # it ended meanwhile, or went back
            fresh.ack()
        elif fresh.channel.open:
            self._lent[fence] = lent._replace(held=fresh)
            lent.held.ack()

    # settle

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        """As `Broker.settle`: what only has to be acknowledged first, then what needs a copy to be confirmed before."""
        held = [False] * len(batch)
        acks: defaultdict[Tap, list[Held]] = defaultdict(list)
        backs: defaultdict[Tap, list[Held]] = defaultdict(list)
        copies: list[int] = []
        for place, settlement in enumerate(batch):
            lent = self._mine(settlement.delivery)
            if lent is None:
                continue
            match settlement.outcome:
                case Done() | Discarded():
                    acks[lent.held.tap].append(lent.held)
                case Released() if not lent.held.hold:
                    backs[lent.held.tap].append(lent.held)
                case _:
                    copies.append(place)
                    continue
            held[place] = True
            del self._lent[settlement.delivery.fence]
        for tap, ended in acks.items():
            tap.ack(ended)
        for tap, given in backs.items():
            tap.requeue(given)
            await tap.sure()
        if copies:
            await self._settle_copies([batch[place] for place in copies], copies, held, now)
        if not all(held):
            await self._link.reach()  # what is nobody's is only said of a server that is there
        return held

    async def _settle_copies(
        self, batch: Sequence[Settlement], places: Sequence[int], held: list[bool], now: float
    ) -> None:
        todo: dict[int, int] = {}
        """Fence -> place."""
        messages: list[Outgoing] = []
        for settlement, place in zip(batch, places, strict=True):
            lent, fence = self._mine(settlement.delivery), settlement.delivery.fence
            if lent is None or fence in todo:
                continue
            messages.append(await self._copies.ended(lent.held, settlement.delivery.job, settlement.outcome, now))
            todo[fence] = place
        await self._copies.publish(messages)
        for fence, place in todo.items():
            held[place] = True
            ended = self._lent.pop(fence, None)  # perhaps exchanged meanwhile
            if ended:
                ended.held.ack()

    def holds(self, delivery: Delivery) -> bool:
        """Whether the lending still holds."""
        return self._mine(delivery) is not None

    def _mine(self, delivery: Delivery) -> _Lent | None:
        """The lending, if it still holds."""
        lent = self._lent.get(delivery.fence)
        if lent is None or lent.receipt != delivery.receipt:
            return None
        if not lent.held.channel.open:
            del self._lent[delivery.fence]
            return None
        return lent

    # give back

    def fences(self, pool: str) -> frozenset[int]:
        """All that the pool holds."""
        return frozenset(fence for fence, lent in self._lent.items() if lent.pool == pool)

    async def give_back(self, pool: str, fences: frozenset[int]) -> int:
        """Back to their queues, nothing counted."""
        member = self.members.get(pool)
        found = [lent for fence in fences if (lent := self._lent.pop(fence, None))]
        back = [lent for lent in found if lent.held.channel.open]
        for lent in back:
            if lent.held.hold:  # the way back of its queue is a longer one
                self._swap(lent.held, self._copies.waiting(lent.held, lent.job))
        if member and back:
            member.tap.requeue(lent.held for lent in back if not lent.held.hold)
            await member.tap.sure()
        return len(found)

    async def dismiss(self, pool: str) -> int:
        """Strike the pool off; the server takes back all it had. Answers how many were lent."""
        member = self.members.pop(pool, None)
        lent = self.fences(pool)
        for fence in lent:
            del self._lent[fence]
        if member:
            await member.tap.close()
        return len(lent)

    def _forget(self, channel: Channel) -> None:
        """A channel is gone: what came through it is the server's again."""
        self._holds.forget(channel)
        for fence in [fence for fence, lent in self._lent.items() if lent.held.channel is channel]:
            del self._lent[fence]

    def lost(self) -> None:
        """The connection is gone."""
        self._lent.clear()
        self._holds.lost()
        for member in self.members.values():
            member.tap.lost()

    async def close(self) -> None:
        for task in list(self._errands):
            task.cancel()
        for pool in list(self.members):
            await self.dismiss(pool)


async def _quietly(tap: Tap) -> bool:
    try:
        await tap.rest(for_good=True)
    except (WorksongError, ChannelClosed):
        return False  # the server has it all back anyway
    return True
