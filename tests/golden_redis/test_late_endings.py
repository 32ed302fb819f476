"""Answers that are lost and endings that come too late: the known defects G4, G5 and G14, each as a story.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

from collections import Counter

import pytest

from golden_redis.conftest import Open
from golden_redis.mishaps import OUTCOMES, let_die, named
from golden_redis.steps import a_job, beat, fetch, good, ids, join, lend, push, settle
from golden_redis.stored import Stored, T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.outcome import Outcome

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
