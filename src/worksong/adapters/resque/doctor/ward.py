"""What can be wrong with the keys of a Resque namespace, and what the doctor mends itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from worksong.adapters.redis.client import Arg, Script
from worksong.adapters.redis.doctor import bedside
from worksong.adapters.redis.doctor.bedside import Check
from worksong.adapters.redis.store import text
from worksong.adapters.resque import crew
from worksong.adapters.resque.reaper import Reaper
from worksong.adapters.resque.space import Space
from worksong.adapters.rounds import ORPHANS
from worksong.domain.finding import Ailment, Finding, Severity, some
from worksong.wire import resque

WORKER_IDS = Ailment(
    "resque.workers.id",
    Severity.ERROR,
    "Workers are registered under ids that are not HOST:PID:QUEUES: while they are, no Ruby worker can start.",
    "worksong doctor --fix, or redis-cli SREM resque:workers ID",
    fixable=True,
)
LEFT_WORKERS = Ailment(
    "resque.workers.left",
    Severity.WARNING,
    "Workers of pools that are gone are still registered, and Resque's own tools show them.",
    "worksong doctor --fix",
    fixable=True,
)
TORN = Ailment(
    "resque.delayed.torn",
    Severity.WARNING,
    "Delayed jobs lie in lists whose second is not on the schedule: no scheduler will ever move them.",
    "worksong doctor --fix",
    fixable=True,
)
UNLISTED = Ailment(
    "resque.queues.unlisted",
    Severity.WARNING,
    "Queues hold jobs and are not in the set of queues: who works on all of them passes them over.",
    "worksong doctor --fix",
    fixable=True,
)
PAUSED = Ailment(
    "resque.paused",
    Severity.INFO,
    "All workers of the namespace are paused, of worksong and of Ruby.",
    "redis-cli DEL resque:pause-all-workers",
)
ELSEWHERE = Ailment(
    "resque.scheduler.elsewhere",
    Severity.INFO,
    "A scheduler of another library holds a lock and moves the delayed jobs: Ruby's drops ids and tries on the way.",
    "nothing, where it is meant; otherwise stop that scheduler, and worksong's workers take its place",
)
AILMENTS = (WORKER_IDS, LEFT_WORKERS, TORN, UNLISTED, PAUSED, ELSEWHERE)

ENROL = Script.named("enrol", package="worksong.adapters.resque")


class Ward:
    """The namespace as it lies there, looked at once."""

    def __init__(self, space: Space, reaper: Reaper) -> None:
        self.space, self.reaper = space, reaper

    async def misfits(self) -> list[Finding]:
        """Keys of a wrong type."""
        k = self.space.keys
        expected = dict.fromkeys((k.queues, k.workers, k.pools), "set")
        expected |= dict.fromkeys((k.schedule, k.retries, k.recovered_at, k.cancelled, k.beaten), "zset")
        expected |= dict.fromkeys((k.processed, k.failures, k.fence, k.order, k.ruby_scheduler, k.reaper), "string")
        expected |= {k.failed: "list", k.heartbeats: "hash", k.recovered: "hash"}
        kinds = await self.space.gather([("TYPE", k.queues), ("TYPE", k.pools)])
        if all(kind in (b"set", b"none") for kind in kinds):
            expected |= {k.queue(name): "list" for name in await self.space.queues()}
            pools = await self.space.pools()
            expected |= {k.lent(pool): "hash" for pool in pools} | {k.told(pool): "string" for pool in pools}
        return await bedside.misfits(self.space, expected)

    async def workers(self) -> list[str]:
        """The ids of all registered workers."""
        return sorted(text(name) for name in await self.space.call("SMEMBERS", self.space.keys.workers))

    async def foreigners(self) -> list[str]:
        """Those of other libraries."""
        return [name for name in await self.workers() if not crew.is_ours(name)]

    async def ids(self) -> list[Finding]:
        """Ids that Ruby cannot read."""
        wrong = [name for name in await self.workers() if _is_misnamed(name)]
        return [WORKER_IDS.found(some(wrong))] if wrong else []

    async def left(self) -> list[Finding]:
        """Workers of ours whose pool is gone."""
        left = await self.left_workers()
        return [LEFT_WORKERS.found(some(left))] if left else []

    async def left_workers(self) -> list[str]:
        """Ours carry the id of their pool."""
        pools = await self.space.pools()
        return [
            name
            for name in await self.workers()
            if crew.is_ours(name) and not any(f"-{pool}" in name for pool in pools)
        ]

    async def torn(self) -> list[Finding]:
        """Lists of delayed jobs off the schedule."""
        torn = await self.torn_seconds()
        return [TORN.found(f"of {some(map(str, torn))}")] if torn else []

    async def torn_seconds(self) -> list[int]:
        """Seconds with a list, and without a place on the schedule."""
        prefix = self.space.keys.delayed_prefix
        names = {key.removeprefix(prefix) for key in await self.space.scan(prefix)}
        seconds = sorted(int(name) for name in names if name.isascii() and name.isdecimal())
        commands: list[tuple[Arg, ...]] = [("ZSCORE", self.space.keys.schedule, second) for second in seconds]
        scores = await self.space.gather(commands)
        return [second for second, score in zip(seconds, scores, strict=True) if score is None]

    async def unlisted(self) -> list[Finding]:
        """Queues that nobody finds."""
        lost = await self.lost_queues()
        return [UNLISTED.found(some(lost))] if lost else []

    async def lost_queues(self) -> list[str]:
        """Those that hold jobs only: an empty one has no key."""
        prefix = self.space.keys.queue("")
        names = {key.removeprefix(prefix) for key in await self.space.scan(prefix)}
        return sorted(names - set(await self.space.queues()))

    async def paused(self) -> list[Finding]:
        """Ruby's pause of everybody."""
        return [PAUSED.found("")] if await self.space.call("GET", self.space.keys.pause_all) == b"true" else []

    async def schedulers(self) -> list[Finding]:
        """Who holds the locks."""
        k = self.space.keys
        holders = await self.space.gather([("GET", k.ruby_scheduler), ("GET", k.node_scheduler)])
        others = [text(holder) for holder in holders if holder is not None]
        return [ELSEWHERE.found(f"it is {some(others)}")] if others else []

    async def orphans(self) -> list[Finding]:
        """What was lent to pools that are not registered."""
        pools = await self.reaper.unregistered()
        if not pools:
            return []
        held = await self.space.try_all([("HLEN", self.space.keys.lent(pool)) for pool in pools])
        return [ORPHANS.found(f"{sum(count or 0 for count in held):,} jobs of pools {some(pools)}")]

    async def unreadable(self) -> list[Finding]:
        """Poison at the ends of the queues."""
        places = [(name, bedside.ends_of(self.space.keys.queue(name))) for name in await self.space.queues()]
        return await bedside.unreadable(self.space, places, resque.decode)


CHECKS: tuple[Check[Ward], ...] = (
    Check("redis.keys", "Every key of the namespace holds what belongs there.", Ward.misfits),
    Check("resque.workers", "Every worker's id can be read by all libraries.", Ward.ids),
    Check("resque.workers.pools", "Every registered worker of ours belongs to a pool.", Ward.left),
    Check("resque.delayed", "Every delayed job is on the schedule.", Ward.torn),
    Check("resque.queues", "Every queue is in the set of queues.", Ward.unlisted),
    Check("resque.pause", "The namespace is not paused.", Ward.paused),
    Check("resque.scheduler", "No scheduler of another library moves the delayed jobs.", Ward.schedulers),
    Check("jobs.owned", "Every job in progress belongs to a registered pool.", Ward.orphans),
    Check("jobs.readable", "The jobs can be read.", Ward.unreadable),
)


async def drop_ids(ward: Ward) -> str:
    """Nobody can be such a worker."""
    wrong = [name for name in await ward.workers() if _is_misnamed(name)]
    return await _unregister(ward, wrong)


async def drop_left(ward: Ward) -> str:
    """A pool that lives registers its workers again with its next beats."""
    return await _unregister(ward, await ward.left_workers())


async def _unregister(ward: Ward, names: list[str]) -> str:
    if not names:
        return "no such worker is registered by now"
    k = ward.space.keys
    await ward.space.gather([("SREM", k.workers, *names), ("HDEL", k.heartbeats, *names)])
    keys = [key(name) for name in names for key in (k.worker, k.started, k.processed_by, k.failures_of)]
    await ward.space.gather([("DEL", *keys)])
    return f"unregistered {some(names)}"


async def join(ward: Ward) -> str:
    """Put torn seconds on the schedule."""
    k, torn = ward.space.keys, await ward.torn_seconds()
    for second in torn:
        await ward.space.run(ENROL, (k.delayed(second), k.schedule), (second,))
    return f"put {len(torn)} on the schedule"


async def enlist(ward: Ward) -> str:
    """Name queues that nobody finds."""
    lost = await ward.lost_queues()
    if lost:
        await ward.space.call("SADD", ward.space.keys.queues, *lost)
    return f"named {some(lost)}" if lost else "every queue is named by now"


REMEDIES: dict[str, Callable[[Ward], Awaitable[str]]] = {
    WORKER_IDS.id: drop_ids,
    LEFT_WORKERS.id: drop_left,
    TORN.id: join,
    UNLISTED.id: enlist,
}
"""By the id of the finding."""


def _is_misnamed(name: str) -> bool:
    """Whether Ruby, which splits at the first two colons, finds fewer parts than host, pid and queues."""
    parts = name.split(":", 2)
    return len(parts) < 3 or not parts[2].strip(",")
