"""A pool's own bookkeeping: its registration, its beats, what its slots do, and what it lost track of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.directing import heard
from worksong.adapters.redis.observation import Observer, pool_fields
from worksong.adapters.redis.store import text
from worksong.adapters.resque import crew
from worksong.adapters.resque.crew import Crew
from worksong.adapters.resque.space import BEAT, MOST, Item, Lent, Space
from worksong.domain.job import Delivery, shown
from worksong.domain.poison import Poison
from worksong.ports.backend import Beat, Direction, Orders, Pool, Running
from worksong.wire import resque, resque_time

RECONCILE = 5.0
"""Seconds between two comparisons of what is lent with what the pool holds, and two registrations with the peers."""


class Pulse:
    """Beats for one pool at a time."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._observer = Observer(space.keys.slot)
        self._records: dict[str, int] = {}
        """What the peers were told of each slot, by the fence of its job."""
        self._reconciled = float("-inf")
        self._unheld: set[int] = set()
        self._missing: set[int] = set()
        self._begun = 0
        """The number of the fetch that had begun last, one beat ago."""

    async def enlist(self, pool: Pool, now: float) -> None:
        self._space.crews[pool.id] = crew.of(pool)
        _, seconds, *_ = await self._beat(pool, first=True)
        await self._register(pool, int(seconds))

    async def beat(self, beat: Beat, now: float) -> Orders:
        pool = beat.pool
        self._space.crews.setdefault(pool.id, crew.of(pool))
        evicted, seconds, micros, cancelled, told = await self._beat(pool, first=False)
        server_now = int(seconds) + int(micros) / 1e6
        if evicted:
            self._observer.forget()
            self._records.clear()
            self._space.crews.pop(pool.id, None)
            return Orders(evicted=True, lost=beat.held, server_now=server_now)
        await self._observe(beat)
        lost: tuple[Delivery, ...] = ()
        if now - self._reconciled >= RECONCILE or now < self._reconciled:
            self._reconciled = now
            await self._register(pool, int(seconds))
            lost = await self._reconcile(beat, now)
        said = heard(told)
        return Orders(
            frozenset(text(name) for name in cancelled),
            lost=lost,
            server_now=server_now,
            quiet=said == Direction.QUIET,
            stop=said == Direction.STOP,
        )

    async def _beat(self, pool: Pool, *, first: bool) -> list[Any]:
        k = self._space.keys
        names = "\n".join(self._space.crews[pool.id].all)
        args: tuple[Arg, ...] = (pool.id, int(first), *pool_fields(pool), "crew", names)
        keys = (k.pools, k.pool(pool.id), k.cancelled, k.beaten, k.told(pool.id))
        answer: list[Any] = await self._space.run(BEAT, keys, args)
        return answer

    async def _register(self, pool: Pool, server_now: int) -> None:
        """As Ruby's workers do; again and again, since any of the peers may have thrown ours out."""
        k, names = self._space.keys, self._space.crews[pool.id].all
        beaten = resque_time.heartbeat(server_now)
        began = resque_time.started(pool.started_at)
        commands: list[tuple[Arg, ...]] = [
            ("SADD", k.workers, *names),
            ("HSET", k.heartbeats, *(part for name in names for part in (name, beaten))),
        ]
        commands += [("SET", k.started(name), began) for name in names]
        await self._space.try_all(commands)

    # what the slots do

    async def _observe(self, beat: Beat) -> None:
        """Write what changed since the last beat: for our listings, and for the peers'."""
        commands = [*self._observer.changes(beat), *self._told(beat)]
        if commands:
            await self._space.try_all(commands)

    def _told(self, beat: Beat) -> list[tuple[Arg, ...]]:
        known: Crew = self._space.crews[beat.pool.id]
        busy = {known.slots[one.slot]: one for one in beat.running if one.slot < len(known.slots)}
        commands: list[tuple[Arg, ...]] = [
            ("DEL", self._space.keys.worker(idle)) for idle in self._records if idle not in busy
        ]
        for name, running in busy.items():
            if self._records.get(name) != running.delivery.fence:
                commands.append(("SET", self._space.keys.worker(name), _record(running)))
        self._records = {name: running.delivery.fence for name, running in busy.items()}
        return commands

    # what the pool lost track of

    async def _reconcile(self, beat: Beat, now: float) -> tuple[Delivery, ...]:
        """Give back what is lent to us though we do not hold it (a fetch whose answer was lost), seen twice."""
        pool = beat.pool
        lent = {int(fence) for fence in await self._space.call("HKEYS", self._space.keys.lent(pool.id))}
        ours = {delivery.fence for delivery in beat.held if delivery.receipt.pool == pool.id}
        unheld = lent - ours
        begun, self._begun = self._begun, beat.begun
        if beat.still_unread(begun):
            # Its loop is blocked, and has not read an answer that may hold all of them.
            self._unheld = unheld
            return ()
        await self._give_back(pool.id, now, only=unheld & self._unheld)
        self._unheld = unheld - self._unheld
        missing = ours - lent
        gone, self._missing = missing & self._missing, missing
        return tuple(delivery for delivery in beat.held if delivery.fence in gone)

    async def _give_back(self, pool: str, now: float, *, only: set[int] | None = None) -> int:
        """To the front of their queues, as they came."""
        back = 0
        while only is None or only:
            part = sorted(only or (), reverse=True)[:MOST]
            found = await self._space.lent(pool, newest_first=True, only=part)
            if found:
                back += sum(await self._space.settle(pool, [returned(lent) for lent in found], now))
            elif only is None:
                break
            if only is not None:
                only = only - ({lent.fence for lent in found} or set(part))
        return back

    # the end

    async def leave(self, pool: Pool, now: float) -> int:
        back = await self._give_back(pool.id, now)
        names = self._space.crews.pop(pool.id, None) or crew.of(pool)
        await self._space.strike(pool.id, names.all, pool.worker_ids)
        await self._space.try_all([("DEL", self._space.keys.told(pool.id))])
        self._observer.forget()
        self._records.clear()
        return back


def returned(lent: Lent) -> Item:
    """The ending of a job that was not run; that of one too large to be looked at as well."""
    try:
        job_id = resque.decode(lent.raw, queue=lent.queue).id if lent.raw else ""
    except Poison:
        job_id = ""
    return Item("front", lent.fence, lent.queue, id=job_id)


def _record(running: Running) -> bytes:
    """What a busy worker does, as Ruby's tools read it, without the arguments that listings do not show."""
    job, receipt = running.delivery.job, running.delivery.receipt
    raw: bytes = receipt.raw
    if running.hidden:
        args: Sequence[object] | Mapping[str, object] = shown(job.args, running.hidden) or []
        raw = msgspec.json.encode({"class": job.handler, "args": [args] if isinstance(args, dict) else args})
    return resque.record(raw, receipt.queue, resque_time.run_at(running.started_at))
