"""Which pools there are: whoever wants to know asks all processes at once, and each answers for its own.

A process with pools is a consumer of a queue without messages, so that the server knows how many answers will come.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

import msgspec

from worksong.adapters.amqp.channel import Channel, Delivered
from worksong.adapters.amqp.lendings import Member
from worksong.adapters.amqp.link import Link
from worksong.adapters.amqp.names import Names
from worksong.adapters.amqp.topology import Topology
from worksong.adapters.memory.views import busy_view, pool_view
from worksong.domain.job import new_id
from worksong.ports.backend import BusyView, PoolView
from worksong.wire.amqp import Message

PATIENCE = 2.0
"""Seconds for the answers: one that is frozen gives none."""
REPLY = "amq.rabbitmq.reply-to"
"""The server's own name for: to whoever asked."""
log = logging.getLogger("worksong.amqp")


class Said(msgspec.Struct, frozen=True):
    """What one process answers."""

    hub: str
    pools: tuple[PoolView, ...] = ()
    busy: tuple[BusyView, ...] = ()


_reader = msgspec.json.Decoder(Said)


class Roster:
    """Answers for this process, and asks the others."""

    def __init__(self, link: Link, topology: Topology, names: Names, members: Mapping[str, Member]) -> None:
        """`link`: the one that lasts as long as the pools' jobs."""
        self._link, self._topology, self._names, self._members = link, topology, names, members
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        self._hub = new_id()

    async def open(self) -> None:
        """Be there to be asked."""
        async with self._lock:
            if self._channel is not None and self._channel.open:
                return
            channel = await self._link.channel()
            await channel.exchange(self._names.ask, "fanout", durable=False)
            own = await channel.declare_own()
            await channel.bind(own, self._names.ask, "")
            await channel.consume(own, f"asked-{self._hub}", 0, self._answer, no_ack=True)
            await channel.declare(self._names.crew, {}, passing=True)
            await channel.consume(self._names.crew, f"crew-{self._hub}", 0, lambda _: None, no_ack=True)
            self._channel = channel

    async def leave(self) -> None:
        """No pool is left here."""
        async with self._lock:
            channel, self._channel = self._channel, None
            if channel is not None:
                await channel.close()

    def _own(self) -> Said:
        members = list(self._members.values())
        busy = tuple(busy_view(member.pool, running) for member in members for running in member.running)
        return Said(self._hub, tuple(pool_view(member) for member in members), busy)

    def _answer(self, asked: Delivered) -> None:
        try:
            self._say(asked)
        except Exception:  # it would end the connection, and take all jobs with it
            log.exception("a question for the pools of this process is not answered")

    def _say(self, asked: Delivered) -> None:
        if self._channel is not None and asked.reply_to and asked.received.id != self._hub:
            message = Message(msgspec.json.encode(self._own()), self._hub, "worksong.said", 0, {})
            self._channel.publish("", asked.reply_to, message, correlation=asked.correlation, mandatory=False)

    async def ask(self) -> list[Said]:
        """What all of them say, ourselves first."""
        own = [self._own()] if self._members else []
        crew = await self._topology.look(self._names.crew)
        others = (crew.consumers if crew else 0) - bool(self._channel is not None and self._channel.open)
        return own + (await self._ask_others(others) if others > 0 else [])

    async def _ask_others(self, count: int) -> list[Said]:
        found: dict[str, Said] = {}
        complete = asyncio.Event()

        def heard(delivered: Delivered) -> None:
            with contextlib.suppress(msgspec.MsgspecError):
                said = _reader.decode(delivered.received.body)
                found[said.hub] = said
            if len(found) >= count:
                complete.set()

        channel = await self._link.channel()
        try:
            await channel.consume(REPLY, f"asks-{new_id()}", 0, heard, no_ack=True)
            question = Message(b"{}", self._hub, "worksong.ask", 0, {})
            channel.publish(self._names.ask, "", question, reply_to=REPLY, correlation=self._hub, mandatory=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await complete.wait()
        finally:
            await channel.close()
        return list(found.values())
