"""The audit of the job service: no record goes on for ever of which the queue knows nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from worksong import Worker
from worksong.domain.capability import Capability
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Settlement
from worksong.domain.pipeline import step_id
from worksong.domain.record import JobRecord, PipelineRecord, Status
from worksong.domain.result import Result
from worksong.domain.turns import Share
from worksong.ledger import Ledger
from worksong.ports.backend import Pool, Want
from worksong.ports.records import Change, Kind, Record, Ref
from worksong.service.audit import AT_A_TIME, QUIET_FOR, Audit
from worksong.service.outbox import Outbox
from worksong.testing import FakeClock
from worksong.testing.drain import adrain


class Office:
    """A worker on SQLite that keeps records in memory, its outbox and its audit."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.worker = Worker(url, records="memory://", clock=self.clock)
        self.ran: list[object] = []

        @self.worker.task("note")
        async def note(params: dict[str, int], previous: int | None = None) -> int:
            self.ran.append(previous)
            return params.get("n", 0)

        self.outbox = Outbox(self.worker)
        self.audit = Audit(self.worker, self.ledger)

    @property
    def ledger(self) -> Ledger:
        assert self.worker.ledgers is not None
        return self.worker.ledgers.here()

    async def create(self, job_id: str = "j1") -> JobRecord:
        job = JobRecord(id=job_id, task="note", created_at=self.clock.now())
        await self.ledger.open_job(job)
        await self.outbox.send_job(job)
        await self.outbox.flush()
        return job

    async def look_twice(self) -> int:
        """Long enough after everything else."""
        mended = 0
        for _ in range(2):
            self.clock.advance(QUIET_FOR)
            mended += await self.audit.look()
        return mended

    async def job(self, job_id: str = "j1") -> JobRecord:
        found = await self.ledger.job(job_id)
        assert found is not None
        return found


@pytest.fixture
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    office = Office(f"sqlite:///{tmp_path_factory.mktemp('audit')}/jobs.db?synchronous=NORMAL")
    yield office
    await office.outbox.close()
    await office.worker.astop()


async def test_a_job_that_waits_is_left_in_peace(office: Office) -> None:
    await office.create()
    assert await office.look_twice() == 0
    assert (await office.job()).status is Status.PENDING


async def test_a_job_that_was_dropped_from_the_queue_has_failed(office: Office) -> None:
    # Given a job whose queue somebody emptied by other means
    await office.create()
    assert await office.worker.backend().purge("default") == 1
    # When the records are looked after twice
    assert await office.look_twice() == 1
    # Then it has failed, and who waits for its result is told
    found = await office.job()
    assert (found.status, found.failure_reason) == (Status.FAILED, "cancelled")
    assert await office.ledger.wait_result("j1", 0.0) is not None


async def test_a_job_that_the_queue_has_lost_is_in_it_again(office: Office) -> None:
    # Given a queue that came back without what was in it
    await office.create()
    await office.worker.backend().erase()
    # When the records are looked after twice
    assert await office.look_twice() == 1
    # Then the job runs
    await adrain(office.worker)
    assert office.ran == [None]
    assert (await office.job()).status is Status.COMPLETED


async def test_a_lost_pipeline_goes_on_where_it_was(office: Office) -> None:
    # Given a pipeline whose first step is through, in a queue that came back empty
    ids = [step_id("p1", number, 0) for number in range(3)]
    jobs = [
        JobRecord(
            id=ids[n], task="note", params={"n": n + 7}, pipeline_id="p1", next_id=[*ids, ""][n + 1], previous=n > 0
        )
        for n in range(3)
    ]
    await office.ledger.open_pipeline(PipelineRecord(id="p1", job_ids=tuple(ids)), jobs)
    await office.ledger.sent([record.ref for record in await office.ledger.store.unsent(office.clock.now(), 9)])
    await office.ledger.begin(ids[0])
    await office.ledger.put([Result(ids[0], office.clock.now(), b"7")])
    # When the records are looked after twice
    assert await office.look_twice() == 1
    # Then it goes on with the second one
    await adrain(office.worker)
    assert office.ran == [7, 8]
    found = await office.ledger.pipeline("p1")
    assert found is not None
    assert found.status is Status.COMPLETED


async def test_a_job_that_was_buried_by_others_has_failed(office: Office) -> None:
    # Given a job that was running when its worker died for the last time, so that the queue buried it
    await office.create()
    backend, now = office.worker.backend(), office.clock.now()
    await backend.enlist(Pool(id="pool", handlers=("note",)), now)
    (delivery,) = await backend.fetch(Want("pool", 1, 0.0, (Share("note", 1),)), now)
    await office.ledger.begin("j1")
    assert await backend.settle([Settlement(delivery, Buried("worker_crashed"))], now) == [True]
    # When the records are looked after
    office.clock.advance(QUIET_FOR)
    assert await office.audit.look() == 1
    # Then it says so
    found = await office.job()
    assert (found.status, found.failure_reason) == (Status.FAILED, "worker_crashed")


async def test_what_ends_while_it_is_sought_is_left_in_peace(office: Office) -> None:
    # Given a job of which the queue knew nothing at the first look
    await office.create()
    await office.worker.backend().purge("default")
    office.clock.advance(QUIET_FOR)
    assert await office.audit.look() == 0
    # When it ends after all
    await office.ledger.put([Result("j1", office.clock.now(), b"1")])
    # Then that is how it ended
    assert await office.look_twice() == 0
    assert (await office.job()).status is Status.COMPLETED


async def test_what_is_retried_while_it_is_sought_among_the_dead_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a job that the queue buried
    await office.create()
    backend, now = office.worker.backend(), office.clock.now()
    await backend.enlist(Pool(id="pool", handlers=("note",)), now)
    (delivery,) = await backend.fetch(Want("pool", 1, 0.0, (Share("note", 1),)), now)
    await office.ledger.begin("j1", "a message")
    assert await backend.settle([Settlement(delivery, Buried("worker_crashed"))], now) == [True]
    # When it begins again just after it was found there
    office.clock.advance(QUIET_FOR)
    ask = backend.job

    async def late(job_id: str) -> Any:
        view = await ask(job_id)
        await office.ledger.begin("j1", "a message")
        return view

    monkeypatch.setattr(backend, "job", late)
    # Then it is left in peace
    assert await office.audit.look() == 0
    assert (await office.job()).status is Status.IN_PROGRESS


async def test_a_record_that_nobody_can_read_holds_up_no_other(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a job that the queue dropped, and before it a record that is none
    await office.create()
    await office.worker.backend().purge("default")
    unreadable = Record(Ref(Kind.JOB, "j0"), b"{", status=Status.PENDING)
    assert await office.ledger.store.write([Change(unreadable.ref, None, unreadable)])
    # When the records are looked after, then the other is
    assert await office.look_twice() == 1
    assert "job j0 is not looked after" in caplog.text
    assert (await office.job()).status is Status.FAILED


async def test_many_are_looked_after_a_few_at_a_time(office: Office) -> None:
    for number in range(3 * AT_A_TIME):
        await office.create(f"j{number:03}")
    await office.worker.backend().purge("default")
    assert await office.look_twice() == 0  # other ones at each look
    mended = 0
    for _ in range(6):
        mended += await office.look_twice()
    assert mended == 3 * AT_A_TIME
    assert await office.ledger.jobs(Status.PENDING) == []


async def test_a_queue_that_cannot_say_where_a_job_is_is_not_asked(office: Office) -> None:
    await office.create()
    office.worker.backend().capabilities -= {Capability.BROWSE}  # type: ignore[misc]
    office.audit = Audit(office.worker, office.ledger)
    office.worker._stores.jobs.origin.capabilities -= {Capability.BROWSE}  # type: ignore[misc]
    assert not office.audit.possible
    assert await office.look_twice() == 0


# cancelled by way of the records


async def test_a_job_that_waits_has_failed_once_it_is_cancelled(office: Office) -> None:
    await office.create()
    waits = asyncio.create_task(office.ledger.wait_result("j1", 60.0))
    assert await office.worker.admin.acancel("j1")
    found = await office.job()
    assert (found.status, found.failure_reason) == (Status.FAILED, "cancelled")
    assert await office.worker.admin.ajob("j1") is None
    told = await waits
    assert told is not None
    assert told.failure is not None
    assert told.failure.message == "cancelled"
    assert not await office.worker.admin.acancel("j1")


async def test_a_cancelled_job_does_not_run_though_the_queue_brings_it(office: Office) -> None:
    # Given a job that waits, and one that is not in the queue yet
    await office.create()
    await office.ledger.open_job(JobRecord(id="j2", task="note"))
    # When the records say that nobody wants them, and nobody tells the queue
    assert await office.ledger.cancel("j1")
    assert await office.ledger.cancel("j2")
    # Then neither runs
    await office.outbox.sweep()
    await adrain(office.worker)
    assert office.ran == []
    assert {(await office.job(one)).failure_reason for one in ("j1", "j2")} == {"cancelled"}
    assert sum((await office.worker.admin.acounts()).values()) == 0


async def test_a_running_job_that_is_cancelled_runs_no_second_time(office: Office) -> None:
    await office.create()
    await office.ledger.begin("j1")
    assert await office.ledger.cancel("j1")
    assert (await office.job()).status is Status.IN_PROGRESS
    # When it fails and wants to try again, then it has failed for good
    await office.ledger.put_off("j1", "no connection")
    found = await office.job()
    assert (found.status, found.failure_reason) == (Status.FAILED, "cancelled")


@pytest.mark.parametrize("state", [State.SCHEDULED, State.RETRY])
async def test_a_job_that_is_deleted_before_its_time_has_failed(office: Office, state: State) -> None:
    job = JobRecord(id="j1", task="note", due=office.clock.now() + 3600)
    await office.ledger.open_job(job)
    await office.outbox.send_job(job)
    if state is State.SCHEDULED:
        assert await office.worker.admin.adelete_scheduled("j1")
        assert (await office.job()).failure_reason == "cancelled"
    else:
        assert not await office.worker.admin.adelete_retry("j1")
        assert (await office.job()).status is Status.PENDING


async def test_a_pipeline_fails_when_a_later_job_is_cancelled_and_does_not_go_on_with_it(office: Office) -> None:
    # Given a pipeline whose second job is cancelled before the first one runs
    ids = [step_id("p1", number, 0) for number in range(3)]
    jobs = [JobRecord(id=ids[n], task="note", pipeline_id="p1", next_id=[*ids, ""][n + 1]) for n in range(3)]
    await office.ledger.open_pipeline(PipelineRecord(id="p1", job_ids=tuple(ids)), jobs)
    await office.outbox.send_pipeline(PipelineRecord(id="p1", job_ids=tuple(ids)), jobs)
    assert await office.ledger.cancel(ids[1])
    # When it runs
    await adrain(office.worker)
    # Then only the first one did
    assert office.ran == [None]
    found = await office.ledger.pipeline("p1")
    assert found is not None
    assert found.status is Status.FAILED
    statuses = [job.status for job in await office.ledger.jobs_of(found)]
    assert statuses == [Status.COMPLETED, Status.FAILED, Status.PENDING]
