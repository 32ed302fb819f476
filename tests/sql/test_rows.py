"""What stands in the tables: jobs that are over, rows that others wrote, values that no column takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from sql.stage import opened
from worksong.adapters import connect_records
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.steps import Program, Step
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Retried, Settlement
from worksong.ports.backend import Window
from worksong.ports.records import Change, Kind, Record, Ref
from worksong.testing.contract.steps import (
    T,
    a_job,
    fetch,
    join,
    lend,
    lent_ids,
    listed,
    look,
    push,
    settle,
    some_jobs,
)

POISON: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a number": b"42",
    "a text": b'"text"',
    "no text": b"\xff\xfe",
    "half of a surrogate pair": b'{"a":"\\ud800"}',
    "too deep": b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "too large": b'{"x":"' + b"x" * (1 << 20) + b'"}',
}


async def alter(backend: SqlBackend, namespace: str, job_id: str, args: bytes) -> None:
    """Write other arguments into the row of a waiting job, as another program might."""

    def program() -> Program[None]:
        rows: Sequence[Any] = yield Step("by_id", {"space": namespace, "id": job_id})
        yield Step("renew", {"space": namespace}, [(rows[0][13], args, None)])

    await backend._store.run(program)


@pytest.mark.parametrize("what", POISON)
async def test_arguments_that_cannot_be_read_bury_the_job_and_no_other(url: str, what: str) -> None:
    # Given a row with foreign bytes before a good job
    namespace = new_id()
    backend = opened(url, namespace)
    bad, good = a_job(unique="until_done"), a_job()
    await push(backend, bad, good)
    await alter(backend, namespace, bad.id, POISON[what])
    # When jobs are fetched
    assert await lent_ids(backend, await join(backend)) == [good.id]
    # Then the bytes are among the dead, exactly as they were
    (view,) = await listed(backend, State.DEAD)
    assert (view.id, bool(view.reason)) == (bad.id, True)
    whole = await backend.job(bad.id)
    assert whole
    assert whole.raw == POISON[what]
    # And the lock is free
    assert await push(backend, a_job(args=bad.args, unique="until_done")) == [True]
    await backend.close()


@pytest.mark.parametrize("job_id", ["a\0b", "half \ud800", "x" * 501, "line\nend"])
async def test_an_id_that_no_column_takes_is_refused_before_anything_is_written(
    backend: SqlBackend, job_id: str
) -> None:
    with pytest.raises(InvalidArguments):
        await push(backend, a_job(), a_job(id=job_id))
    assert (await backend.counts())[State.QUEUED] == 0


async def test_ids_that_differ_in_a_trailing_space_or_in_case_are_two_ids(backend: SqlBackend) -> None:
    jobs = [a_job(id=name) for name in ("order", "order ", "Order", "örder")]
    assert await push(backend, *jobs) == [True] * 4
    assert len(await lent_ids(backend, await join(backend))) == 4


async def test_a_job_pushed_twice_is_there_once(backend: SqlBackend) -> None:
    """Whoever did not hear the answer may push the same job again."""
    job, other = a_job(), a_job()
    assert await push(backend, job) == [True]
    assert await push(backend, job, other) == [False, True]
    assert len(await lent_ids(backend, await join(backend))) == 2


async def test_finished_jobs_are_remembered_when_asked_for_and_forgotten_in_time(url: str) -> None:
    # Given a history of an hour
    backend = opened(f"{url}?history=1h&history_count=3")
    for number, outcome in enumerate([Done("value"), Discarded("no"), Buried("boom"), Retried(T + 60, "boom"), Done()]):
        _, delivery = await lend(backend, a_job(args={"n": number}), now=T + number)
        assert await settle(backend, delivery, outcome, now=T + number + 0.5)
    # Then it has what ended for good and is not kept elsewhere, the last first
    finished, total = await backend.history(Window())
    assert total == 3
    assert [(job.args, job.outcome, job.ended_at) for job in finished] == [
        (b'{"n":4}', "done", T + 4.5),
        (b'{"n":1}', "discarded", T + 1.5),
        (b'{"n":0}', "done", T + 0.5),
    ]
    # And no more than so many, for no longer than that
    _, delivery = await lend(backend, now=T + 10)
    await settle(backend, delivery, now=T + 10)
    await backend.prune(T + 11)
    assert (await backend.history(Window()))[1] == 3
    await backend.prune(T + 3700)
    assert (await backend.history(Window()))[1] == 0
    assert (await look(backend, (await listed(backend, State.DEAD))[0].job)).state is State.DEAD
    await backend.close()


async def test_nothing_is_remembered_unless_asked_for(backend: SqlBackend) -> None:
    _, delivery = await lend(backend)
    await settle(backend, delivery)
    assert (await backend.history(Window()))[1] == 0


async def test_dead_jobs_are_kept_for_half_a_year(backend: SqlBackend) -> None:
    _, delivery = await lend(backend)
    await settle(backend, delivery, Buried("boom"))
    await backend.prune(T + 179 * 86400)
    assert (await look(backend, delivery.job)).state is State.DEAD
    assert await backend.prune(T + 181 * 86400) == 1
    assert await backend.job(delivery.job.id) is None


async def test_a_limit_that_its_pools_no_longer_have_is_lifted(backend: SqlBackend) -> None:
    await push(backend, *(a_job() for _ in range(5)))
    assert len(await fetch(backend, await join(backend, limits={"send": 1}), 5)) == 1
    assert len(await fetch(backend, await join(backend), 5)) == 4


async def test_a_job_lent_to_a_pool_that_was_struck_off_is_found_in_time(backend: SqlBackend) -> None:
    # Given a fetch that arrived after its pool was taken for dead
    await push(backend, a_job())
    pool = await join(backend)
    await backend.reap(T, 0.0, dead=[pool.id])
    (delivery,) = await fetch(backend, pool)
    # When nobody beats for it
    await backend.reap(T, 100.0)
    assert await lent_ids(backend, await join(backend)) == []
    await backend.reap(T, 116.0)
    # Then the job waits again
    assert await lent_ids(backend, await join(backend)) == [delivery.job.id]


async def test_a_fetch_of_a_paused_queue_with_much_in_it_finds_the_other_queue(backend: SqlBackend) -> None:
    await push(backend, *(a_job(queue="low") for _ in range(300)), *(a_job(queue="zulu") for _ in range(2)))
    await backend.pause("low")
    found = await fetch(backend, await join(backend), 5)
    assert [delivery.job.queue for delivery in found] == ["zulu", "zulu"]


async def test_namespaces_are_apart(url: str) -> None:
    mine, theirs = opened(url), opened(url)
    job = a_job()
    assert [await push(one, job, once=True) for one in (mine, theirs)] == [[True], [True]]
    await mine.erase()
    assert await lent_ids(mine, await join(mine)) == []
    assert await lent_ids(theirs, await join(theirs)) == [job.id]
    await asyncio.gather(mine.close(), theirs.close())


# long bytes, of which MariaDB keeps the rest of a division by 65,536 where it unites rows

LONG = (10, 70_000, 200_000)


async def test_long_arguments_of_several_jobs_are_renewed_whole(backend: SqlBackend) -> None:
    # Given jobs that wait, of which there may be one of a kind
    def jobs(text: str) -> list[Job]:
        kinds = enumerate(LONG)
        return [a_job(args={"text": text * long}, unique="until_done", unique_by={"kind": at}) for at, long in kinds]

    waiting = jobs("a")
    assert await push(backend, *waiting) == [True] * 3
    # When others are refused for them, then their arguments are there
    assert await push(backend, *jobs("b")) == [False] * 3
    for job, long in zip(waiting, LONG, strict=True):
        assert (await look(backend, job)).job.args == {"text": "b" * long}


async def test_long_errors_of_several_jobs_are_kept_whole(backend: SqlBackend) -> None:
    await push(backend, *some_jobs(3))
    lent = await fetch(backend, await join(backend), 3)
    failed = [Settlement(delivery, Retried(T + 60, "e" * long)) for delivery, long in zip(lent, LONG, strict=True)]
    assert await backend.settle(failed, T) == [True] * 3
    assert [(await look(backend, delivery)).error for delivery in lent] == ["e" * long for long in LONG]


async def test_long_records_that_change_together_are_kept_whole(url: str) -> None:
    # Given records
    store = connect_records(url, namespace=new_id())
    refs = [Ref(Kind.JOB, new_id()) for _ in LONG]
    assert await store.write([Change(ref, None, Record(ref, b"{}")) for ref in refs])
    # When all of them change at once, then each is as it was written
    new = [Record(ref, b"r" * long, version=2) for ref, long in zip(refs, LONG, strict=True)]
    assert await store.write([Change(one.ref, 1, one) for one in new])
    assert await store.read(refs) == new
    await store.close()


@pytest.mark.parametrize("spread", ["evenly", "in one line"])
async def test_a_page_of_waiting_jobs_has_those_that_go_first_however_they_are_spread(
    backend: SqlBackend, spread: str
) -> None:
    # Given jobs in twelve lines: side by side, or so that most of those that go first are in the last one
    names = [(f"kind{number % 3}", f"queue{number % 4}") for number in range(12)]
    chosen = [names[number % 12] if spread == "evenly" or number > 70 else names[11] for number in range(100)]
    jobs = [a_job(kind, queue=queue, enqueued_at=T + at) for at, (kind, queue) in enumerate(chosen)]
    for job in jobs:
        await push(backend, job)
    # When they are looked at page by page, then they come as they were enqueued
    for offset in (0, 30, 60, 90):
        page = await backend.jobs(State.QUEUED, Window(30, offset))
        assert [view.id for view in page] == [job.id for job in jobs[offset : offset + 30]]
        assert page.total == 100
