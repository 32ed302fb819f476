"""Pools that died: seen by their beats standing still, their jobs given back, the locks put right."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence

from worksong.adapters.gocraft.space import DEAD_KEPT, REPAIR, Item, Space, unlocked
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.crashes import Crashes
from worksong.adapters.redis.orphans import Orphans
from worksong.adapters.redis.store import text
from worksong.adapters.redis.watch import Watch
from worksong.domain.poison import Poison
from worksong.ports.backend import CRASHES_ALLOWED, Reaped
from worksong.wire import gocraft

GO_SILENT_FOR = 15.0
"""Seconds of standing still after which a Go pool is dead: three of its beats."""
REPAIRED = 30.0
CHUNK = 100
DEAD_MOST = 1_000_000

log = logging.getLogger("worksong")


class Reaper:
    """Watches all pools of the namespace; any number may do so at once, since LREM decides who moved a job."""

    def __init__(self, space: Space, name: str) -> None:
        self._space = space
        self._watch = Watch(space, space.keys.reaper, name)
        self._orphans, self._crashes = Orphans(), Crashes(space, space.keys)
        self._mended = float("-inf")
        self._wrong: set[str] = set()

    async def reap(self, now: float, monotonic: float, dead: Sequence[str]) -> Reaped:
        return await self._watch.reap(self, now, monotonic, dead)

    async def silent(self, now: float, monotonic: float) -> list[str]:
        k = self._space.keys
        pools = [text(pool) for pool in await self._space.call("SMEMBERS", k.worker_pools)]
        beats = await self._space.try_all([("HGET", k.pool(pool), "heartbeat_at") for pool in pools])
        standing = self._watch.standing(dict(zip(pools, beats, strict=True)), monotonic)
        ours = await self._space.try_all([("ZSCORE", k.own_pools, pool) for pool in standing])
        needed = {
            pool: GO_SILENT_FOR if score is None else self._watch.patience(pool, now, monotonic)
            for pool, score in zip(standing, ours, strict=True)
        }
        return [pool for pool, seconds in standing.items() if seconds >= needed[pool]]

    async def bury(self, pools: Sequence[str], now: float) -> tuple[int, int]:
        """Give back all that they held, then strike them off: (queued again, buried)."""
        recovered = crashed = 0
        lists = list((await self._scan()).values()) if pools else []
        for pool in pools:
            listed = [name for name, owner in lists if owner == pool]
            again, buried = await self._bury_pool(pool, listed, now)
            recovered, crashed = recovered + again, crashed + buried
        return recovered, crashed

    async def _bury_pool(self, pool: str, listed: Iterable[str], now: float) -> tuple[int, int]:
        """Give back all that it held, then strike it off; cut short, the next reaping goes on.

        `listed` are the job types of its in-progress lists, whether anybody registered them or not.
        """
        k = self._space.keys
        names, workers = await self._space.try_all(
            [("HGET", k.pool(pool), "job_names"), ("HGET", k.pool(pool), "worker_ids")]
        )
        types = {*(text(names or b"").split(",")), *await self._space.known(), *listed} - {""}
        recovered = crashed = 0
        for name in sorted(types):
            again, buried = await self._recover(pool, name, now)
            recovered, crashed = recovered + again, crashed + buried
        await self._space.strike(pool, types)
        await self._space.try_all([("DEL", k.worker(id)) for id in text(workers or b"").split(",") if id])
        self._watch.strike(pool)
        return recovered, crashed

    async def _recover(self, pool: str, name: str, now: float) -> tuple[int, int]:
        """Everything in one in-progress list, the oldest first, in chunks: (queued again, buried)."""
        key, recovered, crashed = self._space.keys.inprogress(name, pool), 0, 0
        (beaten,) = await self._space.try_all([("ZSCORE", self._space.keys.own_pools, pool)])
        while True:
            (raws,) = await self._space.try_all([("LRANGE", key, -CHUNK, -1)])
            if not raws:
                return recovered, crashed
            items = await self._endings(name, list(reversed(raws)), now, ours=beaten is not None)
            moved = await self._space.try_settle(pool, name, items, now)
            buried = sum(moved[i] for i, item in enumerate(items) if item.action == "bury")
            recovered, crashed = recovered + sum(moved) - buried, crashed + buried
            if not any(moved):
                return recovered, crashed

    async def _endings(self, name: str, raws: Sequence[bytes], now: float, *, ours: bool) -> list[Item]:
        """A Go pool may have died before it freed a unique lock, so its jobs come back as they are."""
        items: list[Item] = []
        for raw in raws:
            try:
                job = gocraft.decode(raw)
            except Poison as poison:
                items.append(self._space.buried(raw, name, poison, now, "in progress"))
                continue
            held = self._space.held(job)
            counted_as = job.id or hashlib.sha1(raw, usedforsecurity=False).hexdigest()
            new = unlocked(job, raw) if ours else b""
            items.append(Item("tail", raw, new, id=counted_as, lock=job.unique_key if held else "", held=held))
        lost = await self._crashes.of(item.id for item in items)
        return [self._ending(item, count, now) for item, count in zip(items, lost, strict=True)]

    def _ending(self, item: Item, lost: int, now: float) -> Item:
        """Behind its queue, so that a job that kills its workers starves nobody; dead when it killed too many."""
        if item.action != "tail" or lost < CRASHES_ALLOWED:
            return item
        error = f"worker_crashed: lost {lost + 1} workers within 72 hours"
        new = gocraft.rewrite(item.raw, {"err": error, "failed_at": int(now)})
        log.error("job %s is dead: %s", item.id, error)
        return Item("bury", item.raw, new, int(now), item.id, item.lock, item.held)

    # lists that belong to nobody

    async def sweep(self, now: float, monotonic: float) -> tuple[int, int]:
        """In-progress lists of pools that are not registered, and locks that are wrong."""
        found = await self._adopt_orphans(now, monotonic)
        await self._mend(monotonic)
        return found

    async def _adopt_orphans(self, now: float, monotonic: float) -> tuple[int, int]:
        if not self._orphans.begins(monotonic):
            return 0, 0
        lists = await self.unregistered()
        return await self.adopt({key: lists[key] for key in self._orphans.due(lists, monotonic)}, now)

    async def adopt(self, orphans: Mapping[str, tuple[str, str]], now: float) -> tuple[int, int]:
        """Give back lists that belong to nobody, key -> (job type, pool): (queued again, buried)."""
        recovered = crashed = 0
        for name, pool in orphans.values():
            await self._drop_ended(pool, name, now)
            again, buried = await self._recover(pool, name, now)
            recovered, crashed = recovered + again, crashed + buried
        return recovered, crashed

    async def _drop_ended(self, pool: str, name: str, now: float) -> None:
        """What a Go pool left behind when it stopped in order: jobs unique by key that had ended.

        It removes them by other bytes than it fetched, so they stay in its list, though it counts none as running.
        """
        k = self._space.keys
        counted, raws = await self._space.try_all(
            [("HGET", k.lock_info(name), pool), ("LRANGE", k.inprogress(name, pool), 0, -1)]
        )
        if counted != b"0":
            return
        ended = [Item("drop", raw) for raw in raws or () if b'"unique_key"' in raw]
        for start in range(0, len(ended), CHUNK):
            await self._space.try_settle(pool, name, ended[start : start + CHUNK], now)

    async def unregistered(self) -> dict[str, tuple[str, str]]:
        """Key -> (job type, pool) of in-progress lists whose pool is neither registered nor beating."""
        k = self._space.keys
        pools = tuple(f":{text(pool)}:inprogress" for pool in await self._space.call("SMEMBERS", k.worker_pools))
        queues = {k.jobs(name) for name in await self._space.known()}
        lists = await self._scan()
        found = {key: place for key, place in lists.items() if key not in queues and not key.endswith(pools)}
        beats = await self._space.gather([("EXISTS", k.pool(pool)) for _, pool in found.values()])
        return {key: place for (key, place), beat in zip(found.items(), beats, strict=True) if not beat}

    async def _scan(self) -> dict[str, tuple[str, str]]:
        """Key -> (job type, pool) of all in-progress lists."""
        prefix = self._space.keys.jobs_prefix
        found: dict[str, tuple[str, str]] = {}
        for key in await self._space.scan(prefix, "*:*:inprogress"):
            name, _, owner = key[len(prefix) : -len(":inprogress")].rpartition(":")
            found[key] = (name, owner)
        return found

    # locks

    async def _mend(self, monotonic: float) -> None:
        """lock = what is in progress: mended when it was wrong at two looks in a row."""
        if monotonic - self._mended < REPAIRED:
            return
        self._mended = monotonic
        wrong: set[str] = set()
        pools: list[bytes] = await self._space.call("SMEMBERS", self._space.keys.worker_pools)
        for name in await self._space.known():
            if await self.differs(name, pools, mend=name in self._wrong):
                wrong.add(name)
                if name in self._wrong:
                    log.warning("the lock of job type %s was wrong and is mended", name)
        self._wrong = wrong - self._wrong

    async def differs(self, name: str, pools: Sequence[bytes], *, mend: bool) -> bool:
        """Whether the lock of a job type was wrong now; with `mend` it is right afterwards."""
        k = self._space.keys
        args: tuple[Arg, ...] = (f"{k.jobs(name)}:", ":inprogress", int(mend), *pools)
        return bool(await self._space.run(REPAIR, (k.lock(name), k.lock_info(name)), args))

    # what is kept for a time

    async def prune(self, now: float) -> int:
        """Old dead jobs, crash counts and cancellations."""
        await self._crashes.forget_old(now)
        k = self._space.keys
        dropped = await self._space.gather(
            [
                ("ZREMRANGEBYSCORE", k.dead, "-inf", int(now - DEAD_KEPT)),
                ("ZREMRANGEBYRANK", k.dead, 0, -DEAD_MOST - 1),
                ("ZREMRANGEBYSCORE", k.cancelled, "-inf", int(now - 86400)),
                ("ZREMRANGEBYSCORE", k.own_pools, "-inf", int(now - 7 * 86400)),
            ]
        )
        return int(dropped[0]) + int(dropped[1])
