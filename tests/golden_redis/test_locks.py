"""Limits and unique jobs, whoever dies meanwhile: the known defects G6 to G8, each as a story.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from golden_redis.mishaps import DAY, HELD, LOCK, LOOK, alone, beat_on, let_die, named
from golden_redis.steps import a_job, beat, fetch, ids, join, lend, push, settle
from golden_redis.stored import Stored, T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.ports.backend import Beat, Running

# G6: locks that leaked


@pytest.mark.parametrize("lock", ["-1", "0", "1", "3", "20519"])
async def test_a_wrong_lock_is_mended_at_the_second_look(backend: GocraftBackend, stored: Stored, lock: str) -> None:
    # Given two jobs in progress, and a lock that says otherwise
    pool, held = await lend(backend, a_job(), a_job())
    stored.call("SET", "work:jobs:a:lock", lock)
    # When the reaper looks once, a script may have been under way
    await backend.reap(T, 0.0)
    assert stored.call("GET", "work:jobs:a:lock") == lock.encode()
    await beat_on(stored, pool)
    await backend.reap(T, LOOK - 1)
    assert not stored.balanced("a")
    # Then the second look mends it
    await beat_on(stored, pool)
    await backend.reap(T, LOOK)
    assert stored.balanced("a")
    assert [await settle(backend, delivery) for delivery in held] == [True, True]
    assert stored.call("GET", "work:jobs:a:lock") == b"0"


async def test_a_lost_lock_info_is_mended_and_costs_no_slot(backend: GocraftBackend, stored: Stored) -> None:
    # Given a right lock, and a lock_info that is gone
    pool, _ = await lend(backend, a_job(), a_job())
    stored.call("DEL", "work:jobs:a:lock_info")
    for second in (0.0, LOOK):
        await beat_on(stored, pool)
        await backend.reap(T, second)
    # Then the lock was not taken for wrong, and lock_info is whole again
    assert stored.call("GET", "work:jobs:a:lock") == b"2"
    assert stored.balanced("a")


async def test_fields_of_pools_long_gone_are_forgotten(backend: GocraftBackend, stored: Stored) -> None:
    await push(backend, a_job())
    stored.call("HSET", "work:jobs:a:lock_info", "long-gone", 7)
    stored.call("SET", "work:jobs:a:lock", 7)
    for second in (0.0, LOOK):
        await backend.reap(T, second)
    assert stored.kind("work:jobs:a:lock_info") == "none"
    assert stored.call("GET", "work:jobs:a:lock") == b"0"


@pytest.mark.parametrize("lock", ["-3", "0"])
async def test_an_ending_never_leaves_a_lock_below_zero(backend: GocraftBackend, stored: Stored, lock: str) -> None:
    _, (delivery,) = await lend(backend, a_job())
    stored.call("SET", "work:jobs:a:lock", lock)
    assert await settle(backend, delivery)
    assert stored.call("GET", "work:jobs:a:lock") == b"0"


# G7: updates of jobs unique by key


def keyed(text: str, **fields: Any) -> Job:
    """A job of which one waits at a time, with the latest text."""
    return a_job(args={"text": text}, unique=True, unique_by={"u": 1}, **fields)


async def test_the_latest_arguments_survive_every_crash(backend: GocraftBackend, stored: Stored) -> None:
    # Given a job updated twice while it waited
    assert await push(backend, keyed("old"), keyed("newer"), keyed("newest")) == [True, False, False]
    # When its worker dies, twice
    for _ in range(2):
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        assert delivery.job.args == {"text": "newest"}
        (raw,) = stored.entries(f"work:jobs:a:{pool.id}:inprogress")
        assert json.loads(raw)["args"] == {"text": "newest"}
        await let_die(backend, pool)
    # Then the latest ones run, and nothing is left over
    (delivery,) = await fetch(backend, await join(backend))
    assert delivery.job.args == {"text": "newest"}
    assert await settle(backend, delivery)
    assert (stored.running("a"), stored.entries("work:jobs:a")) == (Counter(), [])
    assert stored.balanced("a")


async def test_an_update_reaches_a_job_that_go_moved(backend: GocraftBackend, stored: Stored) -> None:
    # Given a scheduled job, moved by a Go pool, whose Lua spells documents otherwise
    await push(backend, keyed("old", run_at=T + 60), keyed("new"))
    (raw,) = stored.entries("work:scheduled")
    move = (
        "local job = cjson.decode(ARGV[1]) redis.call('DEL', KEYS[1]) redis.call('LPUSH', KEYS[2], cjson.encode(job))"
    )
    stored.call("EVAL", move, 2, "work:scheduled", "work:jobs:a", raw)
    # When it runs
    pool = await join(backend)
    (delivery,) = await fetch(backend, pool)
    # Then it has the latest arguments, and ends whole
    assert delivery.job.args == {"text": "new"}
    assert await settle(backend, delivery)
    assert stored.running("a") == Counter()


async def test_a_failed_job_keeps_its_own_arguments_beside_a_newer_one(backend: GocraftBackend) -> None:
    # Given a job that failed, and a newer one with the same key that waits
    pool, (first,) = await lend(backend, keyed("first"))
    await settle(backend, first, Retried(T + 1, "no"))
    assert await push(backend, keyed("second")) == [True]
    # When both run
    await backend.promote(T + 1, 10)
    found = await fetch(backend, pool, 10, now=T + 1)
    # Then each has its own
    assert [delivery.job.args for delivery in found] == [{"text": "second"}, {"text": "first"}]


# G8: whose lock it is


async def test_a_lock_until_done_lasts_through_runs_and_retries(backend: GocraftBackend, stored: Stored) -> None:
    pool, (delivery,) = await lend(backend, alone())
    for number in range(3):
        now = T + 100 * number
        assert await push(backend, alone(), now=now) == [False]
        await settle(backend, delivery, Retried(now + 50, "no"), now=now)
        assert await push(backend, alone(), now=now) == [False]
        await backend.promote(now + 50, 10)
        assert await push(backend, alone(), now=now) == [False]
        (delivery,) = await fetch(backend, pool, now=now + 50)
    assert await settle(backend, delivery)
    assert (stored.kind(LOCK), stored.kind(HELD)) == ("none", "none")


@pytest.mark.parametrize("outcome", [Done(), Buried("no"), Discarded("no")], ids=named)
async def test_a_lock_until_done_is_free_at_the_end(backend: GocraftBackend, stored: Stored, outcome: Outcome) -> None:
    _, (delivery,) = await lend(backend, alone())
    assert await settle(backend, delivery, outcome)
    assert (stored.kind(LOCK), stored.kind(HELD)) == ("none", "none")
    assert await push(backend, alone()) == [True]


async def test_a_zombie_frees_no_lock_of_its_successor(backend: GocraftBackend, stored: Stored) -> None:
    # Given a job that was done by another pool after its own was thought dead, and a new one that waits
    zombie, (old,) = await lend(backend, alone())
    await let_die(backend, zombie)
    (again,) = await fetch(backend, await join(backend))
    assert await settle(backend, again)
    assert await push(backend, alone()) == [True]
    # When the zombie ends
    assert not await settle(backend, old)
    # Then the new one keeps its lock
    assert stored.kind(LOCK) == "string"
    assert await push(backend, alone()) == [False]


@pytest.mark.parametrize("mode", ["until_start", "until_done"])
async def test_a_job_that_runs_again_frees_no_lock_of_a_newer_one(
    backend: GocraftBackend, stored: Stored, mode: str
) -> None:
    # Given an old job dead after a failure, and a newer equal one that waits
    pool, (old,) = await lend(backend, alone(mode))
    await settle(backend, old, Buried("no"))
    newer = alone(mode)
    assert await push(backend, newer) == [True]
    # When the old one is revived and runs, and fails, and runs again
    assert await backend.requeue(State.DEAD, [old.job.id], T) == 1
    stored.call("RPOPLPUSH", "work:jobs:a", "work:jobs:a")
    (revived,) = await fetch(backend, pool)
    assert revived.job.id == old.job.id
    await settle(backend, revived, Retried(T + 1, "no"))
    await backend.promote(T + 1, 1)
    stored.call("RPOPLPUSH", "work:jobs:a", "work:jobs:a")
    (revived,) = await fetch(backend, pool, now=T + 1)
    await settle(backend, revived)
    # Then the newer one holds its lock all the time
    assert await push(backend, alone(mode)) == [False]
    assert ids(await fetch(backend, pool)) == [newer.id]


async def test_a_job_handed_back_frees_no_lock_of_a_newer_one(backend: GocraftBackend) -> None:
    # Given a job that gave its lock back when it started, was handed back, and a newer one
    pool, (first,) = await lend(backend, alone("until_start"))
    await settle(backend, first, Released())
    assert await push(backend, alone("until_start")) == [True]
    # When the first one starts again
    assert ids(await fetch(backend, pool)) == [first.job.id]
    # Then the newer one holds the lock still
    assert await push(backend, alone("until_start")) == [False]


async def test_deleting_a_snoozed_job_frees_no_lock_of_a_newer_one(backend: GocraftBackend) -> None:
    _, (first,) = await lend(backend, alone("until_start"))
    await settle(backend, first, Snoozed(T + 60))
    assert await push(backend, alone("until_start")) == [True]
    assert await backend.delete(State.SCHEDULED, [first.job.id]) == 1
    assert await push(backend, alone("until_start")) == [False]


async def test_a_job_lent_to_nobody_frees_no_lock_of_a_newer_one(backend: GocraftBackend) -> None:
    # Given a job whose pool never heard of it, and a newer one
    pool, (first,) = await lend(backend, alone("until_start"))
    assert await push(backend, alone("until_start")) == [True]
    for now in (T + 5, T + 10):
        await beat(backend, pool, now=now)
    # When the first one is lent again
    assert ids(await fetch(backend, pool, now=T + 10)) == [first.job.id]
    # Then the newer one holds the lock still
    assert await push(backend, alone("until_start"), now=T + 10) == [False]


async def test_a_recovered_job_keeps_its_lock_until_it_is_done(backend: GocraftBackend, stored: Stored) -> None:
    pool, _ = await lend(backend, alone())
    await let_die(backend, pool)
    assert await push(backend, alone()) == [False]
    (again,) = await fetch(backend, await join(backend))
    assert await push(backend, alone()) == [False]
    assert await settle(backend, again)
    assert stored.kind(LOCK) == "none"


async def test_a_running_job_keeps_its_lock_by_beating(backend: GocraftBackend, stored: Stored) -> None:
    pool, (delivery,) = await lend(backend, alone())
    stored.call("EXPIRE", LOCK, 60)
    stored.call("EXPIRE", HELD, 60)
    await backend.beat(Beat(pool, (Running(delivery, 0, T),), (delivery,)), T)
    assert stored.call("TTL", LOCK) > 86_000
    assert stored.call("TTL", HELD) > 86_000


@pytest.mark.parametrize("mode", ["until_start", "until_done"])
async def test_a_lock_outlives_the_time_its_job_waits(backend: GocraftBackend, stored: Stored, mode: str) -> None:
    await push(backend, alone(mode, run_at=T + 30 * DAY))
    assert stored.call("TTL", LOCK) > 30 * DAY
    _, (delivery,) = await lend(backend, a_job(args={"u": 2}, unique="until_done"))
    await settle(backend, delivery, Retried(T + 9 * DAY, "no"))
    assert stored.call("TTL", 'work:unique:a:{"u":2}\n') > 9 * DAY


async def test_a_refused_duplicate_can_be_enqueued_under_its_id_later(backend: GocraftBackend) -> None:
    _, (delivery,) = await lend(backend, alone())
    refused = alone(id="order-17")
    assert await backend.push([refused], T, once=True) == [False]
    await settle(backend, delivery)
    assert await backend.push([refused, refused], T, once=True) == [True, False]


@pytest.mark.parametrize("mode", ["until_start", "until_done"])
async def test_a_deleted_job_gives_back_the_lock_it_was_stored_with(
    backend: GocraftBackend, stored: Stored, mode: str
) -> None:
    job = a_job(args={"big": 1}, unique=mode, unique_by={"k": "<&>"}, run_at=T + 60)
    await push(backend, job)
    assert await backend.delete(State.SCHEDULED, [job.id]) == 1
    assert stored.call("KEYS", "work:unique:*") == []


# release 0.5.1 of gocraft/work, which names no lock in its documents: the arguments do

OLD = '{"name":"a","id":"o1","t":1,"args":{"u":1},"unique":true}'


def put_old(stored: Stored, *, scheduled: bool = False, fails: int = 0) -> None:
    """One that waits, and its lock."""
    raw = OLD[:-1] + (f',"fails":{fails}}}' if fails else "}")
    stored.call("SET", LOCK, "1", "EX", DAY)
    stored.call("SADD", "work:known_jobs", "a")
    if scheduled:
        stored.call("ZADD", "work:scheduled", int(T) + 600, raw)
    else:
        stored.call("LPUSH", "work:jobs:a", raw)


@pytest.mark.parametrize("scheduled", [False, True])
async def test_a_job_of_release_0_5_1_that_is_cancelled_takes_its_lock_with_it(
    backend: GocraftBackend, stored: Stored, scheduled: bool
) -> None:
    put_old(stored, scheduled=scheduled)
    assert await backend.cancel("o1", T)
    assert not stored.call("EXISTS", LOCK)


async def test_jobs_of_release_0_5_1_that_are_deleted_or_purged_take_their_locks_with_them(
    backend: GocraftBackend, stored: Stored
) -> None:
    put_old(stored, scheduled=True)
    assert await backend.delete(State.SCHEDULED, ["o1"]) == 1
    assert not stored.call("EXISTS", LOCK)
    put_old(stored)
    assert await backend.purge("a") == 1
    assert not stored.call("EXISTS", LOCK)


async def test_a_job_of_release_0_5_1_that_failed_before_leaves_the_lock_of_a_newer_one(
    backend: GocraftBackend, stored: Stored
) -> None:
    put_old(stored, fails=1)
    assert await backend.purge("a") == 1
    assert stored.call("EXISTS", LOCK)
