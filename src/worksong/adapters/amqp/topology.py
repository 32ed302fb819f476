"""Queues and exchanges that must be there: looked for once per connection, declared when missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from worksong.adapters.amqp.channel import LOCKED, NOT_FOUND, OTHERWISE, REFUSED, Channel, ChannelClosed, Declared
from worksong.adapters.amqp.link import Link, Lost
from worksong.adapters.amqp.names import RENEWED, Arguments, Names
from worksong.domain.errors import BackendRefused
from worksong.domain.job import new_id

T = TypeVar("T")


class Topology:
    """Works on a channel of its own: what is missing closes it, and disturbs nobody else."""

    def __init__(self, link: Link, names: Names, exchange: str) -> None:
        self._link, self.names, self.exchange = link, names, exchange
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        self._known: dict[str, float] = {}
        """Queue -> when it was last declared or seen."""
        self.delays: dict[str, set[int]] = {}
        """Job type -> the delay queues that this process has used."""

    def lost(self) -> None:
        """The connection is gone, and with a server that was restarted all that was not durable."""
        self._known.clear()
        self._channel = None

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[Channel]:
        """A channel for one caller at a time."""
        async with self._lock:
            if self._channel is None or not self._channel.open:
                self._channel = await self._link.channel()
            yield self._channel

    async def ask(self, work: Callable[[Channel], Awaitable[T]]) -> T:
        """Do it on the channel; raises `ChannelClosed` for what the server refuses."""
        async with self.channel() as channel:
            try:
                return await work(channel)
            except ChannelClosed as closed:
                if not closed.code:
                    raise Lost(f"the connection broke ({closed.text})") from closed
                raise

    async def look(self, queue: str) -> Declared | None:
        """How it stands with the queue; None: there is none."""
        try:
            return await self.ask(lambda channel: channel.look(queue))
        except ChannelClosed as closed:
            if closed.code == NOT_FOUND:
                return None
            raise refused(queue, closed) from closed

    async def ensure(self, handler: str) -> None:
        """The queue of a job type. One that others declared otherwise is used as it is; the doctor tells of it."""
        queue = self.names.queue(handler)
        if queue in self._known:
            return
        if await self.look(queue) is None:
            await self._declare(queue, self.names.queue_arguments(handler))
        if self.names.quorum:
            await self.ensure_dead(handler)
        if self.exchange:
            try:
                await self.ask(lambda channel: channel.exchange(self.exchange, "direct"))
                await self.ask(lambda channel: channel.bind(queue, self.exchange, queue))
            except ChannelClosed as closed:
                raise refused(self.exchange, closed) from closed
        self._known[queue] = 0.0

    async def ensure_dead(self, handler: str) -> None:
        queue = self.names.dead(handler)
        if queue not in self._known:
            if await self.look(queue) is None:
                await self._declare(queue, self.names.dead_arguments())
            self._known[queue] = 0.0

    async def ensure_delay(self, handler: str, milliseconds: int) -> str:
        """Declared again and again: that alone puts off its end, which must not come before that of its messages."""
        queue = self.names.delay(handler, milliseconds)
        now = asyncio.get_running_loop().time()
        if now - self._known.get(queue, -RENEWED) >= RENEWED:
            await self.ensure(handler)  # what comes out of the delay queue is dropped if it finds no queue
            await self._declare(queue, self.names.delay_arguments(handler, milliseconds))
            self._known[queue] = now
            self.delays.setdefault(handler, set()).add(milliseconds)
        return queue

    async def new_hold(self, handler: str) -> str:
        """A queue of its own for one channel's jobs that run for long; it goes when the channel is gone."""
        await self.ensure(handler)
        queue = self.names.hold(handler, new_id())
        await self._declare(queue, self.names.hold_arguments(handler))
        return queue

    def forget(self, queue: str) -> None:
        """It turned out to be gone."""
        self._known.pop(queue, None)

    def forget_type(self, handler: str) -> None:
        """Its queues may be gone."""
        prefix = self.names.delay(handler, 0)[:-1]
        own = {self.names.queue(handler), self.names.dead(handler)}
        for queue in [queue for queue in self._known if queue in own or queue.startswith(prefix)]:
            del self._known[queue]

    async def _declare(self, queue: str, arguments: Arguments) -> None:
        try:
            await self.ask(lambda channel: channel.declare(queue, arguments))
            await self._seal()
        except ChannelClosed as closed:
            raise refused(queue, closed) from closed

    async def _seal(self) -> None:
        """A server that is killed may have forgotten what was declared last, with all that it confirmed in it since.

        What was declared before is on the disk: so something is, that nobody needs.
        """
        await self.ask(lambda channel: channel.exchange(self.names.seal, "direct"))
        await self.ask(lambda channel: channel.delete_exchange(self.names.seal))


def refused(name: str, closed: ChannelClosed) -> BackendRefused:
    """What the server said, and what to do about it."""
    mend = {
        OTHERWISE: "somebody declared it with other arguments: delete it when it is empty, or choose another namespace",
        REFUSED: "give the user the permission to configure, write and read it: rabbitmqctl set_permissions",
        LOCKED: "another connection holds it for itself alone",
    }.get(closed.code, "see the server's log")
    return BackendRefused(f"the server refuses {name!r}: {closed.text}; {mend}")
