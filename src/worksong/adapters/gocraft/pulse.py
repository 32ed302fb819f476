"""A pool's own bookkeeping: its registration, its beats, what its slots do, and what it lost track of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from worksong.adapters.gocraft.space import BEAT, LOCK_KEPT, Item, Space, misnamed, unlocked
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.directing import heard
from worksong.adapters.redis.observation import Observer, pool_fields
from worksong.adapters.redis.store import text
from worksong.domain.errors import ConfigError
from worksong.domain.job import Delivery
from worksong.domain.poison import Poison
from worksong.ports.backend import Beat, Direction, Orders, Pool
from worksong.wire import gocraft

RECONCILE = 5.0
"""Seconds between two comparisons of the in-progress lists with what the pool holds."""


class Pulse:
    """Beats for one pool at a time."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._observer = Observer(space.keys.worker)
        self._reconciled = 0.0
        self._unheld: Counter[tuple[str, bytes]] = Counter()
        self._missing: set[int] = set()
        self._begun = 0
        """The number of the fetch that had begun last, one beat ago."""

    async def enlist(self, pool: Pool, now: float) -> None:
        k = self._space.keys
        for name in pool.handlers:
            if wrong := misnamed(name):
                raise ConfigError(wrong)
        if pool.handlers:
            await self._space.call("SADD", k.known_jobs, *pool.handlers)
        await self._space.gather([("SET", k.max_concurrency(name), limit) for name, limit in pool.limits.items()])
        await self._beat(pool, first=True)

    async def beat(self, beat: Beat, now: float) -> Orders:
        evicted, seconds, micros, cancelled, told = await self._beat(beat.pool, first=False)
        server_now = int(seconds) + int(micros) / 1e6
        if evicted:
            self._observer.forget()
            return Orders(evicted=True, lost=beat.held, server_now=server_now)
        await self._observe(beat)
        lost: tuple[Delivery, ...] = ()
        if now - self._reconciled >= RECONCILE or now < self._reconciled:
            self._reconciled = now
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
        args: tuple[Arg, ...] = (pool.id, int(first), *pool_fields(pool))
        answer: list[Any] = await self._space.run(
            BEAT, (k.worker_pools, k.pool(pool.id), k.cancelled, k.own_pools, k.told(pool.id)), args
        )
        return answer

    # what the slots do

    async def _observe(self, beat: Beat) -> None:
        """Write what changed since the last beat; what runs keeps its lock."""
        commands = self._observer.changes(beat)
        for running in beat.running:
            held = self._space.held(running.delivery.job)
            if held:
                commands += (("EXPIRE", held, LOCK_KEPT), ("EXPIRE", running.delivery.job.unique_key, LOCK_KEPT))
        if commands:
            await self._space.try_all(commands)

    # what the pool lost track of

    async def _reconcile(self, beat: Beat, now: float) -> tuple[Delivery, ...]:
        """Give back what lies in our lists though we do not hold it (a fetch whose answer was lost), seen twice."""
        pool = beat.pool
        found = await self._in_progress(pool)
        receipts = {delivery.fence: delivery.receipt for delivery in beat.held}
        # Counted, since one text may be there twice.
        ours = Counter((receipt.type, receipt.raw) for receipt in receipts.values() if receipt.pool == pool.id)
        lists = Counter((name, raw) for name, raws in found.items() for raw in raws)
        unheld = lists - ours
        begun, self._begun = self._begun, beat.begun
        if beat.still_unread(begun):
            # Its loop is blocked, and has not read an answer that may hold all of them.
            self._unheld = unheld
            return ()
        await self._give_back(pool, sorted((unheld & self._unheld).elements()), now)
        self._unheld = unheld - self._unheld
        missing = {fence for fence, r in receipts.items() if r.pool == pool.id and (r.type, r.raw) not in lists}
        gone, self._missing = missing & self._missing, missing
        return tuple(delivery for delivery in beat.held if delivery.fence in gone)

    async def _in_progress(self, pool: Pool) -> dict[str, list[bytes]]:
        keys = self._space.keys
        every = [keys.inprogress(name, pool.id) for name in pool.handlers]
        if not every or not await self._space.call("EXISTS", *every):
            return {}
        lists = await self._space.try_all([("LRANGE", key, 0, -1) for key in every])
        return {name: raws for name, raws in zip(pool.handlers, lists, strict=True) if raws}

    async def _give_back(self, pool: Pool, entries: Sequence[tuple[str, bytes]], now: float) -> int:
        back = 0
        for name, raws in groupby(entries, itemgetter(0)):
            items = [self._returned(name, raw, now) for _, raw in raws]
            back += sum(await self._space.try_settle(pool.id, name, items, now))
        return back

    def _returned(self, name: str, raw: bytes, now: float) -> Item:
        try:
            job = gocraft.decode(raw)
        except Poison as poison:
            return self._space.buried(raw, name, poison, now, "in progress")
        held = self._space.held(job)
        return Item("front", raw, unlocked(job, raw), id=job.id, lock=job.unique_key if held else "", held=held)

    # the end

    async def leave(self, pool: Pool, now: float) -> int:
        found = await self._in_progress(pool)
        # The newest lies at the head: given back in that order, the oldest ends up first in its queue again.
        back = await self._give_back(pool, [(name, raw) for name, raws in found.items() for raw in raws], now)
        await self._space.strike(pool.id, pool.handlers)
        # All of them: the beats that wrote them may have come from a sibling of this backend.
        gone: list[tuple[Arg, ...]] = [("DEL", self._space.keys.worker(worker)) for worker in pool.worker_ids]
        gone.append(("DEL", self._space.keys.told(pool.id)))
        self._observer.forget()
        await self._space.try_all(gone)
        return back
