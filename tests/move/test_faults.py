"""A step of a move that fails, or whose answer is lost: the next run goes on, whichever step it was."""

from __future__ import annotations

import asyncio

import pytest

from move.stage import T, a_job, a_move, enlist, fill, ids_in, rounded, seen, total
from worksong.adapters import connect
from worksong.adapters.memory import MemoryBackend
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable, ConfigError, Unsupported
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Settlement
from worksong.domain.parcel import MOVABLE
from worksong.domain.turns import Share
from worksong.move import Side
from worksong.ports.backend import Want
from worksong.testing.flaky import Fault, FlakyBackend

STEPS = ("load", "release", "known", "counts", "queues", "unload", "know", "pools")
TIMES = 4


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis"), ("redis", "sqlite")])
async def test_a_move_that_fails_anywhere_goes_on(source: Side, target: Side, fault: Fault) -> None:
    # Given a store full of jobs, and two connections that can be made to fail
    await fill(source.backend)
    whole = rounded(source, target)
    before = await seen(source.backend, whole=whole)
    flaky = [one._replace(backend=FlakyBackend(one.backend)) for one in (source, target)]

    # When each step fails, the first time, the second time, and so on, while there are new jobs to move
    failed, more = 0, list[str]()
    for step in STEPS:
        for times in range(TIMES):
            new = [a_job("more", {"n": n}, run_at=n % 2 and T + 900) for n in range(6)]
            await source.backend.push(new, T)
            more += [job.id for job in new]
            for one in flaky:
                assert isinstance(one.backend, FlakyBackend)
                one.backend.expect(step, [None] * times + [fault])
            try:
                await a_move(flaky[0], flaky[1], most=2).run()
            except BackendUnavailable:
                failed += 1
            for one in flaky:
                one.backend.expect(step, [])

    # Then the run after that finishes it, and everything is there once
    await a_move(*flaky).run()
    assert failed > len(STEPS)
    assert total(await source.backend.counts()) == 0
    there = await ids_in(target.backend, *MOVABLE)
    assert len(there) == before.total() + len(more)
    assert set(more) <= set(there)
    assert before <= await seen(target.backend, whole=whole)


@pytest.mark.parametrize(("here", "there"), [("redis", "postgres"), ("sqlite", "redis")])
async def test_workers_on_both_sides_run_every_job_once(source: Side, target: Side) -> None:
    # Given jobs that wait, one that runs, and a worker on each side
    jobs = [a_job("send", {"n": n}) for n in range(60)]
    await source.backend.push(jobs, T)
    pool = await enlist(source.backend, "send")
    (running,) = await source.backend.fetch(Want(pool.id, 1, 0.0, (Share("send", 99),)), T)
    ran: list[str] = []
    moved = asyncio.Event()

    async def work(one: Side) -> None:
        mine = await enlist(one.backend, "send")
        while True:
            last = moved.is_set()
            lent = await one.backend.fetch(Want(mine.id, 2, 0.0, (Share("send", 99),)), T)
            ran.extend(delivery.job.id for delivery in lent)
            held = await one.backend.settle([Settlement(delivery, Done()) for delivery in lent], T)
            assert held == [True] * len(lent)
            if last and not lent:
                return

    async def move() -> None:
        report = await a_move(source, target, most=3).run()
        assert report.source[State.RUNNING] == 1
        moved.set()

    # When the rest is moved while they work
    await asyncio.gather(move(), work(source), work(target))

    # Then every job has run once, and the one that ran goes on where it was
    assert await source.backend.settle([Settlement(running, Done())], T) == [True]
    assert sorted([*ran, running.job.id]) == sorted(job.id for job in jobs)


@pytest.mark.parametrize(("here", "there"), [("postgres", "redis"), ("redis", "mariadb")])
async def test_two_moves_at_once_are_as_good_as_one(source: Side, target: Side) -> None:
    await fill(source.backend)
    before = await seen(source.backend, whole=True)
    others = [one._replace(backend=one.backend.sibling()) for one in (source, target)]
    try:
        await asyncio.gather(a_move(source, target, most=2).run(), a_move(*others, most=2).run())
    finally:
        for one in others:
            await one.backend.close()
    assert await seen(target.backend, whole=True) == before
    assert total(await source.backend.counts()) == 0


# what is refused before anything moves


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_an_interrupted_move_to_elsewhere_is_finished_there_first(source: Side, target: Side) -> None:
    await source.backend.push([a_job("send", {"n": 1})], T)
    await source.backend.load(State.QUEUED, passed=0, most=9, destination="redis://there (namespace x)", now=T)
    with pytest.raises(ConfigError, match=r"to redis://there \(namespace x\) was interrupted, and 1 jobs lie aside"):
        await a_move(source, target).run()


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_a_pause_that_the_target_cannot_have_is_refused(source: Side, target: Side) -> None:
    await source.backend.push([a_job("send", {"n": 1}, queue="low")], T)
    await source.backend.pause("low")
    with pytest.raises(ConfigError, match=r"paused in .*: low; a pause cannot be moved there"):
        await a_move(source, target).run()
    assert (await source.backend.counts())[State.QUEUED] == 1


@pytest.mark.parametrize(("here", "there"), [("postgres", "redis")])
async def test_one_store_under_two_urls_is_refused(source: Side, target: Side, here_url: str) -> None:
    await source.backend.push([a_job("send", {"n": 1})], T)
    same = connect(here_url.replace("127.0.0.1", "localhost"), namespace=source.namespace)
    try:
        with pytest.raises(ConfigError, match="are one and the same store"):
            await a_move(source, Side(same, source.namespace)).run()
    finally:
        await same.close()
    with pytest.raises(ConfigError, match="both sides are"):
        await a_move(source, source).run()
    assert (await source.backend.counts())[State.QUEUED] == 1


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_what_ends_with_its_process_cannot_be_moved(source: Side, target: Side) -> None:
    for sides in ((Side(MemoryBackend(), ""), target), (source, Side(MemoryBackend(), ""))):
        with pytest.raises(ConfigError, match="memory:// lives inside one process"):
            await a_move(*sides).survey()


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_a_backend_that_cannot_move_jobs_is_refused(source: Side, target: Side) -> None:
    target.backend.capabilities -= {Capability.MOVE}
    with pytest.raises(Unsupported, match="cannot promise that jobs can be moved"):
        await a_move(source, target).survey()


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_a_server_that_is_away_is_told_before_anything_moves(source: Side, target: Side) -> None:
    await source.backend.push([a_job("send", {"n": 1})], T)
    away = connect("redis://127.0.0.1:1/0", namespace=new_id())
    with pytest.raises(BackendUnavailable):
        await a_move(source, Side(away, "x")).run()
    assert (await source.backend.counts())[State.QUEUED] == 1
    await away.close()
