"""A worker that keeps records: everything that asks for results, and every way in which a job can end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interop.fleet import eventually
from patience import PATIENCE
from worksong import Discard, Job, JobFailed, Pipeline, Worker
from worksong.domain.errors import ConfigError
from worksong.domain.job import new_id
from worksong.domain.record import JobRecord, Status
from worksong.faces.web.console import store_of
from worksong.ledger import Ledger
from worksong.service.desk import Desk
from worksong.service.outbox import Outbox


class Shop:
    """A worker with its queue and its records in one place, and its outbox."""

    def __init__(self, url: str) -> None:
        self.worker = Worker(url, name=new_id(), records=url, concurrency=4)
        self.outbox = Outbox(self.worker)
        self.forgives = False

        @self.worker.job()
        async def add(*, one: int = 0, other: int = 0, previous: list[int] | None = None) -> int:
            return sum(previous) if previous else one + other

        @self.worker.job(max_fails=1)
        def stumble() -> str:
            if not self.forgives:
                raise ValueError("no such customer")
            return "up again"

        @self.worker.job()
        async def refuse() -> None:
            raise Discard("not wanted any more")

        @self.worker.job(expires=60)
        async def hurry() -> None: ...

        @self.worker.job()
        async def wait() -> None:
            await asyncio.sleep(600)

        self.add, self.stumble = add, stumble

    @property
    def ledger(self) -> Ledger:
        assert self.worker.ledgers is not None
        return self.worker.ledgers.here()

    async def create(self, task: str, **params: Any) -> JobRecord:
        job = JobRecord(id=new_id(), task=task, params=params, whole=False, created_at=self.worker.clock.now())
        await self.ledger.open_job(job)
        await self.outbox.send_job(job)
        return job

    async def ended(self, job: JobRecord) -> tuple[Status, str]:
        assert await self.ledger.wait_result(job.id, PATIENCE)
        found = await self.ledger.job(job.id)
        assert found is not None
        return found.status, found.failure_reason


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/shop.db?synchronous=NORMAL"}
    shop = Shop(urls.get(request.param) or request.getfixturevalue("redis_url"))
    async with shop.worker:
        yield shop
        await shop.outbox.close()


async def test_whoever_asks_for_a_result_gets_it_from_the_records(shop: Shop) -> None:
    # Given a job of the service, and one that was enqueued past it
    job = await shop.create("add", one=20, other=22)
    plain = await shop.add.aperform(one=1, other=2)
    # Then handles, the service and the console know what came of both
    assert await shop.worker.handle(job.id, "add").aresult(PATIENCE) == 42
    assert await plain.aresult(PATIENCE) == 3
    assert await shop.ended(job) == (Status.COMPLETED, "")
    dossier = await Desk(store_of(shop.worker)).dossier(job.id)
    assert dossier.result is not None
    assert dossier.result["value"] == 42


async def test_groups_of_pipelines_find_one_another_by_the_records(shop: Shop) -> None:
    group = [shop.add.step(one=number, other=1) for number in range(5)]
    handle = await Pipeline([group, shop.add.step(previous=True)]).aperform()
    assert await handle.aresult(PATIENCE) == 15


async def test_a_dead_job_that_is_retried_succeeds_in_the_records_too(shop: Shop) -> None:
    # Given a job that is dead
    job = await shop.create("stumble")
    assert await shop.ended(job) == (Status.FAILED, "no such customer")
    with pytest.raises(JobFailed, match="no such customer"):
        await shop.worker.handle(job.id, "stumble").aresult(PATIENCE)
    # When somebody retries it
    shop.forgives = True
    await eventually(lambda: shop.worker.admin.aretry_dead(job.id), bool)  # its result is there before its death
    await eventually(lambda: shop.ended(job), lambda ended: ended[0] is Status.COMPLETED)
    # Then it has succeeded
    assert await shop.worker.handle(job.id, "stumble").aresult(PATIENCE) == "up again"


async def test_a_job_that_is_discarded_says_why(shop: Shop) -> None:
    assert await shop.ended(await shop.create("refuse")) == (Status.FAILED, "not wanted any more")


async def test_a_job_that_comes_too_late_says_so(shop: Shop) -> None:
    job = JobRecord(id=new_id(), task="hurry", whole=False)
    await shop.ledger.open_job(job)
    await shop.worker.backend().push([Job("hurry", id=job.id, enqueued_at=1.0, meta={"record": True})], 1.0)
    status, reason = await shop.ended(job)
    assert status is Status.FAILED
    assert reason


async def test_a_job_that_is_cancelled_while_it_runs_has_failed_by_that(shop: Shop) -> None:
    job = await shop.create("wait")
    await eventually(lambda: shop.ledger.job(job.id), lambda found: found and found.status is Status.IN_PROGRESS)
    assert await shop.worker.admin.acancel(job.id)
    assert await shop.ended(job) == (Status.FAILED, "cancelled")


async def test_what_is_erased_is_erased_with_its_records(shop: Shop) -> None:
    job = await shop.create("add", one=1)
    await shop.ended(job)
    await shop.worker.backend().erase()
    apart = shop.worker.url == "memory://"
    assert (await shop.ledger.job(job.id) is not None) is apart


def test_results_have_one_place() -> None:
    with pytest.raises(ConfigError, match="give results= or records="):
        Worker(results="memory://", records="memory://")
