"""Jobs that come in from another store, with their locks and the ids that are known there."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.parcel import MOVABLE, Lock, in_whole_seconds, mark, packed
from worksong.ports.backend import Backend
from worksong.ports.cargo import Fate, Known
from worksong.testing.contract.loading import a_load, a_parcel, beside, loaded, take
from worksong.testing.contract.steps import (
    T,
    a_job,
    fetch,
    join,
    lent_ids,
    look,
    push,
    settle,
)
from worksong.testing.contract.suite import Suite, needs


class Landing(Suite):
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
        except InvalidArguments as refused:
            assert "digest" in str(refused)
        else:
            await backend.unload(a_load(parcel), [], T)
            assert await push(backend, a_job(args={"n": 2}, unique="until_done", unique_by={"key": 1})) == [False]
