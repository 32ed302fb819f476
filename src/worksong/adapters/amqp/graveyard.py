"""The dead jobs of all types: looked at, queued again, dropped.

A queue can only be read by taking messages out. What is taken out here is unacknowledged until it is dealt with:
whoever is killed meanwhile leaves everything in the queue. A job queued again is confirmed first and acknowledged then,
so one who is killed between the two leaves it in both places.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from worksong.adapters.amqp.channel import Channel, Delivered
from worksong.adapters.amqp.headroom import fitted
from worksong.adapters.amqp.link import Link
from worksong.adapters.amqp.publisher import Outgoing, Publisher
from worksong.adapters.amqp.topology import Topology
from worksong.domain.job import Job, JobView
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison
from worksong.ports.backend import Listing, Window
from worksong.wire import amqp


class Graveyard:
    """Works on channels of its own, one job type after the other."""

    def __init__(self, link: Link, topology: Topology, publisher: Publisher) -> None:
        self._link, self._topology, self._publisher = link, topology, publisher

    async def jobs(self, handlers: Iterable[str], window: Window) -> Listing:
        """Of each type as many as could be in the window: within a type the oldest death is first."""
        views: list[JobView] = []
        total = 0
        for handler in handlers:
            count = await self.count(handler)
            if count:
                total += count
                views += await self._views(handler, min(count, window.offset + window.limit))
        views.sort(key=lambda view: view.at)
        return Listing(tuple(views[window.offset : window.offset + window.limit]), total)

    async def count(self, handler: str) -> int:
        declared = await self._topology.look(self._topology.names.dead(handler))
        return declared.messages if declared else 0

    async def requeue(self, handler: str, ids: Collection[str] | None, now: float) -> set[str]:
        """Answers the ids of those it found."""
        found: set[str] = set()
        async with self._opened(handler) as (channel, messages):
            async for delivered in messages:
                received = delivered.received
                if ids is None or received.id in ids:
                    revived = fitted(amqp.revived(received, handler, now))
                    await self._topology.ensure(handler)
                    exchange, key = self._topology.exchange, self._topology.names.queue(handler)
                    await self._publisher.publish([Outgoing(handler, exchange, key, revived)])
                    channel.ack(delivered.tag)
                    found.add(revived.id)
        return found

    async def delete(self, handler: str, ids: Collection[str]) -> set[str]:
        """Answers the ids of those it found."""
        found: set[str] = set()
        async with self._opened(handler) as (channel, messages):
            async for delivered in messages:
                if delivered.received.id and delivered.received.id in ids:
                    channel.ack(delivered.tag)
                    found.add(delivered.received.id)
        return found

    async def drop(self, handler: str) -> int:
        """All of them."""
        if not await self.count(handler):
            return 0
        return await self._topology.ask(lambda channel: channel.purge(self._topology.names.dead(handler)))

    async def _views(self, handler: str, most: int) -> list[JobView]:
        async with self._opened(handler, most) as (_, messages):
            return [view(delivered, handler) async for delivered in messages]

    @asynccontextmanager
    async def _opened(
        self, handler: str, most: int | None = None
    ) -> AsyncGenerator[tuple[Channel, AsyncIterator[Delivered]]]:
        """As many as there are now; at the end, what was not acknowledged is back."""
        channel = await self._link.channel()
        count = await self.count(handler)
        try:
            yield channel, self._all(channel, handler, count if most is None else min(most, count))
        finally:
            await channel.close()

    async def _all(self, channel: Channel, handler: str, most: int) -> AsyncIterator[Delivered]:
        for _ in range(most):
            delivered = await channel.get(self._topology.names.dead(handler))
            if delivered is None:
                return
            yield delivered


def view(delivered: Delivered, handler: str) -> JobView:
    """A dead message as listings show it."""
    received = delivered.received
    headers = received.headers
    reason = headers.get(amqp.REASON)
    at = amqp.time_of(headers, amqp.FAILED_AT)
    if isinstance(reason, str) and reason:
        job = Job(handler, id=received.id or "", error=amqp.text_of(headers.get(amqp.ERROR)), failed_at=at)
        return JobView(job=job, state=State.DEAD, at=at, reason=reason, raw=received.body)
    try:
        job = amqp.decode(received, handler)
    except Poison as wrong:  # somebody else put it here
        job = Job(handler, id=received.id or "", error=str(wrong), failed_at=at)
        return JobView(job=job, state=State.DEAD, at=at, reason=str(wrong.reason), raw=received.body)
    return JobView(job=job, state=State.DEAD, at=at or amqp.died(headers))
