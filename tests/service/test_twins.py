"""Two messages of one job, as a queue has them that knows no ids when an answer is lost: one of them runs."""

from __future__ import annotations

import asyncio

import pytest

from interop.fleet import eventually
from worksong import Worker
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.record import JobRecord, Status, queued, stamped
from worksong.recording import TWIN_WAITS


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
async def test_the_second_message_waits_and_ends_like_the_first(redis_url: str, *, fails: bool) -> None:
    # Given two messages of one job, at a worker that has room for both
    worker = Worker(redis_url, name=new_id(), records="memory://", concurrency=2)
    begun, going_on = list[str](), asyncio.Event()

    @worker.task("work", max_fails=1)
    async def work(params: dict[str, str]) -> str:
        begun.append(params["id"])
        await going_on.wait()
        if fails:
            raise ValueError("no such customer")
        return "done"

    assert worker.ledgers is not None
    async with worker:
        ledger, backend = worker.ledgers.here(), worker.backend()
        job = JobRecord(id=new_id(), task="work", params={"id": "j"})
        await ledger.open_job(job)
        await backend.push([stamped(queued(job), "one"), stamped(queued(job), "two")], worker.clock.now())

        # When one of them runs, then the other waits
        await eventually(backend.counts, lambda counts: counts[State.SCHEDULED] == 1)
        assert begun == ["j"]

        # And when its time has come again, it ends as that one did
        going_on.set()
        assert await ledger.wait_result(job.id, 60.0)
        await eventually(lambda: backend.promote(worker.clock.now() + 2 * TWIN_WAITS, 9), bool)
        await eventually(backend.counts, lambda counts: sum(counts.values()) == int(fails))
        found = await ledger.job(job.id)
        assert found is not None
        status = (Status.FAILED, "no such customer") if fails else (Status.COMPLETED, "")
        assert (found.status, found.failure_reason) == status
        assert begun == ["j"]
        await backend.erase()


async def test_a_message_that_comes_again_is_no_other_one(redis_url: str) -> None:
    # Given a job that began, and whose worker died
    worker = Worker(redis_url, name=new_id(), records="memory://")

    @worker.task("work")
    async def work(params: dict[str, str]) -> str:
        return "done"

    assert worker.ledgers is not None
    async with worker:
        ledger, job = worker.ledgers.here(), JobRecord(id=new_id(), task="work")
        await ledger.open_job(job)
        await ledger.begin(job.id, "one")
        # When the same message is brought again, then it runs
        await worker.backend().push([stamped(queued(job), "one")], worker.clock.now())
        assert await ledger.wait_result(job.id, 60.0)
        found = await ledger.job(job.id)
        assert found is not None
        assert found.status is Status.COMPLETED
