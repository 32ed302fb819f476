"""What goes wrong in gocraft/work, and what becomes of it here: the known defects G1 to G18, each as a story.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from golden_redis.steps import a_job, beat, fetch, good, good_ids, ids, join, lend, listed, push, settle
from golden_redis.stored import Stored, T, recordings
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain import cron
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.engine.timetable import schedule_ahead
from worksong.ports.backend import Beat, Pool, Running
from worksong.registry import Periodic

Open = Callable[..., GocraftBackend]

OUTCOMES: list[Outcome] = [Done(), Retried(T + 9, "no"), Snoozed(T + 9), Buried("no"), Discarded("no"), Released()]
SILENT = 8.0
"""Seconds of standing still after which a pool of ours is dead."""
GO_SILENT = 15.0
"""The same for a Go pool, which beats every five seconds."""
SWEEP = 60.0
"""Seconds between two searches for lists of nobody."""
LOOK = 30.0
"""Seconds between two looks at the locks."""
DAY = 86_400


def named(outcome: Outcome) -> str:
    return type(outcome).__name__


async def let_die(backend: GocraftBackend, *pools: Pool, now: float = T) -> tuple[int, int]:
    """The supervisor says that these are dead: (queued again, buried)."""
    found = await backend.reap(now, 0.0, dead=[pool.id for pool in pools])
    return found.recovered, found.crashed


def a_list_of_nobody(stored: Stored, pool: str = "gone", count: int = 1) -> None:
    """Jobs in progress of a pool that is not registered, as a Go reaper leaves them."""
    for raw in good(count):
        stored.call("LPUSH", f"work:jobs:a:{pool}:inprogress", raw)
    stored.call("INCRBY", "work:jobs:a:lock", count)
    stored.call("HSET", "work:jobs:a:lock_info", pool, count)


# G1: a dead pool is seen within seconds, by whoever looks


async def test_a_dead_pool_is_reaped_by_the_fifth_look(backend: GocraftBackend) -> None:
    # Given a pool that dies right after its first beat
    _, (delivery,) = await lend(backend, a_job())
    # When a reaper looks every 2 s
    recovered = [(await backend.reap(T, second)).recovered for second in (0.0, 2.0, 4.0, 6.0, 8.0)]
    # Then the job waits again after 8 s
    assert recovered == [0, 0, 0, 0, 1]
    assert ids(await fetch(backend, await join(backend))) == [delivery.job.id]


async def test_a_dead_go_pool_is_given_three_of_its_beats(backend: GocraftBackend, stored: Stored) -> None:
    # Given a Go pool that dies after a beat, and a pool of ours that does not
    stored.call("SADD", "work:worker_pools", "go")
    stored.call("HSET", "work:worker_pools:go", "heartbeat_at", T, "job_names", "a")
    a_list_of_nobody(stored, "go")
    # When a reaper looks every 5 s
    recovered = [(await backend.reap(T, second)).recovered for second in (0.0, 5.0, 10.0, GO_SILENT)]
    # Then the job waits again after 15 s
    assert recovered == [0, 0, 0, 1]


async def test_a_reaper_stays_in_office_while_it_looks(opened: Open, stored: Stored) -> None:
    # Given a reaper in office, and a pool that it saw alive
    first, second = opened(), opened()
    await lend(first, a_job())
    await first.reap(T, 0.0)
    # When both look again and again, and its term is renewed each time
    for look in range(1, 5):
        stored.call("PEXPIRE", "work:worksong:reaper", 1000)
        assert (await second.reap(T, look)).pools == ()
        assert (await first.reap(T, look)).pools == ()
        assert stored.call("PTTL", "work:worksong:reaper") > 1000
    # Then what it saw lasts, and the pool is dead in time
    assert (await first.reap(T, SILENT)).recovered == 1


async def test_one_reaper_looks_at_a_time_and_another_follows(opened: Open, stored: Stored) -> None:
    # Given two reapers, the first of which was elected
    first, second = opened(), opened()
    await lend(first, a_job())
    await first.reap(T, 0.0)
    await second.reap(T, 0.0)
    # When the second looks while the first one's term lasts, it leaves all to it
    assert (await second.reap(T, SILENT)).pools == ()
    assert 0 < stored.call("PTTL", "work:worksong:reaper") <= 3200
    # Then with the term over, as when the first one froze, it does the work
    stored.call("DEL", "work:worksong:reaper")
    await second.reap(T, SILENT)
    stored.call("DEL", "work:worksong:reaper")
    assert (await second.reap(T, 2 * SILENT)).recovered == 1


async def test_a_supervisor_needs_no_term(opened: Open) -> None:
    elected, other = opened(), opened()
    await elected.reap(T, 0.0)
    pool, _ = await lend(other, a_job())
    assert await let_die(other, pool) == (1, 0)


# G2: nobody's wall clock is compared


@pytest.mark.parametrize("skew", [-86_400, -300, 300, 86_400])
async def test_a_pool_whose_clock_is_wrong_lives_while_it_beats(
    backend: GocraftBackend, stored: Stored, skew: int
) -> None:
    pool, (delivery,) = await lend(backend, a_job())
    for second in range(0, 120, 5):
        stored.call("HSET", f"work:worker_pools:{pool.id}", "heartbeat_at", T + skew + second)
        assert (await backend.reap(T + second, second)).pools == ()
    assert await settle(backend, delivery)


async def test_a_heartbeat_from_the_future_that_stands_still_is_dead(backend: GocraftBackend, stored: Stored) -> None:
    pool, _ = await lend(backend, a_job())
    stored.call("HSET", f"work:worker_pools:{pool.id}", "heartbeat_at", T + 10 * DAY)
    await backend.reap(T, 0.0)
    assert (await backend.reap(T, SILENT)).pools == (pool.id,)


@pytest.mark.parametrize("step", [-DAY, DAY])
async def test_a_wall_clock_that_jumps_kills_nobody(backend: GocraftBackend, step: int) -> None:
    _, (delivery,) = await lend(backend, a_job())
    await backend.reap(T, 0.0)
    assert (await backend.reap(T + step, 1.0)).pools == ()
    assert await settle(backend, delivery)


async def _stands_still(stored: Stored, pool: Pool, seconds: int) -> float:
    """The pool's last beat was so long ago by the server's clock; answers what that says now."""
    now = int(stored.call("TIME")[0])
    stored.call("HSET", f"work:worker_pools:{pool.id}", "heartbeat_at", now - seconds)
    return float(now)


async def test_who_takes_office_need_not_wait_again_for_a_silence_that_began_before(
    opened: Open, stored: Stored
) -> None:
    # Given a reaper that has looked for a while without being in office, and a pool that fell silent meanwhile
    pool, _ = await lend(opened(), a_job())
    successor = opened()
    stored.call("SET", "work:worksong:reaper", "another")
    now = await _stands_still(stored, pool, 10)
    for second in (0.0, 4.0, 8.0):
        assert (await successor.reap(now, second)).pools == ()
    # When it takes office
    stored.call("DEL", "work:worksong:reaper")
    found = [(await successor.reap(now, second)).recovered for second in (10.0, 12.0, 13.0)]
    # Then three seconds of its own are enough
    assert found == [0, 0, 1]


@pytest.mark.parametrize(("beat", "since"), [(10, 0.0), (2, -20.0)], ids=["just begun", "beaten lately"])
async def test_a_clock_alone_kills_nobody(opened: Open, stored: Stored, beat: int, since: float) -> None:
    # Given a reaper that began just now, or a pool whose beat is young by the server's clock
    pool, _ = await lend(opened(), a_job())
    reaper = opened()
    now = await _stands_still(stored, pool, beat)
    stored.call("SET", "work:worksong:reaper", "another")
    await reaper.reap(now, since)
    stored.call("DEL", "work:worksong:reaper")
    # When it looks for less than the whole silence, then for all of it
    found = [(await reaper.reap(now, second)).recovered for second in (0.0, 4.0, 7.9, 8.0)]
    # Then only that counts
    assert found == [0, 0, 0, 1]


async def test_after_an_outage_silence_is_counted_anew(
    opened: Open, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> object:
        raise BackendUnavailable

    # Given a reaper that has looked for long, and a server that was away
    pool, _ = await lend(opened(), a_job())
    reaper = opened()
    now = await _stands_still(stored, pool, 10)
    await reaper.reap(now, -60.0)
    stored.call("DEL", "work:worksong:reaper")
    with monkeypatch.context() as outage:
        outage.setattr(reaper._reaper._space, "call", away)
        with pytest.raises(BackendUnavailable):
            await reaper.reap(now, 0.0)
    # Then nobody is dead before all have had the time to come back
    found = [(await reaper.reap(now, second)).recovered for second in (1.0, 5.0, 8.9, 9.0)]
    assert found == [0, 0, 0, 1]


# G3: no heartbeat is no reason to forget the jobs


async def test_a_pool_without_heartbeat_hash_is_recovered(backend: GocraftBackend, stored: Stored) -> None:
    pool, (delivery,) = await lend(backend, a_job())
    stored.call("DEL", f"work:worker_pools:{pool.id}")
    await backend.reap(T, 0.0)
    assert (await backend.reap(T, SILENT)).recovered == 1
    assert stored.balanced("a")
    assert ids(await fetch(backend, await join(backend))) == [delivery.job.id]


async def test_a_beat_restores_a_lost_hash_and_keeps_it_for_a_week(backend: GocraftBackend, stored: Stored) -> None:
    pool = await join(backend)
    stored.call("DEL", f"work:worker_pools:{pool.id}")
    assert not (await beat(backend, pool)).evicted
    assert stored.call("TTL", f"work:worker_pools:{pool.id}") > 6 * DAY
    assert stored.call("HGET", f"work:worker_pools:{pool.id}", "job_names") == b"a"


async def test_a_list_of_nobody_is_given_back_at_the_second_sweep(backend: GocraftBackend, stored: Stored) -> None:
    # Given jobs of a pool that a Go reaper removed without looking at its list
    a_list_of_nobody(stored, count=250)
    await backend.reap(T, 0.0)
    # When a reaper looks before the next sweep is due, nothing happens
    for second in (5.0, 30.0, 59.0):
        assert (await backend.reap(T, second)).recovered == 0
    # Then at the second sweep all are given back, the oldest first
    assert (await backend.reap(T, SWEEP)).recovered == 250
    assert stored.balanced("a")
    assert ids(await fetch(backend, await join(backend), 250)) == good_ids(250)


async def test_a_pool_that_fetches_before_its_first_beat_is_no_orphan(backend: GocraftBackend, stored: Stored) -> None:
    # Given a Go pool seen without heartbeat in one sweep
    a_list_of_nobody(stored, "newcomer")
    await backend.reap(T, 0.0)
    # When it has beaten by the second one
    stored.call("SADD", "work:worker_pools", "newcomer")
    for step in range(1, 30):
        stored.call("HSET", "work:worker_pools:newcomer", "heartbeat_at", T + step)
        # Then it keeps its job
        assert (await backend.reap(T, 5.0 * step)).recovered == 0


async def test_a_pool_that_beats_without_being_registered_is_no_orphan(backend: GocraftBackend, stored: Stored) -> None:
    a_list_of_nobody(stored, "beating")
    stored.call("HSET", "work:worker_pools:beating", "heartbeat_at", T)
    for sweep in range(5):
        assert (await backend.reap(T, SWEEP * sweep)).recovered == 0


async def test_a_sweep_stays_in_its_namespace(opened: Open, stored: Stored) -> None:
    stored.call("LPUSH", "other:jobs:a:gone:inprogress", *good(1))
    stored.call("LPUSH", "xwork:jobs:a:gone:inprogress", *good(1))
    backend = opened("wo?k")
    for sweep in range(3):
        assert (await backend.reap(T, SWEEP * sweep)).recovered == 0


async def test_a_reaping_cut_short_is_gone_on_with(backend: GocraftBackend, stored: Stored) -> None:
    # Given a dead pool, one of whose types cannot be given back yet
    pool, _ = await lend(backend, a_job("a"), a_job("b"), names=("a", "b"))
    stored.call("RENAME", "work:jobs:b:lock_info", "kept")
    stored.call("SET", "work:jobs:b:lock_info", "wrong")
    # When it is reaped, the other type is recovered and it stays registered
    assert await let_die(backend, pool) == (1, 0)
    assert stored.call("SISMEMBER", "work:worker_pools", pool.id) == 1
    # Then the next reaping does the rest and strikes it off
    stored.call("RENAME", "kept", "work:jobs:b:lock_info")
    assert await let_die(backend, pool) == (1, 0)
    assert stored.call("SISMEMBER", "work:worker_pools", pool.id) == 0
    assert stored.balanced("a", "b")


# G4: what a live pool lost track of


async def test_a_fetch_whose_answer_was_lost_is_made_good_by_the_second_look(
    backend: GocraftBackend, stored: Stored
) -> None:
    # Given a type with one slot, taken by a job whose pool never heard of it
    await push(backend, a_job(), a_job())
    pool = await join(backend, limits={"a": 1})
    held = await fetch(backend, pool)
    # When the pool has compared once, it may be a fetch under way
    await beat(backend, pool, now=T + 5)
    assert await fetch(backend, pool, now=T + 5) == []
    # Then after the second time the job is lent again, as the first of its queue
    await beat(backend, pool, now=T + 10)
    assert ids(await fetch(backend, pool, now=T + 10)) == ids(held)
    assert stored.balanced("a")


async def test_what_the_pool_holds_is_never_given_back(backend: GocraftBackend) -> None:
    pool, held = await lend(backend, a_job(), a_job())
    for second in range(5, 60, 5):
        orders = await beat(backend, pool, held, now=T + second)
        assert orders.lost == ()
    assert [await settle(backend, delivery) for delivery in held] == [True, True]


async def test_of_two_equal_texts_the_one_nobody_holds_is_given_back(backend: GocraftBackend, stored: Stored) -> None:
    # Given the same document twice in a pool's list, and one of them in its hands
    (raw,) = good(1)
    stored.call("LPUSH", "work:jobs:a", raw, raw)
    pool = await join(backend)
    (held,) = await fetch(backend, pool)
    await fetch(backend, pool)
    # When it has compared twice
    for now in (T + 5, T + 10):
        await beat(backend, pool, [held], now=now)
    # Then one is left in progress and the other one waits
    assert stored.running("a") == Counter({pool.id: 1})
    assert stored.entries("work:jobs:a") == [raw]
    assert stored.balanced("a")


async def test_a_pool_hears_which_jobs_are_no_longer_its_own(backend: GocraftBackend, stored: Stored) -> None:
    pool, held = await lend(backend, a_job(), a_job())
    stored.call("LREM", f"work:jobs:a:{pool.id}:inprogress", 1, held[0].receipt.raw)
    assert (await beat(backend, pool, held, now=T + 5)).lost == ()
    assert (await beat(backend, pool, held, now=T + 10)).lost == (held[0],)


# G5: an ending that comes too late


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
async def test_the_ending_of_a_zombie_is_refused(backend: GocraftBackend, stored: Stored, outcome: Outcome) -> None:
    # Given a job taken from a pool that was thought dead, and lent to another one
    zombie, (old,) = await lend(backend, a_job())
    await let_die(backend, zombie)
    pool = await join(backend, limits={"a": 1})
    (new,) = await fetch(backend, pool)
    before = stored.dump()
    # When the first pool ends it after all
    assert not await settle(backend, old, outcome)
    # Then nothing has changed: not the lock, no entry, and the second one ends it
    assert stored.dump() == before
    assert stored.balanced("a")
    assert await settle(backend, new)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
async def test_an_ending_counts_once(backend: GocraftBackend, stored: Stored, outcome: Outcome) -> None:
    _, (delivery,) = await lend(backend, a_job())
    assert await settle(backend, delivery, outcome)
    before = stored.dump()
    assert not await settle(backend, delivery, outcome)
    assert stored.dump() == before
    assert stored.call("GET", "work:jobs:a:lock") == b"0"


async def test_a_limit_holds_through_a_wrong_death(backend: GocraftBackend) -> None:
    # Given a type with one slot, and a pool wrongly thought dead while it runs
    await push(backend, a_job(), a_job(), a_job())
    zombie = await join(backend, limits={"a": 1})
    (old,) = await fetch(backend, zombie)
    await let_die(backend, zombie)
    pool = await join(backend, limits={"a": 1})
    # When both go on
    assert len(await fetch(backend, pool, 10)) == 1
    await settle(backend, old)
    # Then not more than one is lent by the store at any time
    assert await fetch(backend, pool, 10) == []


async def test_an_evicted_pool_hears_it_and_its_endings_are_refused(backend: GocraftBackend, stored: Stored) -> None:
    pool, held = await lend(backend, a_job(), a_job(), a_job())
    await let_die(backend, pool)
    orders = await beat(backend, pool, held)
    assert (orders.evicted, orders.lost) == (True, tuple(held))
    assert [await settle(backend, delivery) for delivery in held] == [False, False, False]
    assert stored.kind(f"work:worker_pools:{pool.id}") == "none"
    assert stored.balanced("a")


async def test_a_job_lent_again_to_the_evicted_process_is_another_lending(backend: GocraftBackend) -> None:
    # Given a process that goes on under a new id after its eviction, and gets the same job
    old_pool, (old,) = await lend(backend, a_job())
    await let_die(backend, old_pool)
    new_pool = await join(backend)
    (new,) = await fetch(backend, new_pool)
    # When the first run ends, it is not taken for the second one
    assert not await settle(backend, old)
    assert new.fence > old.fence
    assert (await beat(backend, new_pool, [new])).lost == ()
    assert await settle(backend, new)


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


async def beat_on(stored: Stored, pool: Pool) -> None:
    """The pool's heartbeat changes, whatever the server's clock says."""
    stored.call("HINCRBY", f"work:worker_pools:{pool.id}", "heartbeat_at", 1)


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


def alone(mode: str = "until_done", **fields: Any) -> Job:
    """A unique job."""
    return a_job(args={"u": 1}, unique=mode, **fields)


LOCK = 'work:unique:a:{"u":1}\n'
HELD = f"work:worksong:held:{LOCK}"


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


# G9, G10, G11: moved as they are, or buried; more of it in test_transitions and test_poison


async def test_a_failed_job_comes_back_with_every_digit(backend: GocraftBackend, stored: Stored) -> None:
    # Given arguments that Go and Lua would change, and members that Go would drop
    args = '{"a":[],"b":12345678901234567890,"c":1.0,"d":0.1234567890123456789,"e":{}}'
    stored.call("LPUSH", "work:jobs:a", f'{{"name":"a","id":"1","t":1,"args":{args},"trace":[1.0]}}')
    pool = await join(backend)
    # When it fails three times
    for number in range(1, 4):
        (delivery,) = await fetch(backend, pool)
        await settle(backend, delivery, Retried(T + number, "no"), now=T)
        await backend.promote(T + number, 10)
    # Then not a byte of them differs
    (raw,) = stored.entries("work:jobs:a")
    assert f'"args":{args}' in raw.decode()
    assert '"trace":[1.0]' in raw.decode()
    assert json.loads(raw)["fails"] == 3


@pytest.mark.parametrize("poison", ['{"bad', '{"id":"1","args":null}', '{"name":"a","args":{"x":NaN}}', "[" * 2000])
@pytest.mark.parametrize("key", ["work:scheduled", "work:retry"])
async def test_poison_that_is_due_neither_blocks_nor_is_lost(
    backend: GocraftBackend, stored: Stored, key: str, poison: str
) -> None:
    await join(backend)
    stored.call("ZADD", key, 1, poison, 2, *good(1))
    assert await backend.promote(T, 10) == 2
    assert len(stored.entries("work:jobs:a")) == 1
    (view,) = await listed(backend, State.DEAD)
    assert view.raw == poison.encode()


# G12: names that this pool does not serve


async def test_a_name_known_to_anybody_is_promoted(opened: Open, stored: Stored) -> None:
    # Given a job type that only somebody else ever named
    mine, other = opened(), opened()
    await join(mine, "a")
    await push(other, a_job("theirs", run_at=T + 1))
    stored.call("ZADD", "work:retry", T + 1, *good(1, "gone"))
    stored.call("SADD", "work:known_jobs", "gone")
    # When our pool promotes
    assert await mine.promote(T + 1, 10) == 2
    # Then both wait in their queues
    assert (len(stored.entries("work:jobs:theirs")), len(stored.entries("work:jobs:gone"))) == (1, 1)


@pytest.mark.parametrize(("key", "state"), [("work:scheduled", State.SCHEDULED), ("work:retry", State.RETRY)])
async def test_a_name_nobody_knows_waits_ten_minutes_and_is_dead(
    backend: GocraftBackend, stored: Stored, key: str, state: State
) -> None:
    # Given a due job that nobody serves
    await join(backend, "a")
    stored.call("ZADD", key, T, '{"name":"ghost","id":"g","t":1,"args":{"n":1.0}}')
    # When it is promoted once a minute, it waits on
    for minute in range(10):
        assert await backend.promote(T + 60 * minute, 10) == 1
        assert await backend.promote(T + 60 * minute, 10) == 0
        (view,) = await listed(backend, state)
        assert view.at == T + 60 * (minute + 1)
    # Then it is dead, with all that it came with
    assert await backend.promote(T + 600, 10) == 1
    (view,) = await listed(backend, State.DEAD)
    assert view.error.startswith("unknown_handler")
    (raw,) = stored.entries("work:dead")
    assert raw.startswith(b'{"name":"ghost","id":"g","t":1,"args":{"n":1.0},')
    assert b'"unknown"' not in raw


async def test_a_name_that_becomes_known_is_promoted_after_all(backend: GocraftBackend, stored: Stored) -> None:
    await join(backend, "a")
    stored.call("ZADD", "work:scheduled", T, *good(1, "late"))
    for minute in range(3):
        await backend.promote(T + 60 * minute, 10)
    pool = await join(backend, "late")
    assert await backend.promote(T + 180, 10) == 1
    assert ids(await fetch(backend, pool)) == ["good-0"]


async def test_the_medic_revives_what_a_go_pool_buried_for_its_name(stored: Stored, opened: Open) -> None:
    # Given two jobs as a Go pool buries them, one of which somebody serves, and one that died otherwise
    for name, error in (("a", "unknown job when requeueing"), ("ghost", "unknown job when requeueing"), ("a", "boom")):
        document = {"name": name, "id": f"{name}-{error[:4]}", "t": 1, "args": None, "err": error, "failed_at": T}
        stored.call("ZADD", "work:dead", T, json.dumps(document, separators=(",", ":")))
    backend = GocraftBackend(f"{stored.url}?medic=true", namespace="work")
    pool = await join(backend, "a")
    # When the medic comes by
    await backend.prune(T)
    # Then the one runs, and the others stay dead
    (delivery,) = await fetch(backend, pool, 10)
    assert (delivery.job.id, delivery.job.error) == ("a-unkn", "")
    assert {view.id for view in await listed(backend, State.DEAD)} == {"ghost-unkn", "a-boom"}
    await backend.close()


# G13: jobs that kill their workers


async def lose(backend: GocraftBackend, now: float = T) -> tuple[int, int]:
    """Lend what there is to a pool that dies: (queued again, buried)."""
    pool = await join(backend)
    assert len(await fetch(backend, pool, 10, now=now)) > 0
    return await let_die(backend, pool, now=now)


async def test_the_fourth_crash_within_three_days_is_the_last(backend: GocraftBackend, stored: Stored) -> None:
    await push(backend, a_job(args={"text": "ß"}))
    hour = 3600
    assert [await lose(backend, T + 20 * hour * n) for n in range(4)] == [(1, 0), (1, 0), (1, 0), (0, 1)]
    (view,) = await listed(backend, State.DEAD)
    assert view.error.startswith("worker_crashed: lost 4 workers")
    assert (view.job.args, view.job.fails) == ({"text": "ß"}, 0)
    assert stored.balanced("a")


async def test_crashes_three_days_old_are_forgotten(backend: GocraftBackend, stored: Stored) -> None:
    await push(backend, a_job())
    for _ in range(3):
        await lose(backend)
    await backend.prune(T + 72 * 3600 - 1)
    assert len(stored.call("HGETALL", "work:worksong:recovered")) == 2
    await backend.prune(T + 72 * 3600 + 1)
    assert stored.kind("work:worksong:recovered") == "none"
    assert await lose(backend, T + 72 * 3600 + 1) == (1, 0)


async def test_a_recovered_job_waits_behind_all_others(backend: GocraftBackend) -> None:
    killer, other = a_job(), a_job()
    pool, _ = await lend(backend, killer)
    await push(backend, other)
    await let_die(backend, pool)
    assert ids(await fetch(backend, await join(backend), 10)) == [other.id, killer.id]


async def test_crashes_of_jobs_without_id_are_not_counted_together(backend: GocraftBackend, stored: Stored) -> None:
    for number in range(5):
        stored.call("LPUSH", "work:jobs:a", f'{{"name":"a","t":1,"args":{{"n":{number}}}}}')
    assert await lose(backend) == (5, 0)
    assert await lose(backend) == (5, 0)
    assert await lose(backend) == (5, 0)
    assert await lose(backend) == (0, 5)


async def test_handing_back_and_losing_an_answer_are_no_crashes(backend: GocraftBackend, stored: Stored) -> None:
    await push(backend, a_job())
    for _ in range(5):
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        await settle(backend, delivery, Released())
        await fetch(backend, pool)
        for now in (T + 5, T + 10):
            await beat(backend, pool, now=now)
        await fetch(backend, pool)
        assert await backend.leave(pool, T) == 1
    assert stored.kind("work:worksong:recovered") == "none"


# G14: an ending repeated because its answer was lost


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
async def test_an_ending_repeated_from_another_connection_counts_once(
    opened: Open, stored: Stored, outcome: Outcome
) -> None:
    backend = opened()
    _, (delivery,) = await lend(backend, a_job())
    assert await settle(opened(), delivery, outcome)
    assert not await settle(backend, delivery, outcome)
    assert stored.balanced("a")


# G15: a pool that leaves, and jobs that an operator drops


async def test_leaving_hands_back_everything_in_order_and_leaves_no_trace(
    backend: GocraftBackend, stored: Stored
) -> None:
    jobs = [a_job() for _ in range(5)]
    pool, held = await lend(backend, *jobs)
    await push(backend, a_job(id="later"))
    assert await settle(backend, held[1])
    assert await backend.leave(pool, T) == 4
    assert stored.kind("work:worker_pools") == "none"
    assert stored.call("KEYS", f"*{pool.id}*") == []
    assert stored.balanced("a")
    left = [job.id for job in jobs if job is not jobs[1]]
    assert ids(await fetch(backend, await join(backend), 10)) == [*left, "later"]


async def test_leaving_forgets_what_the_beats_of_another_connection_told(opened: Open, stored: Stored) -> None:
    # Given a running job, told by a beat from the upkeep's own connection
    working, beating = opened(), opened()
    pool = await join(working, worker_ids=("w1",))
    await push(working, a_job())
    (held,) = await fetch(working, pool)
    await beating.beat(Beat(pool, (Running(held, 0, float(T)),), (held,)), T)
    assert stored.kind("work:worker:w1") == "hash"

    # When it ends, and the pool leaves before the next beat
    assert await settle(working, held)
    await working.leave(pool, T)

    # Then no listing keeps it
    assert stored.kind("work:worker:w1") == "none"


async def test_a_pool_that_cannot_hand_back_everything_stays_registered(
    backend: GocraftBackend, stored: Stored
) -> None:
    pool, _ = await lend(backend, a_job())
    stored.call("RENAME", "work:jobs:a:lock_info", "kept")
    stored.call("SET", "work:jobs:a:lock_info", "wrong")
    assert await backend.leave(pool, T) == 0
    assert stored.call("SISMEMBER", "work:worker_pools", pool.id) == 1
    stored.call("RENAME", "kept", "work:jobs:a:lock_info")
    assert await let_die(backend, pool) == (1, 0)


async def test_a_job_cancelled_while_it_ran_is_not_handed_back(backend: GocraftBackend, stored: Stored) -> None:
    pool, (delivery,) = await lend(backend, alone())
    assert await backend.cancel(delivery.job.id, T)
    assert (await beat(backend, pool, [delivery])).cancel == frozenset({delivery.job.id})
    await backend.leave(pool, T)
    assert stored.entries("work:jobs:a") == []
    assert (stored.kind(LOCK), stored.kind(HELD)) == ("none", "none")
    assert stored.balanced("a")


@pytest.mark.parametrize("job_id", ["periodic:a:*/5 * * * *:1700000000", 'quo"te', "back\\slash", "<é>", "[x]?*"])
async def test_a_job_is_found_by_its_id_however_it_is_written(
    backend: GocraftBackend, stored: Stored, job_id: str
) -> None:
    # Given jobs with a difficult id, as our encoder writes them and as a Go pool's Lua does
    await push(backend, a_job(id=job_id), a_job(id=job_id, run_at=T + 60))
    document = json.dumps({"name": "a", "id": job_id, "t": T, "args": None})
    lua = f"redis.call('ZADD', KEYS[1], {T}, cjson.encode(cjson.decode(ARGV[1])))"
    stored.call("EVAL", lua, 1, "work:dead", document)
    # When they are looked for
    view = await backend.job(job_id)
    assert view is not None
    # Then each is found
    assert await backend.delete(State.SCHEDULED, [job_id]) == 1
    assert await backend.requeue(State.DEAD, [job_id], T) == 1
    assert await backend.cancel(job_id, T)
    assert await backend.cancel(job_id, T)
    assert not await backend.cancel(job_id, T)


# G16: periodic jobs


async def test_each_tick_is_enqueued_once_however_many_pools_there_are(opened: Open, stored: Stored) -> None:
    # Given five pools with clocks apart, and one that promotes meanwhile
    entries = [Periodic(cron.parse("0 * * * * *"), "a", None, "default")]
    pools, promoter = [opened() for _ in range(5)], opened()
    # When they enqueue all the time for ten minutes
    for second in range(0, 600, 7):
        skews = (-9, -3, 0, 4, 10)
        await asyncio.gather(
            *(schedule_ahead(pool, entries, T + second + skew) for pool, skew in zip(pools, skews, strict=True))
        )
        await promoter.promote(T + second, 100)
    # Then each minute has one job
    waiting = [json.loads(raw)["id"] for raw in stored.entries("work:jobs:a") + stored.entries("work:scheduled")]
    assert Counter(waiting) == Counter(f"periodic:a:0 * * * * *:{at}" for at in range(T + 40, T + 840, 60))


# G17: a dead set that grows


async def test_the_dead_are_forgotten_after_half_a_year(backend: GocraftBackend, stored: Stored) -> None:
    old, young = good(2)
    stored.call("ZADD", "work:dead", T - 181 * DAY, old, T - 179 * DAY, young)
    assert await backend.prune(T) == 1
    assert stored.entries("work:dead") == [young]


async def test_all_the_dead_are_revived_or_deleted_whatever_lies_among_them(
    backend: GocraftBackend, stored: Stored
) -> None:
    stored.call("SADD", "work:known_jobs", "a")
    for number, raw in enumerate(good(1050)):
        stored.call("ZADD", "work:dead", T + number, raw, T + number, f"{{bad {number}")
    assert await backend.requeue(State.DEAD, None, T) == 1050
    assert ids(await fetch(backend, await join(backend), 1000)) == good_ids(1000)
    assert await backend.delete(State.DEAD, None) == 1050
    assert stored.kind("work:dead") == "none"


# G18: whole scores


async def test_every_score_is_whole_and_never_early(backend: GocraftBackend, stored: Stored) -> None:
    # Given times with fractions everywhere
    now, at = T + 0.25, T + 10.001
    await backend.push([a_job(run_at=at)], now)
    await backend.push([alone(run_at=at)], now)
    _, held = await lend(backend, *(a_job() for _ in range(3)))
    for delivery, outcome in zip(held, (Retried(at, "no"), Snoozed(at), Buried("no")), strict=True):
        await settle(backend, delivery, outcome, now=now)
    stored.call("ZADD", "work:scheduled", T, "{bad", T, *good(1, "ghost"))
    # When the due ones have been moved
    await backend.promote(now, 10)
    # Then all scores are whole seconds, rounded up
    for key in ("work:scheduled", "work:retry", "work:dead"):
        scores = [item["score"] for item in stored.look(key)["value"]]
        assert all(score.isdigit() for score in scores)
    assert await backend.promote(T + 10.5, 10) == 0
    assert await backend.promote(T + 11, 10) == 4


# many at once


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


# beside Go workers


class GoWorker:
    """The steps of a real Go worker, as they were recorded: what it writes when it fetches and when it finishes."""

    def __init__(self, stored: Stored, pool: str) -> None:
        self.stored, self.pool = stored, pool
        self.held: list[bytes] = []
        cases = recordings()
        self._recorded = "aaaaaaaaaaaaaaaaaaaaaaaa"
        self._fetch = [call["cmd"] for call in cases["fetch_one"].calls if call["from"] == "lua"][-3:]
        self._done = self._transaction(cases["process_success"].calls)
        self._failed = self._transaction(cases["process_fail_first"].calls)
        assert [command[0] for command in self._fetch] == ["incr", "hincrby", "rpoplpush"]
        assert [command[0] for command in self._failed] == ["LREM", "DECR", "HINCRBY", "ZADD"]

    @staticmethod
    def _transaction(calls: list[dict[str, Any]]) -> list[list[str]]:
        names = [call["cmd"][0] for call in calls]
        return [call["cmd"] for call in calls[names.index("MULTI") + 1 : names.index("EXEC")]]

    def beat(self, now: int) -> None:
        """Its heartbeat."""
        self.stored.call("SADD", "work:worker_pools", self.pool)
        self.stored.call("HSET", f"work:worker_pools:{self.pool}", "heartbeat_at", now, "job_names", "alpha")

    def fetch(self) -> None:
        """Take one job, if there is one."""
        if self.stored.call("LLEN", "work:jobs:alpha"):
            self.held.append(self._replay(self._fetch, b"")[-1])

    def finish(self, *, failed: bool) -> None:
        """End the oldest job it holds."""
        if self.held:
            self._replay(self._failed if failed else self._done, self.held.pop(0))

    def _replay(self, commands: list[list[str]], raw: bytes) -> list[Any]:
        self.stored.call("MULTI")
        for command in commands:
            self.stored.call(*(self._mine(part, raw) for part in command))
        answers: list[Any] = self.stored.call("EXEC")
        return answers

    def _mine(self, part: str, raw: bytes) -> str | bytes:
        if not part.startswith("{"):
            return part.replace(self._recorded, self.pool)
        failure = {name: value for name, value in json.loads(part).items() if name in ("fails", "err", "failed_at")}
        return json.dumps(json.loads(raw) | failure).encode() if failure else raw


class Fleet:
    """Go workers and our pools on one job type, each step as chance has it."""

    def __init__(self, backend: GocraftBackend, stored: Stored, seed: int) -> None:
        self.backend, self.stored, self.chance = backend, stored, random.Random(seed)
        self.now = float(T)
        self.ours: dict[str, tuple[Pool, list[Delivery]]] = {}
        self.go: list[GoWorker] = []
        self.gone = 0
        often = (self.push, self.go_fetch, self.go_finish, self.fetch, self.settle)
        self.steps: tuple[Callable[[], Awaitable[None]], ...] = (*often, *often, self.promote, self.die, self.go_die)

    async def step(self) -> None:
        """Something happens."""
        self.now += 1
        await self.chance.choice(self.steps)()

    async def push(self) -> None:
        await push(self.backend, a_job("alpha"), a_job("alpha"), now=self.now)

    async def promote(self) -> None:
        await self.backend.promote(self.now, 10)

    async def go_fetch(self) -> None:
        if len(self.go) < 2:
            self.go.append(GoWorker(self.stored, f"go{self.gone}{len(self.go)}"))
            self.go[-1].beat(T)
        self.chance.choice(self.go).fetch()

    async def go_finish(self) -> None:
        for worker in self.go:
            worker.finish(failed=self.chance.random() < 0.3)

    async def go_die(self) -> None:
        self.gone += 1
        for worker in self.go:
            await self.backend.reap(self.now, 0.0, dead=[worker.pool])
        self.go.clear()

    async def fetch(self) -> None:
        if len(self.ours) < 2:
            pool = await join(self.backend, "alpha")
            self.ours[pool.id] = (pool, [])
        pool, held = self.ours[self.chance.choice(list(self.ours))]
        held += await fetch(self.backend, pool, self.chance.randint(1, 3), now=self.now)

    async def settle(self) -> None:
        outcomes = [Done(), Done(), Retried(self.now + 1, "no"), Released(), Buried("no"), Snoozed(self.now + 1)]
        for _, held in self.ours.values():
            if held:
                delivery = held.pop(self.chance.randrange(len(held)))
                assert await settle(self.backend, delivery, self.chance.choice(outcomes), now=self.now)

    async def die(self) -> None:
        """One of ours is taken for dead, and ends its jobs after all."""
        if self.ours:
            pool, held = self.ours.pop(self.chance.choice(list(self.ours)))
            await let_die(self.backend, pool, now=self.now)
            assert not any([await settle(self.backend, delivery, now=self.now) for delivery in held])


@pytest.mark.parametrize("seed", range(12))
async def test_the_lock_says_what_is_in_progress_whoever_works(
    backend: GocraftBackend, stored: Stored, seed: int
) -> None:
    # Given Go workers and our own on one job type
    fleet = Fleet(backend, stored, seed)
    ran = 0
    # When all do their steps in any order, and workers of both kinds die
    for step in range(150):
        await fleet.step()
        # Then after each step the counters say what the lists hold
        assert stored.balanced("alpha"), (seed, step)
        ran += stored.running("alpha").total()
    assert ran > 100


async def test_a_go_zombie_breaks_the_lock_only_until_it_is_mended(backend: GocraftBackend, stored: Stored) -> None:
    # Given a Go worker that finishes after its job was given away, which Go does not notice
    worker = GoWorker(stored, "go")
    worker.beat(T)
    await push(backend, a_job("alpha"))
    worker.fetch()
    assert (await backend.reap(T, 0.0, dead=["go"])).recovered == 1
    worker.finish(failed=False)
    assert stored.call("GET", "work:jobs:alpha:lock") == b"-1"
    # When our pool works on, and the reaper looks twice
    pool = await join(backend, "alpha")
    (delivery,) = await fetch(backend, pool)
    for second in (0.0, LOOK):
        await beat_on(stored, pool)
        await backend.reap(T, second)
    # Then the lock is right again
    assert stored.balanced("alpha")
    assert await settle(backend, delivery)


async def test_a_worker_of_ours_takes_over_what_a_go_worker_left(backend: GocraftBackend, stored: Stored) -> None:
    worker = GoWorker(stored, "go")
    worker.beat(T)
    first, second = a_job("alpha"), a_job("alpha")
    await push(backend, first, second)
    worker.fetch()
    worker.finish(failed=True)
    (retry,) = await listed(backend, State.RETRY)
    assert (retry.id, retry.job.fails, retry.error) == (first.id, 1, "boom")
    pool = await join(backend, "alpha")
    assert await backend.promote(retry.at, 10) == 1
    found = await fetch(backend, pool, 10, now=retry.at)
    assert [(one.job.id, one.job.attempt) for one in found] == [(second.id, 1), (first.id, 2)]
