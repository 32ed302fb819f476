"""Pools that die, and lists that belong to nobody: the known defects G1 to G3 of gocraft/work, each as a story.

Time is told, never waited for: `now` is the wall clock, `monotonic` the reaper's own.
"""

from __future__ import annotations

import pytest

from golden_redis.conftest import Open
from golden_redis.mishaps import DAY, GO_SILENT, SILENT, SWEEP, a_list_of_nobody, let_die
from golden_redis.steps import a_job, beat, fetch, good, good_ids, ids, join, lend, settle
from golden_redis.stored import Stored, T
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.errors import BackendUnavailable, InvalidArguments
from worksong.ports.backend import Direction, Pool

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
        outage.setattr(reaper._space, "call", away)
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


async def test_a_pool_of_gocraft_work_is_told_nothing_and_that_is_said(backend: GocraftBackend, stored: Stored) -> None:
    # Given a pool of Go's beside ours
    stored.call("SADD", "work:worker_pools", "go")
    stored.call("HSET", "work:worker_pools:go", "heartbeat_at", T, "job_names", "a")
    pool = await join(backend, "a")
    before = stored.dump()
    # When Go's is told to end
    with pytest.raises(InvalidArguments, match=r"belongs to a worker of gocraft/work.* send its process a signal"):
        await backend.direct("go", Direction.STOP)
    # Then nothing is written; and of ours only a key of our own, which lasts a week at most
    assert stored.dump() == before
    assert await backend.direct(pool.id, Direction.STOP)
    after = stored.dump()
    assert after.keys() - before.keys() == {f"work:worksong:told:{pool.id}"}
    assert 0 < stored.call("TTL", f"work:worksong:told:{pool.id}") <= 604800
    # And it goes with the pool
    await backend.leave(pool, T)
    assert f"work:worksong:told:{pool.id}" not in stored.dump()
