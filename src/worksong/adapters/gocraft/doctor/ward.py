"""What can be wrong with the keys of a namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from worksong.adapters.gocraft.reaper import Reaper
from worksong.adapters.gocraft.space import Space
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.doctor import bedside
from worksong.adapters.redis.doctor.bedside import Check
from worksong.adapters.redis.doctor.vitals import REFUSALS
from worksong.adapters.rounds import LOST_AFTER, ORPHANS, alive
from worksong.domain.finding import Ailment, Finding, Severity, some
from worksong.domain.poison import Poison
from worksong.ports.backend import PoolView
from worksong.wire import gocraft

SECOND_LOOK = 1.0
"""Seconds between two looks at what must be wrong twice."""
READ_MOST = 20_000
"""Documents that are read to find who holds a lock; in a larger store that is left."""
SKEWED = 5.0
"""Seconds; a beat has whole ones."""

LOCKS = Ailment(
    "locks.wrong",
    Severity.WARNING,
    "The count of running jobs of a type differs from what is in progress: a limit lets too many run, or none.",
    "worksong doctor --fix; a running worker mends it within two minutes",
    fixable=True,
)
STUCK = Ailment(
    "unique.stuck",
    Severity.WARNING,
    "Locks of unique jobs are held though no such job is there: equal jobs are refused until the lock expires.",
    "worksong doctor --fix",
    fixable=True,
)
STUCK_UNCHECKED = Ailment(
    "unique.unchecked",
    Severity.INFO,
    "There are too many jobs to look for locks that nobody holds.",
    "look again when the queues are shorter",
)
LEFTOVER = Ailment(
    "limits.leftover",
    Severity.INFO,
    "Limits on jobs running at once are stored for types that no live worker knows.",
    "redis-cli DEL KEY, where the type is gone for good",
)
AHEAD = Ailment(
    "pools.clock",
    Severity.WARNING,
    "The clock of a host that runs Go workers is ahead of the server's: its jobs for later come early.",
    "let NTP set the clock of that host: timedatectl set-ntp true",
)
AILMENTS = (LOCKS, STUCK, STUCK_UNCHECKED, LEFTOVER, AHEAD)


class Ward:
    """The namespace as it lies there, looked at once."""

    def __init__(
        self,
        space: Space,
        reaper: Reaper,
        pools: Sequence[PoolView],
        now: float,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`now` by the server's clock."""
        self.space, self.reaper, self.pools, self.now = space, reaper, pools, now
        self.sleep = sleep

    async def known(self) -> list[str]:
        """Job types; none when the key that should name them is of another kind."""
        try:
            return await self.space.known()
        except REFUSALS:
            return []

    async def misfits(self) -> list[Finding]:
        """Keys of a wrong type."""
        return await bedside.misfits(self.space, await self._expected())

    async def _expected(self) -> dict[str, str]:
        k = self.space.keys
        expected = dict.fromkeys((k.known_jobs, k.worker_pools), "set")
        expected |= dict.fromkeys((k.retry, k.scheduled, k.dead, k.recovered_at, k.cancelled, k.own_pools), "zset")
        expected |= {k.recovered: "hash", k.reaper: "string", k.fence: "string"}
        for name in await self.known():
            expected |= {k.jobs(name): "list", k.lock_info(name): "hash"}
            expected |= dict.fromkeys((k.paused(name), k.lock(name), k.max_concurrency(name)), "string")
            expected |= {k.inprogress(name, pool.id): "list" for pool in self.pools}
        for pool in self.pools:
            expected |= {k.pool(pool.id): "hash", k.told(pool.id): "string"}
            expected |= {k.worker(worker): "hash" for worker in pool.worker_ids}
        return expected

    async def locks(self) -> list[Finding]:
        """Counts that were wrong at two looks."""
        wrong = await self.wrong_locks()
        return [LOCKS.found(f"of {some(wrong)}")] if wrong else []

    async def wrong_locks(self) -> list[str]:
        """Job types whose count differed twice."""
        wrong = await self._differing(await self.known())
        if wrong:
            await self.sleep(SECOND_LOOK)
        return await self._differing(wrong)

    async def _differing(self, names: Sequence[str]) -> list[str]:
        pools = [pool.id.encode("utf-8", "surrogateescape") for pool in self.pools]
        return [name for name in names if await self.reaper.differs(name, pools, mend=False)]

    async def orphans(self) -> list[Finding]:
        """In-progress lists of pools that are not registered."""
        lists = await self.reaper.unregistered()
        if not lists:
            return []
        lengths = await self.space.try_all([("LLEN", key) for key in lists])
        pools = sorted({pool for _, pool in lists.values()})
        return [ORPHANS.found(f"{sum(length or 0 for length in lengths):,} jobs of pools {some(pools)}")]

    async def unique(self) -> list[Finding]:
        """Locks without a job."""
        stuck = await self.stuck_locks()
        if stuck is None:
            return [STUCK_UNCHECKED.found(f"more than {READ_MOST:,}")]
        return [STUCK.found(some(key.strip() for key in stuck))] if stuck else []

    async def stuck_locks(self) -> list[str] | None:
        """Locks that no job held at two looks; None: too many jobs to tell."""
        locks = sorted(set(await self.space.scan(self.space.keys.unique_prefix)))
        for look in (1, 2):
            if not locks:
                break
            if look == 2:
                await self.sleep(SECOND_LOOK)
            held = await self._locks_held()
            if held is None:
                return None
            still = await self.space.gather([("EXISTS", key) for key in locks])
            locks = [key for key, there in zip(locks, still, strict=True) if there and key not in held]
        return locks

    async def _locks_held(self) -> set[str] | None:
        """The locks that documents name. Read the way a job goes, so that none is missed on it."""
        k = self.space.keys
        sets, queues = [k.scheduled, k.retry], [k.jobs(name) for name in await self.known()]
        lists = [*queues, *sorted(set(await self.space.scan(k.jobs_prefix, "*:*:inprogress")))]
        sizes = await self.space.try_all([*(("ZCARD", key) for key in sets), *(("LLEN", key) for key in lists)])
        if sum(size or 0 for size in sizes) > READ_MOST:
            return None
        reads: list[tuple[Arg, ...]] = [("ZRANGE", key, 0, -1) for key in sets]
        reads += [("LRANGE", key, 0, -1) for key in lists]
        held: set[str] = set()
        for documents in await self.space.try_all(reads):
            held |= self._locks_of(documents or ())
        return held

    def _locks_of(self, documents: Collection[bytes]) -> set[str]:
        held: set[str] = set()
        for raw in documents:
            if b'"unique' in raw.lower():
                try:
                    held.add(self.space.lock_of(gocraft.decode(raw, limit=64 * gocraft.LIMIT)))
                except Poison:
                    continue
        return held

    async def unreadable(self) -> list[Finding]:
        """Poison at the ends of the queues and at the heads of the sets."""
        k = self.space.keys
        places = [(name, bedside.ends_of(k.jobs(name))) for name in await self.known()]
        sets = [("scheduled", bedside.head_of(k.scheduled)), ("retry", bedside.head_of(k.retry))]
        return await bedside.unreadable(self.space, [*places, *sets], gocraft.decode)

    async def leftovers(self) -> list[Finding]:
        """Stored limits that nobody asks for; without any live worker nothing can be said."""
        living = [pool for pool in self.pools if alive(pool, self.now, LOST_AFTER)]
        if not living:
            return []
        prefix, suffix = self.space.keys.jobs_prefix, ":max_concurrency"
        served = {name for pool in living for name in pool.handlers}
        keys = set(await self.space.scan(prefix, f"*{suffix}"))
        left = sorted(key for key in keys if key[len(prefix) : -len(suffix)] not in served)
        return [LEFTOVER.found(some(left))] if left else []

    async def clocks(self) -> list[Finding]:
        """Beats from the future: Go pools write the time of their own host."""
        ahead = [
            f"{pool.host or pool.id} by {pool.heartbeat_at - self.now:,.0f} seconds"
            for pool in self.pools
            if pool.heartbeat_at - self.now > SKEWED
        ]
        return [AHEAD.found(some(ahead))] if ahead else []


CHECKS: tuple[Check[Ward], ...] = (
    Check("redis.keys", "Every key of the namespace holds what belongs there.", Ward.misfits),
    Check("locks", "The counts of running jobs are right.", Ward.locks),
    Check("jobs.owned", "Every job in progress belongs to a registered pool.", Ward.orphans),
    Check("unique", "Every lock of a unique job has its job.", Ward.unique),
    Check("jobs.readable", "The jobs can be read.", Ward.unreadable),
    Check("limits", "Every stored limit is of a type that is worked on.", Ward.leftovers),
    Check("pools.clocks", "No pool beats in the future.", Ward.clocks),
)
