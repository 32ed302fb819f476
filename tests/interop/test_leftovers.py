"""What a Go pool leaves in its lists of jobs unique by key: they have ended, though their entries lie there.

It removes a job by the bytes of its lock's document, and that is not what it fetched: after a duplicate, and always
when the job was scheduled (spec 14, point 6).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import redis

from interop.fleet import eventually
from interop.peers import LIMIT, Peer
from worksong import Job, Worker
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Pool, Want
from worksong.wire.gocraft_keys import Keys

NewWorker = Callable[..., Worker]

pytestmark = pytest.mark.timeout(LIMIT)


async def leave_entries(peer: Peer, backend: Backend, count: int) -> None:
    """Have scheduled jobs unique by key in the queue: each will leave an entry behind."""
    peer.knows_keys()
    calls = [
        {"call": "EnqueueUniqueInByKey", "name": "once", "args": {"n": n}, "key": {"k": n}, "in": 0}
        for n in range(count)
    ]
    await peer.enqueue(calls)
    assert await backend.promote(time.time() + 1, 100) == count


async def its_pool(store: redis.Redis, keys: Keys) -> str:
    """The id of the only pool there is: a pool's first beat may come after its first job."""
    (pool_id,) = await eventually(lambda: asyncio.sleep(0, store.smembers(keys.worker_pools)), bool)
    return pool_id.decode()


async def test_repairing_locks_takes_a_leftover_entry_for_no_running_job(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a Go pool at its limit of one, and an entry it left when its job had ended
    backend = new_worker().backend()
    await leave_entries(peer, backend, 1)
    async with peer.work("once:::1") as pool:
        await pool.until_ended(1)
        await eventually(lambda: asyncio.sleep(0, store.get(keys.lock("once"))), lambda lock: lock == b"0")
        pool_id = await its_pool(store, keys)
        assert store.llen(keys.inprogress("once", pool_id)) == 1
        # When the locks are looked at again and again, while the pool beats
        for monotonic in (0.0, 31.0, 62.0, 93.0):
            store.delete(keys.reaper)
            store.hset(keys.pool(pool_id), "heartbeat_at", int(time.time() + monotonic))
            await backend.reap(time.time(), monotonic)
        # Then the limit is free, and the next job runs
        assert store.get(keys.lock("once")) == b"0"
        await peer.enqueue([{"call": "Enqueue", "name": "once", "args": {"n": 9}}])
        await pool.until_ended(2)


async def test_what_a_stopped_go_pool_left_is_not_run_again(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a Go pool that worked a job, left its entry, and stopped in order
    backend = new_worker().backend()
    await leave_entries(peer, backend, 1)
    async with peer.work("once") as pool:
        await pool.until_ended(1)
    assert store.keys(f"{keys.jobs('once')}:*:inprogress")
    # When lists that belong to nobody are looked for, twice
    for monotonic in (0.0, 61.0, 122.0):
        store.delete(keys.reaper)
        await backend.reap(time.time(), monotonic)
    # Then the entry is gone, and the job is not queued again
    assert not store.keys(f"{keys.jobs('once')}:*:inprogress")
    assert not store.exists(keys.jobs("once"))


async def test_recovering_leftovers_frees_no_place_that_somebody_else_holds(
    peer: Peer, new_worker: NewWorker, store: redis.Redis, keys: Keys
) -> None:
    # Given a killed Go pool with two leftovers, and a pool of ours that runs three jobs of three allowed
    worker = new_worker()
    backend = worker.backend()
    await leave_entries(peer, backend, 2)
    async with peer.work("once:::3") as pool:
        await pool.until_ended(2)
        await eventually(lambda: asyncio.sleep(0, store.get(keys.lock("once"))), lambda lock: lock == b"0")
        pool_id = await its_pool(store, keys)
        await pool.kill()
    await backend.enlist(Pool(id="ours", handlers=("once",), limits={"once": 3}), time.time())
    await worker.aperform_many([Job("once", {"i": i}) for i in range(10)])
    want = Want("ours", 10, 0.0, (Share("once", 10),))
    assert len(await backend.fetch(want, time.time())) == 3
    # When the dead pool's jobs are recovered
    await backend.reap(time.time(), time.monotonic(), dead=[pool_id])
    # Then the limit holds
    assert await backend.fetch(want, time.time()) == []
