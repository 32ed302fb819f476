"""What the doctor mends itself: nothing but what a running worker's upkeep would do, by the same steps."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from worksong.adapters.gocraft.doctor.ward import LOCKS, STUCK, Ward
from worksong.adapters.redis.orphans import SWEEP
from worksong.adapters.redis.store import text
from worksong.adapters.rounds import LOST_AFTER, ORPHANS, SILENT, alive
from worksong.domain.finding import some


async def silent_pools(ward: Ward, now: float) -> str:
    """Reaped are worksong's own pools: they beat by the server's clock, so no other one can deceive."""
    space = ward.space
    gone = [pool.id for pool in ward.pools if not alive(pool, ward.now, LOST_AFTER)]
    marks = await space.try_all([("ZSCORE", space.keys.own_pools, pool) for pool in gone])
    ours = [pool for pool, mark in zip(gone, marks, strict=True) if mark is not None]
    others = len(gone) - len(ours)
    left = f"; {others} of Go's are left to a running worker, which does not trust their clocks" if others else ""
    if not ours:
        return f"no pool was struck off{left}"
    reaped = await ward.reaper.reap(now, time.monotonic(), dead=ours)
    return f"struck off {some(reaped.pools)}: {reaped.recovered} jobs queued again, {reaped.crashed} buried{left}"


async def locks(ward: Ward, now: float) -> str:
    """Put right where they were wrong at two looks."""
    pools = [pool.id.encode("utf-8", "surrogateescape") for pool in ward.pools]
    mended = [name for name in await ward.wrong_locks() if await ward.reaper.differs(name, pools, mend=True)]
    return f"put right the count of running jobs of {some(mended)}" if mended else "the counts are right by now"


async def orphans(ward: Ward, now: float) -> str:
    """Seen without an owner twice a minute apart, since a Go pool fetches before its first beat."""
    seen = await ward.reaper.unregistered()
    own = {text(pool) for pool in await ward.space.call("ZRANGE", ward.space.keys.own_pools, 0, -1)}
    if any(pool not in own for _, pool in seen.values()):
        await ward.sleep(SWEEP)
    still = await ward.reaper.unregistered()
    recovered, crashed = await ward.reaper.adopt({key: place for key, place in still.items() if key in seen}, now)
    return f"{recovered} jobs queued again, {crashed} buried"


async def unique(ward: Ward, now: float) -> str:
    """Let go of locks that nobody held at two looks."""
    stuck = await ward.stuck_locks()
    if not stuck:
        return "no lock is held without a job by now"
    held = [ward.space.keys.held(key) for key in stuck]
    await ward.space.gather([("DEL", key) for key in (*stuck, *held)])
    return f"let go of {some(key.strip() for key in stuck)}"


REMEDIES: dict[str, Callable[[Ward, float], Awaitable[str]]] = {
    SILENT.id: silent_pools,
    LOCKS.id: locks,
    ORPHANS.id: orphans,
    STUCK.id: unique,
}
"""By the id of the finding."""
