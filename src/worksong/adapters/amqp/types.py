"""Which job types there ever were a worker for: the server itself cannot list its queues to a client.

They stand in a message that whoever adds to it takes, replaces and acknowledges. Two who do so at the same time leave
two messages, and the next one makes one of them; nothing is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from worksong.adapters.amqp.channel import Channel, Delivered
from worksong.adapters.amqp.link import Link
from worksong.adapters.amqp.names import Names
from worksong.adapters.amqp.publisher import Outgoing, Publisher
from worksong.domain.job import new_id
from worksong.wire.amqp import Message

_reader = msgspec.json.Decoder(list[str])
MOST = 10_000


class Types:
    """The record of one namespace."""

    def __init__(self, link: Link, names: Names, publisher: Publisher) -> None:
        self._link, self._names, self._publisher = link, names, publisher
        self._told: set[str] = set()

    async def learn(self, handlers: Iterable[str]) -> None:
        """Add these."""
        new = set(handlers) - self._told
        if not new:
            return
        channel = await self._link.channel()
        try:
            await channel.declare(self._names.types, {})
            messages = await self._read(channel)
            known = _said(messages)
            if len(messages) != 1 or not new <= known:
                body = msgspec.json.encode(sorted(known | new))
                message = Message(body, new_id(), "worksong.types", 0, {})
                await self._publisher.publish([Outgoing("", "", self._names.types, message)])
                for delivered in messages:
                    channel.ack(delivered.tag)
            self._told |= new
        finally:
            await channel.close()

    async def known(self) -> set[str]:
        """All of them."""
        channel = await self._link.channel()
        try:
            await channel.declare(self._names.types, {})
            return _said(await self._read(channel))
        finally:
            await channel.close()  # what was read goes back

    async def _read(self, channel: Channel) -> list[Delivered]:
        found: list[Delivered] = []
        while len(found) < MOST and (delivered := await channel.get(self._names.types)):
            found.append(delivered)
        return found


def _said(messages: Iterable[Delivered]) -> set[str]:
    found: set[str] = set()
    for delivered in messages:
        try:
            found.update(_reader.decode(delivered.received.body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found
