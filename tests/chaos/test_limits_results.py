"""F5: workers die between keeping a result and ending its job: nothing that was shown is taken back.

With a store of its own, a result is kept before its job ends. So it may be shown while the job still counts as running,
and a worker that dies in between makes the job run again: then the later result counts. What holds, and is tried here:

- a job that has ended has its result in the store, at every moment;
- what is shown was returned by a run that had finished;
- once shown there always is a result, and another one only if the job ran again;
- a death makes at most those jobs run again that ran, and those whose ending was on its way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

import pytest
import redis.asyncio

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import judge
from chaos.producer import Producer
from chaos.scale import FULL, timeout
from chaos.theatre import NAMESPACE, Theatre, on, quiet
from patience import PATIENCE
from worksong import Job, Worker
from worksong.wire.gocraft_keys import Keys

WORKERS = 3 if FULL else 2
JOBS, RATE = (3000, 300) if FULL else (150, 150)
KILLS = 8 if FULL else 1

pytestmark = pytest.mark.timeout(timeout(200))


class Shown(NamedTuple):
    """A result as somebody who waited for it saw it."""

    at: float
    process: str
    fence: int


@pytest.fixture
async def reader(theatre: Theatre) -> AsyncIterator[Worker]:
    """A program that enqueues and waits for results."""
    worker = Worker(theatre.url, name=NAMESPACE, results=theatre.url)
    yield worker
    await worker.astop()


@pytest.fixture
async def crew(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Workers whose handlers answer something."""
    monkeypatch.setattr("chaos.fleet.APP", "chaos.limits_app:answering")
    await fleet.start(WORKERS)
    return fleet


@on("redis")
async def test_f5_no_result_is_taken_back_when_workers_die(
    theatre: Theatre, crew: Fleet, producer: Producer, reader: Worker, certify: Certify
) -> None:
    # Given workers under load, whose results are waited for
    waiting: dict[str, asyncio.Task[Shown]] = {}
    loading = asyncio.create_task(_load(producer, reader, waiting))
    looking = asyncio.create_task(_look(theatre, waiting, loading))

    # When one after the other is killed
    for _ in range(KILLS):
        await asyncio.sleep(JOBS / RATE / (KILLS + 1))
        await crew.kill(crew.any())
        await crew.launch()
    await loading
    looks = await looking
    async with asyncio.timeout(PATIENCE):
        shown = dict(zip(waiting, await asyncio.gather(*waiting.values()), strict=True))
    await quiet(theatre, PATIENCE)
    await crew.stop_all()

    # Then whatever was shown had been returned
    ledger = crew.ledger
    finished = {(line.subject, line.process): line.at for line in reversed(ledger.of("F"))}
    assert all(finished[id_, one.process] <= one.at for id_, one in shown.items())
    # And it is still there, or the result of a later run
    again = {id_: await _result(reader, id_) for id_ in shown}
    replaced = [id_ for id_, one in shown.items() if again[id_].fence != one.fence]
    assert all(again[id_].fence > shown[id_].fence for id_ in replaced)
    assert set(replaced) <= {id_ for id_, starts in ledger.count("S").items() if starts > 1}
    # And only what ran, or was on its way, ran again
    verdict = judge(ledger, [*crew.strokes, *ledger.evictions()])
    assert verdict.right, f"{verdict}\n{crew.report()}"
    assert verdict.finished == len(shown)
    certify(
        "F5",
        jobs=verdict.acked,
        kills=len(crew.strokes),
        lost=len(verdict.lost),
        duplicates=len(verdict.duplicates),
        budget=verdict.budget,
        results_shown=len(shown),
        taken_back=0,
        replaced_by_a_later_run=len(replaced),
        looks_for_ended_jobs_without_result=looks,
    )


async def _load(producer: Producer, reader: Worker, waiting: dict[str, asyncio.Task[Shown]]) -> None:
    """Enqueue all jobs at the rate; somebody waits for each."""
    for number in range(0, JOBS, RATE // 50):
        begun = time.monotonic()
        jobs = [Job("answer", {"ms": 10.0 * (n % 10)}) for n in range(number, min(JOBS, number + RATE // 50))]
        for id_ in await producer.push(jobs):
            waiting[id_] = asyncio.create_task(_result(reader, id_))
        await asyncio.sleep(max(0.0, begun + 0.02 - time.monotonic()))


async def _result(reader: Worker, job_id: str) -> Shown:
    process, fence = await reader.handle(job_id, "answer").aresult(PATIENCE)
    return Shown(time.monotonic(), str(process), fence)


async def _look(theatre: Theatre, enqueued: Iterable[str], until: asyncio.Task[None]) -> int:
    """Every job that is nowhere any more has its result; answers how often that was looked at."""
    keys, looks = Keys(NAMESPACE), 0
    async with redis.asyncio.Redis.from_url(theatre.url.partition("?")[0], decode_responses=True) as server:
        while not until.done():
            known = set(enqueued)
            present = await _present(server, keys)
            ended = [id_ for id_ in known if id_ not in present]
            found = await server.mget([keys.result(id_) for id_ in ended]) if ended else []
            missing = [id_ for id_, result in zip(ended, found, strict=True) if result is None]
            assert not missing, f"ended without a result: {missing[:5]}"
            looks += 1
            await asyncio.sleep(0.02)
    return looks


PRESENT = """
local all = {redis.call('LRANGE', KEYS[1], 0, -1), redis.call('ZRANGE', KEYS[2], 0, -1)}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do all[#all + 1] = redis.call('LRANGE', key, 0, -1) end
return all
"""
"""All documents that wait or lie in progress, at one moment."""


async def _present(server: redis.asyncio.Redis, keys: Keys) -> str:
    queue = keys.jobs("answer")
    return str(await server.eval(PRESENT, 2, queue, keys.retry, f"{queue}:*:inprogress"))
