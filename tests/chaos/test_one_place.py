"""Creators that are killed, and many with one key: where records and queue are in one place, all comes at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from chaos.creator import FORM, a_service
from chaos.scale import SEED, sized, timeout
from patience import PATIENCE
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Window
from worksong.service.jobservice import JobService

KILLS = sized(30, 3)
CALLERS, PROCESSES = 50, 5
MOST = 100_000

pytestmark = pytest.mark.timeout(timeout(900))


@pytest.fixture(params=["sqlite", "postgres", "mariadb", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where queue and records are."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/one.db?synchronous=NORMAL"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is to be ended."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_whoever_creates_and_is_killed_leaves_no_record_without_a_message_and_none_without_a_record(
    url: str, stack: AsyncExitStack
) -> None:
    # Given a store, and somebody who creates jobs, batches and pipelines
    namespace = new_id()
    service = a_service(url, namespace)
    stack.push_async_callback(service.worker.astop)
    await service.worker.backend().counts()  # on SQLite this makes the file
    print(f"CHAOS_SEED={SEED}")
    creator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.creator", url, namespace),
        cwd=Path(__file__).parents[1],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told: set[str] = set()
    try:
        # When he is killed, again and again
        for seed in range(SEED, SEED + KILLS):
            told |= await until_killed(creator, seed)
            # Then others see what is whole
            await look(service)
    finally:
        creator.kill()
        await creator.wait()
    # And all that he was told is created is there
    assert told
    assert {job.id for job in await service.jobs()} >= told


async def test_g5_of_many_callers_of_several_services_with_one_key_one_creates(url: str, stack: AsyncExitStack) -> None:
    # Given several processes that create in one place
    namespace = new_id()
    services = [a_service(url, namespace) for _ in range(PROCESSES)]
    for service in services:
        stack.push_async_callback(service.worker.astop)

    async def ask(number: int) -> str:
        """Again, where it was not answered."""
        while True:
            with suppress(BackendUnavailable):
                return (await services[number % PROCESSES].create_job(FORM, "key")).id

    # When all callers ask at once, with the same key
    told = await asyncio.gather(*map(ask, range(CALLERS)))
    # Then all are told of the same job, whose message is the only one
    assert len(set(told)) == 1
    assert [view.id for view in await services[0].worker.backend().jobs(State.QUEUED, Window(limit=MOST))] == told[:1]
    assert [job.id for job in await services[0].jobs()] == told[:1]


async def until_killed(creator: asyncio.subprocess.Process, seed: int) -> set[str]:
    """The ids of what he was told is created."""
    assert creator.stdin is not None
    assert creator.stdout is not None
    creator.stdin.write(f"{seed}\n".encode())
    told = set[str]()
    while (line := (await asyncio.wait_for(creator.stdout.readline(), PATIENCE)).decode().strip()) != "killed":
        assert line, "the creator ended by itself"
        assert not line.startswith("failed"), line
        told.add(line)
    return told


async def look(service: JobService) -> None:
    """A server may carry out what the dead one has sent it: what was there at one look is there at the next."""
    recorded = await begun(service)
    queued = {view.id for view in await service.worker.backend().jobs(State.QUEUED, Window(limit=MOST))}
    assert recorded <= queued
    assert queued <= await begun(service)


async def begun(service: JobService) -> set[str]:
    """The ids of recorded jobs that have to be in the queue: those behind the first of a pipeline come later."""
    pipelines = await service.pipelines()
    alone = {job.id for job in await service.jobs() if not job.pipeline_id}
    return alone | {pipeline.job_ids[0] for pipeline in pipelines}
