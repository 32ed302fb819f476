"""One pool's channel: what it asked for is delivered there, held until lent, acknowledged or given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import takewhile

from worksong.adapters.amqp.channel import Channel, ChannelClosed, Delivered
from worksong.adapters.amqp.consumers import Consumer, Consumers
from worksong.adapters.amqp.held import Held
from worksong.adapters.amqp.link import Link, Lost
from worksong.adapters.amqp.pace import Paces
from worksong.adapters.amqp.topology import Topology
from worksong.domain.job import new_id
from worksong.domain.turns import Share

FULL, LARGE = 2, 5
"""After so many draws in a row, of so many jobs at least, the server is asked to send by itself."""
SOON = 0.02
log = logging.getLogger("worksong.amqp")


class Tap:
    """As many jobs as the pool has slots for, shared out among the types that have some; short ones are read ahead."""

    def __init__(
        self, link: Link, topology: Topology, slots: int, label: str, on_closed: Callable[[Channel], None]
    ) -> None:
        self._link, self._topology, self._slots, self._label = link, topology, max(1, slots), label
        self._on_closed = on_closed
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        self._consumers = Consumers()
        self._holds: dict[str, Callable[[], None]] = {}
        """Tag of a consumer of what the channel holds for long -> who is told of its end."""
        self._buffer: dict[str, deque[Held]] = {}
        self._unended: dict[int, Consumer] = {}
        """Delivery tag of the channel -> who brought it, the oldest first."""
        self._listening: set[asyncio.Task[None]] = set()
        self._bell = asyncio.Event()
        self._time = asyncio.get_running_loop().time
        self._paces = Paces(self._time)
        self.asked = False
        """Whether somebody fetched since the last beat."""
        self._full = 0
        self.struck_off = False
        """Whether its pool has left, or was taken for dead."""

    @property
    def buffered(self) -> int:
        return sum(map(len, self._buffer.values()))

    @property
    def hoards(self) -> bool:
        """Whether jobs lie here that others could run sooner: more than there are free slots for, or than end soon."""
        buffered = self.buffered
        free = max(0, self._slots - (len(self._unended) - buffered))
        return buffered > (free + 2 * self._paces.ahead_of_all if self.asked else 0)

    @property
    def flows(self) -> bool:
        """Whether the server sends by itself: worth it where there are many jobs, even for one who may not wait."""
        return bool(self._consumers) or self._full >= FULL

    def drew(self, count: int) -> None:
        """A draw gave all it was asked for, so many; 0: it did not."""
        self._full = self._full + 1 if count >= LARGE else 0

    async def ready(self) -> Channel:
        """The channel; a new one if the last is gone, and all that was delivered on that with it."""
        if self._channel is None or not self._channel.open:
            async with self._lock:
                if self._channel is None or not self._channel.open:
                    self._forget()
                    channel = await self._link.channel()
                    if self.struck_off:  # a consumer of nobody would keep what is sent to it
                        await channel.close()
                        raise Lost("the pool was struck off")
                    channel.on_closed = lambda closed: self._closed(channel, closed)
                    channel.on_cancelled(self._cancelled)
                    self._channel = channel
        return self._channel

    # messages in

    def take(self, shares: Sequence[Share], limit: int) -> list[Held]:
        """From what is here: each type its quota, then what is left to whoever has more."""
        found: list[Held] = []
        if self._buffer:
            for name, quota in (*shares, *((share.name, limit) for share in shares)):
                waiting = self._buffer.get(name)
                if waiting:
                    found += [waiting.popleft() for _ in range(min(quota, limit - len(found), len(waiting)))]
        return found

    async def draw(self, shares: Sequence[Share], limit: int) -> list[Held]:
        """What waits in the server now, one by one: the server's word for 'no more' is sure this way."""
        channel, found, empty = await self.ready(), list[Held](), set[str]()
        try:
            for name, quota in (*shares, *((share.name, limit) for share in shares)):
                asked, left = Consumer(name), min(quota, limit - len(found))
                while left > 0 and name not in empty:
                    await self._topology.ensure(name)
                    delivered = await channel.get(self._topology.names.queue(name))
                    if delivered is None:
                        empty.add(name)
                        break
                    found.append(self._hold(delivered, channel, asked))
                    left -= 1
        except BaseException:
            if channel is self._channel and channel.open:
                self.requeue(found)
            raise
        return found

    async def listen(self, handlers: Iterable[str], limit: int) -> None:
        """Have the server send what comes; more of a type that has filled its share while slots stay free.

        Whoever is cancelled meanwhile leaves no consumer that nobody knows of: what was begun is seen through.
        """
        channel, names = await self.ready(), tuple(handlers)
        if self._lock.locked() or self._lacking(names, limit):
            listening = asyncio.create_task(self._listen(channel, names, limit))
            self._listening.add(listening)
            listening.add_done_callback(self._listened)
            await asyncio.shield(listening)

    def _listened(self, listening: asyncio.Task[None]) -> None:
        self._listening.discard(listening)
        if not listening.cancelled():
            listening.exception()  # whoever asked may have been cancelled, and looks at nothing

    async def _listen(self, channel: Channel, names: Sequence[str], limit: int) -> None:
        async with self._lock:  # consumers that are being cancelled are gone afterwards
            for name, prefetch in self._lacking(names, limit):
                await self._consume(channel, name, prefetch)

    def _lacking(self, names: Sequence[str], limit: int) -> list[tuple[str, int]]:
        """What is missing where the slots that are taken by others' jobs are not promised a second time."""
        unended = self._consumers.unended
        most = max(self._slots - (len(self._unended) - unended), unended - self.buffered + limit)
        return self._consumers.lacking(names, most, self._paces.ahead)

    async def _consume(self, channel: Channel, name: str, prefetch: int) -> None:
        await self._topology.ensure(name)
        tag = f"{self._label}_{name}_{new_id()}"[-255:]
        consumer = self._consumers[tag] = Consumer(name, prefetch)
        try:
            await channel.consume(
                self._topology.names.queue(name), tag, prefetch, partial(self._came, channel, consumer)
            )
        except BaseException:
            self._consumers.pop(tag, None)
            self._topology.forget_type(name)
            raise

    def _came(self, channel: Channel, consumer: Consumer, delivered: Delivered) -> None:
        if channel is not self._channel:
            return  # it is gone, or about to be: the server has it back
        self._buffer.setdefault(consumer.handler, deque()).append(self._hold(delivered, channel, consumer))
        self._bell.set()

    def _hold(self, delivered: Delivered, channel: Channel, consumer: Consumer, hold: str = "") -> Held:
        if channel is self._channel:  # else the server has it back
            consumer.unended += 1
            late = bool(self._unended) and delivered.tag < next(reversed(self._unended))
            self._unended[delivered.tag] = consumer
            if late:  # an answer is read when its task goes on, and others came meanwhile
                self._unended = dict(sorted(self._unended.items()))
        return Held(consumer.handler, delivered, channel, self, self._time(), hold)

    async def keep(
        self, channel: Channel, handler: str, hold: str, on_copy: Callable[[Held], None], on_gone: Callable[[], None]
    ) -> None:
        """Have all of this queue sent here, whatever else may be; it takes nobody's slot. `on_gone`: the queue is."""
        consumer, tag = Consumer(handler), f"{self._label}_{handler}_{new_id()}"[-255:]

        def came(delivered: Delivered) -> None:
            on_copy(self._hold(delivered, channel, consumer, hold))

        async with self._lock:
            self._holds[tag] = on_gone
            await channel.consume(hold, tag, 0, came)

    def withdraw(self, unwanted: Callable[[Held], bool]) -> list[Held]:
        """These are not lent any more, and not ended: whoever asked sees to that."""
        found = [held for waiting in self._buffer.values() for held in waiting if unwanted(held)]
        for held in found:
            self._buffer[held.handler].remove(held)
        return found

    async def more(self, handlers: Iterable[str]) -> bool:
        """Whether something came, now that the server has sent all it had."""
        channel, left = await self.ready(), False
        for name in handlers:  # a queue answers after it has sent
            queue = self._topology.names.queue(name)
            declared = await channel.look(queue)
            left = left or declared.messages > 0
        await channel.settled()
        if left and not self.buffered and not self._unended:
            await self.wait(SOON)
            return True
        return bool(self.buffered)

    async def wait(self, seconds: float) -> None:
        """Until something came, or nothing can come any more, so long at most."""
        if not self.buffered:
            self._bell.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._bell.wait()

    # endings

    def ack(self, ended: Iterable[Held]) -> None:
        """A run of the oldest ones takes one word, unless that would tell of one that nobody has seen yet."""
        channel, tags = self._channel, {held.delivered.tag for held in self._ours(ended)}
        if channel is None or not tags:
            return
        left = tags
        if channel.complete:
            oldest = list(takewhile(tags.__contains__, self._unended))
            if len(oldest) > 1:
                channel.ack(oldest[-1], multiple=True)
                left = tags.difference(oldest)
        for tag in left:
            channel.ack(tag)
        self._paces.ended([self._ended(tag) for tag in tags])

    def requeue(self, given: Iterable[Held]) -> None:
        """Each goes back to where it was in its queue.

        What came out of a hold goes to the queue of its type: the hold would send it here again, as nobody's copy.
        """
        for held in self._ours(given):
            (held.channel.pass_on if held.hold else held.channel.requeue)(held.delivered.tag)
            self._ended(held.delivered.tag)

    def _ours(self, held: Iterable[Held]) -> list[Held]:
        """Those that the server waits to hear of: a tag means something on its channel only, and only once."""
        return [one for one in held if one.channel is self._channel and one.delivered.tag in self._unended]

    def _ended(self, tag: int) -> str:
        """Of which type it is."""
        consumer = self._unended.pop(tag)
        consumer.unended -= 1
        return consumer.handler

    async def sure(self) -> None:
        """Return when the server has done all that was said on this channel."""
        if self._channel and self._channel.open:
            await self._channel.settled()

    # back to rest

    async def rest(self, *, for_good: bool = False) -> int:
        """Have nothing more sent, and give back what was not lent; answers how many.

        A quorum queue counts how often a job comes back, and gives it up in the end. So one that came back often stays
        for the next slot, unless there is none, `for_good`.
        """
        async with self._lock:
            channel = self._channel
            if channel is None or not channel.open:
                return 0
            for tag in list(self._consumers):
                if tag in self._consumers:  # not cancelled by the server meanwhile, which would answer nothing
                    await channel.cancel(tag)
            here = [held for waiting in self._buffer.values() for held in waiting]
            back = [held for held in here if for_good or not held.spared]
            self._buffer = {} if for_good else _sorted(held for held in here if held.spared)
            self.requeue(back)
            self._full = 0
            self._consumers.clear()
            self._bell.set()  # whoever waits for what they bring needs others
            return len(back)

    async def close(self) -> None:
        """Everything unended goes back, and nothing more comes; whoever waits for it hears so."""
        self.struck_off = True
        channel = self._channel
        self._forget()
        self._channel = None
        if channel:
            await channel.close()
            self._on_closed(channel)

    def lost(self) -> None:
        """The connection is gone."""
        self._forget()
        self._channel = None

    def _closed(self, channel: Channel, closed: ChannelClosed) -> None:
        if channel is self._channel:
            if "timed out" in closed.text:
                log.warning(
                    "the server took the jobs of this process back, since one was here longer than it allows: %s; "
                    "write consumer_timeout= into the URL, with no more seconds than the server has",
                    closed.text,
                )
            elif closed.code > 300:
                log.warning("the server closed the channel that jobs come through: %s", closed)
            self.lost()
            self._on_closed(channel)

    def _cancelled(self, tag: str) -> None:
        """Its queue was deleted, or moved: look for it anew at the next fetch."""
        gone, consumer = self._holds.pop(tag, None), self._consumers.pop(tag, None)
        if gone:
            gone()
        if consumer:
            self._topology.forget_type(consumer.handler)
            self._bell.set()

    def _forget(self) -> None:
        self._consumers.clear()
        self._holds.clear()
        self._buffer.clear()
        self._unended.clear()
        self._bell.set()


def _sorted(here: Iterable[Held]) -> dict[str, deque[Held]]:
    """By job type."""
    found: dict[str, deque[Held]] = {}
    for held in here:
        found.setdefault(held.handler, deque()).append(held)
    return found


__all__ = ["Lost", "Tap"]
