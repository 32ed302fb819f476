"""How much work waits, in the plain numbers that an autoscaler goes by."""

from __future__ import annotations

from typing import Any

from worksong.service.glance import Glance


def scaling_fields(glance: Glance, queue: str = "") -> dict[str, Any]:
    """What waits and what could run it; of one queue only where one is named. A queue that is not there has no jobs.

    Paused queues count as empty: more workers would not empty them.
    """
    found = [view for view in glance.queues if not view.paused and view.name == (queue or view.name)]
    return {
        "jobs": sum(view.count for view in found),
        "oldest_seconds": max((view.latency for view in found if view.count), default=0.0),
        "running": sum(view.running for view in found),
        "slots": glance.concurrency,
        "queues": [{"name": view.name, "jobs": view.count, "oldest_seconds": view.latency} for view in found],
    }
