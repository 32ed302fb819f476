"""Jobs that run for long: the server takes back what is not acknowledged in time, so it gets a fresh delivery instead.

A channel that needs it has a queue of its own for each job type. The job is published there, comes through the same
channel at once, and the old delivery is acknowledged only then. Thus whoever runs a job holds a delivery of it all the
time. When the channel is gone, so is nobody's claim: the server moves what lies there into the queue of its type.
"""

from __future__ import annotations

import asyncio
import logging
import re

from worksong.adapters.amqp.channel import Channel
from worksong.adapters.amqp.headroom import fitted
from worksong.adapters.amqp.held import Held
from worksong.adapters.amqp.link import Lost
from worksong.adapters.amqp.publisher import Outgoing, Publisher
from worksong.adapters.amqp.topology import Topology
from worksong.domain.job import Job, new_id
from worksong.domain.names import one_line
from worksong.wire import amqp

SHARE = 0.5
"""Of the time that the server allows: when it is over, a delivery is old. What is left is for failures."""
TRIES = 20
"""Into so many parts that time is divided: one of them passes between a failure and the next try."""
FORGONE = 1000
"""Copies that were given up and may still come: so many are known again, and dropped."""
_SAID = re.compile(r"[Tt]imeout value used: (\d+) ms")
log = logging.getLogger("worksong.amqp")


class Holds:
    """The queues of the channels, and what is on its way through them."""

    def __init__(self, topology: Topology, publisher: Publisher, allowed: float) -> None:
        """`allowed`: seconds for which the server leaves a delivery unacknowledged."""
        self._topology, self._publisher, self.allowed = topology, publisher, allowed
        self._queues: dict[tuple[int, str], str] = {}
        """Number of a channel and job type -> the queue."""
        self._opening = asyncio.Lock()
        self._coming: dict[str, _Coming] = {}
        """Ticket of a copy -> who waits for it."""
        self._forgone: dict[str, None] = {}
        """Tickets of copies that were given up, since their originals are what counts."""
        self._rests_until = 0.0

    def old(self, held: Held, now: float) -> bool:
        """Whether the delivery should be exchanged, by the loop's clock."""
        if now < self._rests_until:
            return False
        gone = bool(held.hold) and self._queues.get((held.channel.number, held.handler)) != held.hold
        return gone or now - held.since >= self.allowed * SHARE

    def failed(self, held: Held, why: Exception, now: float) -> None:
        """Say so, once for all that failed together, and leave the server alone for a while: there is time for more."""
        if now < self._rests_until:
            return
        pause = self.allowed / TRIES
        self._rests_until = now + pause
        left = max(0.0, self.allowed - (now - held.since))
        log.warning(
            "a job of %s that runs for long got no fresh delivery, and has its old one for another %.0f s: %s; "
            "next try in %.1f s",
            held.handler,
            left,
            one_line(str(why)),
            pause,
        )

    async def exchange(self, held: Held, job: Job) -> Held:
        """The same job as a delivery that has only just come. If it raises, the old one is what counts."""
        queue, ticket = await self._queue(held), new_id()
        coming = self._coming[ticket] = _Coming(held.channel)
        message = fitted(amqp.held(held.delivered.received, job, ticket))
        try:
            await self._publisher.publish([Outgoing(held.handler, "", queue, message)])
            async with asyncio.timeout(self._topology.names.hold_for / 1000):
                fresh = await coming.copy
        except BaseException as failure:
            self._forgo(ticket)
            if coming.copy.done() and not coming.copy.cancelled() and (copy := coming.copy.result()):
                copy.ack()
            if isinstance(failure, TimeoutError):
                raise Lost(f"its copy did not come out of {queue}") from None
            raise
        finally:
            del self._coming[ticket]
        if fresh is None:
            raise Lost("its channel was closed")
        return fresh

    async def _queue(self, held: Held) -> str:
        key = held.channel.number, held.handler
        async with self._opening:
            if key not in self._queues:
                queue = await self._topology.new_hold(held.handler)
                await held.tap.keep(held.channel, held.handler, queue, self._came, lambda: self._gone(key))
                self._queues[key] = queue
            return self._queues[key]

    def _forgo(self, ticket: str) -> None:
        self._forgone[ticket] = None
        if len(self._forgone) > FORGONE:
            del self._forgone[next(iter(self._forgone))]

    def _came(self, copy: Held) -> None:
        """Only what was surely given up is dropped: all else may be a job's only message."""
        ticket = amqp.text_of(copy.delivered.received.headers.get(amqp.TICKET))
        coming = self._coming.get(ticket)
        if ticket in self._forgone or (coming and coming.copy.cancelled()):
            copy.ack()
        elif coming and not coming.copy.done():
            coming.copy.set_result(copy)
        else:
            log.warning(
                "a copy of a job of %s came that nobody waits for: it goes to the queue of its type", copy.handler
            )
            copy.requeue()

    def _gone(self, key: tuple[int, str]) -> None:
        """Somebody deleted the queue: what was in it is nowhere but here, and needs another one soon."""
        self._queues.pop(key, None)
        self._rests_until = 0.0

    def forget(self, channel: Channel) -> None:
        """It is closed; perhaps the server told how long it allows."""
        for key in [key for key in self._queues if key[0] == channel.number]:
            del self._queues[key]
        for coming in self._coming.values():
            if coming.channel is channel:
                coming.gone()
        said = _SAID.search(channel.closed.text) if channel.closed else None
        if said:
            self.allowed = min(self.allowed, int(said[1]) / 1000)

    def lost(self) -> None:
        """The connection is gone, and all its channels."""
        self._queues.clear()
        for coming in self._coming.values():
            coming.gone()


class _Coming:
    """A copy on its way; None: its channel is gone."""

    __slots__ = ("channel", "copy")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.copy: asyncio.Future[Held | None] = asyncio.get_running_loop().create_future()

    def gone(self) -> None:
        """Its channel is."""
        if not self.copy.done():
            self.copy.set_result(None)
