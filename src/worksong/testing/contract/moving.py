"""Loads: jobs that leave a store for another one, come in from one, or go back to where they were."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from msgspec.structs import replace

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments, Unsupported
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Retried
from worksong.domain.parcel import MOVABLE, Lock, Parcel, in_whole_seconds, mark, packed
from worksong.ports.backend import Backend
from worksong.ports.cargo import Fate, Known, Load
from worksong.testing.contract.steps import (
    T,
    a_job,
    fetch,
    is_gone,
    join,
    lend,
    lent_ids,
    listed,
    look,
    push,
    settle,
    some_jobs,
)
from worksong.testing.contract.suite import Suite, needs

ELSEWHERE = "elsewhere"


@contextlib.asynccontextmanager
async def beside(backend: Backend) -> AsyncGenerator[Backend]:
    """The same store as another process would see it."""
    other = backend.sibling()
    try:
        yield other
    finally:
        await other.close()


async def take(backend: Backend, state: State = State.QUEUED, *, passed: int = 0, most: int = 100) -> Load | None:
    """Load jobs of a state."""
    return await backend.load(state, passed=passed, most=most, destination=ELSEWHERE, now=T)


async def loaded(backend: Backend, state: State = State.QUEUED, **how: int) -> Load:
    """A load that must be there."""
    found = await take(backend, state, **how)
    assert found is not None
    return found


def a_parcel(state: State = State.QUEUED, at: float = T, lock: Lock | None = None, **fields: Any) -> Parcel:
    """A job as another store would give it away."""
    return packed(a_job(**fields), state, at, lock)


def a_load(*parcels: Parcel) -> Load:
    """A load from another store."""
    return Load(new_id(), "here", parcels)


async def one_in(backend: Backend, state: State) -> Job:
    """A job in this state."""
    if state is State.SCHEDULED:
        job = a_job(run_at=T + 60)
        await push(backend, job)
        return job
    if state is State.QUEUED:
        job = a_job(enqueued_at=T - 5)
        await push(backend, job)
        return job
    _, delivery = await lend(backend)
    await settle(backend, delivery, Retried(T + 60, "boom") if state is State.RETRY else Buried("boom"))
    return delivery.job


class Moving(Suite):
    # out

    @needs(Capability.MOVE, Capability.BROWSE, Capability.DELAY)
    @pytest.mark.parametrize("state", MOVABLE)
    async def test_a_load_has_all_of_its_jobs(self, backend: Backend, state: State) -> None:
        job = await one_in(backend, state)
        seen = await look(backend, job)

        (parcel,) = (await loaded(backend, state)).parcels

        assert parcel == packed(seen.job, state, seen.at, None)

    @needs(Capability.MOVE, Capability.BROWSE, Capability.DELAY)
    @pytest.mark.parametrize("state", MOVABLE)
    async def test_what_lies_aside_is_nowhere_else(self, backend: Backend, state: State) -> None:
        job = await one_in(backend, state)

        await loaded(backend, state)

        assert await is_gone(backend, job)
        assert sum((await backend.counts()).values()) == 0
        assert await backend.promote(T + 100, 10) == 0
        assert await lent_ids(backend, await join(backend), now=T + 100) == []
        assert not await backend.cancel(job.id, T)

    @needs(Capability.MOVE, Capability.BROWSE, Capability.DELAY)
    @pytest.mark.parametrize("state", MOVABLE)
    async def test_a_job_that_stays_goes_back_to_where_it_was(self, backend: Backend, state: State) -> None:
        job = await one_in(backend, state)
        before = await look(backend, job)
        load = await loaded(backend, state)

        assert await backend.release(load.id, [job.id], T) == 0

        assert await look(backend, job) == before

    @needs(Capability.MOVE, Capability.BROWSE)
    async def test_a_released_load_is_gone(self, backend: Backend) -> None:
        await push(backend, *some_jobs(3))
        load = await loaded(backend)

        assert await backend.release(load.id, [], T) == 3

        assert sum((await backend.counts()).values()) == 0
        assert await take(backend) is None
        assert await backend.release(load.id, [], T) == 0

    @needs(Capability.MOVE)
    async def test_an_open_load_is_found_again_and_nothing_more_is_taken(self, backend: Backend) -> None:
        await push(backend, *some_jobs(3))
        load = await loaded(backend, most=2)

        async with beside(backend) as other:
            assert await take(other, State.DEAD) == load
        assert len(await lent_ids(backend, await join(backend))) == 1

    @needs(Capability.MOVE)
    async def test_looking_for_an_open_load_takes_nothing(self, backend: Backend) -> None:
        await push(backend, a_job())
        assert await take(backend, most=0) is None
        load = await loaded(backend)
        assert await take(backend, most=0) == load

    @needs(Capability.MOVE)
    async def test_only_the_open_load_can_be_released(self, backend: Backend) -> None:
        (job,) = some_jobs(1)
        await push(backend, job)
        load = await loaded(backend)
        assert await backend.release(new_id(), [], T) == 0
        assert await loaded(backend) == load

    @needs(Capability.MOVE)
    async def test_loads_follow_one_another_in_order(self, backend: Backend) -> None:
        jobs = [a_job(enqueued_at=T + n) for n in range(5)]
        await push(backend, *jobs)
        found: list[str] = []
        while load := await take(backend, most=2):
            found += [parcel.id for parcel in load.parcels]
            await backend.release(load.id, [], T)
        assert found == [job.id for job in jobs]

    @needs(Capability.MOVE)
    async def test_jobs_that_stay_are_passed_over(self, backend: Backend) -> None:
        jobs = [a_job(enqueued_at=T + n) for n in range(4)]
        await push(backend, *jobs)
        load = await loaded(backend, most=2)
        await backend.release(load.id, [jobs[0].id, jobs[1].id], T)

        rest = await loaded(backend, passed=2)

        assert [parcel.id for parcel in rest.parcels] == [jobs[2].id, jobs[3].id]
        await backend.release(rest.id, [], T)
        assert await take(backend, passed=2) is None
        assert await lent_ids(backend, await join(backend)) == [jobs[0].id, jobs[1].id]

    @needs(Capability.MOVE, Capability.BROWSE)
    async def test_what_cannot_be_read_stays(self, backend: Backend) -> None:
        job = a_job()
        await self.plant(backend, "send", b'{"name": "send", "id": ')
        await push(backend, job)
        load = await loaded(backend)
        assert ([parcel.id for parcel in load.parcels], load.passed) == ([job.id], 1)
        await backend.release(load.id, [], T)
        assert await take(backend, passed=1) is None
        assert (await backend.counts())[State.QUEUED] == 1

    @needs(Capability.MOVE)
    async def test_a_running_job_is_not_loaded(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await take(backend) is None
        assert await settle(backend, delivery)

    # in

    @needs(Capability.MOVE, Capability.BROWSE)
    @pytest.mark.parametrize("state", MOVABLE)
    async def test_a_job_comes_in_as_it_was(self, backend: Backend, state: State) -> None:
        fails: dict[str, Any] = (
            {"attempt": 3, "error": "boom", "failed_at": T - 1} if state in (State.RETRY, State.DEAD) else {}
        )
        at = T + 60 if state in (State.SCHEDULED, State.RETRY) else T - 2 if state is State.DEAD else T - 5
        parcel = a_parcel(state, at, queue="low", enqueued_at=T - 5, meta={"trace": [1, "ü"]}, **fails)

        landing = await backend.unload(a_load(parcel), [], T)

        assert (landing.fates, landing.parcels) == ({}, (parcel,))
        found = await look(backend, parcel.job)
        assert (found.state, found.at) == (state, at)
        assert packed(found.job, state, found.at, None) == parcel

    @needs(Capability.MOVE)
    async def test_a_load_comes_in_only_once(self, backend: Backend) -> None:
        load = a_load(a_parcel(), a_parcel())
        await backend.unload(load, [], T)
        async with beside(backend) as other:
            assert (await other.unload(load, [], T + 60)).fates == {}
        assert await lent_ids(backend, await join(backend)) == [parcel.id for parcel in load.parcels]

    @needs(Capability.MOVE)
    async def test_a_load_comes_in_only_once_even_when_it_has_run(self, backend: Backend) -> None:
        load = a_load(a_parcel())
        await backend.unload(load, [], T)
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        await settle(backend, delivery)
        again = await backend.unload(load, [], T + 86400 * 7)
        assert (again.fates, again.parcels) == ({}, load.parcels)
        assert await lent_ids(backend, pool, now=T + 86400 * 7) == []

    @needs(Capability.MOVE)
    async def test_what_is_left_out_of_a_load_stays_left_out(self, backend: Backend) -> None:
        good, bad = a_parcel(), a_parcel()
        load = a_load(good, bad)
        first = await backend.unload(load, [bad.id], T)
        again = await backend.unload(load, [], T)
        assert first.fates == again.fates == {bad.id: Fate.REFUSED}
        assert again.parcels == (good,)
        assert await lent_ids(backend, await join(backend)) == [good.id]

    @needs(Capability.MOVE)
    async def test_jobs_that_come_in_are_lent_in_their_order(self, backend: Backend) -> None:
        parcels = [a_parcel(enqueued_at=T - 9) for _ in range(6)]
        await backend.unload(a_load(*parcels[:3]), [], T)
        await backend.unload(a_load(*parcels[3:]), [], T)
        assert await lent_ids(backend, await join(backend)) == [parcel.id for parcel in parcels]

    @needs(Capability.MOVE, Capability.DELAY)
    async def test_a_scheduled_job_that_comes_in_becomes_due(self, backend: Backend) -> None:
        parcel = a_parcel(State.SCHEDULED, T + 60)
        await backend.unload(a_load(parcel), [], T)
        pool = await join(backend)
        assert await backend.promote(T + 59, 10) == 0
        assert await backend.promote(T + 60, 10) == 1
        assert await lent_ids(backend, pool, now=T + 60) == [parcel.id]

    @needs(Capability.MOVE)
    async def test_what_cannot_be_kept_is_refused_before(self, backend: Backend) -> None:
        parcel = a_parcel(args={"text": "x" * (3 << 20)})
        with pytest.raises(InvalidArguments):
            backend.carried(parcel)

    @needs(Capability.MOVE)
    async def test_a_parcel_reads_as_it_says_it_will(self, backend: Backend) -> None:
        parcel = a_parcel(State.RETRY, T + 1.5, enqueued_at=T - 0.25, attempt=2, error="böse", failed_at=T - 0.125)
        carried = backend.carried(parcel)
        landing = await backend.unload(a_load(parcel), [], T)
        assert landing.parcels == (carried,)
        whole = Capability.SUBSECOND not in backend.capabilities
        assert mark(carried) == mark(in_whole_seconds(parcel) if whole else parcel)

    # both

    @needs(Capability.MOVE, Capability.UNIQUE)
    @pytest.mark.parametrize("mode", ["until_start", "until_done"])
    async def test_a_unique_job_takes_its_lock_along(self, backend: Backend, mode: str) -> None:
        def equal() -> Job:
            return a_job(args={"u": 1}, unique=mode)

        job = equal()
        await push(backend, job)
        load = await loaded(backend)
        assert load.parcels[0].lock is not None
        await backend.release(load.id, [], T)
        newer = equal()
        assert await push(backend, newer) == [True]  # the lock went with the job
        landing = await backend.unload(load, [], T)
        assert landing.fates == {job.id: Fate.LOCKED}  # and here it is taken
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        await settle(backend, delivery)
        again = replace(load, id=new_id())
        assert (await backend.unload(again, [], T)).fates == {}
        assert await push(backend, equal()) == [False]
        assert await lent_ids(backend, pool) == [job.id]

    @needs(Capability.MOVE, Capability.UNIQUE)
    async def test_a_unique_job_that_goes_back_has_its_lock_again(self, backend: Backend) -> None:
        await push(backend, job := a_job(args={"u": 1}, unique="until_start"))
        load = await loaded(backend)
        await backend.release(load.id, [job.id], T)
        assert await push(backend, a_job(args={"u": 1}, unique="until_start")) == [False]
        assert await lent_ids(backend, await join(backend)) == [job.id]
        assert await push(backend, a_job(args={"u": 1}, unique="until_start")) == [True]

    @needs(Capability.MOVE, Capability.UNIQUE)
    async def test_a_job_that_goes_back_frees_no_lock_of_a_newer_one(self, backend: Backend) -> None:
        def equal() -> Job:
            return a_job(args={"u": 1}, unique="until_start")

        await push(backend, job := equal())
        load = await loaded(backend)
        assert await push(backend, newer := equal()) == [True]
        await backend.release(load.id, [job.id], T)
        pool = await join(backend)
        assert await lent_ids(backend, pool, 1) == [job.id]
        assert await push(backend, equal()) == [False]
        assert await lent_ids(backend, pool) == [newer.id]

    @needs(Capability.MOVE)
    async def test_a_job_that_goes_back_displaces_none_that_has_its_id_now(self, backend: Backend) -> None:
        await push(backend, job := a_job(args={"n": 1}))
        load = await loaded(backend)
        assert await push(backend, replace(job, args={"n": 2})) == [True]
        await backend.release(load.id, [job.id], T)
        lent = await fetch(backend, await join(backend), 10)
        found = [delivery.job.args for delivery in lent]
        assert len(found) == 2
        assert {"n": 1} in found
        assert {"n": 2} in found

    @needs(Capability.MOVE, Capability.UNIQUE)
    async def test_newer_data_of_a_unique_job_go_with_it(self, backend: Backend) -> None:
        def keyed(n: int) -> Job:
            return a_job(args={"n": n}, unique="until_start", unique_by={"key": 1})

        await push(backend, keyed(1))
        await push(backend, keyed(2))
        (parcel,) = (await loaded(backend)).parcels
        assert parcel.job.args == {"n": 2}

    @needs(Capability.MOVE, Capability.DEDUP)
    async def test_an_id_pushed_here_is_not_taken_in_from_elsewhere(self, backend: Backend) -> None:
        job = a_job(id=new_id())
        await push(backend, job, once=True)
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        await settle(backend, delivery)
        load = a_load(packed(job, State.QUEUED, T, None))
        assert (await backend.unload(load, [], T)).fates == {job.id: Fate.KNOWN}
        assert await lent_ids(backend, pool) == []

    @needs(Capability.MOVE, Capability.DEDUP)
    async def test_a_job_that_left_may_come_back_while_its_id_is_known_on(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job, once=True)
        load = await loaded(backend)
        await backend.release(load.id, [], T)
        assert await push(backend, job, once=True) == [False]
        assert (await backend.unload(replace(load, id=new_id()), [], T)).fates == {}
        assert await lent_ids(backend, await join(backend)) == [job.id]

    @needs(Capability.MOVE, Capability.DEDUP)
    async def test_known_ids_are_told_and_refused_elsewhere(self, backend: Backend) -> None:
        job = a_job()
        await push(backend, job, once=True)
        known: list[Known] = []
        after, more = "", True
        while more:
            page, after = await backend.known(after, 10)
            known += page
            more = bool(after)
        assert [one.id for one in known] == [job.id]
        others = [Known(new_id(), T + 1000), Known(job.id, T + 1000)]
        assert await backend.know(others, T) == [True, False]
        assert await backend.know(others, T) == [False, False]
        assert await push(backend, a_job(id=others[0].id), once=True) == [False]

    @needs(Capability.MOVE, Capability.DEDUP)
    async def test_a_job_with_an_id_that_only_others_pushed_comes_in(self, backend: Backend) -> None:
        parcel = a_parcel()
        await backend.know([Known(parcel.id, T + 1000)], T)
        assert (await backend.unload(a_load(parcel), [], T)).fates == {}

    @needs(Capability.MOVE, Capability.PURGE)
    async def test_what_lies_aside_is_erased_with_everything_else(self, backend: Backend) -> None:
        await push(backend, a_job())
        load = await loaded(backend)
        if Capability.DURABLE in backend.capabilities:
            await backend.unload(other := a_load(a_parcel()), [], T)
            await backend.erase()
            assert await take(backend, most=0) is None
            assert (await backend.unload(other, [], T)).fates == {}
            assert len(await lent_ids(backend, await join(backend))) == 1
        else:
            await backend.erase()
            assert await take(backend, most=0) is None
        assert await backend.release(load.id, [], T) == 0

    @needs(Capability.MOVE, Capability.UNIQUE)
    async def test_a_lock_of_which_only_the_digest_is_known_is_kept_or_refused(self, backend: Backend) -> None:
        key = b'{"key":1}'
        digest = Lock(Lock.of(key).digest)
        parcel = a_parcel(lock=digest, args={"n": 1}, unique="until_done")
        try:
            backend.carried(parcel)
        except (InvalidArguments, Unsupported) as refused:
            assert "digest" in str(refused)
        else:
            await backend.unload(a_load(parcel), [], T)
            assert await push(backend, a_job(args={"n": 2}, unique="until_done", unique_by={"key": 1})) == [False]

    @needs(Capability.MOVE, Capability.BROWSE)
    async def test_a_dead_job_stays_dead_when_it_goes_back(self, backend: Backend) -> None:
        job = await one_in(backend, State.DEAD)
        load = await loaded(backend, State.DEAD)
        await backend.release(load.id, [job.id], T)
        assert [view.id for view in await listed(backend, State.DEAD)] == [job.id]
