"""Where lines begin: what is remembered of it spares dead rows, and passes over no job for long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from sql.stage import opened
from worksong.adapters.sql import front
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.front import DEAR, MOST, REST, SHARE, Front, Places
from worksong.adapters.sql.steps import Row, Space
from worksong.domain.job import Job
from worksong.domain.outcome import Done, Outcome, Released, Retried, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Pool, Want
from worksong.testing.contract.steps import PLENTY, T, a_job, fetch, join, push, settle, some_jobs

LONG = 60.0
"""Seconds that a fetch may wait for what is there."""

# what is remembered


def a_want(*names: str, wait: float = 1.0) -> Want:
    return Want("pool", 5, wait, tuple(Share(name, PLENTY) for name in names))


def a_row(name: str, queue: str, place: int) -> Row:
    """The beginning of a lent job's row."""
    return (1, "id", name, queue, "queued", place)


def looked(
    known: Front, took: float, *lines: tuple[str, str, int], names: Sequence[str] = ("send",), at: float
) -> bool:
    """Whether a look that found these lines told of jobs that nobody would have come by."""
    look = known.look(names, at)
    next(look)
    rows: list[Row] = [(took, *line) for line in lines] or [(took, None, None, None)]
    with pytest.raises(StopIteration) as end:
        look.send(rows)
    news: bool = end.value.value
    return news


@pytest.fixture
def known() -> Front:
    """It took long to find that the jobs of one line begin at place 70."""
    known = Front(Space("somewhere"))
    assert looked(known, 2 * DEAR, ("send", "default", 70), at=1000.0)
    return known


def test_nothing_is_remembered_while_lines_are_found_fast() -> None:
    # Given a look that took no time
    known = Front(Space("somewhere"))
    looked(known, DEAR, ("send", "default", 70), at=1000.0)
    # Then everybody looks at everything, and no look is due
    assert not known.dear
    assert known.near(a_want("send")) == {}
    assert not known.due(DEAR, 2000.0)
    assert known.due(2 * DEAR, 2000.0)


def test_who_waits_goes_on_from_the_place_that_was_lent_last(known: Front) -> None:
    known.reach([a_row("send", "default", 80), a_row("send", "default", 90), a_row("send", "low", 5)], {})
    assert known.near(a_want("send")) == {"send": {"default": 90, "low": 5}}


def test_a_job_further_in_front_is_not_passed_over_by_a_fetch_that_began_behind_it(known: Front) -> None:
    # Given a fetch that is under way from some place on
    looked(known, 2 * DEAR, ("send", "default", 100), at=1000.0)
    near = known.near(a_want("send"))
    # When a job is found that was handed back to a place before it, and the fetch comes back
    looked(known, 2 * DEAR, ("send", "default", 7), at=1001.0)
    known.reach([a_row("send", "default", 150)], near)
    # Then the next one begins at that job
    assert known.near(a_want("send")) == {"send": {"default": 7}}


def test_what_is_lent_is_not_remembered_while_lines_are_found_fast() -> None:
    known = Front(Space("somewhere"))
    known.reach([a_row("send", "default", 80)], {})
    looked(known, 2 * DEAR, at=1000.0)
    assert known.near(a_want("send")) == {}
    known.reach([a_row("send", "default", 90)], {})
    assert known.near(a_want("send")) == {"send": {"default": 90}}


def test_who_does_not_wait_looks_at_everything(known: Front) -> None:
    assert known.near(a_want("send", wait=0.0)) == {}


def test_types_that_were_not_looked_for_are_looked_for(known: Front) -> None:
    assert known.near(a_want("send", "other")) == {}
    looked(known, 2 * DEAR, ("send", "default", 70), names=("send", "other"), at=1001.0)
    assert known.near(a_want("send", "other")) == {"send": {"default": 70}}


@pytest.mark.parametrize(("line", "news"), [(69, True), (70, False), (71, False)])
def test_a_job_before_the_place_of_its_line_is_news(known: Front, line: int, *, news: bool) -> None:
    assert looked(known, 2 * DEAR, ("send", "default", line), at=1001.0) is news
    assert known.near(a_want("send")) == {"send": {"default": line}}


def test_a_new_line_is_news_and_an_empty_one_is_kept(known: Front) -> None:
    # When a look finds another line, and nothing in the one that is known
    assert looked(known, 2 * DEAR, ("send", "low", 3), at=1001.0)
    # Then who waits asks in both
    assert known.near(a_want("send")) == {"send": {"default": 70, "low": 3}}


def test_a_tenth_of_the_time_at_most_goes_into_looks(known: Front) -> None:
    # Given a look that took ten seconds, from 1010 on
    looked(known, 10.0, at=1010.0)
    # Then the next one is due nine times as long after it
    assert not known.due(0.0, 1020.0 + 10.0 * SHARE - 0.1)
    assert known.due(0.0, 1020.0 + 10.0 * SHARE)


def test_a_look_that_was_given_up_is_made_again(known: Front) -> None:
    next(known.look(["send"], 1010.0))
    assert not known.due(0.0, 1010.0)
    assert known.due(0.0, 1010.0 + REST)


def test_places_are_forgotten_when_lines_are_found_fast_again(known: Front) -> None:
    assert looked(known, DEAR, ("send", "default", 95), at=1001.0)
    assert not known.dear


def test_of_more_lines_than_pay_no_places_are_kept(known: Front) -> None:
    looked(known, 2 * DEAR, *[("send", f"q{number}", number) for number in range(MOST)], at=1001.0)
    assert len(known.near(a_want("send"))["send"]) == MOST  # the one that was seen longest ago is forgotten
    looked(known, 2 * DEAR, *[("send", f"q{number}", number) for number in range(MOST + 1)], at=1002.0)
    assert not known.dear


# what is lent


@pytest.fixture
async def wary(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlBackend]:
    """A backend that takes every look for a dear one."""
    monkeypatch.setattr(front, "DEAR", -1.0)
    backend = opened(postgres_url)
    yield backend
    await backend.close()


@pytest.fixture
async def others(wary: SqlBackend) -> AsyncIterator[Sequence[SqlBackend]]:
    siblings = [wary.sibling(), wary.sibling()]
    yield siblings
    for sibling in siblings:
        await sibling.close()


@asynccontextmanager
async def another(backend: SqlBackend) -> AsyncIterator[Any]:
    """A connection of somebody else."""
    connection = await asyncpg.connect(backend._store.address.shown)
    try:
        yield connection
    finally:
        await connection.close()


async def remembered(backend: SqlBackend, pool: Pool) -> None:
    """Lend and end a job of each type, and wait until it is known where their lines begin."""
    await push(backend, *(a_job(name) for name in pool.handlers))
    for delivery in await fetch(backend, pool, len(pool.handlers)):
        await settle(backend, delivery)
    known = backend._shortest._front
    while set(known.near(a_want(*pool.handlers))) != set(pool.handlers):
        await push(backend, *(a_job(name) for name in pool.handlers))
        for delivery in await fetch(backend, pool, len(pool.handlers), wait=LONG):
            await settle(backend, delivery)


async def test_a_job_that_is_handed_back_is_lent_again(wary: SqlBackend) -> None:
    # Given lines whose places are known, and two jobs lent from one of them
    pool = await join(wary)
    await remembered(wary, pool)
    await push(wary, *some_jobs(2))
    first, second = await fetch(wary, pool, 2)
    # When the first one comes back, to a place before all that was lent
    await settle(wary, second)
    await settle(wary, first, Released())
    # Then a fetch that waits comes by it, and one that does not wait at once
    (again,) = await fetch(wary, pool, wait=LONG)
    assert again.job.id == first.job.id
    await settle(wary, again, Released())
    assert len(await fetch(wary, pool)) == 1


async def test_a_job_that_is_committed_late_is_lent(wary: SqlBackend) -> None:
    # Given a job that somebody enqueues within a transaction
    pool, late = await join(wary), a_job()
    async with another(wary) as connection:
        async with connection.transaction():
            assert await wary.within(connection).push([late], T) == [True]
            # And later ones that were lent meanwhile, so that its place is behind them
            await remembered(wary, pool)
        # When it is committed
        # Then it is lent
        (found,) = await fetch(wary, pool, wait=LONG)
        assert found.job.id == late.id


async def test_a_line_that_is_new_is_found_beside_one_that_never_ends(wary: SqlBackend) -> None:
    # Given a type of which there are always jobs, and a known place in its line
    pool = await join(wary, "busy", "rare")
    await remembered(wary, pool)
    # When there is a job of a queue that nobody had before
    await push(wary, a_job("rare", queue="new"))
    # Then it is lent while the others go on
    found: list[Job] = []
    while not any(job.queue == "new" for job in found):
        await push(wary, a_job("busy"))
        lent = await fetch(wary, pool, 2, wait=LONG)
        found += [delivery.job for delivery in lent]
        assert all(await wary.settle([Settlement(delivery, Done()) for delivery in lent], T))


async def test_types_with_a_limit_keep_it(wary: SqlBackend) -> None:
    # Given places that are known while there is no limit
    pool = await join(wary)
    await remembered(wary, pool)
    # When one is set, and more jobs wait than it allows
    limited = await join(wary, limits={"send": 2})
    await push(wary, *some_jobs(5))
    # Then no more are lent
    assert len(await fetch(wary, limited, 5, wait=LONG)) == 2


async def test_a_paused_queue_gives_nothing_though_its_place_is_known(wary: SqlBackend) -> None:
    pool = await join(wary)
    await remembered(wary, pool)
    await push(wary, a_job(), a_job(queue="other"))
    await wary.pause("default")
    assert [delivery.job.queue for delivery in await fetch(wary, pool, 5, wait=LONG)] == ["other"]


async def test_every_job_runs_whatever_becomes_of_it_meanwhile(wary: SqlBackend, others: Sequence[SqlBackend]) -> None:
    # Given three workers, and jobs of two types and three queues, pushed with clocks that are minutes apart
    draw = random.Random(7)
    workers = [wary, *others]
    pools = [await join(worker, "one", "two") for worker in workers]
    jobs = [a_job(draw.choice(["one", "two"]), queue=draw.choice(["a", "b", "c"])) for _ in range(90)]
    done: list[str] = []

    async def feed() -> None:
        for job in jobs:
            await push(draw.choice(workers), job, now=T + draw.uniform(-300, 300))

    # When some are handed back or tried again before they are done
    async def work(worker: SqlBackend, pool: Pool) -> None:
        while len(done) < len(jobs):
            for delivery in await fetch(worker, pool, draw.randint(1, 4), wait=0.2):
                outcomes: list[Outcome] = [Done(), Done(), Released(), Retried(T - 1, "again")]
                outcome = draw.choice(outcomes)
                assert await settle(worker, delivery, outcome)
                done.extend([delivery.job.id] if isinstance(outcome, Done) else [])
            await worker.promote(T, 100)

    await asyncio.gather(feed(), *map(work, workers, pools))
    # Then each was done once, and nothing is left
    assert sorted(done) == sorted(job.id for job in jobs)
    assert sum((await wary.counts()).values()) == 0


async def test_dead_rows_are_passed_by_nobody_who_knows_the_place(wary: SqlBackend) -> None:
    # Given somebody who keeps a transaction open, so that no row can be cleared away
    pool = await join(wary)
    async with another(wary) as reader, reader.transaction(isolation="repeatable_read"):
        await reader.fetch("SELECT count(*) FROM worksong_job")
        # And jobs that were lent and have ended
        await push(wary, *some_jobs(300))
        lent = await fetch(wary, pool, 300)
        assert all(await wary.settle([Settlement(delivery, Done()) for delivery in lent], T))
        await remembered(wary, pool)
        # When a job is fetched from the place that is known, and another one from the beginning
        near = wary._shortest._front.near(a_want("send"))
        known, whole = [await entries_read(wary, pool, places) for places in (near, {})]
    # Then only the latter passes the rows of those that are gone
    assert known < 50
    assert whole >= 300


async def entries_read(backend: SqlBackend, pool: Pool, near: Places) -> int:
    """Of the index of lines, by a fetch of one job, dead or alive."""
    store: Any = backend._store
    await push(backend, a_job())
    want = Want(pool.id, 1, 0.0, (Share("send", PLENTY),))
    count = "SELECT pg_stat_get_xact_tuples_returned('worksong_job_line'::regclass)"
    async with store._connection() as connection, connection.transaction():  # what was counted is put away at its end
        before = await connection.fetchval(count)
        taken = await store.carry_out(connection, lambda: backend._broker.take(want, T, near))
        assert len(taken.deliveries) == 1
        return int(await connection.fetchval(count)) - int(before)
