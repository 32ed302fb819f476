"""What goes wrong in these stories, and how it is set up."""

from __future__ import annotations

from typing import Any

from golden_redis.steps import a_job, good
from golden_redis.stored import Stored, T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.job import Job
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.ports.backend import Pool

SILENT = 8.0
"""Seconds of standing still after which a pool of ours is dead."""
GO_SILENT = 15.0
"""The same for a Go pool, which beats every five seconds."""
SWEEP = 60.0
"""Seconds between two searches for lists of nobody."""
LOOK = 30.0
"""Seconds between two looks at the locks."""
DAY = 86_400
LOCK = 'work:unique:a:{"u":1}\n'
"""The key of the lock that an `alone` job takes."""
HELD = f"work:worksong:held:{LOCK}"
"""The key that says who holds it while the job runs."""
OUTCOMES: list[Outcome] = [Done(), Retried(T + 9, "no"), Snoozed(T + 9), Buried("no"), Discarded("no"), Released()]


def named(outcome: Outcome) -> str:
    return type(outcome).__name__


async def let_die(backend: GocraftBackend, *pools: Pool, now: float = T) -> tuple[int, int]:
    """The supervisor says that these are dead: (queued again, buried)."""
    found = await backend.reap(now, 0.0, dead=[pool.id for pool in pools])
    return found.recovered, found.crashed


def a_list_of_nobody(stored: Stored, pool: str = "gone", count: int = 1) -> None:
    """Jobs in progress of a pool that is not registered, as a Go reaper leaves them."""
    for raw in good(count):
        stored.call("LPUSH", f"work:jobs:a:{pool}:inprogress", raw)
    stored.call("INCRBY", "work:jobs:a:lock", count)
    stored.call("HSET", "work:jobs:a:lock_info", pool, count)


async def beat_on(stored: Stored, pool: Pool) -> None:
    """The pool's heartbeat changes, whatever the server's clock says."""
    stored.call("HINCRBY", f"work:worker_pools:{pool.id}", "heartbeat_at", 1)


def alone(mode: str = "until_done", **fields: Any) -> Job:
    """A unique job."""
    return a_job(args={"u": 1}, unique=mode, **fields)
