"""Pools that died: seen by their beats standing still, their jobs given back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from msgspec.structs import replace

from worksong.adapters.redis.crashes import Crashes
from worksong.adapters.redis.orphans import Orphans
from worksong.adapters.redis.store import text
from worksong.adapters.redis.watch import Watch
from worksong.adapters.resque.space import Item, Lent, Space, too_large
from worksong.domain.outcome import Failure
from worksong.domain.poison import Poison
from worksong.ports.backend import CRASHES_ALLOWED, Reaped
from worksong.wire import resque, resque_failure

log = logging.getLogger("worksong")


class Reaper:
    """Watches our pools; any number may do so at once, since HDEL decides who moved a job.

    Workers of other libraries are left to their own: what they took is in no list, so nothing could be given back.
    """

    def __init__(self, space: Space, name: str) -> None:
        self._space, self._watch = space, Watch(space, space.keys.reaper, name)
        self._orphans, self._crashes = Orphans(), Crashes(space, space.keys)

    async def reap(self, now: float, monotonic: float, dead: Sequence[str]) -> Reaped:
        return await self._watch.reap(self, now, monotonic, dead)

    async def silent(self, now: float, monotonic: float) -> list[str]:
        pools = await self._space.pools()
        beats = await self._space.try_all([("HGET", self._space.keys.pool(pool), "heartbeat_at") for pool in pools])
        standing = self._watch.standing(dict(zip(pools, beats, strict=True)), monotonic)
        return [pool for pool, seconds in standing.items() if seconds >= self._watch.patience(pool, now, monotonic)]

    async def bury(self, pools: Collection[str], now: float) -> tuple[int, int]:
        """Give back all that they held, then strike them off: (queued again, buried)."""
        recovered = crashed = 0
        for pool in pools:
            again, buried = await self._bury_pool(pool, now)
            recovered, crashed = recovered + again, crashed + buried
        return recovered, crashed

    async def _bury_pool(self, pool: str, now: float) -> tuple[int, int]:
        k, recovered, crashed = self._space.keys, 0, 0
        crew, slots = await self._space.try_all([("HGET", k.pool(pool), name) for name in ("crew", "worker_ids")])
        blamed: set[str] = set()
        while found := await self._space.lent(pool, newest_first=False):
            items = await self._endings(pool, found, now, blamed)
            moved = await self._space.settle(pool, items, now)
            buried = sum(moved[i] for i, item in enumerate(items) if item.action != "tail")
            recovered, crashed = recovered + sum(moved) - buried, crashed + buried
            if not any(moved):
                break
        names = text(crew or b"").split("\n")
        await self._space.strike(
            pool, [name for name in names if name], [s for s in text(slots or b"").split(",") if s]
        )
        self._watch.strike(pool)
        return recovered, crashed

    async def _endings(self, pool: str, found: Iterable[Lent], now: float, blamed: set[str]) -> list[Item]:
        items: list[tuple[Lent, Item]] = []
        for lent in found:
            try:
                if not lent.raw and lent.size:
                    raise too_large(lent.size)
                job = resque.decode(lent.raw, queue=lent.queue)
            except Poison as poison:
                items.append((lent, self._space.buried(lent, poison, pool, now, "in progress")))
                continue
            items.append((lent, Item("tail", lent.fence, lent.queue, id=job.id)))
        lost = await self._crashes.of(item.id for _, item in items)
        before = set(blamed)  # and so counted already
        endings = [
            self._ending(pool, lent, item, count - (item.id in before), now)
            for (lent, item), count in zip(items, lost, strict=True)
        ]
        return [_once(item, blamed) for item in endings]

    def _ending(self, pool: str, lent: Lent, item: Item, lost: int, now: float) -> Item:
        """Behind its queue, so that a job that kills its workers starves nobody; dead when it killed too many."""
        if item.action != "tail" or lost < CRASHES_ALLOWED:
            return item
        said = f"lost {lost + 1} workers within 72 hours"
        log.error("job %s is dead: worker_crashed: %s", item.id, said)
        document = resque_failure.encode(
            lent.raw,
            f"{resque_failure.CRASHED}: {said}",
            failure=Failure(resque_failure.CRASHED, said),
            worker=self._space.who(pool),
            queue=lent.queue,
            now=now,
        )
        return Item("BURY", lent.fence, lent.queue, document, id=item.id)

    # what belongs to nobody

    async def sweep(self, now: float, monotonic: float) -> tuple[int, int]:
        """What was lent to pools that are not registered."""
        if not self._orphans.begins(monotonic):
            return 0, 0
        return await self.bury(self._orphans.due(await self.unregistered(), monotonic), now)

    async def unregistered(self) -> list[str]:
        """Pools that hold something, and are not registered."""
        prefix, known = self._space.keys.lent(""), set(await self._space.pools())
        return sorted({key.removeprefix(prefix) for key in await self._space.scan(prefix)} - known)

    # what is kept for a time

    async def prune(self, now: float) -> int:
        """Crash counts, cancellations, and marks of retries that somebody else has moved."""
        await self._crashes.forget_old(now)
        k = self._space.keys
        await self._space.gather(
            [
                ("ZREMRANGEBYSCORE", k.cancelled, "-inf", int(now - 86400)),
                ("ZREMRANGEBYSCORE", k.beaten, "-inf", int(now - 7 * 86400)),
            ]
        )
        return 0


def _once(item: Item, blamed: set[str]) -> Item:
    """Equal foreign jobs share an id: the end of one pool counts it once."""
    if item.action != "tail":
        return item
    if item.id in blamed:
        return replace(item, id="")
    blamed.add(item.id)
    return item
