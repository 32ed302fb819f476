"""Jobs that come into being together with records: all of it is there, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from worksong.domain.errors import BackendUnavailable, InvalidArguments, PayloadTooLarge
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend, Intake, Window
from worksong.ports.records import Change, Kind, Record, RecordStore, Ref
from worksong.testing.contract.record_steps import a_record, changed, new
from worksong.testing.contract.steps import T, a_job, fetch, join, look, push, queue_count, some_jobs

CALLERS, PROCESSES = 50, 5
LOOKED_AT = 40
"""Jobs that come while others look."""
PATIENCE = 60.0
"""Seconds that a fetch waits: for a slow machine, since it is woken."""


class OnePlaceContract:
    """For a backend and a store of records in one place: give `backend` and `store` as fixtures, fresh and empty ones
    for each test, closed afterwards."""

    pytestmark = pytest.mark.asyncio

    def elsewhere(self) -> RecordStore:
        """A store of records of the same kind, in another place."""
        raise NotImplementedError

    def unreachable(self) -> tuple[Backend, RecordStore] | None:
        """Both on a server that does not answer, if there is a server."""
        return None

    # together

    async def test_records_and_jobs_come_together(self, backend: Backend, store: RecordStore) -> None:
        # Given one record that is to change, and one that is to go
        old, doomed = a_record("old"), a_record("doomed")
        assert await store.write(new(old, doomed))
        # When jobs come with that and with records of their own
        now, later = some_jobs(3), a_job(run_at=T + 60)
        records = records_of([*now, later])
        changes = [changed(old, status=3), Change(doomed.ref, 1, None), *new(*records)]
        assert await intake(backend, store, changes).push([*now, later], T, once=True) == [True] * 4
        # Then all of it is there, in order
        refs = [record.ref for record in (*records, old, doomed)]
        assert [one and one.status for one in await store.read(refs)] == [0, 0, 0, 0, 3, None]
        assert (await look(backend, later)).state is State.SCHEDULED
        pool = await join(backend)
        assert [delivery.job.id for delivery in await fetch(backend, pool, 9)] == [job.id for job in now]

    async def test_who_waits_for_a_job_is_told(self, backend: Backend, store: RecordStore) -> None:
        job, pool = a_job(), await join(backend)
        waiting = asyncio.create_task(fetch(backend, pool, wait=PATIENCE))
        await asyncio.sleep(0)
        assert await bring(backend, store, job)
        assert [delivery.job.id for delivery in await waiting] == [job.id]

    async def test_a_job_of_many_is_as_if_it_had_been_pushed(self, backend: Backend, store: RecordStore) -> None:
        one = a_job("export", {"text": "Grüße"}, queue="default", meta={"record": "stamp"})
        assert await bring(backend, store, one)
        there = (await look(backend, one)).job
        assert (there.handler, there.args, there.meta, there.enqueued_at) == ("export", one.args, one.meta, T)
        assert await push(backend, one, once=True) == [False]

    # nothing of it

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("wrong", ["there already", "not there", "another version"])
    async def test_where_a_record_is_not_as_it_was_said_to_be_no_job_comes(
        self, backend: Backend, store: RecordStore, place: int, wrong: str
    ) -> None:
        kept = a_record("kept")
        assert await store.write(new(kept))
        jobs = some_jobs(2)
        changes = new(*records_of(jobs))
        unfit = {
            "there already": Change(kept.ref, None, kept),
            "not there": changed(a_record("nobody")),
            "another version": changed(kept)._replace(was=7),
        }[wrong]
        changes.insert(place, unfit)
        assert await intake(backend, store, changes).push(jobs, T, once=True) == [False, False]
        assert await everything(backend, store) == {kept.ref.id}
        assert await push(backend, *jobs, once=True) == [True, True]

    @pytest.mark.parametrize("why", ["id taken in", "id is there", "lock is taken", "id twice", "lock twice"])
    async def test_where_one_job_is_a_duplicate_nothing_comes(
        self, backend: Backend, store: RecordStore, why: str
    ) -> None:
        # Given a job that is there, and two that are new, one of which is like another
        first = a_job(args={"user": 1}, unique="until_done")
        assert await push(backend, first, once=True) == [True]
        fresh = a_job(unique="until_done", args={"user": 2})
        if why == "id taken in":
            (gone,) = await fetch(backend, await join(backend))
            assert await backend.cancel(gone.job.id, T)
        twin = {
            "id taken in": a_job(id=first.id),
            "id is there": a_job(id=first.id),
            "lock is taken": a_job(args={"user": 1}, unique="until_done"),
            "id twice": a_job(id=fresh.id),
            "lock twice": a_job(args={"user": 2}, unique="until_done"),
        }[why]
        # When they are to come with a record
        record = a_record("mine")
        assert await intake(backend, store, new(record)).push([fresh, twin], T, once=True) == [False, False]
        # Then neither they nor the record are there, and what is new can come another time
        assert await store.read([record.ref]) == [None]
        assert await backend.job(fresh.id) is None
        assert await push(backend, fresh, once=True) == [True]

    @pytest.mark.parametrize("large", [False, True], ids=["no JSON", "too large"])
    async def test_what_the_queue_cannot_carry_is_refused_and_no_record_is_kept(
        self, backend: Backend, store: RecordStore, large: bool
    ) -> None:
        good, bad = a_job(), a_job(args={"n": "x" * (2 << 20) if large else object()})
        with pytest.raises(PayloadTooLarge if large else InvalidArguments):
            await intake(backend, store, new(*records_of([good, bad]))).push([good, bad], T, once=True)
        assert await everything(backend, store) == set()

    async def test_a_server_that_is_away_is_told_of(self) -> None:
        found = self.unreachable()
        if found is None:
            pytest.skip("there is no server that could be away")
        backend, store = found
        with pytest.raises(BackendUnavailable):
            await bring(backend, store, a_job())
        await backend.close()
        await store.close()

    # others at the same time

    async def test_nobody_sees_the_one_without_the_other(self, backend: Backend, store: RecordStore) -> None:
        # Given somebody in another thread who brings in job after job
        jobs, here = some_jobs(LOOKED_AT), (backend.sibling(), store.sibling())

        async def bring_all() -> None:
            for job in jobs:
                assert await bring(*here, job)
            await here[0].close()
            await here[1].close()

        bringing = asyncio.create_task(asyncio.to_thread(asyncio.run, bring_all()))
        # When others look all the time, then whatever they find is whole
        while not bringing.done():
            await everything(backend, store)
            await asyncio.sleep(0)
        await bringing
        assert await everything(backend, store) == {job.id for job in jobs}

    async def test_of_many_who_bring_the_same_key_one_brings_its_job(
        self, backend: Backend, store: RecordStore
    ) -> None:
        # Given many callers in several processes, each with a job of his own and all with one key
        places = [(backend.sibling(), store.sibling()) for _ in range(PROCESSES)]
        jobs = some_jobs(CALLERS)

        async def ask(number: int) -> bool:
            job = jobs[number]
            changes = new(*records_of([job]), a_record("key", Kind.KEY, body=job.id.encode()))
            return all(await intake(*places[number % PROCESSES], changes).push([job], T, once=True))

        # When all of them ask at once
        created = await asyncio.gather(*map(ask, range(CALLERS)))
        # Then one of them has created something, and nothing of the others is there
        assert created.count(True) == 1
        winner = jobs[created.index(True)].id
        assert await everything(backend, store) == {winner}
        (key,) = await store.read([Ref(Kind.KEY, "key")])
        assert key is not None
        assert key.body == winner.encode()
        for one, other in places:
            await one.close()
            await other.close()

    async def test_who_gives_up_in_the_middle_leaves_all_or_nothing(self, backend: Backend, store: RecordStore) -> None:
        jobs = some_jobs(20)
        bringing = [asyncio.create_task(bring(backend, store, job)) for job in jobs]
        await asyncio.sleep(0)
        for task in bringing[::2]:
            task.cancel()
        await asyncio.wait(bringing)
        last = a_job()
        assert await bring(backend, store, last)
        assert await everything(backend, store) >= {last.id, *(job.id for job in jobs[1::2])}

    # places

    async def test_records_that_are_kept_elsewhere_are_none_of_its_business(self, backend: Backend) -> None:
        other = self.elsewhere()
        assert backend.beside(other) is None
        await other.close()

    async def test_what_was_closed_opens_again(self, backend: Backend, store: RecordStore) -> None:
        first, second = some_jobs(2)
        assert await bring(backend, store, first)
        await backend.close()
        assert await bring(backend, store, second)
        assert await queue_count(backend, "send") + await queue_count(backend, "default") == 2


def intake(backend: Backend, store: RecordStore, changes: Sequence[Change]) -> Intake:
    """For jobs that come with these changes."""
    beside = backend.beside(store)
    assert beside is not None, f"{backend.name} and {store.name} are not in one place"
    return beside(changes)


async def bring(backend: Backend, store: RecordStore, job: Job) -> bool:
    """A job and its record; False: it is not new."""
    (came,) = await intake(backend, store, new(*records_of([job]))).push([job], T, once=True)
    return came


def records_of(jobs: Sequence[Job]) -> list[Record]:
    """One for each, under its id."""
    return [a_record(job.id, created_at=T) for job in jobs]


async def everything(backend: Backend, store: RecordStore) -> set[str]:
    """The ids of all records of jobs, each of which has its job in a queue, and the other way round.

    A record that is `kept` has none. Others may come meanwhile: what was there at the first look is at the second.
    """
    recorded = await _recorded(store)
    queued = {view.id for view in await backend.jobs(State.QUEUED, Window(limit=1000))}
    assert recorded - {"kept"} <= queued
    recorded = await _recorded(store)
    assert queued <= recorded
    return recorded


async def _recorded(store: RecordStore) -> set[str]:
    return {record.ref.id for record in await store.listed(Kind.JOB, most=1000)}
