"""Results in databases: kept for a time, seen by other processes, however large they are."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

import pytest

from patience import PATIENCE
from sql.stage import opened
from worksong.adapters import connect_results
from worksong.adapters.sql.backend import SqlBackend
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError, Unsupported
from worksong.domain.job import new_id
from worksong.domain.outcome import Buried, Done, Settlement
from worksong.domain.result import Result
from worksong.testing.contract.steps import T, fetch, is_gone, join, lend, push, settle, some_jobs

DAY = 86400.0


async def test_a_result_is_kept_for_a_day(backend: SqlBackend) -> None:
    _, delivery = await lend(backend)
    await settle(backend, delivery, Done(1))

    await backend.prune(T + DAY - 1)
    assert await backend.result(delivery.job.id) is not None
    assert await backend.prune(T + DAY) == 1
    assert await backend.result(delivery.job.id) is None


async def test_many_old_results_go_at_once(backend: SqlBackend) -> None:
    await push(backend, *some_jobs(2500))
    pool = await join(backend)
    lent = await fetch(backend, pool, 2500)
    assert all(await backend.settle([Settlement(delivery, Done()) for delivery in lent], T))

    assert await backend.prune(T + DAY) == 2500


async def test_a_url_says_how_long(url: str) -> None:
    backend = opened(f"{url}?result_ttl=1h")
    _, delivery = await lend(backend)
    await settle(backend, delivery, Done(1))

    assert await backend.prune(T + 3600) == 1
    await backend.close()


async def test_results_that_nobody_wants_are_not_kept(url: str) -> None:
    # Given a database that once kept them
    namespace = new_id()
    backend = opened(url, namespace)
    frugal = opened(f"{url}?result_ttl=off", namespace)
    _, delivery = await lend(frugal)

    # When a job ends where none are wanted
    assert await settle(frugal, delivery, Done(1))

    # Then it is gone, there is no result, and who asks is told what to do
    assert await is_gone(frugal, delivery)
    assert await backend.result(delivery.job.id) is None
    assert Capability.RESULTS not in frugal.capabilities
    with pytest.raises(Unsupported, match=r"results="):
        await frugal.wait_result(delivery.job.id, 0.0)
    await backend.close()
    await frugal.close()


def test_a_store_that_would_keep_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="keeps no results"):
        connect_results("sqlite:///jobs.db?result_ttl=off", namespace="")


async def test_another_process_sees_how_a_job_ended(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that waits, and another one that shares no bell with it
    namespace = new_id()
    here = opened(url, namespace)
    monkeypatch.setattr("worksong.adapters.sql.store._shared", WeakValueDictionary())
    there = opened(url, namespace)
    pool, first = await lend(there)
    await push(there, *some_jobs(1))
    (second,) = await fetch(there, pool)
    jobs = (first.job.id, second.job.id)
    waiting = [asyncio.create_task(here.wait_result(job_id, PATIENCE)) for job_id in jobs]
    assert await here.wait_result(first.job.id, 0.05) is None

    # When the jobs end there
    await settle(there, first, Done("first"))
    await settle(there, second, Done("second"))

    # Then the one who waits sees both
    assert [result and result.value for result in await asyncio.gather(*waiting)] == [b'"first"', b'"second"']
    await here.close()
    await there.close()


async def test_many_large_results_are_kept_at_once(backend: SqlBackend) -> None:
    # Given more than a server takes in one statement
    await push(backend, *some_jobs(24))
    pool = await join(backend)
    lent = await fetch(backend, pool, 24)
    value = "x" * 1_000_000
    assert all(await backend.settle([Settlement(delivery, Done(value)) for delivery in lent], T))

    for delivery in lent:
        result = await backend.result(delivery.job.id)
        assert result is not None
        assert len(result.value) == 1_000_002


async def test_a_reason_that_no_encoding_carries_is_kept_as_far_as_possible(backend: SqlBackend) -> None:
    _, delivery = await lend(backend)
    assert await settle(backend, delivery, Buried("half \ud800 a pair"))
    result = await backend.result(delivery.job.id)
    assert result is not None
    assert result.failure is not None
    assert result.failure.message == "half � a pair"


async def test_a_store_that_no_upkeep_looks_after_forgets_by_itself(url: str) -> None:
    store = connect_results(f"{url}?result_ttl=1h", namespace=new_id())
    await store.put([Result("old", T)])
    await store.put([Result("new", T + 3600)])

    assert await store.result("old") is None
    assert await store.result("new") == Result("new", T + 3600)
    await store.close()
