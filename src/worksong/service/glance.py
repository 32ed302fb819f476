"""A backend at a glance: what `status` prints once and `top` keeps showing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from worksong.admin import Admin
from worksong.domain.errors import Unsupported
from worksong.domain.lifecycle import State
from worksong.ports.backend import BusyView, PoolView, QueueView


class Glance(msgspec.Struct, frozen=True):
    """What the backend said, all at about the same time."""

    counts: dict[State, int]
    queues: Sequence[QueueView]
    pools: Sequence[PoolView] | None
    """None where the backend does not know its workers."""
    busy: Sequence[BusyView]

    @property
    def paused(self) -> list[str]:
        return [queue.name for queue in self.queues if queue.paused]

    @property
    def latency(self) -> float:
        return max((queue.latency for queue in self.queues if queue.count), default=0.0)

    @property
    def concurrency(self) -> int:
        return sum(pool.concurrency for pool in self.pools or ())

    @property
    def workers(self) -> str:
        """How many workers are busy, in words; empty where nobody can know."""
        if self.pools is None:
            return ""
        if not self.pools:
            return "no worker runs; start one with `worksong run APP`"
        processes = f"{len(self.pools)} process{'' if len(self.pools) == 1 else 'es'}"
        return f"{len(self.busy)} of {self.concurrency} workers busy in {processes}"


async def look(admin: Admin) -> Glance:
    """Ask for everything."""
    counts, queues = await admin.acounts(), await admin.aqueues()
    try:
        return Glance(counts, queues, await admin.apools(), await admin.abusy())
    except Unsupported:
        return Glance(counts, queues, None, ())
