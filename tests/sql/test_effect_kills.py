"""Effect and acknowledgement in one transaction, and a worker that is killed again and again: no effect comes twice."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaos.scale import SEED, sized, timeout
from sql.notes import Notes
from sql.stage import opened
from worksong.adapters.sql.backend import SqlBackend
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State

APP = Path(__file__).with_name("effects_app.py")
JOBS = 30
"""New jobs before each kill."""
KILLS = sized(40, 4)


@pytest.fixture
async def notes(url: str, backend: SqlBackend) -> Notes:
    await backend.counts()  # on SQLite this makes the file
    return await Notes(url).make()


@asynccontextmanager
async def at_work(url: str, name: str, notes: Notes) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process, which is killed at the end."""
    told = {"EFFECTS_URL": url, "EFFECTS_NAME": name, "EFFECTS_PAGE": notes.page}
    path = os.pathsep.join(filter(None, [str(APP.parents[1]), os.environ.get("PYTHONPATH", "")]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(APP)), env={**os.environ, **told, "PYTHONPATH": path}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def written(notes: Notes, process: asyncio.subprocess.Process, count: int) -> None:
    """Wait until so many rows are there."""
    while (await notes.found()).total() < count:
        assert process.returncode is None, "the worker ended by itself"
        await asyncio.sleep(0.01)


@pytest.mark.timeout(max(600, timeout(3000)))
async def test_under_kills_every_effect_is_there_once(url: str, notes: Notes) -> None:
    # Given a worker that is killed while it works, again and again
    chance, name = random.Random(SEED), new_id()
    backend = opened(url, name)
    print(f"CHAOS_SEED={SEED}")
    enqueued = 0
    for _ in range(KILLS):
        jobs = [Job("pay", {"number": number}, id=new_id()) for number in range(enqueued, enqueued + JOBS)]
        enqueued += len(jobs)
        assert all(await backend.push(jobs, 0.0))
        done = (await notes.found()).total()
        async with at_work(url, name, notes) as process:
            await written(notes, process, chance.randint(done + 1, enqueued - 2))
            await asyncio.sleep(chance.uniform(0, 0.01))
        # When others hear of its death
        pools = [pool.id for pool in await backend.pools() if pool.pid == process.pid]
        await backend.reap(0.0, 0.0, dead=pools)

    # Then, once all is done, the effect of each is there, and none is there twice
    async with at_work(url, name, notes) as process:
        await written(notes, process, enqueued)
        while any((await backend.counts()).values()):
            await backend.requeue(State.DEAD, None, 0.0)  # one that lost too many workers
            await asyncio.sleep(0.01)
    await backend.close()
    assert await notes.found() == {str(number): 1 for number in range(enqueued)}
