"""Looking at a namespace without touching it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace

from worksong.adapters.gocraft.mover import Mover, is_job, landmark
from worksong.adapters.gocraft.space import Space, kept_apart, view
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.directing import heard
from worksong.adapters.redis.observation import busy_view, pool_view
from worksong.adapters.redis.store import text, whole
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison
from worksong.ports.backend import BusyView, Listing, PoolView, QueueView, Window
from worksong.wire import gocraft

CHUNK = 500


class Views:
    """Listings; an entry that cannot be read is shown as what it is and spoils no other."""

    def __init__(self, space: Space, mover: Mover) -> None:
        self._space, self._mover = space, mover
        k = space.keys
        self._sets = {State.SCHEDULED: k.scheduled, State.RETRY: k.retry, State.DEAD: k.dead}

    async def queues(self, now: float) -> list[QueueView]:
        k, names = self._space.keys, await self._space.known()
        commands: list[tuple[Arg, ...]] = []
        for name in names:
            queue = k.jobs(name)
            commands += (("LLEN", queue), ("LINDEX", queue, -1), ("EXISTS", k.paused(name)))
            commands += (("GET", k.lock(name)), ("GET", k.max_concurrency(name)))
        found = await self._space.try_all(commands)
        return [_queue_view(name, found[5 * i : 5 * i + 5], now) for i, name in enumerate(names)]

    async def counts(self) -> dict[State, int]:
        queues = await self.queues(0.0)
        sets = await self._space.try_all([("ZCARD", key) for key in self._sets.values()])
        counts = {state: whole(number) for state, number in zip(self._sets, sets, strict=True)}
        counts[State.QUEUED] = sum(queue.count for queue in queues)
        counts[State.RUNNING] = sum(queue.running for queue in queues)
        return counts

    async def jobs(self, state: State, window: Window) -> Listing:
        if state in self._sets:
            return await self._timed(state, window)
        if state is State.QUEUED:
            lists = [(name, self._space.keys.jobs(name)) for name in await self._space.known()]
        else:
            lists = [(name, key) for name, _, key in await self._in_progress()]
        return await self._listed(state, lists, window)

    async def _timed(self, state: State, window: Window) -> Listing:
        key, last = self._sets[state], window.offset + window.limit - 1
        members, total = await self._space.gather([("ZRANGE", key, window.offset, last, "WITHSCORES"), ("ZCARD", key)])
        found = [view(members[i], state, float(members[i + 1])) for i in range(0, len(members), 2)]
        return Listing(tuple(found), total)

    async def _listed(self, state: State, lists: list[tuple[str, str]], window: Window) -> Listing:
        """A window over several lists one after the other, each from its oldest end."""
        lengths = [whole(n) for n in await self._space.try_all([("LLEN", key) for _, key in lists])]
        found: list[JobView] = []
        skip, want = window.offset, window.limit
        for (name, key), length in zip(lists, lengths, strict=True):
            if skip < length and want > 0:
                raws = await self._space.call("LRANGE", key, -(skip + want), -(skip + 1))
                found += [view(raw, state, 0.0, name) for raw in reversed(raws)]
                want -= len(raws)
            skip = max(0, skip - length)
        return Listing(tuple(found), sum(lengths))

    async def _in_progress(self) -> list[tuple[str, str, str]]:
        """(job type, pool, key) of every in-progress list that a registered pool can have."""
        k, pools = self._space.keys, await self.pools()
        names = {*await self._space.known()}
        return [
            (name, pool.id, k.inprogress(name, pool.id)) for pool in pools for name in sorted({*names, *pool.handlers})
        ]

    async def job(self, job_id: str) -> JobView | None:
        """Looks through everything: the format has no index by id."""
        for state, key in self._sets.items():
            for raw in await self._mover.find(key, [job_id]):
                return await self._whole(view(raw, state, float(await self._space.call("ZSCORE", key, raw) or 0)))
        async for _, _, raw in self.waiting(job_id):
            return view(raw, State.QUEUED, 0.0)
        for name, _, key in await self._in_progress():
            (raws,) = await self._space.try_all([("LRANGE", key, 0, -1)])
            for raw in raws or ():
                if is_job(raw, job_id):
                    return view(raw, State.RUNNING, 0.0, name)
        return None

    async def _whole(self, found: JobView) -> JobView:
        """Poison too large for a document lies under a key of its own."""
        key = kept_apart(found.job)
        if not key.startswith(self._space.keys.poison("")):
            return found
        return replace(found, raw=await self._space.call("GET", key) or b"")

    async def waiting(self, job_id: str) -> AsyncIterator[tuple[str, str, bytes]]:
        """(job type, key, bytes) of the job where it waits in a queue."""
        mark = landmark(job_id).encode()
        for name in await self._space.known():
            key, at = self._space.keys.jobs(name), 0
            while True:
                (raws,) = await self._space.try_all([("LRANGE", key, at, at + CHUNK - 1)])
                for raw in raws or ():
                    if mark in raw and is_job(raw, job_id):
                        yield name, key, raw
                if not raws or len(raws) < CHUNK:
                    break
                at += CHUNK

    async def pools(self) -> list[PoolView]:
        k = self._space.keys
        ids = sorted(text(pool) for pool in await self._space.call("SMEMBERS", k.worker_pools))
        beats = await self._space.try_all([("HGETALL", k.pool(pool)) for pool in ids])
        told = await self._space.try_all([("GET", self._space.keys.told(pool)) for pool in ids])
        return [pool_view(pool, beat or [], heard(word)) for pool, beat, word in zip(ids, beats, told, strict=True)]

    async def busy(self) -> list[BusyView]:
        k = self._space.keys
        workers = [(worker, pool.id) for pool in await self.pools() for worker in pool.worker_ids]
        found = await self._space.try_all([("HGETALL", k.worker(worker)) for worker, _ in workers])
        return [
            busy_view(worker, pool, fields) for (worker, pool), fields in zip(workers, found, strict=True) if fields
        ]


def _queue_view(name: str, found: list[bytes | int | None], now: float) -> QueueView:
    length, oldest, paused, lock, limit = found
    since = now
    if isinstance(oldest, bytes):
        try:
            since = gocraft.decode(oldest).enqueued_at
        except Poison:
            since = now
    return QueueView(
        name=name,
        count=length if isinstance(length, int) else 0,
        latency=max(0.0, now - since),
        paused=bool(paused),
        running=max(0, whole(lock if isinstance(lock, bytes) else None)),
        limit=whole(limit if isinstance(limit, bytes) else None),
    )
