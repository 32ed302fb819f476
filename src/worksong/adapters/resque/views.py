"""Looking at a namespace without touching it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace

from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.directing import heard
from worksong.adapters.redis.observation import busy_view, pool_view
from worksong.adapters.resque.mover import Mover
from worksong.adapters.resque.schedule import Schedule
from worksong.adapters.resque.space import Space, failure_view, is_job, view
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison
from worksong.ports.backend import BusyView, Listing, PoolView, QueueView, Window
from worksong.wire import resque, resque_failure

CHUNK = 500


class Views:
    """Listings; an entry that cannot be read is shown as what it is and spoils no other."""

    def __init__(self, space: Space, mover: Mover, schedule: Schedule) -> None:
        self._space, self._mover, self._schedule = space, mover, schedule

    async def queues(self, now: float) -> list[QueueView]:
        k, names = self._space.keys, await self._space.queues()
        commands: list[tuple[Arg, ...]] = [("GET", k.pause_all)]
        for name in names:
            commands += (("LLEN", k.queue(name)), ("LINDEX", k.queue(name), 0), ("EXISTS", k.paused(name)))
        everybody, *found = await self._space.try_all(commands)
        running: dict[str, int] = {}
        for view_ in await self._running():
            running[view_.job.queue] = running.get(view_.job.queue, 0) + 1
        return [
            QueueView(
                name=name,
                count=found[3 * i] or 0,
                latency=_waited(found[3 * i + 1], now),
                paused=bool(found[3 * i + 2]) or everybody == b"true",
                running=running.get(name, 0),
            )
            for i, name in enumerate(names)
        ]

    async def counts(self) -> dict[State, int]:
        k, names, pools = self._space.keys, await self._space.queues(), await self._space.pools()
        commands: list[tuple[Arg, ...]] = [("LLEN", k.failed)]
        commands += [("LLEN", k.queue(name)) for name in names]
        commands += [("HLEN", k.lent(pool)) for pool in pools]
        dead, *found = [number or 0 for number in await self._space.try_all(commands)]
        scheduled, retries = await self._schedule.totals()
        return {
            State.SCHEDULED: scheduled,
            State.RETRY: retries,
            State.DEAD: dead,
            State.QUEUED: sum(found[: len(names)]),
            State.RUNNING: sum(found[len(names) :]),
        }

    async def jobs(self, state: State, window: Window) -> Listing:
        if state is State.DEAD:
            key, last = self._space.keys.failed, window.offset + window.limit - 1
            raws, total = await self._space.gather([("LRANGE", key, window.offset, last), ("LLEN", key)])
            return Listing(tuple(map(failure_view, raws)), total)
        if state is State.QUEUED:
            return await self._waiting(window)
        if state is State.RUNNING:
            found = await self._running()
            return Listing(tuple(found[window.offset : window.offset + window.limit]), len(found))
        return await self._timed(state, window)

    async def _timed(self, state: State, window: Window) -> Listing:
        scheduled, retries = await self._schedule.totals()
        total, found, passed = scheduled if state is State.SCHEDULED else retries, list[JobView](), 0
        async for entry in self._schedule.entries():
            if entry.state is not state:
                continue
            if len(found) == window.limit:
                break
            if passed >= window.offset:
                found.append(view(entry.raw, state, at=entry.due))
            passed += 1
        return Listing(tuple(found), total)

    async def _waiting(self, window: Window) -> Listing:
        """A window over all queues, one after the other, each from its head."""
        names = await self._space.queues()
        lengths = await self._space.try_all([("LLEN", self._space.keys.queue(name)) for name in names])
        found: list[JobView] = []
        skip, want = window.offset, window.limit
        for name, length in zip(names, [number or 0 for number in lengths], strict=True):
            if skip < length and want > 0:
                raws = await self._space.call("LRANGE", self._space.keys.queue(name), skip, skip + want - 1)
                found += [view(raw, State.QUEUED, queue=name) for raw in raws]
                want -= len(raws)
            skip = max(0, skip - length)
        return Listing(tuple(found), sum(number or 0 for number in lengths))

    async def _running(self) -> list[JobView]:
        return [found async for _, found in self.lent()]

    async def lent(self) -> AsyncIterator[tuple[str, JobView]]:
        """(pool, job) of everything in the hands of our pools."""
        for pool in await self._space.pools():
            for one in await self._space.lent(pool, newest_first=False):
                yield pool, view(one.raw, State.RUNNING, queue=one.queue)

    async def job(self, job_id: str) -> JobView | None:
        """Looks through everything: the format has no index by id."""
        async for _, found in self.lent():
            if found.id == job_id:
                return found
        async for queue, _, raw in self.waiting(job_id):
            return view(raw, State.QUEUED, queue=queue)
        for state in (State.SCHEDULED, State.RETRY):
            async for due, raw in self._mover.found(state, {job_id}):
                return view(raw, state, at=due or 0)
        async for _, raw in self._mover.found(State.DEAD, {job_id}):
            return await self._whole(raw)
        return None

    async def _whole(self, raw: bytes) -> JobView:
        """Poison too large for a document lies under a key of its own."""
        key = resque_failure.decode(raw).key
        if not key.startswith(self._space.keys.poison("")):
            return failure_view(raw)
        return replace(failure_view(raw), raw=await self._space.call("GET", key) or b"")

    async def waiting(self, job_id: str) -> AsyncIterator[tuple[str, int, bytes]]:
        """(queue, how many are ahead of it there, bytes) of the job where it waits."""
        for name in await self._space.queues():
            at = 0
            while True:
                (raws,) = await self._space.try_all([("LRANGE", self._space.keys.queue(name), at, at + CHUNK - 1)])
                for place, raw in enumerate(raws or ()):
                    if is_job(raw, job_id):
                        yield name, at + place, raw
                if not raws or len(raws) < CHUNK:
                    break
                at += CHUNK

    async def pools(self) -> list[PoolView]:
        """Ours; workers of other libraries are told by `foreigners`."""
        ids = await self._space.pools()
        beats = await self._space.try_all([("HGETALL", self._space.keys.pool(pool)) for pool in ids])
        told = await self._space.try_all([("GET", self._space.keys.told(pool)) for pool in ids])
        return [pool_view(pool, beat or [], heard(word)) for pool, beat, word in zip(ids, beats, told, strict=True)]

    async def busy(self) -> list[BusyView]:
        workers = [(worker, pool.id) for pool in await self.pools() for worker in pool.worker_ids]
        found = await self._space.try_all([("HGETALL", self._space.keys.slot(worker)) for worker, _ in workers])
        return [
            busy_view(worker, pool, fields) for (worker, pool), fields in zip(workers, found, strict=True) if fields
        ]


def _waited(oldest: object, now: float) -> float:
    """Nothing, of a foreign job: its payload does not tell."""
    if not isinstance(oldest, bytes):
        return 0.0
    try:
        since = resque.decode(oldest).enqueued_at
    except Poison:
        return 0.0
    return max(0.0, now - since) if since else 0.0
