"""Workers that die: their jobs run again, once somebody sees it, and never while they live."""

from __future__ import annotations

import pytest

from worksong.domain.capability import Capability
from worksong.domain.job import Delivery
from worksong.domain.lifecycle import State
from worksong.ports.backend import SILENT_FOR, Backend, Pool
from worksong.testing.contract.steps import (
    T,
    a_job,
    beat,
    die,
    fetch,
    fresh_beat,
    is_gone,
    join,
    lend,
    lent_ids,
    look,
    push,
    settle,
    some_jobs,
)
from worksong.testing.contract.suite import Suite, needs

HOUR = 3600.0


async def lose_workers(backend: Backend, count: int, *, now: float = T) -> None:
    """Lend the one waiting job to a pool that dies, so many times over."""
    for _ in range(count):
        pool = await join(backend, now=now)
        assert len(await fetch(backend, pool, now=now)) == 1
        await die(backend, pool, now=now)


class Leases(Suite):
    @needs(Capability.LEASE)
    async def test_a_pool_that_stands_still_is_dead_after_eight_seconds(self, backend: Backend) -> None:
        # Given a pool whose beat was first seen at 100 s of the reaper's clock
        pool, delivery = await lend(backend)
        assert (await backend.reap(T, 100.0)).pools == ()
        # When it does not change
        assert SILENT_FOR == 8.0
        assert (await backend.reap(T + 7, 107.0)).pools == ()
        found = await backend.reap(T + 9, 109.0)
        # Then it is dead at last and its job waits again
        assert (found.pools, found.recovered, found.crashed) == ((pool.id,), 1, 0)
        assert await lent_ids(backend, await join(backend), now=T + 9) == [delivery.job.id]

    @needs(Capability.LEASE)
    async def test_a_pool_never_seen_before_is_not_dead(self, backend: Backend) -> None:
        await lend(backend)
        assert (await backend.reap(T + HOUR, 1e9)).pools == ()

    @needs(Capability.LEASE)
    async def test_a_pool_that_beats_lives(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        for step in range(3):
            now = T + step * 10
            assert not (await fresh_beat(backend, pool, delivery, now=now)).evicted
            assert (await backend.reap(now, 100.0 + step * 10)).pools == ()
        assert await settle(backend, delivery, now=T + 30)

    @needs(Capability.LEASE)
    async def test_a_job_may_run_for_days_while_its_pool_beats(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        for day in range(3):
            now = T + day * 86400
            orders = await beat(backend, pool, delivery, now=now)
            assert (orders.evicted, orders.lost) == (False, ())
            await backend.prune(now)
            await backend.reap(now, 100.0 + day)
        assert await settle(backend, delivery, now=T + 3 * 86400)

    @needs(Capability.LEASE)
    @pytest.mark.parametrize("step", [86400.0, -86400.0])
    async def test_a_stepping_wall_clock_kills_nobody(self, backend: Backend, step: float) -> None:
        _, delivery = await lend(backend)
        await backend.reap(T, 100.0)
        assert (await backend.reap(T + step, 101.0)).pools == ()
        assert await settle(backend, delivery)

    @needs(Capability.LEASE)
    async def test_a_pool_known_to_be_dead_is_reaped_at_once(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        found = await die(backend, pool)
        assert (found.pools, found.recovered) == ((pool.id,), 1)
        assert await lent_ids(backend, await join(backend)) == [delivery.job.id]

    @needs(Capability.LEASE)
    async def test_only_the_dead_pools_lose_their_jobs(self, backend: Backend) -> None:
        await push(backend, *some_jobs(2))
        dead, alive = await join(backend), await join(backend)
        await fetch(backend, dead)
        (kept,) = await fetch(backend, alive)
        assert (await die(backend, dead)).recovered == 1
        assert await settle(backend, kept)

    @needs(Capability.LEASE)
    async def test_all_jobs_of_all_types_are_recovered(self, backend: Backend) -> None:
        await push(backend, *some_jobs(30, "send"), *some_jobs(30, "call"))
        pool = await join(backend, "send", "call")
        assert len(await fetch(backend, pool, 100)) == 60
        recovered = (await die(backend, pool)).recovered
        while found := (await backend.reap(T, 0.0)).recovered:
            recovered += found
        assert recovered == 60
        assert len(await lent_ids(backend, await join(backend, "send", "call"))) == 60

    @needs(Capability.LEASE)
    async def test_reaping_a_pool_unknown_or_empty_recovers_nothing(self, backend: Backend) -> None:
        pool = await join(backend)
        assert (await backend.reap(T, 0.0, dead=["nobody"])).recovered == 0
        assert (await die(backend, pool)).recovered == 0

    @needs(Capability.LEASE)
    async def test_a_pool_is_reaped_once(self, backend: Backend) -> None:
        pool, _ = await lend(backend)
        assert (await die(backend, pool)).recovered == 1
        assert (await die(backend, pool)).recovered == 0

    @needs(Capability.LEASE)
    async def test_a_worker_lost_is_no_failure_of_the_job(self, backend: Backend) -> None:
        job = a_job(args={"text": "ß"})
        await push(backend, job)
        await lose_workers(backend, 1)
        (again,) = await fetch(backend, await join(backend))
        assert (again.job.id, again.job.attempt, again.job.args, again.job.error) == (job.id, 1, job.args, "")

    @needs(Capability.LEASE)
    async def test_a_settled_job_is_not_recovered(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await settle(backend, delivery)
        assert (await die(backend, pool)).recovered == 0


class Eviction(Suite):
    @needs(Capability.LEASE)
    async def test_a_pool_taken_for_dead_hears_of_it(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await die(backend, pool)
        assert (await beat(backend, pool, delivery)).evicted

    @needs(Capability.LEASE)
    async def test_an_evicted_pool_goes_on_under_a_new_id(self, backend: Backend) -> None:
        # Given a pool that heard of its eviction
        pool, old = await lend(backend)
        await die(backend, pool)
        assert (await beat(backend, pool, old)).evicted
        # When it enlists anew
        new = await join(backend)
        (again,) = await fetch(backend, new)
        # Then it holds the job under that id only
        assert not (await beat(backend, new, again)).evicted
        assert not await settle(backend, old)
        assert await settle(backend, again)

    @needs(Capability.LEASE)
    async def test_a_living_pool_is_not_evicted(self, backend: Backend) -> None:
        pool = await join(backend)
        for second in range(5):
            assert not (await beat(backend, pool, now=T + second)).evicted

    @needs(Capability.LEASE)
    async def test_what_was_lent_and_never_arrived_is_lent_again(self, backend: Backend) -> None:
        # Given a pool that never heard the answer to its fetch
        pool, delivery = await lend(backend)
        # When it beats for some time without the job in its hands
        for second in range(1, 20):
            await beat(backend, pool, now=T + second)
        # Then the job waits again
        assert await lent_ids(backend, pool, now=T + 20) == [delivery.job.id]

    @needs(Capability.LEASE)
    async def test_what_the_pool_holds_is_never_taken_by_its_own_beat(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        for second in range(1, 20):
            assert (await beat(backend, pool, delivery, now=T + second)).lost == ()
        assert await lent_ids(backend, pool, now=T + 20) == []
        assert await settle(backend, delivery, now=T + 20)


class Leaving(Suite):
    async def test_leaving_hands_everything_back_to_the_front_in_order(self, backend: Backend) -> None:
        jobs = some_jobs(5)
        await push(backend, *jobs)
        pool = await join(backend)
        await fetch(backend, pool, 3)
        assert await backend.leave(pool, T) == 3
        assert await lent_ids(backend, await join(backend)) == [job.id for job in jobs]

    async def test_leaving_counts_nothing_against_the_jobs(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await backend.leave(pool, T)
        (again,) = await fetch(backend, await join(backend))
        assert (again.job.id, again.job.attempt, again.job.error) == (delivery.job.id, 1, "")

    async def test_leaving_with_empty_hands_hands_nothing_back(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await settle(backend, delivery)
        assert await backend.leave(pool, T) == 0

    async def test_an_ending_after_leaving_is_refused(self, backend: Backend) -> None:
        pool, delivery = await lend(backend)
        await backend.leave(pool, T)
        assert not await settle(backend, delivery)
        assert await lent_ids(backend, await join(backend)) == [delivery.job.id]

    @needs(Capability.LEASE)
    async def test_a_pool_that_left_is_not_reaped(self, backend: Backend) -> None:
        pool = await join(backend)
        await backend.reap(T, 100.0)
        await backend.leave(pool, T)
        assert (await backend.reap(T + HOUR, 5000.0)).pools == ()


class Crashes(Suite):
    @needs(Capability.LEASE)
    async def test_a_job_that_lost_three_workers_runs_again(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job)
        await lose_workers(backend, 3)
        assert await lent_ids(backend, await join(backend)) == [job.id]

    @needs(Capability.LEASE, Capability.BROWSE)
    async def test_a_job_that_lost_four_workers_is_buried(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job)
        await lose_workers(backend, 3)
        pool = await join(backend)
        await fetch(backend, pool)
        found = await die(backend, pool)
        assert (found.recovered, found.crashed) == (0, 1)
        view = await look(backend, job)
        assert view.state is State.DEAD
        assert "worker_crashed" in view.error
        assert view.job.args == job.args

    @needs(Capability.LEASE, Capability.BROWSE, Capability.CANCEL)
    async def test_a_cancelled_job_that_lost_four_workers_is_gone(self, backend: Backend) -> None:
        await push(backend, a_job())
        await lose_workers(backend, 3)
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        await backend.cancel(delivery.job.id, T)
        assert (await die(backend, pool)).crashed == 0
        assert await is_gone(backend, delivery)

    @needs(Capability.LEASE, Capability.UNIQUE, Capability.BROWSE)
    async def test_a_job_buried_for_its_crashes_frees_its_lock(self, backend: Backend) -> None:
        await push(backend, a_job(args={"u": 1}, unique="until_done"))
        await lose_workers(backend, 4)
        assert await push(backend, a_job(args={"u": 1}, unique="until_done")) == [True]

    @needs(Capability.LEASE)
    async def test_crashes_are_forgotten_after_72_hours(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job)
        await lose_workers(backend, 3)
        later = T + 80 * HOUR
        await backend.prune(later)
        await lose_workers(backend, 1, now=later)
        assert await lent_ids(backend, await join(backend, now=later), now=later) == [job.id]

    @needs(Capability.LEASE)
    async def test_the_crashes_of_one_job_are_not_those_of_another(self, backend: Backend) -> None:
        jobs: list[Delivery] = []
        pool: Pool
        for _ in range(5):
            pool, delivery = await lend(backend)
            jobs.append(delivery)
            assert (await die(backend, pool)).crashed == 0
            (again,) = await fetch(backend, await join(backend))
            await settle(backend, again)
        assert len(jobs) == 5

    @needs(Capability.LEASE, Capability.REVIVE, Capability.BROWSE)
    async def test_a_job_buried_for_its_crashes_can_be_requeued(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job)
        await lose_workers(backend, 4)
        assert await backend.requeue(State.DEAD, [job.id], T) == 1
        (again,) = await fetch(backend, await join(backend))
        await settle(backend, again)
        assert await is_gone(backend, job)
