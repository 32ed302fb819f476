"""Loads: jobs put aside for another store, which leave for good or go back to where they were."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from msgspec.structs import replace

from worksong.domain.capability import Capability
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Retried
from worksong.domain.parcel import MOVABLE, Lock, Parcel, packed
from worksong.ports.backend import Backend
from worksong.ports.cargo import Load
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


class Loading(Suite):
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

    @needs(Capability.MOVE, Capability.BROWSE)
    async def test_a_dead_job_stays_dead_when_it_goes_back(self, backend: Backend) -> None:
        job = await one_in(backend, State.DEAD)
        load = await loaded(backend, State.DEAD)
        await backend.release(load.id, [job.id], T)
        assert [view.id for view in await listed(backend, State.DEAD)] == [job.id]
