"""Many that do the same at once.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from golden_redis.conftest import Open
from golden_redis.steps import fetch, good, good_ids, join, settle
from golden_redis.stored import Stored, T


async def test_promoters_at_once_move_each_job_once(opened: Open, stored: Stored) -> None:
    backends = [opened() for _ in range(4)]
    await join(backends[0])
    for number, raw in enumerate(good(400)):
        stored.call("ZADD", ("work:retry", "work:scheduled")[number % 2], 1, raw)
    moved = 0
    while found := await asyncio.gather(*(backend.promote(T, 50) for backend in backends)):
        moved += sum(found)
        if not any(found):
            break
    assert moved == 400
    assert Counter(json.loads(raw)["id"] for raw in stored.entries("work:jobs:a")) == Counter(good_ids(400))


async def test_reapers_at_once_recover_each_job_once(opened: Open, stored: Stored) -> None:
    backends = [opened() for _ in range(4)]
    stored.call("LPUSH", "work:jobs:a", *good(400))
    pool = await join(backends[0])
    assert len(await fetch(backends[0], pool, 400)) == 400
    found = await asyncio.gather(*(backend.reap(T, 0.0, dead=[pool.id]) for backend in backends))
    assert sum(one.recovered for one in found) == 400
    assert Counter(json.loads(raw)["id"] for raw in stored.entries("work:jobs:a")) == Counter(good_ids(400))
    assert stored.balanced("a")
    assert set(stored.call("HGETALL", "work:worksong:recovered")[1::2]) == {b"1"}


async def test_reaping_and_settling_at_once_end_each_job_once(opened: Open, stored: Stored) -> None:
    # Given a pool that settles while it is reaped
    worker, reaper = opened(), opened()
    stored.call("LPUSH", "work:jobs:a", *good(300))
    pool = await join(worker)
    held = await fetch(worker, pool, 300)
    # When both happen at once
    settling = asyncio.gather(*(settle(worker, delivery) for delivery in held))
    found, settled = await asyncio.gather(reaper.reap(T, 0.0, dead=[pool.id]), settling)
    # Then each job is done or waits, not both
    assert sum(settled) + found.recovered == 300
    assert len(stored.entries("work:jobs:a")) == found.recovered
    assert stored.balanced("a")
