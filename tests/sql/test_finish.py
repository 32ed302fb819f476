"""Endings the shortest way: nothing but what the claims allow, and nothing told that is not sure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sql.stage import opened
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.steps import Program, Row, Step
from worksong.adapters.sql.store import MaybeDone
from worksong.domain.job import Delivery
from worksong.domain.outcome import Discarded, Done, Retried, Settlement
from worksong.testing.contract.steps import T as NOW
from worksong.testing.contract.steps import fetch, join, push, some_jobs


async def lent(backend: SqlBackend, count: int) -> list[Delivery]:
    """So many jobs in the hands of one pool."""
    await push(backend, *some_jobs(count))
    return await fetch(backend, await join(backend), count)


async def settled(backend: SqlBackend, *deliveries: Delivery) -> list[bool]:
    return await backend.settle([Settlement(delivery, Done(7)) for delivery in deliveries], NOW)


async def test_one_claim_that_is_lost_costs_the_others_nothing(backend: SqlBackend) -> None:
    # Given three jobs, one of which has ended already
    first, second, third = await lent(backend, 3)
    assert await settled(backend, second) == [True]
    # When all three end
    held = await settled(backend, first, second, third)
    # Then only that one is refused, and the others are gone with their results
    assert held == [True, False, True]
    assert sum((await backend.counts()).values()) == 0
    assert await backend.result(first.job.id) is not None


async def test_a_job_that_was_cancelled_meanwhile_keeps_no_value(backend: SqlBackend) -> None:
    kept, cancelled = await lent(backend, 2)
    assert await backend.cancel(cancelled.job.id, NOW)
    assert await settled(backend, kept, cancelled) == [True, True]
    result = await backend.result(cancelled.job.id)
    assert result is not None
    assert result.failure or result.lost
    assert sum((await backend.counts()).values()) == 0


async def test_a_job_that_ends_twice_in_one_batch_ends_once(backend: SqlBackend) -> None:
    (one,) = await lent(backend, 1)
    assert await settled(backend, one, one) == [True, False]


async def test_endings_of_several_kinds_go_together(backend: SqlBackend) -> None:
    done, dropped, failed = await lent(backend, 3)
    outcomes = Done(), Discarded("too old"), Retried(NOW + 60, "no")
    batch = [Settlement(one, outcome) for one, outcome in zip((done, dropped, failed), outcomes, strict=True)]
    assert await backend.settle(batch, NOW) == [True, True, True]
    assert sum((await backend.counts()).values()) == 1


async def test_an_ending_whose_answer_was_lost_is_told_as_unsure(
    backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that carries out an ending and breaks off before it says so
    (one,) = await lent(backend, 1)
    finished = backend._finished

    async def unheard(batch: Sequence[Settlement], now: float) -> set[int]:
        await finished(batch, now)
        raise MaybeDone("the connection broke")

    monkeypatch.setattr(backend, "_finished", unheard)
    # When the job ends
    # Then nobody says that it belongs to another worker
    with pytest.raises(MaybeDone):
        await settled(backend, one)


async def test_an_ending_that_never_arrived_is_carried_out_at_once(
    backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = await lent(backend, 1)

    async def broken(batch: Sequence[Settlement], now: float) -> set[int]:
        raise MaybeDone("the connection broke")

    monkeypatch.setattr(backend, "_finished", broken)
    assert await settled(backend, one) == [True]


# what need not be on the disk


def asked(name: str) -> Program[list[Row]]:
    rows: list[Row] = yield Step(name, {})
    return rows


async def test_a_lending_does_not_wait_for_the_disk_on_sqlite_and_an_ending_does(tmp_path: object) -> None:
    normal, full = 1, 2
    backend = opened(f"sqlite:///{tmp_path}/jobs.db")
    store = backend._store
    assert await store.run(lambda: asked("synchronous")) == [(full,)]
    assert await store.run(lambda: asked("synchronous"), lasting=False) == [(normal,)]
    assert await store.run(lambda: asked("synchronous")) == [(full,)]
    await backend.close()


async def test_a_lending_does_not_wait_for_the_disk_on_postgres_and_an_ending_does(postgres_url: str) -> None:
    backend = opened(postgres_url)
    store = backend._store
    assert await store.run(lambda: asked("risks"), lasting=False) == [("synchronous_commit = off",)]
    assert await store.run(lambda: asked("risks")) == []
    await backend.close()


# many at once


async def test_jobs_of_which_one_is_there_already_are_told_apart(backend: SqlBackend) -> None:
    # Given a job that was enqueued
    first, second, third = some_jobs(3)
    assert await push(backend, first) == [True]
    # When it comes again among others
    # Then only they are new
    assert await push(backend, second, first, third) == [True, False, True]
    assert sum((await backend.counts()).values()) == 3
