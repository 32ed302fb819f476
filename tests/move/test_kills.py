"""A move that is killed again and again, and resumed: everything is there once, whoever works meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from move.stage import T, a_job, a_move, end, enlist, fill, rounded, seen, total
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Retried, Settlement
from worksong.domain.turns import Share
from worksong.move import Side
from worksong.ports.backend import Pool, Want

TESTS = Path(__file__).parents[1]
KILLS = 5
RING = (("sqlite", "redis"), ("redis", "postgres"), ("postgres", "mariadb"), ("mariadb", "sqlite"))
"""Every store gives and takes once: 20 kills in all."""
PATIENCE = 100.0
JOBS = 40

Kill = Callable[[int], Awaitable[str]]


@pytest.fixture
async def kill(source: Side, target: Side, here_url: str, there_url: str) -> AsyncIterator[Kill]:
    """Moves in another process that is killed at a step that the seed says; how it ended."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "move.killed", here_url, source.namespace, there_url, target.namespace),
        cwd=TESTS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    words, answers = program.stdin, program.stdout

    async def begin(seed: int) -> str:
        words.write(f"{seed}\n".encode())
        return (await asyncio.wait_for(answers.readline(), PATIENCE)).decode().strip()

    yield begin
    words.close()
    await asyncio.wait_for(program.wait(), PATIENCE)


@pytest.mark.parametrize(("here", "there"), RING)
async def test_killed_and_resumed_everything_is_there_once(source: Side, target: Side, kill: Kill) -> None:
    # Given a store full of jobs of all kinds, and workers of one type on both sides
    await fill(source.backend)
    await end(source.backend, Buried("boom"), *[a_job("die", {"n": n}) for n in range(JOBS // 4)])
    whole = rounded(source, target)
    before = await seen(source.backend, whole=whole)
    waiting = [a_job("work", {"n": n}) for n in range(JOBS)]
    await source.backend.push(waiting, T)
    await end(
        source.backend, Retried(T + 1, "boom"), *(retries := [a_job("work", {"n": -n}) for n in range(JOBS // 4)])
    )
    pools = [(one, await enlist(one.backend, "work")) for one in (source, target)]
    ran: Counter[str] = Counter()

    # When the move is killed at random points, and they work in between
    for seed in range(KILLS):
        assert await kill(seed) == "killed"
        for one, pool in pools:
            ran.update(await work(one, pool, 2))
    while total(await source.backend.counts()):  # a server may hold on to what the killed one had locked
        report = await a_move(source, target).run()
        assert report.checksums[0] == report.checksums[1]
    while more := await work(target, pools[1][1], 100):
        ran.update(more)

    # Then every job of theirs has run once
    assert ran == Counter(job.id for job in (*waiting, *retries))

    # And every other one is in the target once, as it was
    assert await seen(target.backend, whole=whole) == before


async def work(one: Side, pool: Pool, most: int) -> list[str]:
    """Run some of what is due."""
    await one.backend.promote(T + 5, most)
    lent = await one.backend.fetch(Want(pool.id, most, 0.0, (Share("work", 99),)), T + 5)
    assert await one.backend.settle([Settlement(delivery, Done()) for delivery in lent], T + 5) == [True] * len(lent)
    return [delivery.job.id for delivery in lent]


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_jobs_that_lie_aside_are_told(source: Side, target: Side, kill: Kill) -> None:
    await source.backend.push([a_job("send", {"n": n}) for n in range(JOBS)], T)
    lie = False
    for seed in range(100, 200):
        assert await kill(seed) == "killed"
        waits = (await source.backend.counts())[State.QUEUED] + (await target.backend.counts())[State.QUEUED]
        if waits < JOBS:
            lie = True
            break
    assert lie
    assert (await a_move(source, target).survey()).aside == 3
