"""Which process enqueues the firing of a periodic job: the one that declares a queue for it before all others.

Every process makes up a length limit for the queue by chance, and a queue cannot be declared again with another one. It
is never used, and goes when the firing is long over.
"""

from __future__ import annotations

from collections import OrderedDict

from worksong.adapters.amqp.channel import OTHERWISE, ChannelClosed
from worksong.adapters.amqp.names import Names
from worksong.adapters.amqp.topology import Topology, refused
from worksong.domain.job import Job
from worksong.ports import chance

AFTER = 900.0
"""Seconds that a claim is kept after its firing: several times what schedules run ahead."""
REMEMBERED = 100_000
"""Ids that this process remembers, so that most are not asked for twice."""


class Claims:
    """What this process has claimed, or found claimed."""

    def __init__(self, topology: Topology, names: Names) -> None:
        self._topology, self._names = topology, names
        self._nonce = chance.randrange(1, 2**31)
        self._known: OrderedDict[str, None] = OrderedDict()

    async def claim(self, job: Job, now: float) -> bool:
        """Whether the firing is ours to enqueue."""
        if job.id in self._known:
            return False
        until = int((max(0.0, job.run_at - now) + AFTER) * 1000)
        won = await self._won(job.id, {"x-max-length": self._nonce, "x-expires": until})
        self._known[job.id] = None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return won

    async def _won(self, job_id: str, arguments: dict[str, int | str]) -> bool:
        queue = self._names.claim(job_id)
        try:
            await self._topology.ask(lambda channel: channel.declare(queue, arguments))
        except ChannelClosed as closed:
            if closed.code == OTHERWISE:
                return False
            raise refused(queue, closed) from closed
        return True

    async def give_up(self, job: Job) -> None:
        """It could not be enqueued: whoever comes next may."""
        self._known.pop(job.id, None)
        queue = self._names.claim(job.id)
        await self._topology.ask(lambda channel: channel.delete(queue))
