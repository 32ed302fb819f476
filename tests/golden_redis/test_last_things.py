"""Jobs that kill their workers, pools that leave, the dead: the known defects G13, G15 and G17, each as a story.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

import json

import pytest

from golden_redis.conftest import Open
from golden_redis.mishaps import DAY, HELD, LOCK, alone, let_die
from golden_redis.steps import a_job, beat, fetch, good, good_ids, ids, join, lend, listed, push, settle
from golden_redis.stored import Stored, T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Released
from worksong.ports.backend import Beat, Running

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
