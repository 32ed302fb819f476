"""What takes the place of a message: published first, so that there are two for a moment, and never none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from msgspec.structs import replace

from worksong.adapters.amqp.channel import ChannelClosed
from worksong.adapters.amqp.headroom import fitted
from worksong.adapters.amqp.held import Held
from worksong.adapters.amqp.publisher import Outgoing, Publisher
from worksong.adapters.amqp.topology import Topology
from worksong.domain.errors import WorksongError
from worksong.domain.job import Job
from worksong.domain.outcome import Buried, Outcome, Released, Retried, Snoozed
from worksong.domain.poison import Poison
from worksong.wire import amqp

log = logging.getLogger("worksong.amqp")


class Copies:
    """Makes them, and has their originals acknowledged."""

    def __init__(self, topology: Topology, publisher: Publisher) -> None:
        self._topology, self._publisher = topology, publisher

    async def take_place(self, held: Held, copy: Coroutine[Any, Any, Outgoing]) -> bool:
        """Publish, then acknowledge; where that fails, the server still has the original. Whether it did not."""
        try:
            await self._publisher.publish([await copy])
        except (WorksongError, ChannelClosed) as failure:
            log.warning("a message of %s goes back to its queue: %s", held.handler, failure)
            await asyncio.sleep(1.0)  # it comes again at once
            held.requeue()
            return False
        held.ack()
        return True

    async def publish(self, copies: Sequence[Outgoing]) -> None:
        """Have the server take in all of them; see `Publisher.publish`."""
        await self._publisher.publish(copies)

    async def ended(self, held: Held, job: Job, outcome: Outcome, now: float) -> Outgoing:
        """What follows an ending that is not the job's last."""
        match outcome:
            case Retried(run_at, error):
                return await self.delayed(held, failed(job, error, now), run_at, now)
            case Snoozed(run_at):
                return await self.delayed(held, job, run_at, now)
            case Buried(error, failure):
                message = amqp.dead(held.delivered.received, failed(job, error, now), failure.type if failure else "")
                return await self._dead(held.handler, message)
            case Released():
                return await self.waiting(held, job)
            case _:
                raise AssertionError(outcome)

    async def waiting(self, held: Held, job: Job) -> Outgoing:
        """Behind all others of its type."""
        await self._topology.ensure(held.handler)
        message = fitted(amqp.again(held.delivered.received, job, run_at=job.run_at))
        return Outgoing(held.handler, self._topology.exchange, self._topology.names.queue(held.handler), message)

    async def delayed(self, held: Held, job: Job, run_at: float, now: float) -> Outgoing:
        """Delay queues have only lengths of a ladder: one that is over in time."""
        queue = await self._topology.ensure_delay(held.handler, self._topology.names.rung(run_at - now))
        return Outgoing(held.handler, "", queue, fitted(amqp.again(held.delivered.received, job, run_at=run_at)))

    async def buried(self, held: Held, wrong: Poison, now: float) -> Outgoing:
        """What is no job."""
        return await self._dead(held.handler, amqp.poison(held.delivered.received, held.handler, wrong, now))

    async def _dead(self, handler: str, message: amqp.Message) -> Outgoing:
        await self._topology.ensure_dead(handler)
        return Outgoing(handler, "", self._topology.names.dead(handler), fitted(message))


def failed(job: Job, error: str, now: float) -> Job:
    """With one more failure counted."""
    return replace(job, attempt=job.attempt + 1, error=error, failed_at=now)
