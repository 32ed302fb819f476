"""Periodic jobs put on the schedule ahead of time, under ids that every process computes alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job
from worksong.ports.backend import Broker
from worksong.registry import Periodic

log = logging.getLogger("worksong")

HORIZON = 240.0
"""Seconds ahead, as gocraft/work: each tick is put on the schedule several times over before it is due."""
PERIOD = 60.0
"""Seconds between two runs."""


async def schedule_ahead(broker: Broker, entries: Sequence[Periodic], now: float) -> int:
    """Push every firing within the horizon, once in the whole cluster however many processes do this.

    A firing is a job with an id made of name, spec and tick, pushed `once`: the second push of an id is refused by the
    backend, also after the first one has run. Ticks that passed while no process was alive are not made up for.
    """
    new = 0
    for entry in entries:
        firings = [_firing(entry, tick) for tick in entry.schedule.ticks(now, now + HORIZON)]
        try:
            new += sum(await broker.push(firings, now, once=True)) if firings else 0
        except InvalidArguments as wrong:  # the others fire none the less
            log.error("periodic job %s cannot be enqueued: %s", entry.handler, wrong)
    return new


def _firing(entry: Periodic, tick: float) -> Job:
    """The job of one firing; gocraft/work's pools make the same bytes of it."""
    return Job(
        handler=entry.handler,
        args=entry.args,
        queue=entry.queue,
        id=f"periodic:{entry.handler}:{entry.schedule.spec}:{int(tick)}",
        enqueued_at=tick,
        run_at=tick,
    )
