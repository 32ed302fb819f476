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
from worksong.adapters.amqp.headroom import fitted
from worksong.adapters.amqp.link import Link, Lost
from worksong.adapters.amqp.publisher import Outgoing, Publisher
from worksong.adapters.amqp.tap import Held, Tap
from worksong.adapters.amqp.topology import Topology
from worksong.adapters.memory import store
from worksong.domain.errors import WorksongError
from worksong.domain.job import Delivery, Job
from worksong.domain.names import one_line
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Settlement, Snoozed
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


class Lendings:
    """Every message that a pool of this process has in its hands."""

    def __init__(self, link: Link, topology: Topology, publisher: Publisher, *, repair: bool = False) -> None:
        """`link`: what jobs come through. `repair`: see `worksong.wire.amqp.decode`."""
        self._link, self._topology, self._publisher, self._repair = link, topology, publisher, repair
        self.members: dict[str, Member] = {}
        self._lent: dict[int, _Lent] = {}
        self._fence = 0
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
        try:
            job = amqp.decode(held.delivered.received, held.handler, repair=self._repair)
        except Poison as wrong:
            log.error("poison in the queue of %s went to the dead jobs: %s", held.handler, one_line(str(wrong)))
            return None, self._spawn(self._bury_poison(held, wrong, now))
        if job.run_at > now:
            return None, self._spawn(self._postpone(held, job, job.run_at, now))
        if job.run_at:
            job = replace(job, run_at=0.0)
        self._fence = fence = max(self._fence + 1, time.time_ns() // 1000)
        receipt = Receipt(held.channel.number, held.delivered.tag)
        self._lent[fence] = _Lent(receipt, pool, held)
        return Delivery(job, receipt, fence), None

    # what is not for the handlers

    def _spawn(self, errand: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = asyncio.get_running_loop().create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    async def _bury_poison(self, held: Held, wrong: Poison, now: float) -> bool:
        return await self._replace(
            held, self._to_dead(held.handler, amqp.poison(held.delivered.received, held.handler, wrong, now))
        )

    async def _postpone(self, held: Held, job: Job, run_at: float, now: float) -> bool:
        """It came out of its delay queue before its time, since those have only lengths of a ladder: the next one."""
        return await self._replace(held, self._to_delay(held, job, run_at, now))

    async def _replace(self, held: Held, copy: Coroutine[Any, Any, Outgoing]) -> bool:
        """Publish, then acknowledge; where that fails, the server still has the original. Whether it did not."""
        try:
            await self._publisher.publish([await copy])
        except (WorksongError, ChannelClosed) as failure:
            log.warning("a message of %s goes back to its queue: %s", held.handler, failure)
            await asyncio.sleep(1.0)  # it comes again at once
            if held.channel.open:
                held.tap.requeue([held.delivered.tag])
            return False
        if held.channel.open:
            held.tap.ack([held.delivered.tag])
        return True

    async def _to_delay(self, held: Held, job: Job, run_at: float, now: float) -> Outgoing:
        queue = await self._topology.ensure_delay(held.handler, self._topology.names.rung(run_at - now))
        return Outgoing(held.handler, "", queue, fitted(amqp.again(held.delivered.received, job, run_at=run_at)))

    async def _to_dead(self, handler: str, message: amqp.Message) -> Outgoing:
        await self._topology.ensure_dead(handler)
        return Outgoing(handler, "", self._topology.names.dead(handler), fitted(message))

    # settle

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        """As `Broker.settle`: what only has to be acknowledged first, then what needs a copy to be confirmed before."""
        held = [False] * len(batch)
        acks: defaultdict[Tap, list[int]] = defaultdict(list)
        backs: defaultdict[Tap, list[int]] = defaultdict(list)
        copies: list[int] = []
        for place, settlement in enumerate(batch):
            lent = self._mine(settlement.delivery)
            if lent is None:
                continue
            match settlement.outcome:
                case Done() | Discarded():
                    acks[lent.held.tap].append(lent.held.delivered.tag)
                case Released():
                    backs[lent.held.tap].append(lent.held.delivered.tag)
                case _:
                    copies.append(place)
                    continue
            held[place] = True
            del self._lent[settlement.delivery.fence]
        for tap, tags in acks.items():
            tap.ack(tags)
        for tap, tags in backs.items():
            tap.requeue(tags)
            await tap.sure()
        if copies:
            await self._settle_copies([batch[place] for place in copies], copies, held, now)
        if not all(held):
            await self._link.reach()  # what is nobody's is only said of a server that is there
        return held

    async def _settle_copies(
        self, batch: Sequence[Settlement], places: Sequence[int], held: list[bool], now: float
    ) -> None:
        todo: dict[int, tuple[int, _Lent]] = {}
        messages: list[Outgoing] = []
        for settlement, place in zip(batch, places, strict=True):
            lent, fence = self._mine(settlement.delivery), settlement.delivery.fence
            if lent is None or fence in todo:
                continue
            messages.append(await self._copy(lent, settlement.delivery.job, settlement.outcome, now))
            todo[fence] = place, lent
        await self._publisher.publish(messages)
        for fence, (place, lent) in todo.items():
            held[place] = True
            if self._lent.pop(fence, None) and lent.held.channel.open:
                lent.held.tap.ack([lent.held.delivered.tag])

    async def _copy(self, lent: _Lent, job: Job, outcome: Outcome, now: float) -> Outgoing:
        held = lent.held
        match outcome:
            case Retried(run_at, error):
                return await self._to_delay(held, failed(job, error, now), run_at, now)
            case Snoozed(run_at):
                return await self._to_delay(held, job, run_at, now)
            case Buried(error, failure):
                message = amqp.dead(held.delivered.received, failed(job, error, now), failure.type if failure else "")
                return await self._to_dead(held.handler, message)
            case _:
                raise AssertionError(outcome)

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
        found = {fence: lent for fence in fences if (lent := self._lent.pop(fence, None))}
        if member and found:
            member.tap.requeue(lent.held.delivered.tag for lent in found.values() if lent.held.channel.open)
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
        for fence in [fence for fence, lent in self._lent.items() if lent.held.channel is channel]:
            del self._lent[fence]

    def lost(self) -> None:
        """The connection is gone."""
        self._lent.clear()
        for member in self.members.values():
            member.tap.lost()

    async def close(self) -> None:
        for task in list(self._errands):
            task.cancel()
        for pool in list(self.members):
            await self.dismiss(pool)


def failed(job: Job, error: str, now: float) -> Job:
    """With one more failure counted."""
    return replace(job, attempt=job.attempt + 1, error=error, failed_at=now)


async def _quietly(tap: Tap) -> bool:
    try:
        await tap.rest(for_good=True)
    except (WorksongError, ChannelClosed):
        return False  # the server has it all back anyway
    return True
