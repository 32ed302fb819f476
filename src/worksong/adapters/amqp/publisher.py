"""Messages out: written at once, confirmed in whatever order the server does, and never taken for granted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from worksong.adapters.amqp.channel import Channel, ChannelClosed
from worksong.adapters.amqp.link import BLOCKED, Link, Lost
from worksong.adapters.amqp.topology import Topology
from worksong.domain.errors import BackendFull, BackendRefused, BackendUnavailable
from worksong.wire.amqp import Message

WINDOW = 4096
"""Messages that may be unconfirmed before the next one is written."""
HEAVY = 8 << 20
"""Bytes of bodies that may."""


class Outgoing(NamedTuple):
    """A message and where it goes."""

    handler: str
    """Whose queues must be there."""
    exchange: str
    key: str
    message: Message


class Unconfirmed(BackendUnavailable):
    """the connection broke before the server confirmed"""


class _Batch:
    """What one caller waits for."""

    __slots__ = ("done", "left", "refused")

    def __init__(self, count: int) -> None:
        self.left = count
        self.refused: dict[int, str] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(_looked_at)  # who waited may have been cancelled


def _looked_at(done: asyncio.Future[None]) -> None:
    done.exception()


class Publisher:
    """One channel in confirm mode."""

    def __init__(self, link: Link, topology: Topology, timeout: float) -> None:
        self._link, self._topology, self._timeout = link, topology, timeout
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        self._tag = 0
        self._waiting: dict[int, tuple[_Batch, int, Outgoing]] = {}
        """Delivery tag -> whose it is, in the order of writing."""
        self._weight = 0
        self._returned: dict[tuple[str, str], str] = {}
        """Message id and queue -> why not: a job may be on its way to two places at once."""
        self._room = asyncio.Event()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Have the server take in all of them.

        Raises `BackendFull` and `BackendUnavailable` when it has none, `Unconfirmed` when nobody knows how many.
        """
        left = await self._try(messages)
        if left:  # a queue was deleted since it was looked for
            for outgoing in left:
                self._topology.forget_type(outgoing.handler)
                await self._topology.ensure(outgoing.handler)
            again = await self._try_the_rest(left, messages)
            if again:
                raise BackendRefused(
                    f"the server finds no queue for {len(again)} of {len(messages)} messages, "
                    f"the first to {again[0].key!r}: bind it to the exchange {again[0].exchange!r}"
                )

    async def _try(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        """Answers those that found no queue."""
        channel = await self.ready()
        batch = _Batch(len(messages))
        for place, outgoing in enumerate(messages):
            if len(self._waiting) >= WINDOW or self._weight > HEAVY:
                await self._make_room(batch)
            try:
                self._write(channel, outgoing, batch, place)
            except ChannelClosed as closed:
                if not place:  # nobody would ever end this batch
                    raise Lost(f"the connection broke before anything was sent ({closed.text})") from closed
                break
        await self._confirmed(batch, channel)
        return self._unroutable(messages, batch)

    async def _try_the_rest(self, left: Sequence[Outgoing], messages: Sequence[Outgoing]) -> list[Outgoing]:
        try:
            return await self._try(left)
        except Lost as lost:
            if len(left) == len(messages):
                raise
            raise Unconfirmed(f"{lost}; {len(messages) - len(left)} of {len(messages)} are there") from lost

    def _write(self, channel: Channel, outgoing: Outgoing, batch: _Batch, place: int) -> None:
        channel.publish(outgoing.exchange, outgoing.key, outgoing.message)
        self._tag += 1
        self._waiting[self._tag] = (batch, place, outgoing)
        self._weight += len(outgoing.message.body)

    async def ready(self) -> Channel:
        """The channel; raises `BackendFull` if the server takes nothing in, and keeps to that."""
        await self._link.reach()
        if self._link.blocked and not await self._link.unblocked():
            raise BackendFull(f"the server takes no messages in: {self._link.blocked}; nothing was enqueued")
        async with self._lock:
            if self._channel is None or not self._channel.open:
                channel = await self._link.channel()
                channel.on_closed = self._closed
                self._tag = 0
                await channel.confirm(self._confirm, self._return)
                self._channel = channel
            return self._channel

    async def _make_room(self, batch: _Batch) -> None:
        while (len(self._waiting) >= WINDOW or self._weight > HEAVY) and not batch.done.done():
            before = len(self._waiting), self._tag
            self._room.clear()
            room = asyncio.ensure_future(self._room.wait())
            try:
                if not await self._patiently(room) and before == (len(self._waiting), self._tag):
                    self._give_up()
            finally:
                room.cancel()

    async def _confirmed(self, batch: _Batch, channel: Channel) -> None:
        while not batch.done.done() and batch.left and channel.open:
            before = batch.left
            if not await self._patiently(batch.done) and batch.left == before:
                self._give_up()
        if batch.done.done():
            batch.done.result()
        elif batch.left:
            raise Unconfirmed("the channel was closed before the server confirmed")

    async def _patiently(self, answer: asyncio.Future[Any]) -> bool:
        """Wait for it, less long if the server says that it takes nothing in; False: it did not come."""
        done, _ = await asyncio.wait([answer], timeout=self._timeout * BLOCKED)
        if not done and not self._link.blocked:
            done, _ = await asyncio.wait([answer], timeout=self._timeout * (1 - BLOCKED))
        return bool(done)

    def _give_up(self) -> None:
        if self._link.blocked:  # it reads nothing now, and may read what was written once that is over
            raise Unconfirmed(
                f"no confirmation within {self._timeout * BLOCKED:g} s: the server is blocked: {self._link.blocked}"
            )
        self._link.drop(f"no confirmation within {self._timeout:g} s")

    # what the server says

    def _confirm(self, tag: int, everything: bool, taken: bool) -> None:
        if everything:
            tags: list[int] = []
            for waiting in self._waiting:
                if waiting > tag:
                    break
                tags.append(waiting)
        else:
            tags = [tag] if tag in self._waiting else []
        for one in tags:
            self._settle(*self._waiting.pop(one), taken=taken)
        self._room.set()

    def _settle(self, batch: _Batch, place: int, outgoing: Outgoing, *, taken: bool) -> None:
        self._weight -= len(outgoing.message.body)
        if not taken:
            batch.refused[place] = _FULL
        elif (why := self._returned.pop((outgoing.message.id, outgoing.key), None)) is not None:
            batch.refused[place] = why
        batch.left -= 1
        if not batch.left and not batch.done.done():
            batch.done.set_result(None)

    def _return(self, message_id: str, key: str, why: str) -> None:
        """Comes before the confirmation of the same message, which says that the server took it."""
        known = message_id, key
        if any((sent.message.id, sent.key) == known for _, _, sent in self._waiting.values()):
            self._returned[known] = why
            return
        for batch, _, _ in self._waiting.values():  # nobody knows whose it was
            if not batch.done.done():
                batch.done.set_exception(Unconfirmed(f"the server returned a message of an unknown id: {why}"))

    def _closed(self, closed: ChannelClosed) -> None:
        waiting, self._waiting, self._weight = self._waiting, {}, 0
        self._returned.clear()
        self._room.set()
        for batch in {id(batch): batch for batch, _, _ in waiting.values()}.values():
            if not batch.done.done():
                batch.done.set_exception(Unconfirmed(f"no confirmation came: {closed.text}"))

    def _unroutable(self, messages: Sequence[Outgoing], batch: _Batch) -> list[Outgoing]:
        if _FULL in batch.refused.values():
            first = next(place for place, why in batch.refused.items() if why == _FULL)
            full = f"the queue {messages[first].key!r} takes no more in: it has a limit (max-length) and refuses"
            if len(batch.refused) < len(messages):
                raise Unconfirmed(f"{full}; {len(messages) - len(batch.refused)} of {len(messages)} are there")
            raise BackendFull(full)
        return [messages[place] for place in sorted(batch.refused)]


_FULL = "refused"

__all__ = ["Lost", "Outgoing", "Publisher", "Unconfirmed"]
